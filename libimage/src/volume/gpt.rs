//! GUID partition tables (UEFI 2.10, section 5.3), from the primary header or, if that or its entries
//! are damaged, from the backup at the end of the disk.
//!
//! This reads disks of strangers, so nothing that a header says is believed before it is checked; the
//! `gpt` crate, which asserts on some of them, writes the tables of the tests.

use std::sync::Arc;

use super::{Partition, Table, TableKind};
use crate::block::Block;
use crate::error::{Error, Result};

const SECTOR: u64 = 512;
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Tables have 128 entries nearly everywhere. More than this is not a table but an attack.
const MAX_ENTRIES: u32 = 4096;
const MIN_ENTRY_BYTES: u32 = 128;
const MAX_ENTRY_BYTES: u32 = 4096;

/// Reads the table; `None` if the disk has none.
///
/// # Errors
/// When the disk cannot be read, or there is a header but neither copy of the table is sound.
pub(super) fn read(disk: &Arc<dyn Block>) -> Result<Option<Table>> {
    let sectors = disk.size() / SECTOR;
    if sectors < 3 {
        return Ok(None);
    }
    let mut damaged = None;
    for sector in [1, sectors - 1] {
        if sector != 1 && damaged.is_none() {
            // A backup alone belongs to nothing: Linux does not look for one either.
            return Ok(None);
        }
        match read_copy(disk, sector)? {
            Copy::Sound(table) => {
                let damaged = table.damaged || damaged.is_some();
                return Ok(Some(Table { damaged, ..table }));
            }
            Copy::Damaged(what) if damaged.is_none() => damaged = Some((sector, what)),
            Copy::Damaged(_) | Copy::Absent => {}
        }
    }
    match damaged {
        None => Ok(None),
        Some((sector, what)) => Err(Error::corrupt_at(
            disk.name(),
            sector * SECTOR,
            format!("{what}, and there is no sound backup"),
        )),
    }
}

enum Copy {
    Sound(Table),
    Damaged(&'static str),
    Absent,
}

fn read_copy(disk: &Arc<dyn Block>, sector: u64) -> Result<Copy> {
    let mut header = [0; SECTOR as usize];
    disk.read_at(&mut header, sector * SECTOR)?;
    if !header.starts_with(SIGNATURE) {
        return Ok(Copy::Absent);
    }
    let size = u32_at(&header, 12) as usize;
    if !(92..=header.len()).contains(&size) {
        return Ok(Copy::Damaged("the partition table header has an impossible size"));
    }
    let expected = u32_at(&header, 16);
    header[16..20].fill(0);
    if crc32fast::hash(&header[..size]) != expected || u64_at(&header, 24) != sector {
        return Ok(Copy::Damaged("the partition table header has a wrong checksum or position"));
    }
    let (start, count, bytes) = (u64_at(&header, 72), u32_at(&header, 80), u32_at(&header, 84));
    if count > MAX_ENTRIES
        || !(MIN_ENTRY_BYTES..=MAX_ENTRY_BYTES).contains(&bytes)
        || !bytes.is_power_of_two()
    {
        return Ok(Copy::Damaged("the partition table has entries of impossible number or size"));
    }
    let Some(start) = start.checked_mul(SECTOR).filter(|start| *start < disk.size()) else {
        return Ok(Copy::Damaged("the partition entries lie beyond the disk"));
    };
    let length = u64::from(count) * u64::from(bytes);
    if length > disk.size() - start {
        return Ok(Copy::Damaged("the partition entries lie beyond the disk"));
    }
    let mut entries = vec![0; length as usize];
    disk.read_at(&mut entries, start)?;
    if crc32fast::hash(&entries) != u32_at(&header, 88) {
        return Ok(Copy::Damaged("the partition entries have a wrong checksum"));
    }
    let entries = (1..).zip(entries.chunks_exact(bytes as usize));
    let mut table = Table { kind: TableKind::Gpt, partitions: Vec::new(), damaged: bytes != MIN_ENTRY_BYTES };
    for (number, entry) in entries.filter(|(_, entry)| entry[..16] != [0; 16]) {
        match partition(number, entry, disk.size()) {
            Some(partition) => table.partitions.push(partition),
            None => table.damaged = true,
        }
    }
    let last = disk.size() / SECTOR - 1;
    let (first_usable, last_usable) = (u64_at(&header, 40), u64_at(&header, 48));
    table.damaged |= first_usable > last_usable || last_usable > last;
    Ok(Copy::Sound(table))
}

/// One entry that is used; `None` if it does not lie on the disk.
fn partition(number: u32, entry: &[u8], disk: u64) -> Option<Partition> {
    let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
    let start = first.checked_mul(SECTOR)?;
    let size = last.checked_sub(first)?.checked_add(1)?.checked_mul(SECTOR)?;
    if start.checked_add(size)? > disk {
        return None;
    }
    let units = entry[56..128].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let name: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    Some(Partition {
        number,
        start,
        size,
        mbr_type: None,
        gpt_type: Some(guid(&entry[..16])),
        guid: Some(guid(&entry[16..32])),
        name: Some(String::from_utf16_lossy(&name)),
        extended: false,
    })
}

/// A GUID as text: its first three fields are little-endian on disk.
fn guid(b: &[u8]) -> String {
    let rest: String = b[10..16].iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "{:02X}{:02X}{:02X}{:02X}-{:02X}{:02X}-{:02X}{:02X}-{:02X}{:02X}-{rest}",
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9]
    )
}

// Callers pass offsets within fixed-size sectors and entries.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;
    use std::io::Cursor;

    /// A 10 MiB disk with two partitions, written by another implementation.
    fn disk() -> Vec<u8> {
        let mut bytes = vec![0; 10 << 20];
        let device = Cursor::new(&mut bytes[..]);
        let config =
            gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
        let mut table = config.create_from_device(device, None).unwrap();
        table.add_partition("EFI System", 1 << 20, gpt::partition_types::EFI, 0, None).unwrap();
        table.add_partition("root", 4 << 20, gpt::partition_types::LINUX_FS, 0, None).unwrap();
        table.write().unwrap();
        bytes
    }

    fn read_bytes(bytes: &[u8]) -> Result<Option<Table>> {
        let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
        read(&disk)
    }

    #[test]
    fn both_copies_are_read() {
        let mut bytes = disk();
        let table = read_bytes(&bytes).unwrap().unwrap();
        let names: Vec<_> = table.partitions.iter().map(|p| p.name.clone().unwrap()).collect();
        assert_eq!(names, ["EFI System", "root"]);
        assert_eq!(table.partitions[1].size, 4 << 20);
        assert_eq!(table.partitions[0].gpt_type.as_deref(), Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        bytes[1024 + 130] ^= 1; // an entry of the primary copy
        let backup = read_bytes(&bytes).unwrap().unwrap();
        assert_eq!(backup.partitions, table.partitions);
        assert!(backup.damaged && !table.damaged);
        bytes[512 + 60] ^= 1; // and its header
        assert_eq!(read_bytes(&bytes).unwrap().unwrap().partitions, table.partitions);
        let end = bytes.len() - 512;
        bytes[end + 60] ^= 1;
        assert!(read_bytes(&bytes).is_err());
    }

    #[test]
    fn lies_with_a_right_checksum_are_found_out() {
        let good = disk();
        let end = good.len() - 512;
        for (at, lie) in [
            (72usize, u64::MAX),
            (72, 1 << 60),
            (80, u64::from(u32::MAX)),
            (84, 3),
            (84, 1 << 31),
            (12, 5),
            (12, 600),
        ] {
            let mut bytes = good.clone();
            bytes[end..].fill(0);
            let width = if at == 72 { 8 } else { 4 };
            bytes[512 + at..512 + at + width].copy_from_slice(&lie.to_le_bytes()[..width]);
            bytes[512 + 16..512 + 20].fill(0);
            let size = (u32_at(&bytes[512..], 12) as usize).min(512);
            let crc = crc32fast::hash(&bytes[512..512 + size]);
            bytes[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
            assert!(read_bytes(&bytes).is_err(), "{at} {lie:#x}");
        }
    }
}
