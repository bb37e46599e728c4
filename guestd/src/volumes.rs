//! Volumes that lie on disks: RAID arrays, logical volumes, dynamic disks.
//!
//! Without udev nobody switches them on when their disks appear. The agent does, once, when the first action
//! asks for volumes or for a device that could be one. Only superblocks are read to see what there is, so
//! disks without volumes cost no time; what a user has switched off later stays off.

use crate::disks::node_text;
use crate::ptable::{self, Table};
use crate::worker::Worker;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// See [`Worker::bring_up_volumes`].
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    /// True once everything was switched on.
    up: Mutex<bool>,
    /// The devices that LVM may see, as LVM's patterns; `None` for all.
    pub(crate) lvm_filter: Mutex<Option<Vec<String>>>,
}

/// What a device is a part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Member {
    lvm: bool,
    raid: bool,
    raid6: bool,
    ldm: bool,
}

impl Worker {
    /// Switches on all volumes on the disks. True if that was done by this call and there were any.
    pub(crate) fn bring_up_volumes(&self) -> Result<bool, Failure> {
        let mut up = self.agent.volumes.up.lock().unwrap_or_else(PoisonError::into_inner);
        // A directory as the guest stands on a machine whose volumes are its own affair.
        if *up || self.agent.directory_is_guest {
            return Ok(false);
        }
        let mut found = members(self.plain_nodes());
        if found.raid {
            if found.raid6 && crate::actions::skips_raid6() {
                return Err(crate::actions::raid6_refused("a disk", "software RAID of level 6"));
            }
            crate::modules::modprobe(&self.agent, "md_mod")?;
            // An array of which members are missing is started all the same, as far as it can be read. What
            // cannot be started is no reason to hide the rest.
            self.tool("mdadm")?.args(["-A", "-s", "--auto=yes", "--run", "-q"]).finish()?;
            let deeper = members(arrays());
            found.lvm |= deeper.lvm;
            found.ldm |= deeper.ldm;
        }
        if found.lvm {
            self.activate_all()?;
        }
        if found.ldm && self.agent.tools.find("ldmtool")?.is_some() {
            // Damaged ones do not hide what else there is.
            let _ = self.ldmtool(["create", "all"]);
            self.task.check()?;
        }
        *up = true;
        Ok(found.lvm || found.raid || found.ldm)
    }

    /// The nodes of disks and their partitions.
    fn plain_nodes(&self) -> Vec<PathBuf> {
        let disks = self.agent.disks.list();
        let nodes = disks.iter().flat_map(|disk| {
            let parts = disk.partitions().into_iter().map(|number| disk.partition(number).node);
            std::iter::once(disk.device().node).chain(parts).collect::<Vec<_>>()
        });
        nodes.collect()
    }
}

/// The nodes of RAID arrays that run, and of their partitions.
pub(crate) fn arrays() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let running = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("md/array_state"))
            .is_ok_and(|state| !matches!(state.trim(), "clear" | "inactive"))
    };
    let mut nodes: Vec<PathBuf> =
        entries.filter(running).map(|entry| Path::new("/dev").join(entry.file_name())).collect();
    nodes.sort_unstable();
    nodes
}

/// The partitions of a RAID array, in order.
pub(crate) fn array_partitions(array: &Path) -> Vec<PathBuf> {
    let Some(name) = array.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    crate::disks::partition_places(name)
        .into_iter()
        .map(|(number, _)| Path::new("/dev").join(format!("{name}p{number}")))
        .collect()
}

/// Names of devices, as lists give them.
pub(crate) fn names(nodes: Vec<PathBuf>) -> Vec<GuestString> {
    nodes.iter().map(|node| node_text(node)).collect()
}

/// What all of some devices are parts of. One that cannot be read is no part of anything.
fn members(nodes: Vec<PathBuf>) -> Member {
    let found = nodes.iter().filter_map(|node| member(&File::open(node).ok()?).ok());
    found.fold(Member::default(), |all, one| Member {
        lvm: all.lvm || one.lvm,
        raid: all.raid || one.raid,
        raid6: all.raid6 || one.raid6,
        ldm: all.ldm || one.ldm,
    })
}

/// Looks for superblocks where LVM, md and Windows keep them.
fn member(device: &File) -> io::Result<Member> {
    const MD_MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
    let size = io::Seek::seek(&mut &*device, io::SeekFrom::End(0))?;
    let mut found = Member::default();
    if size < 64 << 10 {
        return Ok(found);
    }
    let mut head = [0; 8192];
    device.read_exact_at(&mut head, 0)?;
    found.lvm = head.chunks(512).take(4).any(|sector| sector.starts_with(b"LABELONE"));
    // Format 1.1 lies at the start, 1.2 behind 4 KiB, 1.0 at the end, 0.90 in the last whole 64 KiB.
    let places = [0, 4096, size.saturating_sub(8192) & !4095, (size & !0xffff).saturating_sub(0x1_0000)];
    for (at, level) in places.into_iter().zip([72, 72, 72, 28]) {
        let mut superblock = [0; 76];
        if device.read_exact_at(&mut superblock, at).is_ok() && superblock.starts_with(&MD_MAGIC) {
            found.raid = true;
            found.raid6 |= superblock.get(level..).is_some_and(|at| at.starts_with(&6u32.to_le_bytes()));
        }
    }
    found.ldm = match ptable::read(device, 512, size)? {
        Some(Table::Mbr(partitions)) => partitions.iter().any(|part| part.kind == 0x42),
        Some(Table::Gpt { partitions, .. }) => partitions.iter().any(|part| {
            matches!(
                ptable::guid_text(&part.kind).as_str(),
                "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3" | "AF9B60A0-1431-4F62-BC68-3311714A69AD"
            )
        }),
        None => false,
    };
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn disk() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(32 << 20).unwrap();
        file
    }

    #[test]
    fn members_are_recognised() {
        assert_eq!(member(disk().as_file()).unwrap(), Member::default());
        let lvm = disk();
        // The label as LVM writes it: in the second sector.
        lvm.as_file().write_all_at(b"LABELONE\x01\0\0\0\0\0\0\0", 512).unwrap();
        assert!(member(lvm.as_file()).unwrap().lvm);
        let ldm = disk();
        let mut child =
            Command::new("sfdisk").arg("-q").arg(ldm.path()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"label: dos\nstart=2048, size=8M, type=42\n").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(member(ldm.as_file()).unwrap(), Member { ldm: true, ..Member::default() });
    }
}
