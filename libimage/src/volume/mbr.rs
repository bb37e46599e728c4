//! Master boot records, with the chain of logical partitions in an extended one.
//!
//! The chain is other people's data: it may loop, run off the disk, or count beyond 32 bits. What was
//! read before the damage is kept, because primary partitions do not depend on it, and the table is marked
//! as damaged.

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
    let mut table = Table { kind: TableKind::Mbr, partitions: Vec::new(), damaged: false };
    let mut containers = Vec::new();
    for (number, entry) in header.iter().filter(|(_, entry)| entry.sectors != 0) {
        let start = u64::from(entry.starting_lba);
        if table.add(number as u32, entry, start, disk.size()) && entry.is_extended() {
            containers.push(start);
        }
    }
    // Two chains would share the numbers; nobody makes them.
    table.damaged |= containers.len() > 1;
    if let Some(container) = containers.first() {
        logical(disk, *container, &mut table)?;
    }
    Ok(Some(table))
}

/// Whether the disk has a master boot record whose only purpose is to protect a GUID table.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn is_protective(disk: &Arc<dyn Block>) -> Result<bool> {
    const GUID_TABLE: u8 = 0xee;
    let Some(first) = sector(disk, 0)? else { return Ok(false) };
    let mut entries = first[446..510].chunks_exact(16);
    Ok(first[510..] == [0x55, 0xaa] && entries.any(|e| e[4] == GUID_TABLE && e[8..12] == [1, 0, 0, 0]))
}

/// Follows the extended boot records: each has one partition, relative to itself, and a link to the
/// next record, relative to the container. Links only ever lead forward. A record without a partition,
/// as is left when one was deleted, takes no number.
fn logical(disk: &Arc<dyn Block>, container: u64, table: &mut Table) -> Result<()> {
    let mut record = container;
    let mut number = 5;
    for _ in 0..MAX_LOGICAL {
        let header = match sector(disk, record)? {
            Some(bytes) if bytes[510..] == [0x55, 0xaa] => MBRHeader::read_from(&mut Cursor::new(&bytes[..])),
            // An extended partition that was never used has no record.
            Some(bytes) if record == container && bytes == [0; SECTOR as usize] => return Ok(()),
            _ => break,
        };
        let Ok(header) = header else { break };
        let [data, link] = [&header.partition_1, &header.partition_2];
        table.damaged |=
            data.is_extended() || header.partition_3.sectors != 0 || header.partition_4.sectors != 0;
        if data.sectors != 0 {
            table.add(number, data, record + u64::from(data.starting_lba), disk.size());
            number += 1;
        }
        if link.sectors == 0 {
            return Ok(());
        }
        let next = container + u64::from(link.starting_lba);
        if !link.is_extended() || next <= record {
            break;
        }
        record = next;
    }
    table.damaged = true;
    Ok(())
}

impl Table {
    /// Adds an entry that is used, beginning at sector `start`; true if it makes sense.
    fn add(&mut self, number: u32, entry: &MBRPartitionEntry, start: u64, disk: u64) -> bool {
        let size = u64::from(entry.sectors) * SECTOR;
        let start = start * SECTOR;
        // Linux knows three of the types that are called extended.
        let makes_sense = entry.is_used() && start != 0 && start + size <= disk;
        self.damaged |= !makes_sense || matches!(entry.sys, 0xc5 | 0xd5);
        if makes_sense {
            self.partitions.push(Partition {
                number,
                start,
                size,
                mbr_type: Some(entry.sys),
                gpt_type: None,
                guid: None,
                name: None,
                extended: entry.is_extended(),
            });
        }
        makes_sense
    }
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
        let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(&bytes));
        assert!(read(&disk).unwrap().unwrap().damaged);
    }

    #[test]
    fn a_record_without_a_partition_takes_no_number() {
        let mut bytes = vec![0; 2 << 20];
        record(&mut bytes, 0, &[entry(0x05, 1000, 3000)]);
        record(&mut bytes, 1000, &[entry(0, 0, 0), entry(0x05, 500, 100)]);
        record(&mut bytes, 1500, &[entry(0x83, 10, 50)]);
        assert_eq!(numbers(&bytes), [1, 5]);
        let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(&bytes));
        assert!(!read(&disk).unwrap().unwrap().damaged);
    }
}
