//! What the disks of a guest hold, as rows of a list: file systems, volumes, partitions, disks.

use std::collections::HashMap;

use anyhow::Result;
use guest::Guest;
use guestd_api::prelude::*;
use guestd_api::structs::LvmPv;
use guestd_api::{Error, GuestString};

/// Kinds of things that a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// File systems that can be mounted.
    pub filesystems: bool,
    /// Swap and what is not known, too.
    pub extra: bool,
    /// Logical volumes.
    pub logical_volumes: bool,
    /// Volume groups.
    pub volume_groups: bool,
    /// Physical volumes.
    pub physical_volumes: bool,
    /// Partitions.
    pub partitions: bool,
    /// Whole disks.
    pub disks: bool,
}

/// One line of the list. What is not known is nothing.
#[derive(Debug, Default)]
pub struct Row {
    /// Its name: mostly a device.
    pub name: String,
    /// What it is: `filesystem`, `lv`, ...
    pub kind: &'static str,
    /// The type of the file system.
    pub vfs: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// The type of a partition of an MBR, two hexadecimal digits.
    pub mbr: Option<String>,
    /// In bytes: what a file system has room for, or what a device holds.
    pub size: Option<u64>,
    /// What it lies in.
    pub parents: Vec<String>,
    /// Its UUID.
    pub uuid: Option<String>,
}

/// The rows of a list, with more than names if it is to be a long one.
///
/// # Errors
/// When the guest does not answer.
pub fn list(guest: &Guest, shown: Shown, long: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if shown.filesystems {
        filesystems(guest, shown.extra, long, &mut rows)?;
    }
    let volumes = shown.logical_volumes || shown.volume_groups || shown.physical_volumes;
    let volumes = volumes && may_have_volumes(guest)?;
    if shown.logical_volumes && volumes {
        logical_volumes(guest, long, &mut rows)?;
    }
    if (shown.volume_groups || shown.physical_volumes) && volumes {
        groups_and_members(guest, shown, &mut rows)?;
    }
    if shown.partitions {
        partitions(guest, long, &mut rows)?;
    }
    if shown.disks {
        for disk in guest.list_devices()? {
            let size = if long { size_of(guest, &disk)? } else { None };
            rows.push(Row { name: disk.to_string(), kind: "device", size, ..Row::default() });
        }
    }
    Ok(rows)
}

fn filesystems(guest: &Guest, extra: bool, long: bool, rows: &mut Vec<Row>) -> Result<()> {
    for (device, kind) in guest.list_filesystems()? {
        let other = kind == "swap" || kind == "unknown";
        if !extra && other {
            continue;
        }
        let mut row = Row { name: device.to_string(), kind: "filesystem", ..Row::default() };
        if long {
            row.size = match other {
                true => size_of(guest, &device)?,
                false => room_of(guest, &device)?,
            };
            row.label = some(guest.vfs_label(&device))?;
            row.uuid = some(guest.vfs_uuid(&device))?;
            row.vfs = Some(kind.to_string()).filter(|kind| !kind.is_empty());
            row.parents = raid_parents(guest, &device)?;
        }
        rows.push(row);
    }
    Ok(())
}

fn logical_volumes(guest: &Guest, long: bool, rows: &mut Vec<Row>) -> Result<()> {
    let volumes = guest.lvs()?;
    for volume in volumes {
        let mut row = Row { name: volume.to_string(), kind: "lv", ..Row::default() };
        if long {
            row.size = size_of(guest, &volume)?;
            row.uuid = some(guest.lvuuid(&volume))?;
            row.parents = row.name.rsplit_once('/').map(|(group, _)| group.to_owned()).into_iter().collect();
        }
        rows.push(row);
    }
    Ok(())
}

fn groups_and_members(guest: &Guest, shown: Shown, rows: &mut Vec<Row>) -> Result<()> {
    let members: Vec<LvmPv> = guest.pvs_full()?;
    if shown.volume_groups {
        let without_marks = |uuid: &GuestString| uuid.to_string().replace('-', "");
        let devices: HashMap<String, String> =
            members.iter().map(|pv| (without_marks(&pv.pv_uuid), pv.pv_name.to_string())).collect();
        for group in guest.vgs_full()? {
            let parts = guest.vgpvuuids(&group.vg_name)?;
            let parents =
                parts.iter().filter_map(|uuid| devices.get(&without_marks(uuid)).cloned()).collect();
            let (size, uuid) = (Some(group.vg_size), Some(group.vg_uuid.to_string()));
            rows.push(Row {
                name: format!("/dev/{}", group.vg_name),
                kind: "vg",
                size,
                uuid,
                parents,
                ..Row::default()
            });
        }
    }
    if shown.physical_volumes {
        for member in &members {
            let (size, uuid) = (Some(member.pv_size), Some(member.pv_uuid.to_string()));
            rows.push(Row { name: member.pv_name.to_string(), kind: "pv", size, uuid, ..Row::default() });
        }
    }
    Ok(())
}

fn partitions(guest: &Guest, long: bool, rows: &mut Vec<Row>) -> Result<()> {
    // Every partition asks for the table of its disk.
    let mut tables: HashMap<String, bool> = HashMap::new();
    for partition in guest.list_partitions()? {
        let mut row = Row { name: partition.to_string(), kind: "partition", ..Row::default() };
        if long {
            row.size = size_of(guest, &partition)?;
            let disk = guest.part_to_dev(&partition)?;
            let known = tables.get(&disk.to_string()).copied();
            let is_mbr = match known {
                Some(known) => known,
                None => some(guest.part_get_parttype(&disk))?.as_deref() == Some("msdos"),
            };
            tables.insert(disk.to_string(), is_mbr);
            if is_mbr {
                let number = guest.part_to_partnum(&partition)?;
                row.mbr = Some(format!("{:02x}", guest.part_get_mbr_id(&disk, number)?));
            }
            row.parents = vec![disk.to_string()];
        }
        rows.push(row);
    }
    Ok(())
}

/// Whether volumes of LVM may be on the disks: that can be told without asking LVM.
fn may_have_volumes(guest: &Guest) -> Result<bool> {
    let mut devices = guest.list_partitions()?;
    devices.extend(guest.list_devices()?);
    for device in devices {
        let kind = some(guest.vfs_type(&device))?;
        if matches!(kind.as_deref(), Some("LVM2_member" | "linux_raid_member" | "crypto_LUKS" | "BitLocker"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a file system has room for; the size of its device where it cannot be mounted.
fn room_of(guest: &Guest, device: &GuestString) -> Result<Option<u64>> {
    let space = guest.mount_ro(device, "/").and_then(|()| guest.statvfs("/"));
    let room = match space {
        Ok(space) => u64::try_from(space.blocks).ok().zip(u64::try_from(space.bsize).ok()),
        Err(Error::Action { .. }) => None,
        Err(other) => return Err(other.into()),
    };
    guest.umount_all()?;
    match room.and_then(|(blocks, size)| blocks.checked_mul(size)) {
        Some(room) => Ok(Some(room)),
        None => size_of(guest, device),
    }
}

fn size_of(guest: &Guest, device: &GuestString) -> Result<Option<u64>> {
    match guest.blockdev_getsize64(device) {
        Ok(size) => Ok(u64::try_from(size).ok()),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// The members of a RAID array.
fn raid_parents(guest: &Guest, device: &GuestString) -> Result<Vec<String>> {
    if !device.as_bytes().starts_with(b"/dev/md") {
        return Ok(Vec::new());
    }
    match guest.md_stat(device) {
        Ok(members) => {
            let mut names: Vec<_> =
                members.into_iter().map(|member| member.mdstat_device.to_string()).collect();
            names.sort();
            Ok(names)
        }
        Err(Error::Action { .. }) => Ok(Vec::new()),
        Err(other) => Err(other.into()),
    }
}

/// A text that may be empty, or not to be had for this device.
fn some(text: guestd_api::Result<GuestString>) -> Result<Option<String>> {
    match text {
        Ok(text) => Ok(Some(text.to_string()).filter(|t| !t.is_empty())),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}
