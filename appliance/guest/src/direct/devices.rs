//! Disks and partitions under the names that users know: `/dev/sda`, `/dev/sda1`.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use guestd_api::{Failure, GuestString, Value};
use libimage::Block;
use libimage::fs::btrfs::Btrfs;
use libimage::volume::{self, Partition, Table, TableKind};
use libimage::volume::{lvm, md};

use super::arrays::Arrays;
use super::device::Device;
use super::encrypted::Opened;
use super::logical::Logical;
use super::{Served, aside, structs, text};

/// The disks of a guest.
pub(super) struct Devices {
    disks: Vec<Disk>,
    /// Read when first asked for, as the tables are.
    logical: RefCell<Option<Rc<Logical>>>,
    arrays: RefCell<Option<Rc<Arrays>>>,
    pub(super) opened: Opened,
    /// The names of mapped devices in the order in which the kernel would number them.
    mapped: RefCell<Vec<String>>,
    mapper: OnceCell<u32>,
}

struct Disk {
    name: String,
    index: u32,
    block: Arc<dyn Block>,
    /// Read when first asked for; a read-only disk's table does not change.
    table: RefCell<Option<Option<Table>>>,
}

/// What the names of subvolumes begin with.
const SUBVOLUME: &[u8] = b"btrfsvol:";
/// The type of the partition from which GRUB starts on disks with a GUID table.
const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
/// Types of partitions of dynamic disks: in a master boot record, and that of the database in a GUID table.
const DYNAMIC: u8 = 0x42;
const DYNAMIC_DATABASE: &str = "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3";
/// The kernel's number of the device mapper, where its module comes after the disks' driver; and where that of
/// arrays was there before.
const MAPPER: u32 = 253;
const MAPPER_AFTER_ARRAYS: u32 = 252;
/// The kernel's number of the driver, and how many numbers each disk has.
const MAJOR: u32 = 254;
const MINORS: u32 = 16;
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
        Devices {
            disks: disks.into_iter().enumerate().map(named).collect(),
            logical: RefCell::default(),
            arrays: RefCell::default(),
            opened: Opened::default(),
            mapped: RefCell::default(),
            mapper: OnceCell::new(),
        }
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
        devices.extend(self.arrays()?.devices());
        devices.extend(self.logical()?.devices(self)?);
        devices.extend(self.opened.devices());
        for device in devices {
            let kind = device.content()?.map(|c| c.kind);
            match kind.as_deref() {
                // What it is a part of comes later.
                Some(lvm::KIND | md::KIND) => continue,
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
                    let first = partitions.len();
                    for partition in table.partitions.iter().filter(|partition| !partition.extended) {
                        partitions.push(disk.partition(partition)?);
                    }
                    // The superblock of the last partition may look like the disk's, and is not.
                    let whole = md::read(&disk.block).or_else(|e| aside(e.to_string()))?;
                    let is_same = |part: &Device| part.raid().is_ok_and(|part| part == whole);
                    if whole.is_some() && !partitions.iter().skip(first).any(is_same) {
                        return aside(format!("{} is a member of an array and has partitions", disk.name));
                    }
                }
                None => whole.push(disk.whole()?),
            }
        }
        whole.append(&mut partitions);
        Ok(whole)
    }

    /// The arrays that they are members of.
    pub(super) fn arrays(&self) -> Served<Rc<Arrays>> {
        if let Some(arrays) = &*self.arrays.borrow() {
            return Ok(Rc::clone(arrays));
        }
        let arrays = Rc::new(Arrays::read(&self.plain()?)?);
        self.arrays.replace(Some(Rc::clone(&arrays)));
        Ok(arrays)
    }

    /// The logical volumes of groups on them, which are ready from now on.
    pub(super) fn logical(&self) -> Served<Rc<Logical>> {
        let logical = self.known_volumes()?;
        for name in logical.mapper_names() {
            self.mapper_number(name);
        }
        Ok(logical)
    }

    fn known_volumes(&self) -> Served<Rc<Logical>> {
        if let Some(logical) = &*self.logical.borrow() {
            return Ok(Rc::clone(logical));
        }
        let mut devices = self.plain()?;
        devices.extend(self.arrays()?.devices());
        devices.extend(self.opened.devices());
        let logical = Rc::new(Logical::read(&devices)?);
        self.logical.replace(Some(Rc::clone(&logical)));
        Ok(logical)
    }

    /// Whether a logical volume goes by a name.
    pub(super) fn has_volume(&self, name: &str) -> bool {
        self.known_volumes().is_ok_and(|logical| logical.usual_name(name).is_some())
    }

    /// The kernel's number of a mapped device: they are counted as they appear.
    pub(super) fn mapper_number(&self, name: &str) -> (u32, u32) {
        let mut mapped = self.mapped.borrow_mut();
        let known = mapped.iter().position(|known| known == name);
        // The numbers of those that are gone are given again.
        let index = known.or_else(|| mapped.iter().position(String::is_empty)).unwrap_or(mapped.len());
        match mapped.get_mut(index) {
            Some(place) => name.clone_into(place),
            None => mapped.push(name.to_owned()),
        }
        (self.mapper(), index as u32)
    }

    /// The kernel's number of the device mapper, which gets it when it is first needed.
    pub(super) fn mapper(&self) -> u32 {
        let has_arrays = || self.arrays.borrow().as_ref().is_some_and(|arrays| !arrays.devices().is_empty());
        *self.mapper.get_or_init(|| if has_arrays() { MAPPER_AFTER_ARRAYS } else { MAPPER })
    }

    /// A mapped device is gone.
    pub(super) fn forget_mapped(&self, name: &str) {
        if let Some(place) = self.mapped.borrow_mut().iter_mut().find(|known| *known == name) {
            place.clear();
        }
    }

    /// Looks for logical volumes anew, the next time that they are asked for.
    pub(super) fn forget_volumes(&self) {
        self.logical.replace(None);
    }

    /// Finds a device by the name a user typed. Names of anything but disks, partitions and logical volumes are
    /// for the appliance.
    pub(super) fn find(&self, name: &GuestString) -> Served<Device> {
        let Some(typed) = name.to_str() else { return aside("its name is not text") };
        let Some(rest) = ["/dev/sd", "/dev/vd", "/dev/hd"].iter().find_map(|p| typed.strip_prefix(p)) else {
            if let Some(mapped) = self.opened.find(typed) {
                return Ok(mapped);
            }
            if let Some(array) = self.arrays()?.devices().into_iter().find(|array| array.name == typed) {
                return Ok(array);
            }
            return match self.logical()?.find(typed, self) {
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
        let mut found = self.plain().unwrap_or_default();
        // What a member shows of a file system is that of its array.
        found.retain(|other| other.raid().is_ok_and(|raid| raid.is_none()));
        found.extend(self.arrays().map(|arrays| arrays.devices()).unwrap_or_default());
        found.retain(|other| other.name != device.name);
        found.into_iter().filter_map(|other| other.block().ok()).collect()
    }

    /// Finds what can be mounted: a device, or `btrfsvol:` and a device with the path of a subvolume behind it.
    pub(super) fn find_mountable(&self, name: &GuestString) -> Served<Device> {
        let Some(rest) = name.as_bytes().strip_prefix(SUBVOLUME) else { return self.find(name) };
        let end = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(2);
        let Some((device, path)) = end.map(|(at, _)| rest.split_at(at)) else {
            return aside(format!("{name} names no subvolume"));
        };
        let mut device = self.find(&device.into())?;
        device.subvolume = Some(path.to_vec());
        Ok(device)
    }

    pub(super) fn part_list(&self, device: &GuestString) -> Served<Value> {
        let Some(table) = self.disk(device)?.table()? else {
            return aside("there is no partition table");
        };
        let rows = table.partitions.iter().map(|p| guestd_api::structs::Partition {
            part_num: p.number as i32,
            part_start: p.start,
            part_end: p.start + p.size - 1,
            part_size: p.size,
        });
        Ok(structs(rows))
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
        if !device.is_plain() {
            return aside("it is not a partition");
        }
        match device.name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            disk if disk.len() < device.name.len() => Ok(text(disk)),
            _ => aside("it is not a partition"),
        }
    }

    pub(super) fn number_of(&self, partition: &GuestString) -> Served<Value> {
        let device = self.find(partition)?;
        if !device.is_plain() {
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
        Ok(Device::plain(self.name.clone(), number, Some(Arc::clone(&self.block)), holds_nothing))
    }

    fn partition(&self, partition: &Partition) -> Served<Device> {
        let name = format!("{}{}", self.name, partition.number);
        let holds_nothing = partition.gpt_type.as_deref() == Some(BIOS_BOOT);
        let number = (MAJOR, (self.index * MINORS).saturating_add(partition.number));
        let open = || partition.open(&self.block).or_else(|e| aside(e.to_string()));
        let block = if partition.extended { None } else { Some(Arc::new(open()?) as Arc<dyn Block>) };
        Ok(Device::plain(name, number, block, holds_nothing))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_linux_names_them() {
        let names: Vec<_> = [0, 25, 26, 27, 701, 702].map(disk_name).into();
        assert_eq!(names, ["/dev/sda", "/dev/sdz", "/dev/sdaa", "/dev/sdab", "/dev/sdzz", "/dev/sdaaa"]);
    }
}
