//! Partition tables in the terms of an old tool.
#![allow(non_snake_case, reason = "the actions are known by these names")]

use crate::disks::Device;
use crate::worker::Worker;
use guestd_api::actions::sfdisk::Server;
use guestd_api::{Failure, GuestString};

/// A disk's geometry; what is 0 is left to the tool.
#[derive(Clone, Copy, Default)]
struct Geometry {
    cyls: i32,
    heads: i32,
    sectors: i32,
}

impl Worker {
    /// Runs sfdisk with a script.
    fn sfdisk_script(
        &self,
        device: &Device,
        partition: Option<i32>,
        geometry: Geometry,
        lines: &[GuestString],
    ) -> Result<(), Failure> {
        // A geometry is what disks had once; the tool counts in sectors and takes none any more.
        let geometry = [("-C", geometry.cyls), ("-H", geometry.heads), ("-S", geometry.sectors)];
        let number = partition.map(|number| ("-N", number));
        let shown: String = number
            .into_iter()
            .chain(geometry.into_iter().filter(|(_, value)| *value > 0))
            .map(|(option, value)| format!("{option} {value} "))
            .collect();
        let options = partition.map(|number| ["-N".to_owned(), number.to_string()]);
        let mut script = Vec::new();
        for line in lines {
            script.extend_from_slice(line.as_bytes());
            script.push(b'\n');
        }
        let program = self
            .tool("sfdisk")?
            .args(["-q", "--no-reread", "--no-tell-kernel"])
            .args(options.into_iter().flatten());
        let done = program.arg(&device.node).finish_with(Some(&mut &script[..]), None)?;
        done.success().map_err(|failure| {
            failure.about(format!("sfdisk {shown}{}: external command failed", device.shown))
        })?;
        self.settle(device)
    }

    /// What sfdisk says of a disk.
    fn sfdisk_says(&self, device: &Device, option: &str) -> Result<GuestString, Failure> {
        let text = self.tool("sfdisk")?.arg(option).arg(&device.node).run_for(&device.shown)?;
        Ok(self.agent.disks.shown_text(&text).into())
    }
}

/// A line whose start and size are numbers of MiB, in the form that says so: `,20,83` is `,20MiB,83`.
fn in_mebibytes(line: &GuestString) -> GuestString {
    let mut columns = Vec::new();
    for (place, column) in line.as_bytes().split(|byte| *byte == b',').enumerate() {
        let number = column.trim_ascii();
        let digits = number.strip_prefix(b"+").unwrap_or(number);
        let is_size = place < 2 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        columns.push(if is_size { [number, b"MiB"].concat() } else { column.to_vec() });
    }
    columns.join(&b',').into()
}

impl Server for Worker {
    fn sfdisk(
        &self,
        device: Device,
        cyls: i32,
        heads: i32,
        sectors: i32,
        lines: Vec<GuestString>,
    ) -> Result<(), Failure> {
        self.sfdisk_script(&device, None, Geometry { cyls, heads, sectors }, &lines)
    }

    fn sfdisk_N(
        &self,
        device: Device,
        partnum: i32,
        cyls: i32,
        heads: i32,
        sectors: i32,
        line: GuestString,
    ) -> Result<(), Failure> {
        self.sfdisk_script(&device, Some(partnum), Geometry { cyls, heads, sectors }, &[line])
    }

    fn sfdiskM(&self, device: Device, lines: Vec<GuestString>) -> Result<(), Failure> {
        let lines: Vec<GuestString> = lines.iter().map(in_mebibytes).collect();
        self.sfdisk_script(&device, None, Geometry::default(), &lines)
    }

    fn sfdisk_l(&self, device: Device) -> Result<GuestString, Failure> {
        self.sfdisk_says(&device, "-l")
    }

    fn sfdisk_kernel_geometry(&self, device: Device) -> Result<GuestString, Failure> {
        self.sfdisk_says(&device, "-g")
    }

    fn sfdisk_disk_geometry(&self, device: Device) -> Result<GuestString, Failure> {
        self.sfdisk_says(&device, "-g")
    }
}

#[cfg(test)]
mod tests {
    use super::in_mebibytes;

    #[test]
    fn sizes_get_their_unit() {
        for (line, wanted) in
            [(",20", ",20MiB"), ("1,+5,83", "1MiB,+5MiB,83"), (",", ","), ("2048s,+", "2048s,+")]
        {
            assert_eq!(in_mebibytes(&line.into()), wanted);
        }
    }
}
