//! What is particular to NTFS.

use super::options::Options;
use super::regular::about;
use crate::disks::Device;
use crate::task::{Input, Output};
use crate::worker::{Mountable, Worker};
use guestd_api::actions::ntfs::{
    NtfsChmodOptions, NtfscloneOutOptions, NtfsfixOptions, NtfsresizeOptions, Server,
};
use guestd_api::{Failure, GuestString};

impl Worker {
    /// The smallest size of an NTFS that ntfsresize would make, in bytes.
    pub(super) fn ntfs_minimum_size(&self, device: &Device) -> Result<i64, Failure> {
        let done = self.tool("ntfsresize")?.args(["--info", "-ff"]).arg(&device.node).finish()?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if let Some(bytes) = minimum_size(&text) {
            return Ok(bytes);
        }
        done.success().map_err(about(&device.shown))?;
        Err(Failure::new(format!("{}: ntfsresize does not tell the minimum size", device.shown)))
    }
}

/// From what `ntfsresize --info` prints; a full volume has no room to shrink.
fn minimum_size(text: &str) -> Option<i64> {
    let number = |prefix: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(prefix)?.split_whitespace().next()?.parse::<i64>().ok())
    };
    if let Some(bytes) = number("You might resize at ") {
        return Some(bytes);
    }
    let full = text.contains("Volume is full") || text.contains("ERROR: Volume is full");
    let size = text.lines().find_map(|line| {
        let rest = line.strip_prefix("Current volume size")?.trim_start_matches([':', ' ']);
        rest.split_whitespace().next()?.parse().ok()
    });
    if full { size } else { None }
}

impl Server for Worker {
    fn ntfs_3g_probe(&self, rw: bool, device: Device) -> Result<i32, Failure> {
        let option = if rw { "-w" } else { "-r" };
        let done = self.tool("ntfs-3g.probe")?.arg(option).arg(&device.node).finish()?;
        done.status.code().ok_or_else(|| about(&device.shown)(done.failure()))
    }

    fn ntfscat_i(&self, device: Mountable, inode: i64, mut filename: Output) -> Result<(), Failure> {
        if inode < 0 {
            return Err(Failure::new("inode must be >= 0"));
        }
        let device = device.device;
        let program = self.tool("ntfscat")?.arg("-i").arg(inode.to_string()).arg(&device.node);
        program.finish_with(None, Some(&mut filename))?.success().map_err(about(&device.shown))
    }

    fn ntfsclone_in(&self, mut backupfile: Input, device: Device) -> Result<(), Failure> {
        let program = self.tool("ntfsclone")?.arg("-O").arg(&device.node).args(["--restore-image", "-"]);
        let done = program.finish_with(Some(&mut backupfile), None)?;
        done.success().map_err(about(format!("ntfsclone subcommand failed on device: {}", device.shown)))
    }

    fn ntfsclone_out(
        &self,
        device: Device,
        mut backupfile: Output,
        opts: NtfscloneOutOptions,
    ) -> Result<(), Failure> {
        let mut words = Options::default();
        words.add(["-o", "-", "--save-image"]);
        words.switch(opts.metadataonly, "--metadata");
        words.switch(opts.rescue, "--rescue");
        words.switch(opts.ignorefscheck, "--ignore-fs-check");
        words.switch(opts.preservetimestamps, "--preserve-timestamps");
        words.switch(opts.force, "--force");
        let program = self.tool("ntfsclone")?.args(words).arg(&device.node);
        program.finish_with(None, Some(&mut backupfile))?.success().map_err(about(&device.shown))
    }

    fn ntfsfix(&self, device: Device, opts: NtfsfixOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        words.switch(opts.clearbadsectors, "-b");
        self.tool("ntfsfix")?.args(words).arg(&device.node).run().map(|_| ()).map_err(about(&device.shown))
    }

    fn ntfsresize(&self, device: Device, opts: NtfsresizeOptions) -> Result<(), Failure> {
        let mut words = Options::default();
        words.add(["-P"]);
        if let Some(size) = opts.size {
            if size <= 0 {
                return Err(Failure::new("size is zero or negative"));
            }
            words.add(["--size", &size.to_string()]);
        }
        words.switch(opts.force, "--force");
        // It asks whether to proceed, on its standard input; there it finds the end of a file otherwise.
        let program = self.tool("ntfsresize")?.args(words).arg(&device.node);
        let done = program.finish_with(Some(&mut &b"y\n"[..]), None)?;
        if !done.status.success() && done.errors.is_empty() {
            // What is wrong it says on its standard output.
            let text = self.agent.disks.shown_text(done.stdout.trim_ascii_end());
            return Err(about(&device.shown)(Failure::new(text)));
        }
        done.success().map_err(about(&device.shown))
    }

    fn ntfsresize_size(&self, device: Device, size: i64) -> Result<(), Failure> {
        self.ntfsresize(device, NtfsresizeOptions::default().size(size))
    }

    fn ntfs_chmod(
        &self,
        device: Device,
        mode: i32,
        path: GuestString,
        opts: NtfsChmodOptions,
    ) -> Result<(), Failure> {
        let mode = u32::try_from(mode).ok().filter(|mode| *mode <= 0o7777);
        let Some(mode) = mode else { return Err(Failure::new("mode is negative or has unknown bits")) };
        if !path.as_bytes().starts_with(b"/") {
            return Err(Failure::new(format!("{path}: path must start with a / character")));
        }
        let mut words = Options::default();
        words.switch(opts.recursive, "-r");
        let program = self.tool("ntfssecaudit")?.args(words).arg(&device.node);
        let done = program.arg(format!("{mode:o}")).arg(path.as_os_str()).finish()?;
        if !done.status.success() && done.errors.is_empty() {
            let text = self.agent.disks.shown_text(done.stdout.trim_ascii_end());
            return Err(about(&device.shown)(Failure::new(text)));
        }
        done.success().map_err(about(&device.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_size_is_found() {
        let text = "Current volume size: 66056704 bytes (67 MB)\nYou might resize at 2613248 bytes or 3 MB (freeing 64 MB).\n";
        assert_eq!(minimum_size(text), Some(2_613_248));
        assert_eq!(minimum_size("Current volume size: 4096 bytes\nERROR: Volume is full.\n"), Some(4096));
        assert_eq!(minimum_size("ERROR: NTFS is inconsistent.\n"), None);
    }
}
