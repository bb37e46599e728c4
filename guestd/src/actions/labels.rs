//! Types, labels and UUIDs of file systems.

use crate::disks::Device;
use crate::worker::{Mountable, Worker};
use guestd_api::actions::labels::Server;
use guestd_api::{Failure, GuestString};
use rustix::mount::MountFlags;

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
        self.devices_with(tag, value)?.into_iter().next().ok_or_else(|| {
            Failure::new(format!("findfs exited with status 1: findfs: unable to resolve '{tag}={value}'"))
                .with_errno(libc::ENOENT)
        })
    }

    /// The nodes of all devices with a tag of this value.
    pub(super) fn devices_with(&self, tag: &str, value: &GuestString) -> Result<Vec<GuestString>, Failure> {
        let mut wanted = format!("{tag}=").into_bytes();
        wanted.extend_from_slice(value.as_bytes());
        let blkid = self.tool("blkid")?.args(["-c", "/dev/null", "-o", "device", "-t"]);
        let done = blkid.arg(GuestString::from(wanted).as_os_str()).finish()?;
        match done.status.code() {
            Some(0) => Ok(super::trimmed_lines(&done.stdout)),
            Some(2) => Ok(Vec::new()),
            _ => Err(done.failure()),
        }
    }
}

impl Worker {
    /// Gives a file system a UUID, or a random one.
    fn change_uuid(&self, device: &Device, uuid: Option<&GuestString>) -> Result<(), Failure> {
        let kind = self.blkid(device, "TYPE")?.to_string_lossy().into_owned();
        let given = uuid.map(|uuid| uuid.as_os_str().to_owned());
        let or = |word: &str| given.clone().unwrap_or_else(|| word.into());
        let program = match kind.as_str() {
            "ext2" | "ext3" | "ext4" => self.tool("tune2fs")?.arg("-U").arg(or("random")),
            "xfs" => self.tool("xfs_admin")?.arg("-U").arg(or("generate")),
            "btrfs" if uuid.is_none() => self.tool("btrfstune")?.args(["-f", "-u"]),
            "btrfs" => self.tool("btrfstune")?.args(["-f", "-U"]).arg(or("")),
            "swap" => {
                let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
                let random = random.map_err(|e| Failure::io("/proc/sys/kernel/random/uuid", &e))?;
                self.tool("swaplabel")?.arg("-U").arg(or(random.trim()))
            }
            other => {
                let what = if uuid.is_some() { "UUID" } else { "random UUID" };
                return Err(Failure::new(format!(
                    "don't know how to set the {what} for '{other}' filesystems"
                ))
                .with_errno(libc::ENOTSUP));
            }
        };
        program.arg(&device.node).run().map(|_| ()).map_err(|failure| named(device, failure))
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
            let kind = if kind.starts_with("ext") { "ext2/3/4" } else { kind.as_str() };
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
        self.change_uuid(&device, Some(&uuid))
    }

    fn set_uuid_random(&self, device: Device) -> Result<(), Failure> {
        self.change_uuid(&device, None)
    }

    fn findfs_label(&self, label: GuestString) -> Result<GuestString, Failure> {
        self.find_by("LABEL", &label)
    }

    fn findfs_uuid(&self, uuid: GuestString) -> Result<GuestString, Failure> {
        self.find_by("UUID", &uuid)
    }

    fn findfs_partlabel(&self, label: GuestString) -> Result<GuestString, Failure> {
        self.find_by("PARTLABEL", &label)
    }

    fn findfs_partuuid(&self, uuid: GuestString) -> Result<GuestString, Failure> {
        // As blkid writes them.
        self.find_by("PARTUUID", &uuid.as_bytes().to_ascii_lowercase().into())
    }

    fn blkid(&self, device: Device) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let program = self.tool("blkid")?.args(["-c", "/dev/null", "-p", "-i", "-o", "export"]);
        let text = program.arg(&device.node).run().map_err(|failure| named(&device, failure))?;
        let pair = |line: &GuestString| {
            let at = line.as_bytes().iter().position(|byte| *byte == b'=')?;
            let (key, value) = line.as_bytes().split_at_checked(at)?;
            let value = value.strip_prefix(b"=")?.into();
            // The device under the name that the user knows it by.
            Some((key.into(), if key == b"DEVNAME" { device.shown.clone() } else { value }))
        };
        Ok(super::lines(&text).iter().filter_map(pair).collect())
    }

    fn vfs_minimum_size(&self, mountable: Mountable) -> Result<i64, Failure> {
        let device = &mountable.device;
        let kind = self.blkid(device, "TYPE")?.to_string_lossy().into_owned();
        match kind.as_str() {
            "ext2" | "ext3" | "ext4" => self.ext_minimum_size(device),
            "ntfs" => self.ntfs_minimum_size(device),
            "xfs" => self.xfs_size(device),
            "btrfs" => self.on_btrfs_device(device, MountFlags::RDONLY, |place| {
                let text = self.tool("btrfs")?.args(["inspect-internal", "min-dev-size"]).arg(place).run()?;
                let text = String::from_utf8_lossy(&text).into_owned();
                let bytes = text.split_whitespace().next().and_then(|word| word.parse().ok());
                bytes.ok_or_else(|| Failure::new("cannot parse minimum size"))
            }),
            other => {
                Err(Failure::new(format!("don't know how to get minimum size of '{other}' filesystems"))
                    .with_errno(libc::ENOTSUP))
            }
        }
    }
}
