//! A block device of the kernel: what it tells about itself, who uses it, and how long until it can be used.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::OFlags;

/// Longest wait for something that the kernel or udev does by itself.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A device under `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    name: String,
}

impl Device {
    /// `/dev/PREFIXnumber`
    pub(crate) fn numbered(prefix: &str, number: u32) -> Self {
        Device { name: format!("{prefix}{number}") }
    }

    /// The device that a user names, by any path that leads to it, and its number.
    ///
    /// # Errors
    /// When it is not a whole device of that kind.
    pub(crate) fn named(word: &Path, prefix: &str) -> Result<(Self, u32)> {
        let wrong = || anyhow!("'{}' is not one of /dev/{prefix}0, /dev/{prefix}1, ...", word.display());
        let found = match word.canonicalize() {
            Ok(path) => path,
            // It may come into being.
            Err(_) if word.parent() == Some(Path::new("/dev")) => word.to_owned(),
            Err(error) => return Err(error).with_context(|| format!("Could not find '{}'", word.display())),
        };
        let digits =
            found.strip_prefix("/dev").ok().and_then(Path::to_str).and_then(|name| name.strip_prefix(prefix));
        let is_number = |text: &&str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 =
            digits.filter(is_number).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        Ok((Device::numbered(prefix, number), number))
    }

    /// The kernel has it.
    pub(crate) fn is_known(&self) -> bool {
        self.attribute("").exists()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    fn attribute(&self, name: &str) -> PathBuf {
        Path::new("/sys/block").join(&self.name).join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(std::fs::read_to_string(self.attribute(name)).ok()?.trim().to_owned())
    }

    /// Bytes; 0 if there is nothing behind it.
    pub(crate) fn size(&self) -> u64 {
        self.text("size").and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0).saturating_mul(512)
    }

    /// The process that connected it, for a device of the nbd driver that is connected.
    pub(crate) fn process(&self) -> Option<i32> {
        self.text("pid")?.parse().ok()
    }

    /// What is behind it, as was said when it was connected.
    pub(crate) fn backend(&self) -> Option<String> {
        self.text("backend").filter(|text| !text.is_empty())
    }

    /// Nothing can be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.text("ro").as_deref() == Some("1")
    }

    /// Keeps requests from being longer than that many bytes.
    pub(crate) fn limit_requests(&self, bytes: u32) {
        let limit = self.text("queue/max_sectors_kb").and_then(|text| text.parse::<u32>().ok());
        if limit.is_some_and(|limit| limit > bytes / 1024) {
            // The kernel refuses less than a page; a server that wants that gets what it refuses.
            let _ = std::fs::write(self.attribute("queue/max_sectors_kb"), (bytes / 1024).to_string());
        }
    }

    /// Its partitions, as the kernel sees them.
    pub(crate) fn partitions(&self) -> Vec<Device> {
        let Ok(entries) = std::fs::read_dir(self.attribute("")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let is_partition = |name: &String| self.attribute(name).join("partition").exists();
        let mut found: Vec<Device> = names.filter(is_partition).map(|name| Device { name }).collect();
        found.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        found
    }

    /// Opens it so that nobody can mount it, or claim it otherwise, as long as it is open.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] when somebody has.
    pub(crate) fn claim(&self) -> io::Result<File> {
        // Dirty pages are written through it.
        let open = |write| {
            let flags = OFlags::EXCL.bits().cast_signed();
            File::options().read(true).write(write).custom_flags(flags).open(self.path())
        };
        if self.is_read_only() { open(false) } else { open(true) }
    }

    /// Waits until all of it can be read, its partitions too.
    ///
    /// # Errors
    /// When that takes too long, or reading fails.
    pub(crate) fn wait_until_usable(&self, size: u64) -> Result<()> {
        let path = self.path();
        let name = path.display();
        let is_node = || path.metadata().is_ok_and(|found| found.file_type().is_block_device());
        if !wait(is_node) {
            bail!("'{name}' does not appear: is udev, or devtmpfs, at work here?");
        }
        // Opening it makes the kernel look for partitions.
        let open = || File::open(&path).ok();
        let is_large = |file: File| (&file).seek(SeekFrom::End(0)).is_ok_and(|end| end >= size);
        if !wait(|| open().is_some_and(is_large)) {
            bail!("'{name}' does not get its size of {size} bytes");
        }
        let file = File::open(&path).with_context(|| format!("Could not open '{name}'"))?;
        let mut start = vec![0; size.min(4096) as usize];
        file.read_exact_at(&mut start, 0).with_context(|| format!("Could not read '{name}'"))?;
        drop(file);
        for partition in self.partitions() {
            if !wait(|| partition.path().exists()) {
                bail!(
                    "'{}' does not appear: is udev, or devtmpfs, at work here?",
                    partition.path().display()
                );
            }
        }
        Ok(())
    }

    /// Waits until there is nothing behind it any more.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) fn wait_until_empty(&self) -> Result<()> {
        if wait(|| self.size() == 0 && self.process().is_none()) {
            return Ok(());
        }
        bail!("'{}' is disconnected, but somebody still has it open", self.path().display())
    }
}

/// Whether something comes true in time.
pub(crate) fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_whole_devices_are_meant() {
        let named = |word: &str| {
            Device::named(word.as_ref(), "nbd").ok().map(|(device, number)| (device.path(), number))
        };
        assert_eq!(named("/dev/nbd12"), Some(("/dev/nbd12".into(), 12)));
        assert_eq!(named("/dev/../dev/nbd7"), None);
        for wrong in
            ["/dev/null", "/dev/nbd0p1", "/dev/nbd", "nbd0", "/dev/nbdx", "/dev/nbd9999999999", "/etc/passwd"]
        {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let device = Device::numbered("no such device", 0);
        assert_eq!((device.size(), device.process(), device.partitions()), (0, None, Vec::new()));
        device.wait_until_empty().unwrap();
    }
}
