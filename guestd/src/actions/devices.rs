//! Which disks, partitions and file systems there are.

use crate::disks::{Device, MAX_DISKS, node_text};
use crate::volumes;
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

    /// Disks without partitions, partitions that can hold something, RAID arrays and theirs.
    fn plain_devices(&self) -> Vec<PathBuf> {
        let mut whole = Vec::new();
        let mut parts = Vec::new();
        for disk in self.agent.disks.list() {
            let numbers = disk.partitions();
            if numbers.is_empty() {
                whole.push(disk.device().node);
            }
            parts.extend(numbers.into_iter().map(|number| disk.partition(number).node));
        }
        // A directory as the guest stands on a machine whose arrays are its own affair.
        let arrays = if self.agent.directory_is_guest { Vec::new() } else { volumes::arrays() };
        let mut plain_arrays = Vec::new();
        for array in arrays {
            let inside = volumes::array_partitions(&array);
            if inside.is_empty() {
                plain_arrays.push(array);
            }
            parts.extend(inside);
        }
        parts.retain(|node| !is_extended(node));
        whole.into_iter().chain(parts).chain(plain_arrays).collect()
    }

    /// Mapped devices that are no logical volumes, such as opened encrypted ones.
    fn mapped_devices(&self) -> Vec<PathBuf> {
        let mut nodes = Vec::new();
        if self.agent.directory_is_guest {
            return nodes;
        }
        for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let about = |file: &str| std::fs::read_to_string(entry.path().join("dm").join(file)).ok();
            let (Some(name), Some(uuid)) = (about("name"), about("uuid")) else { continue };
            if !uuid.starts_with("LVM-") {
                nodes.push(Path::new("/dev/mapper").join(name.trim_end_matches('\n')));
            }
        }
        nodes.sort_unstable();
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
        let mut names: Vec<GuestString> = disks.iter().flat_map(of).collect();
        if !self.agent.directory_is_guest {
            let arrays = volumes::arrays().into_iter().flat_map(|array| volumes::array_partitions(&array));
            names.extend(volumes::names(arrays.collect()));
        }
        Ok(names)
    }

    fn list_filesystems(&self) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        self.bring_up_volumes()?;
        let mut answers = Vec::new();
        let plain = self.types(self.plain_devices())?;
        let mapped = self.types(self.mapped_devices())?;
        let has_lvm = plain.iter().chain(&mapped).any(|(_, kind)| *kind == *"LVM2_member");
        for found in plain {
            self.add_filesystem(found, &mut answers)?;
        }
        if has_lvm {
            let volumes = self.lvs()?.into_iter().map(|name| PathBuf::from(name.as_os_str())).collect();
            for found in self.types(volumes)? {
                self.add_filesystem(found, &mut answers)?;
            }
        }
        for found in mapped {
            self.add_filesystem(found, &mut answers)?;
        }
        Ok(answers)
    }

    fn canonical_device_name(&self, device: GuestString) -> Result<GuestString, Failure> {
        if let Some(name) = device.as_bytes().strip_prefix(b"/dev/mapper/") {
            // Other mapped devices have no other name.
            let is_volume = self.agent.disks.find(&device).is_ok_and(|device| device.is_logical_volume());
            return Ok(mapper_name(name).filter(|_| is_volume).unwrap_or(device));
        }
        match self.agent.disks.find(&device) {
            Ok(found) => Ok(self.agent.disks.shown(&node_text(&found.node))),
            Err(_) => Ok(device),
        }
    }

    fn device_index(&self, device: Device) -> Result<i32, Failure> {
        let disks = self.agent.disks.list();
        let position = disks.iter().find(|disk| disk.device().node == device.node).map(|disk| disk.index);
        position.and_then(|index| i32::try_from(index).ok()).ok_or_else(|| {
            Failure::new(format!("{}: device not found", device.shown)).with_errno(libc::ENODEV)
        })
    }

    fn nr_devices(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.agent.disks.list().len()).unwrap_or(i32::MAX))
    }

    fn is_whole_device(&self, device: Device) -> Result<bool, Failure> {
        let name = device.kernel_name()?;
        // Mapped devices are volumes, not disks.
        Ok(device.whole()?.is_none() && !name.starts_with("dm-"))
    }

    fn device_name(&self, index: i32) -> Result<GuestString, Failure> {
        let disks = self.agent.disks.list();
        let disk =
            usize::try_from(index).ok().and_then(|index| disks.iter().find(|disk| disk.index == index));
        disk.map(|disk| disk.shown().into())
            .ok_or_else(|| Failure::new(format!("{index}: device not found")).with_errno(libc::ENODEV))
    }

    fn list_disk_labels(&self) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let mut labels = Vec::new();
        let disks = self.agent.disks.list();
        for (label, index) in crate::disks::labels() {
            let Some(disk) = disks.iter().find(|disk| disk.index == index) else { continue };
            labels.push((label.as_str().into(), disk.shown().into()));
            for number in disk.partitions() {
                labels.push((format!("{label}{number}").into(), disk.partition(number).shown));
            }
        }
        labels.sort();
        Ok(labels)
    }

    fn list_dm_devices(&self) -> Result<Vec<GuestString>, Failure> {
        self.bring_up_volumes()?;
        Ok(volumes::names(self.mapped_devices()))
    }

    fn max_disks(&self) -> Result<i32, Failure> {
        Ok(MAX_DISKS)
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
