//! Master boot records, with the chain of logical partitions in an extended one.
//!
//! The chain is other people's data: it may loop, run off the disk, or count beyond 32 bits. What was
//! read before the damage is kept, because primary partitions do not depend on it.

use std::io::Cursor;
use std::sync::Arc;

use mbrman::{MBRHeader, MBRPartitionEntry};

use super::{Partition, Table, TableKind};
use crate::block::Block;
use crate::error::Result;

const SECTOR: u64 = 512;
/// Linux itself stops at 256 minor numbers a disk.
const MAX_LOGICAL: u32 = 251;

/// Reads the table; `None` if the disk has none.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn read(disk: &Arc<dyn Block>) -> Result<Option<Table>> {
    let Some(first) = sector(disk, 0)? else { return Ok(None) };
    if first[510..] != [0x55, 0xaa] || is_boot_sector_of_a_file_system(&first) {
        return Ok(None);
    }
    let Ok(header) = MBRHeader::read_from(&mut Cursor::new(&first[..])) else {
        return Ok(None);
    };
    let mut partitions = Vec::new();
    let mut container = None;
    for (number, entry) in header.iter() {
        let start = u64::from(entry.starting_lba);
        partitions.extend(partition(number as u32, entry, start, disk.size()));
        if entry.is_extended() && container.is_none() {
            container = Some(start);
        }
    }
    if let Some(container) = container {
        logical(disk, container, &mut partitions)?;
    }
    Ok(Some(Table { kind: TableKind::Mbr, partitions }))
}

/// Follows the extended boot records: each has one partition, relative to itself, and a link to the
/// next record, relative to the container. Links only ever lead forward.
fn logical(disk: &Arc<dyn Block>, container: u64, partitions: &mut Vec<Partition>) -> Result<()> {
    let mut record = container;
    for number in 5..5 + MAX_LOGICAL {
        let Some(bytes) = sector(disk, record)? else { return Ok(()) };
        if bytes[510..] != [0x55, 0xaa] {
            return Ok(());
        }
        let Ok(header) = MBRHeader::read_from(&mut Cursor::new(&bytes[..])) else { return Ok(()) };
        let start = record + u64::from(header.partition_1.starting_lba);
        partitions.extend(partition(number, &header.partition_1, start, disk.size()));
        let next = container + u64::from(header.partition_2.starting_lba);
        if !header.partition_2.is_extended() || next <= record {
            return Ok(());
        }
        record = next;
    }
    Ok(())
}

/// One entry, beginning at sector `start`; `None` if it is unused or does not lie on the disk.
fn partition(number: u32, entry: &MBRPartitionEntry, start: u64, disk: u64) -> Option<Partition> {
    let size = u64::from(entry.sectors) * SECTOR;
    let start = start * SECTOR;
    if !entry.is_used() || size == 0 || start == 0 || start + size > disk {
        return None;
    }
    Some(Partition {
        number,
        start,
        size,
        mbr_type: Some(entry.sys),
        gpt_type: None,
        guid: None,
        name: None,
        extended: entry.is_extended(),
    })
}

/// Sector `number`, or `None` beyond the end.
fn sector(disk: &Arc<dyn Block>, number: u64) -> Result<Option<[u8; SECTOR as usize]>> {
    if number >= disk.size() / SECTOR {
        return Ok(None);
    }
    let mut bytes = [0; SECTOR as usize];
    disk.read_at(&mut bytes, number * SECTOR)?;
    Ok(Some(bytes))
}

/// FAT and NTFS end their boot sector with the same two bytes, with code where a table would be.
fn is_boot_sector_of_a_file_system(sector: &[u8; SECTOR as usize]) -> bool {
    let status_is_sane = (0..4).all(|i| sector[446 + 16 * i] & 0x7f == 0);
    let is_fat = &sector[54..57] == b"FAT" || &sector[82..85] == b"FAT";
    let is_ntfs = &sector[3..7] == b"NTFS" || &sector[3..8] == b"EXFAT";
    !status_is_sane || is_ntfs || (is_fat && sector[446..510].iter().all(|&b| b == 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    fn entry(kind: u8, start: u32, sectors: u32) -> [u8; 16] {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
        entry
    }

    fn record(bytes: &mut [u8], sector: usize, entries: &[[u8; 16]]) {
        for (i, entry) in entries.iter().enumerate() {
            bytes[sector * 512 + 446 + 16 * i..][..16].copy_from_slice(entry);
        }
        bytes[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
    }

    fn numbers(bytes: &[u8]) -> Vec<u32> {
        let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
        read(&disk).unwrap().unwrap().partitions.iter().map(|p| p.number).collect()
    }

    #[test]
    fn chains_that_lie_end_the_search_and_hide_nothing() {
        let mut bytes = vec![0; 2 << 20];
        record(&mut bytes, 0, &[entry(0x83, 100, 100), entry(0x05, 1000, 3000)]);
        record(&mut bytes, 1000, &[entry(0x83, 10, 50), entry(0x05, 500, 100)]);
        record(&mut bytes, 1500, &[entry(0x83, 10, 50)]);
        assert_eq!(numbers(&bytes), [1, 2, 5, 6]);
        // A loop back to the first record; a link beyond the disk; sums beyond 32 bits.
        for link in [entry(0x05, 0, 100), entry(0x05, u32::MAX, 100)] {
            record(&mut bytes, 1500, &[entry(0x83, 10, 50), link]);
            assert_eq!(numbers(&bytes), [1, 2, 5, 6]);
        }
        record(&mut bytes, 1500, &[entry(0x83, u32::MAX, u32::MAX)]);
        assert_eq!(numbers(&bytes), [1, 2, 5]);
    }
}
