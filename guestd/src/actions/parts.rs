//! Partition tables: read here, changed by the tools that everyone trusts with it.

use crate::disks::Device;
use crate::ptable::{self, Gpt, Mbr, Table, guid_text};
use crate::sys::{self, PartitionChange};
use crate::worker::Worker;
use guestd_api::actions::parts::Server;
use guestd_api::structs::Partition;
use guestd_api::{Failure, GuestString};

/// The tool's name for a type of table.
fn table_type(name: &GuestString) -> Result<&'static str, Failure> {
    match name.to_str() {
        Some("gpt" | "efi") => Ok("gpt"),
        Some("mbr" | "msdos") => Ok("msdos"),
        Some("aix") => Ok("aix"),
        Some("amiga" | "rdb") => Ok("amiga"),
        Some("bsd") => Ok("bsd"),
        Some("dasd") => Ok("dasd"),
        Some("dvh") => Ok("dvh"),
        Some("mac") => Ok("mac"),
        Some("pc98") => Ok("pc98"),
        Some("sun") => Ok("sun"),
        _ => Err(Failure::new("unknown partition type: common choices are \"gpt\" and \"msdos\"")),
    }
}

fn positive(partnum: i32) -> Result<String, Failure> {
    if partnum > 0 { Ok(partnum.to_string()) } else { Err(Failure::new("partition number must be >= 1")) }
}

impl Worker {
    /// Runs parted's commands on a disk.
    fn parted(&self, device: &Device, commands: &[&str]) -> Result<(), Failure> {
        let done = self.tool("parted")?.args(["-s", "--"]).arg(&device.node).args(commands).finish()?;
        done.success()
            .map_err(|failure| Failure::new(format!("parted: {}: {}", device.shown, failure.message)))?;
        self.settle(device)
    }

    /// Runs sfdisk with an option, whose values come after the disk.
    fn sfdisk(&self, device: &Device, option: &str, values: &[&str]) -> Result<(), Failure> {
        let done = self
            .tool("sfdisk")?
            .args(["-q", "--no-reread", "--no-tell-kernel", option])
            .arg(&device.node)
            .args(values)
            .finish()?;
        done.success().map_err(|failure| {
            Failure::new(format!("sfdisk {option}: {}: {}", device.shown, failure.message))
        })?;
        self.settle(device)
    }

    /// Sees to it that the kernel has the partitions that the table has: without udev nobody else does, and
    /// having it read the whole table again fails while any partition is in use.
    pub(super) fn settle(&self, device: &Device) -> Result<(), Failure> {
        let (table, sector) = self.table(device)?;
        // A table of a type that is not read here is the kernel's affair.
        let Some(table) = table else { return Ok(()) };
        let wanted = places(&table, sector);
        let disk = device.open()?;
        let kernel = device.kernel_name()?;
        let known = crate::disks::partition_places(&kernel);
        for (number, place) in &known {
            if !wanted.contains(&(*number, *place)) {
                sys::change_partition(&disk, *number, PartitionChange::Forget)
                    .map_err(|e| device.failure(e))?;
            }
        }
        for (number, (start, length)) in &wanted {
            if !known.contains(&(*number, (*start, *length))) {
                let change = PartitionChange::Add { start: *start, length: *length };
                sys::change_partition(&disk, *number, change).map_err(|e| device.failure(e))?;
            }
        }
        Ok(())
    }

    /// The table of a disk, and the size of its sectors.
    fn table(&self, device: &Device) -> Result<(Option<Table>, u64), Failure> {
        let (sector, size) = (device.sector()?, device.size()?);
        let table = ptable::read(&device.open()?, sector, size).map_err(|e| device.failure(e))?;
        Ok((table, sector))
    }

    fn gpt(&self, device: &Device, partnum: i32) -> Result<Gpt, Failure> {
        positive(partnum)?;
        let Some(Table::Gpt { partitions, .. }) = self.table(device)?.0 else {
            return Err(Failure::new(format!("{}: the disk has no GUID partition table", device.shown)));
        };
        partitions.into_iter().find(|part| part.number == partnum).ok_or_else(|| missing(device, partnum))
    }

    fn mbr(&self, device: &Device, partnum: i32) -> Result<Mbr, Failure> {
        positive(partnum)?;
        let Some(Table::Mbr(partitions)) = self.table(device)?.0 else {
            return Err(Failure::new(format!("{}: the disk has no MBR partition table", device.shown)));
        };
        partitions.into_iter().find(|part| part.number == partnum).ok_or_else(|| missing(device, partnum))
    }
}

/// Where the partitions of a table lie, in bytes. Of an extended partition the kernel shows no more than its
/// first kilobyte, which protects what is inside.
fn places(table: &Table, sector: u64) -> Vec<(i32, (i64, i64))> {
    let place = |number: i32, first: u64, count: u64| {
        let bytes = |sectors: u64| i64::try_from(sectors.checked_mul(sector)?).ok();
        Some((number, (bytes(first)?, bytes(count)?)))
    };
    match table {
        Table::Gpt { partitions, .. } => partitions
            .iter()
            .filter_map(|part| {
                place(part.number, part.first, part.last.checked_sub(part.first)?.checked_add(1)?)
            })
            .collect(),
        Table::Mbr(partitions) => {
            let shown = |part: &Mbr| {
                if part.is_extended() { part.sectors.min((1024 / sector).max(1)) } else { part.sectors }
            };
            partitions.iter().filter_map(|part| place(part.number, part.first, shown(part))).collect()
        }
    }
}

fn missing(device: &Device, partnum: i32) -> Failure {
    Failure::new(format!("{}: partition {partnum} not found", device.shown))
}

fn bytes(sectors: u64, sector: u64) -> Result<u64, Failure> {
    sectors
        .checked_mul(sector)
        .ok_or_else(|| Failure::new("the partition table names sectors beyond any disk"))
}

fn listed(number: i32, first: u64, count: u64, sector: u64) -> Result<Partition, Failure> {
    let (start, size) = (bytes(first, sector)?, bytes(count, sector)?);
    let end = start.checked_add(size).and_then(|end| end.checked_sub(1));
    let end = end.ok_or_else(|| Failure::new("the partition table names sectors beyond any disk"))?;
    Ok(Partition { part_num: number, part_start: start, part_end: end, part_size: size })
}

impl Server for Worker {
    fn part_init(&self, device: Device, parttype: GuestString) -> Result<(), Failure> {
        self.parted(&device, &["mklabel", table_type(&parttype)?])
    }

    fn part_add(
        &self,
        device: Device,
        prlogex: GuestString,
        startsect: i64,
        endsect: i64,
    ) -> Result<(), Failure> {
        let kind = match prlogex.to_str() {
            Some("p" | "primary") => "primary",
            Some("l" | "logical") => "logical",
            Some("e" | "extended") => "extended",
            _ => {
                return Err(Failure::new(format!(
                    "unknown partition type: {prlogex}: this should be \"primary\", \"logical\" or \"extended\""
                )));
            }
        };
        if startsect < 0 {
            return Err(Failure::new("startsect cannot be negative"));
        }
        self.parted(&device, &["mkpart", kind, &format!("{startsect}s"), &format!("{endsect}s")])
    }

    fn part_del(&self, device: Device, partnum: i32) -> Result<(), Failure> {
        self.parted(&device, &["rm", &positive(partnum)?])
    }

    fn part_disk(&self, device: Device, parttype: GuestString) -> Result<(), Failure> {
        let kind = table_type(&parttype)?;
        // On a GPT this word becomes the partition's name.
        let name = if kind == "gpt" { "p1" } else { "primary" };
        self.parted(&device, &["mklabel", kind, "mkpart", name, "128s", "-128s"])
    }

    fn part_resize(&self, device: Device, partnum: i32, endsect: i64) -> Result<(), Failure> {
        let number = positive(partnum)?;
        let (table, sector) = self.table(&device)?;
        let first = match table {
            Some(Table::Gpt { partitions, .. }) => {
                partitions.iter().find(|p| p.number == partnum).map(|p| p.first)
            }
            Some(Table::Mbr(partitions)) => partitions.iter().find(|p| p.number == partnum).map(|p| p.first),
            None => None,
        };
        let first = first.ok_or_else(|| missing(&device, partnum))?;
        let total = device.size()? / sector;
        let last = if endsect < 0 { total.checked_add_signed(endsect) } else { u64::try_from(endsect).ok() };
        let Some(count) = last.and_then(|last| last.checked_sub(first)).and_then(|more| more.checked_add(1))
        else {
            return Err(Failure::new(format!(
                "{endsect}: the new end lies before the start of the partition"
            )));
        };
        // Not by parted, which asks before it makes a partition smaller.
        let script = format!(",{count}\n");
        let program = self.tool("sfdisk")?.args(["-q", "--no-reread", "--no-tell-kernel", "-N", &number]);
        let done = program.arg(&device.node).finish_with(Some(&mut script.as_bytes()), None)?;
        done.success()
            .map_err(|failure| Failure::new(format!("sfdisk -N: {}: {}", device.shown, failure.message)))?;
        self.settle(&device)
    }

    fn part_list(&self, device: Device) -> Result<Vec<Partition>, Failure> {
        match self.table(&device)? {
            (Some(Table::Gpt { partitions, .. }), sector) => {
                let count = |part: &Gpt| part.last.saturating_sub(part.first).saturating_add(1);
                partitions.iter().map(|part| listed(part.number, part.first, count(part), sector)).collect()
            }
            (Some(Table::Mbr(partitions)), sector) => {
                partitions.iter().map(|part| listed(part.number, part.first, part.sectors, sector)).collect()
            }
            (None, _) => {
                Err(Failure::new(format!("parted print: {}: unrecognised disk label", device.shown)))
            }
        }
    }

    fn part_get_parttype(&self, device: Device) -> Result<GuestString, Failure> {
        match self.table(&device)?.0 {
            Some(Table::Gpt { .. }) => Ok("gpt".into()),
            Some(Table::Mbr(_)) => Ok("msdos".into()),
            None => {
                // The rare ones are parted's to know.
                let text = self
                    .tool("parted")?
                    .args(["-s", "-m", "--"])
                    .arg(&device.node)
                    .args(["unit", "b", "print"]);
                let done = text.finish()?;
                let line = super::trimmed_lines(&done.stdout).into_iter().nth(1).unwrap_or_default();
                match line.to_string_lossy().split(':').nth(5) {
                    Some(kind) if !matches!(kind, "loop" | "unknown" | "") => Ok(kind.into()),
                    _ => Err(Failure::new(format!("parted: {}: not a partitioned device", device.shown))),
                }
            }
        }
    }

    fn part_get_bootable(&self, device: Device, partnum: i32) -> Result<bool, Failure> {
        positive(partnum)?;
        match self.table(&device)?.0 {
            Some(Table::Gpt { .. }) => {
                Ok(guid_text(&self.gpt(&device, partnum)?.kind) == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
            }
            _ => self.mbr(&device, partnum).map(|part| part.active),
        }
    }

    fn part_set_bootable(&self, device: Device, partnum: i32, bootable: bool) -> Result<(), Failure> {
        self.parted(&device, &["set", &positive(partnum)?, "boot", if bootable { "on" } else { "off" }])
    }

    fn part_set_name(&self, device: Device, partnum: i32, name: GuestString) -> Result<(), Failure> {
        self.gpt(&device, partnum)?;
        let name = name.to_str().ok_or_else(|| Failure::new("the name is not UTF-8"))?;
        if name.encode_utf16().count() > 36 {
            return Err(Failure::new(format!("{name}: names of partitions are limited to 36 UTF-16 units")));
        }
        self.sfdisk(&device, "--part-label", &[&positive(partnum)?, name])
    }

    fn part_get_name(&self, device: Device, partnum: i32) -> Result<GuestString, Failure> {
        Ok(self.gpt(&device, partnum)?.name.into())
    }

    fn part_set_gpt_type(&self, device: Device, partnum: i32, guid: GuestString) -> Result<(), Failure> {
        self.gpt(&device, partnum)?;
        self.sfdisk(&device, "--part-type", &[&positive(partnum)?, &guid.to_string_lossy()])
    }

    fn part_get_gpt_type(&self, device: Device, partnum: i32) -> Result<GuestString, Failure> {
        Ok(guid_text(&self.gpt(&device, partnum)?.kind).into())
    }

    fn part_set_gpt_guid(&self, device: Device, partnum: i32, guid: GuestString) -> Result<(), Failure> {
        self.gpt(&device, partnum)?;
        self.sfdisk(&device, "--part-uuid", &[&positive(partnum)?, &guid.to_string_lossy()])
    }

    fn part_get_gpt_guid(&self, device: Device, partnum: i32) -> Result<GuestString, Failure> {
        Ok(guid_text(&self.gpt(&device, partnum)?.guid).into())
    }

    fn part_set_mbr_id(&self, device: Device, partnum: i32, idbyte: i32) -> Result<(), Failure> {
        self.mbr(&device, partnum)?;
        let id =
            u8::try_from(idbyte).map_err(|_| Failure::new(format!("{idbyte:#x}: a type is one byte")))?;
        self.sfdisk(&device, "--part-type", &[&positive(partnum)?, &format!("{id:x}")])
    }

    fn part_get_mbr_id(&self, device: Device, partnum: i32) -> Result<i32, Failure> {
        self.mbr(&device, partnum).map(|part| part.kind.into())
    }

    fn part_get_mbr_part_type(&self, device: Device, partnum: i32) -> Result<GuestString, Failure> {
        positive(partnum)?;
        let kind = match self.table(&device)?.0 {
            Some(Table::Gpt { .. }) => self.gpt(&device, partnum).map(|_| "primary")?,
            _ => match self.mbr(&device, partnum)? {
                part if part.number > 4 => "logical",
                part if part.is_extended() => "extended",
                _ => "primary",
            },
        };
        Ok(kind.into())
    }

    fn part_get_disk_guid(&self, device: Device) -> Result<GuestString, Failure> {
        match self.table(&device)?.0 {
            Some(Table::Gpt { disk, .. }) => Ok(guid_text(&disk).into()),
            _ => Err(Failure::new(format!("{}: the disk has no GUID partition table", device.shown))),
        }
    }

    fn part_set_disk_guid(&self, device: Device, guid: GuestString) -> Result<(), Failure> {
        self.part_get_disk_guid(device.clone())?;
        self.sfdisk(&device, "--disk-id", &[&guid.to_string_lossy()])
    }

    fn part_expand_gpt(&self, device: Device) -> Result<(), Failure> {
        let done = self
            .tool("sfdisk")?
            .args(["-q", "--no-reread", "--no-tell-kernel", "--relocate", "gpt-bak-std"])
            .arg(&device.node)
            .finish()?;
        done.success().map_err(|failure| {
            Failure::new(format!("sfdisk --relocate: {}: {}", device.shown, failure.message))
        })
    }

    fn part_to_dev(&self, partition: Device) -> Result<GuestString, Failure> {
        match partition.whole()? {
            Some((disk, _)) => Ok(crate::disks::node_text(&disk)),
            None => Err(Failure::new(format!("{}: device name is not a partition", partition.shown))
                .with_errno(libc::EINVAL)),
        }
    }

    fn part_to_partnum(&self, partition: Device) -> Result<i32, Failure> {
        match partition.whole()? {
            Some((_, number)) => Ok(number),
            None => Err(Failure::new(format!("{}: device name is not a partition", partition.shown))
                .with_errno(libc::EINVAL)),
        }
    }

    fn part_get_gpt_attributes(&self, device: Device, partnum: i32) -> Result<i64, Failure> {
        Ok(self.gpt(&device, partnum)?.attributes.cast_signed())
    }

    fn part_set_gpt_attributes(&self, device: Device, partnum: i32, attributes: i64) -> Result<(), Failure> {
        self.gpt(&device, partnum)?;
        let change = format!("{}:=:{:016x}", positive(partnum)?, attributes);
        let done = self.tool("sgdisk")?.arg("-A").arg(change).arg(&device.node).finish()?;
        // It says on its standard output what is wrong.
        if !done.status.success() {
            let said = [&done.stdout[..], done.errors.as_bytes()].concat();
            let said = GuestString::from(self.agent.disks.shown_text(said.trim_ascii_end()));
            return Err(Failure::new(said).about(format!("sgdisk {}", device.shown)));
        }
        self.settle(&device)
    }

    fn part_set_disk_guid_random(&self, device: Device) -> Result<(), Failure> {
        let random = "/proc/sys/kernel/random/uuid";
        let guid = std::fs::read_to_string(random).map_err(|e| Failure::io(random, &e))?;
        self.part_set_disk_guid(device, guid.trim().into())
    }
}
