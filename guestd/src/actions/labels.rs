//! Types, labels and UUIDs of file systems.

use crate::disks::Device;
use crate::worker::{Mountable, Worker};
use guestd_api::actions::labels::Server;
use guestd_api::{Failure, GuestString};

impl Worker {
    /// One of blkid's tags of a device; empty if it has none.
    pub(super) fn blkid(&self, device: &Device, tag: &str) -> Result<GuestString, Failure> {
        let blkid = self.tool("blkid")?.args(["-c", "/dev/null", "-o", "value", "-s", tag]);
        let done = blkid.arg(&device.node).finish()?;
        match done.status.code() {
            Some(0) => Ok(done.stdout.strip_suffix(b"\n").unwrap_or(&done.stdout).into()),
            // Nothing recognised.
            Some(2) => Ok(GuestString::new()),
            _ => Err(named(device, done.failure())),
        }
    }

    fn find_by(&self, tag: &str, value: &GuestString) -> Result<GuestString, Failure> {
        let mut wanted = format!("{tag}=").into_bytes();
        wanted.extend_from_slice(value.as_bytes());
        let wanted = GuestString::from(wanted);
        let done = self
            .tool("blkid")?
            .args(["-c", "/dev/null", "-o", "device", "-t"])
            .arg(wanted.as_os_str())
            .finish()?;
        match (done.status.code(), super::trimmed_lines(&done.stdout).into_iter().next()) {
            (Some(0), Some(device)) => Ok(device),
            (Some(0 | 2), _) => {
                Err(Failure::new(format!("unable to resolve '{wanted}'")).with_errno(libc::ENOENT))
            }
            _ => Err(done.failure()),
        }
    }
}

fn named(device: &Device, failure: Failure) -> Failure {
    Failure { message: format!("{}: {}", device.shown, failure.message).into(), ..failure }
}

/// The longest label of a type of file system, in bytes.
fn longest(kind: &str) -> Option<usize> {
    match kind {
        "ext2" | "ext3" | "ext4" => Some(16),
        "xfs" => Some(12),
        "btrfs" => Some(255),
        "vfat" => Some(11),
        "swap" => Some(15),
        _ => None,
    }
}

impl Server for Worker {
    fn vfs_type(&self, mountable: Mountable) -> Result<GuestString, Failure> {
        self.blkid(&mountable.device, "TYPE")
    }

    fn vfs_label(&self, mountable: Mountable) -> Result<GuestString, Failure> {
        self.blkid(&mountable.device, "LABEL")
    }

    fn vfs_uuid(&self, mountable: Mountable) -> Result<GuestString, Failure> {
        self.blkid(&mountable.device, "UUID")
    }

    fn set_label(&self, mountable: Mountable, label: GuestString) -> Result<(), Failure> {
        let device = &mountable.device;
        let kind = self.blkid(device, "TYPE")?.to_string_lossy().into_owned();
        if let Some(longest) = longest(&kind)
            && label.len() > longest
        {
            return Err(Failure::new(format!("{label}: {kind} labels are limited to {longest} bytes"))
                .with_errno(libc::EINVAL));
        }
        let text = label.as_os_str();
        let program = match kind.as_str() {
            "ext2" | "ext3" | "ext4" => self.tool("e2label")?.arg(&device.node).arg(text),
            // An empty label is two hyphens to this program.
            "xfs" if label.is_empty() => self.tool("xfs_admin")?.arg("-L").arg("--").arg(&device.node),
            "xfs" => self.tool("xfs_admin")?.arg("-L").arg(text).arg(&device.node),
            "btrfs" => self.tool("btrfs")?.args(["filesystem", "label", "--"]).arg(&device.node).arg(text),
            "vfat" if label.is_empty() => self.tool("fatlabel")?.arg("-r").arg(&device.node),
            "vfat" => self.tool("fatlabel")?.arg(&device.node).arg(text),
            "ntfs" => self.tool("ntfslabel")?.arg(&device.node).arg(text),
            "swap" => self.tool("swaplabel")?.arg("-L").arg(text).arg(&device.node),
            other => {
                return Err(Failure::new(format!(
                    "don't know how to set the label for '{other}' filesystems"
                ))
                .with_errno(libc::ENOTSUP));
            }
        };
        program.run().map(|_| ()).map_err(|failure| named(device, failure))
    }

    fn set_uuid(&self, device: Device, uuid: GuestString) -> Result<(), Failure> {
        let kind = self.blkid(&device, "TYPE")?.to_string_lossy().into_owned();
        let text = uuid.as_os_str();
        let program = match kind.as_str() {
            "ext2" | "ext3" | "ext4" => self.tool("tune2fs")?.arg("-U").arg(text).arg(&device.node),
            "xfs" => self.tool("xfs_admin")?.arg("-U").arg(text).arg(&device.node),
            "btrfs" => self.tool("btrfstune")?.args(["-f", "-U"]).arg(text).arg(&device.node),
            "swap" => self.tool("swaplabel")?.arg("-U").arg(text).arg(&device.node),
            other => {
                return Err(Failure::new(format!(
                    "don't know how to set the UUID for '{other}' filesystems"
                ))
                .with_errno(libc::ENOTSUP));
            }
        };
        program.run().map(|_| ()).map_err(|failure| named(&device, failure))
    }

    fn findfs_label(&self, label: GuestString) -> Result<GuestString, Failure> {
        self.find_by("LABEL", &label)
    }

    fn findfs_uuid(&self, uuid: GuestString) -> Result<GuestString, Failure> {
        self.find_by("UUID", &uuid)
    }
}
