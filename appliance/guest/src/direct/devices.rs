//! Disks and partitions under the names that users know: `/dev/sda`, `/dev/sda1`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use guestd_api::structs::{self, Struct};
use guestd_api::{Failure, GuestString, Value};
use libimage::Block;
use libimage::fs::btrfs::Btrfs;
use libimage::fs::{Content, detect};
use libimage::volume::lvm;
use libimage::volume::{self, Partition, Table, TableKind};

use super::logical::Logical;
use super::{Served, aside, text};

/// The disks of a guest.
pub(super) struct Devices {
    disks: Vec<Disk>,
    /// Read when first asked for, as the tables are.
    logical: RefCell<Option<Rc<Logical>>>,
}

struct Disk {
    name: String,
    index: u32,
    block: Arc<dyn Block>,
    /// Read when first asked for; a read-only disk's table does not change.
    table: RefCell<Option<Option<Table>>>,
}

/// A device that was asked for by name.
pub(super) struct Device {
    /// The name that users know.
    pub(super) name: String,
    /// Its number for the kernel: major and minor.
    pub(super) number: (u32, u32),
    block: Option<Arc<dyn Block>>,
    /// It has a use, but nothing in it that could be mounted.
    holds_nothing: bool,
    /// The path of the subvolume that was asked for, if one was.
    pub(super) subvolume: Option<Vec<u8>>,
}

/// What the names of subvolumes begin with.
const SUBVOLUME: &[u8] = b"btrfsvol:";
/// The type of the partition from which GRUB starts on disks with a GUID table.
const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
/// Types of partitions of dynamic disks: in a master boot record, and that of the database in a GUID table.
const DYNAMIC: u8 = 0x42;
const DYNAMIC_DATABASE: &str = "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3";
/// The kernel's number of the driver, and how many numbers each disk has.
const MAJOR: u32 = 254;
const MINORS: u32 = 16;
/// Where signatures are at the beginning and the end of a device, generously.
const HEAD: u64 = 1 << 20;
const TAIL: u64 = 128 << 10;

impl Device {
    /// A logical volume.
    pub(super) fn of_volume(name: String, number: (u32, u32), block: Arc<dyn Block>) -> Self {
        Device { name, number, block: Some(block), holds_nothing: false, subvolume: None }
    }

    /// Whether it is a logical volume.
    pub(super) fn is_volume(&self) -> bool {
        !self.name.starts_with("/dev/sd")
    }

    /// Whether it is one of the devices that something larger is made of. What is known to hold something else,
    /// or nothing known, is not.
    pub(super) fn is_member_of(&self, kind: &str) -> Served<bool> {
        if self.holds_nothing {
            return Ok(false);
        }
        let block = self.block()?;
        let content = detect(&*block).or_else(|e| aside(e.to_string()))?;
        match content.is_some_and(|content| content.kind == kind) {
            true if holds_raid(&*block) => aside(format!("{} may be part of a RAID", self.name)),
            is_member => Ok(is_member),
        }
    }

    /// Its bytes; an extended partition has none worth reading.
    pub(super) fn block(&self) -> Served<Arc<dyn Block>> {
        match &self.block {
            Some(block) => Ok(Arc::clone(block)),
            None => aside("it is an extended partition"),
        }
    }

    /// What it holds; `None` only if that is surely nothing. The appliance knows many more signatures.
    pub(super) fn content(&self) -> Served<Option<Content>> {
        let block = self.block()?;
        if self.holds_nothing {
            return Ok(None);
        }
        match detect(&*block).or_else(|e| aside(e.to_string()))? {
            Some(content) => Ok(Some(content)),
            None if is_blank(&*block).or_else(|e| aside(e.to_string()))? => Ok(None),
            None => aside(format!("{} holds something that is not known here", self.name)),
        }
    }
}

/// `/dev/sda` ... `/dev/sdz`, `/dev/sdaa` ...
pub(super) fn disk_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut left = index + 1;
    while left > 0 {
        left -= 1;
        letters.push(char::from(b'a' + (left % 26) as u8));
        left /= 26;
    }
    format!("/dev/sd{}", letters.into_iter().rev().collect::<String>())
}

impl Devices {
    pub(super) fn new(disks: Vec<Arc<dyn Block>>) -> Self {
        let named = |(index, block)| Disk {
            name: disk_name(index),
            index: index as u32,
            block,
            table: RefCell::new(None),
        };
        Devices { disks: disks.into_iter().enumerate().map(named).collect(), logical: RefCell::default() }
    }

    pub(super) fn disk_names(&self) -> Vec<String> {
        self.disks.iter().map(|d| d.name.clone()).collect()
    }

    pub(super) fn partition_names(&self) -> Served<Vec<String>> {
        let mut names = Vec::new();
        for disk in &self.disks {
            let table = disk.table()?;
            names.extend(
                table.iter().flat_map(|t| &t.partitions).map(|p| format!("{}{}", disk.name, p.number)),
            );
        }
        Ok(names)
    }

    /// Every device with what it holds: `unknown` for nothing known. Steps aside where a device is a piece
    /// of something that only an appliance assembles.
    pub(super) fn filesystems(&self) -> Served<Vec<(GuestString, GuestString)>> {
        let mut found = Vec::new();
        let mut devices = self.plain()?;
        devices.extend(self.logical()?.devices()?);
        for device in devices {
            let kind = device.content()?.map(|c| c.kind);
            match kind.as_deref() {
                // What it is a part of comes later.
                Some(lvm::KIND) => continue,
                Some(_) if holds_raid(&*device.block()?) => {
                    return aside(format!("{} may be part of a RAID", device.name));
                }
                Some("btrfs") => {
                    found.push((device.name.as_str().into(), "btrfs".into()));
                    found.extend(subvolumes(&device)?.into_iter().map(|name| (name, "btrfs".into())));
                    continue;
                }
                // Nothing to be mounted before it is opened.
                Some("crypto_LUKS") => continue,
                _ => {}
            }
            found.push((device.name.into(), kind.unwrap_or_else(|| "unknown".to_owned()).into()));
        }
        Ok(found)
    }

    /// Disks without partitions and, after them, partitions: the order in which the agent lists them.
    fn plain(&self) -> Served<Vec<Device>> {
        let (mut whole, mut partitions) = (Vec::new(), Vec::new());
        for disk in &self.disks {
            match disk.table()?.filter(|table| !table.partitions.is_empty()) {
                Some(table) => {
                    for partition in table.partitions.iter().filter(|partition| !partition.extended) {
                        partitions.push(disk.partition(partition)?);
                    }
                }
                None => whole.push(disk.whole()?),
            }
        }
        whole.append(&mut partitions);
        Ok(whole)
    }

    /// The logical volumes of groups on them.
    pub(super) fn logical(&self) -> Served<Rc<Logical>> {
        if let Some(logical) = &*self.logical.borrow() {
            return Ok(Rc::clone(logical));
        }
        let logical = Rc::new(Logical::read(&self.plain()?)?);
        self.logical.replace(Some(Rc::clone(&logical)));
        Ok(logical)
    }

    /// Finds a device by the name a user typed. Names of anything but disks, partitions and logical volumes are
    /// for the appliance.
    pub(super) fn find(&self, name: &GuestString) -> Served<Device> {
        let Some(typed) = name.to_str() else { return aside("its name is not text") };
        let Some(rest) = ["/dev/sd", "/dev/vd", "/dev/hd"].iter().find_map(|p| typed.strip_prefix(p)) else {
            return match self.logical()?.find(typed) {
                Some(volume) => volume,
                None => aside(format!("{typed} is no disk, partition or logical volume")),
            };
        };
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (letters, number) = rest.split_at(digits);
        let disk = self.disks.iter().find(|d| d.name.strip_prefix("/dev/sd") == Some(letters));
        let missing = || Failure::new(format!("{typed}: No such file or directory")).with_errno(2);
        let disk = disk.ok_or_else(missing)?;
        if number.is_empty() {
            return disk.whole();
        }
        let partition =
            disk.table()?.into_iter().flat_map(|t| t.partitions).find(|p| number.parse() == Ok(p.number));
        disk.partition(&partition.ok_or_else(missing)?)
    }

    /// The usual one of a device's names.
    pub(super) fn usual_name(&self, name: &GuestString) -> Served<String> {
        let device = self.find(name)?;
        let volume = if device.is_volume() {
            self.logical()?.usual_name(&device.name).map(str::to_owned)
        } else {
            None
        };
        Ok(volume.unwrap_or(device.name))
    }

    /// All disks and partitions but one, as far as they can be read: a file system may lie on several.
    pub(super) fn others(&self, device: &Device) -> Vec<Arc<dyn Block>> {
        let found = self.plain().unwrap_or_default().into_iter();
        found.filter(|other| other.name != device.name).filter_map(|other| other.block).collect()
    }

    /// Finds what can be mounted: a device, or `btrfsvol:` and a device with the path of a subvolume behind it.
    pub(super) fn find_mountable(&self, name: &GuestString) -> Served<Device> {
        let Some(rest) = name.as_bytes().strip_prefix(SUBVOLUME) else { return self.find(name) };
        let end = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(2);
        let Some((device, path)) = end.map(|(at, _)| rest.split_at(at)) else {
            return aside(format!("{name} names no subvolume"));
        };
        Ok(Device { subvolume: Some(path.to_vec()), ..self.find(&device.into())? })
    }

    pub(super) fn part_list(&self, device: &GuestString) -> Served<Value> {
        let Some(table) = self.disk(device)?.table()? else {
            return aside("there is no partition table");
        };
        let rows = table.partitions.iter().map(|p| structs::Partition {
            part_num: p.number as i32,
            part_start: p.start,
            part_end: p.start + p.size - 1,
            part_size: p.size,
        });
        Ok(Value::StructList(rows.map(Struct::into_fields).collect()))
    }

    pub(super) fn table_kind(&self, device: &GuestString) -> Served<Value> {
        match self.disk(device)?.table()?.map(|t| t.kind) {
            Some(TableKind::Gpt) => Ok(text("gpt")),
            Some(TableKind::Mbr) => Ok(text("msdos")),
            None => aside("there is no partition table"),
        }
    }

    pub(super) fn whole_disk_of(&self, partition: &GuestString) -> Served<Value> {
        let device = self.find(partition)?;
        if device.is_volume() {
            return aside("it is not a partition");
        }
        match device.name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            disk if disk.len() < device.name.len() => Ok(text(disk)),
            _ => aside("it is not a partition"),
        }
    }

    pub(super) fn number_of(&self, partition: &GuestString) -> Served<Value> {
        let device = self.find(partition)?;
        if device.is_volume() {
            return aside("it is not a partition");
        }
        let digits = device.name.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.parse().map(Value::Int).or_else(|_| aside("it is not a partition"))
    }

    /// A partition of a disk, and the kind of the table that it is in.
    pub(super) fn one(&self, device: &GuestString, number: i32) -> Served<(TableKind, Partition)> {
        let Some(table) = self.disk(device)?.table()? else { return aside("there is no partition table") };
        let kind = table.kind;
        match table.partitions.into_iter().find(|part| i32::try_from(part.number) == Ok(number)) {
            Some(part) => Ok((kind, part)),
            None => aside("there is no such partition"),
        }
    }

    /// Whether a partition is of a kind that dynamic disks of Windows have.
    pub(super) fn may_be_dynamic(&self) -> Served<bool> {
        for disk in &self.disks {
            let Some(table) = disk.table()? else { continue };
            let is_dynamic = |part: &Partition| {
                part.mbr_type == Some(DYNAMIC) || part.gpt_type.as_deref() == Some(DYNAMIC_DATABASE)
            };
            if table.partitions.iter().any(is_dynamic) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn disk(&self, device: &GuestString) -> Served<&Disk> {
        let found = self.find(device)?;
        match self.disks.iter().find(|d| d.name == found.name) {
            Some(disk) => Ok(disk),
            None => aside("it is not a whole disk"),
        }
    }
}

impl Disk {
    fn table(&self) -> Served<Option<Table>> {
        if self.table.borrow().is_none() {
            let table = volume::partitions(&self.block).or_else(|e| aside(e.to_string()))?;
            if table.as_ref().is_some_and(|t| t.damaged) {
                return aside(format!("{} has a damaged partition table", self.name));
            }
            *self.table.borrow_mut() = Some(table);
        }
        Ok(self.table.borrow().clone().flatten())
    }

    fn whole(&self) -> Served<Device> {
        // What lies between a table and its partitions starts the disk, and is no file system.
        let holds_nothing = self.table()?.is_some();
        let number = (MAJOR, self.index * MINORS);
        Ok(Device {
            name: self.name.clone(),
            number,
            block: Some(Arc::clone(&self.block)),
            holds_nothing,
            subvolume: None,
        })
    }

    fn partition(&self, partition: &Partition) -> Served<Device> {
        let name = format!("{}{}", self.name, partition.number);
        let holds_nothing = partition.gpt_type.as_deref() == Some(BIOS_BOOT);
        let number = (MAJOR, (self.index * MINORS).saturating_add(partition.number));
        if partition.extended {
            return Ok(Device { name, number, block: None, holds_nothing, subvolume: None });
        }
        let block = partition.open(&self.block).or_else(|e| aside(e.to_string()))?;
        Ok(Device { name, number, block: Some(Arc::new(block)), holds_nothing, subvolume: None })
    }
}

/// The names by which the subvolumes of a btrfs can be mounted.
fn subvolumes(device: &Device) -> Served<Vec<GuestString>> {
    let fs = Btrfs::open(device.block()?, &Vec::new).or_else(|e| aside(format!("{}: {e}", device.name)))?;
    if !fs.shows_top() {
        return aside(format!("{} shows one of its subvolumes", device.name));
    }
    let found = fs.subvolumes().or_else(|e| aside(format!("{}: {e}", device.name)))?;
    let name = |path: &[u8]| [SUBVOLUME, device.name.as_bytes(), b"/", path].concat();
    Ok(found.iter().map(|volume| name(&volume.path).into()).collect())
}

/// Whether there is nothing at all where a signature could be.
fn is_blank(block: &dyn Block) -> libimage::Result<bool> {
    let size = block.size();
    let mut head = vec![0; size.min(HEAD) as usize];
    block.read_at(&mut head, 0)?;
    let mut tail = vec![0; size.min(TAIL) as usize];
    let start = size.saturating_sub(TAIL);
    block.read_at(&mut tail, start)?;
    Ok(head.iter().chain(&tail).all(|&byte| byte == 0))
}

/// A member of a software RAID has its superblock at 4 KiB, or near the end of the device, where the file
/// system inside does not show it.
fn holds_raid(block: &dyn Block) -> bool {
    const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
    let size = block.size();
    let old = (size & !0xffff).checked_sub(0x1_0000);
    let end = size.checked_sub(8192).map(|at| at & !0xfff);
    [Some(0), Some(4096), old, end].into_iter().flatten().any(|at| {
        let mut magic = [0; 4];
        at + 4 <= size && block.read_at(&mut magic, at).is_ok() && magic == MAGIC
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_linux_names_them() {
        let names: Vec<_> = [0, 25, 26, 27, 701, 702].map(disk_name).into();
        assert_eq!(names, ["/dev/sda", "/dev/sdz", "/dev/sdaa", "/dev/sdab", "/dev/sdzz", "/dev/sdaaa"]);
    }
}
