//! Which disks, partitions and file systems there are.

use crate::disks::{Device, node_text};
use crate::worker::Worker;
use guestd_api::actions::devices::Server;
use guestd_api::actions::lvm::Server as _;
use guestd_api::{Failure, GuestString};
use rustix::mount::MountFlags;
use std::path::{Path, PathBuf};

/// A device and the type of what is on it; empty if nothing is recognised.
type Found = (PathBuf, GuestString);

impl Worker {
    /// The types of what is on devices, by one run of blkid.
    fn types(&self, nodes: Vec<PathBuf>) -> Result<Vec<Found>, Failure> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let done = self.tool("blkid")?.args(["-c", "/dev/null", "-o", "export"]).args(&nodes).finish()?;
        if !matches!(done.status.code(), Some(0 | 2)) {
            return Err(done.failure());
        }
        let mut known: Vec<Found> = Vec::new();
        for line in super::trimmed_lines(&done.stdout) {
            if let Some(name) = line.as_bytes().strip_prefix(b"DEVNAME=") {
                known.push((PathBuf::from(GuestString::from(name).as_os_str()), GuestString::new()));
            } else if let (Some(kind), Some((_, found))) =
                (line.as_bytes().strip_prefix(b"TYPE="), known.last_mut())
            {
                *found = kind.into();
            }
        }
        let kind = |node: &PathBuf| known.iter().find(|(name, _)| name == node).map(|(_, kind)| kind.clone());
        Ok(nodes.into_iter().map(|node| (node.clone(), kind(&node).unwrap_or_default())).collect())
    }

    /// Disks without partitions, partitions that can hold something, RAID arrays.
    fn plain_devices(&self) -> Vec<PathBuf> {
        let mut nodes = Vec::new();
        for disk in self.agent.disks.list() {
            let numbers = disk.partitions();
            if numbers.is_empty() {
                nodes.push(disk.device().node);
            }
            nodes.extend(
                numbers
                    .into_iter()
                    .map(|number| disk.partition(number).node)
                    .filter(|node| !is_extended(node)),
            );
        }
        let arrays = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let mut arrays: Vec<PathBuf> = arrays
            .filter(|entry| entry.path().join("md/array_state").exists())
            .map(|entry| Path::new("/dev").join(entry.file_name()))
            .collect();
        arrays.sort_unstable();
        // A directory as the guest stands on a machine whose arrays are its own affair.
        if !self.agent.directory_is_guest {
            nodes.extend(arrays);
        }
        nodes
    }

    /// Adds what is on one device under the names by which it can be mounted.
    fn add_filesystem(
        &self,
        (node, kind): Found,
        into: &mut Vec<(GuestString, GuestString)>,
    ) -> Result<(), Failure> {
        let name = node_text(&node);
        match kind.to_str().unwrap_or_default() {
            "" => into.push((name, "unknown".into())),
            member if member.ends_with("_member") => {}
            "crypto_LUKS" | "BitLocker" => {}
            "btrfs" => {
                into.push((name.clone(), kind));
                let device = Device { shown: self.agent.disks.shown(&name), node };
                let (volumes, default) = self.on_btrfs_device(&device, MountFlags::RDONLY, |place| {
                    Ok((self.subvolumes(place)?, self.default_subvolume(place)?))
                })?;
                // The default one is what the device alone stands for.
                for volume in volumes.iter().filter(|volume| volume.btrfssubvolume_id != default) {
                    let path = volume.btrfssubvolume_path.as_bytes();
                    let mountable = [b"btrfsvol:", name.as_bytes(), b"/", path].concat();
                    into.push((mountable.into(), "btrfs".into()));
                }
            }
            _ => into.push((name, kind)),
        }
        Ok(())
    }
}

/// An extended partition holds others and can be told by its two sectors of size.
fn is_extended(node: &Path) -> bool {
    let Some(name) = node.file_name().and_then(|name| name.to_str()) else { return false };
    std::fs::read_to_string(format!("/sys/class/block/{name}/size"))
        .is_ok_and(|size| matches!(size.trim(), "1" | "2"))
}

impl Server for Worker {
    fn list_devices(&self) -> Result<Vec<GuestString>, Failure> {
        Ok(self.agent.disks.list().iter().map(|disk| disk.shown().into()).collect())
    }

    fn list_partitions(&self) -> Result<Vec<GuestString>, Failure> {
        let disks = self.agent.disks.list();
        let of = |disk: &crate::disks::Disk| {
            disk.partitions().into_iter().map(|number| disk.partition(number).shown).collect::<Vec<_>>()
        };
        Ok(disks.iter().flat_map(of).collect())
    }

    fn list_filesystems(&self) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let mut answers = Vec::new();
        let plain = self.types(self.plain_devices())?;
        let has_lvm = plain.iter().any(|(_, kind)| *kind == *"LVM2_member");
        for found in plain {
            self.add_filesystem(found, &mut answers)?;
        }
        if has_lvm {
            let volumes = self.lvs()?.into_iter().map(|name| PathBuf::from(name.as_os_str())).collect();
            for found in self.types(volumes)? {
                self.add_filesystem(found, &mut answers)?;
            }
        }
        Ok(answers)
    }

    fn canonical_device_name(&self, device: GuestString) -> Result<GuestString, Failure> {
        if let Some(name) = device.as_bytes().strip_prefix(b"/dev/mapper/") {
            return Ok(mapper_name(name).unwrap_or(device));
        }
        match self.agent.disks.find(&device) {
            Ok(found) => Ok(self.agent.disks.shown(&node_text(&found.node))),
            Err(_) => Ok(device),
        }
    }

    fn device_index(&self, device: Device) -> Result<i32, Failure> {
        let disks = self.agent.disks.list();
        let position = disks.iter().find(|disk| disk.device().node == device.node).map(|disk| disk.index);
        position
            .and_then(|index| i32::try_from(index).ok())
            .ok_or_else(|| Failure::new("device not found").with_errno(libc::ENODEV))
    }

    fn nr_devices(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.agent.disks.list().len()).unwrap_or(i32::MAX))
    }

    fn is_whole_device(&self, device: Device) -> Result<bool, Failure> {
        let name = device.kernel_name()?;
        // Mapped devices are volumes, not disks.
        Ok(device.whole()?.is_none() && !name.starts_with("dm-"))
    }
}

/// `VG-LV` of /dev/mapper as `/dev/VG/LV`: a doubled hyphen is one of the name, a single one separates.
fn mapper_name(name: &[u8]) -> Option<GuestString> {
    let mut parts = vec![Vec::new()];
    let mut rest = name;
    loop {
        match rest {
            [] => break,
            [b'-', b'-', after @ ..] => {
                parts.last_mut()?.push(b'-');
                rest = after;
            }
            [b'-', after @ ..] => {
                parts.push(Vec::new());
                rest = after;
            }
            [byte, after @ ..] => {
                parts.last_mut()?.push(*byte);
                rest = after;
            }
        }
    }
    match parts.as_slice() {
        [group, volume] if !group.is_empty() && !volume.is_empty() => {
            Some([b"/dev/", group.as_slice(), b"/", volume.as_slice()].concat().into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::mapper_name;

    #[test]
    fn mapper_names() {
        assert_eq!(mapper_name(b"v--g-l--v"), Some("/dev/v-g/l-v".into()));
        for name in ["control", "luks-1-2", "-a", "a-"] {
            assert_eq!(mapper_name(name.as_bytes()), None, "{name}");
        }
    }
}
