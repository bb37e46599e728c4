//! Reading partition tables: MBR with its chain of logical partitions, and GPT (UEFI 2.10, section 5.3).
//!
//! Reading them here answers in microseconds and needs no tool. They are another's data: every number is
//! checked, chains are followed for a bounded number of steps, and a GPT counts only if its checksums agree.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The most entries of a GPT that are read; the standard minimum and everyone's choice is 128.
const MAX_ENTRIES: u32 = 4096;
/// The most logical partitions that are followed.
const MAX_LOGICAL: usize = 256;

/// A partition table.
#[derive(Debug, PartialEq)]
pub(crate) enum Table {
    /// A DOS table.
    Mbr(Vec<Mbr>),
    /// A GUID partition table.
    Gpt { disk: [u8; 16], partitions: Vec<Gpt> },
}

/// A partition of a DOS table; sectors are in units of the disk's logical sector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mbr {
    pub(crate) number: i32,
    pub(crate) active: bool,
    pub(crate) kind: u8,
    pub(crate) first: u64,
    pub(crate) sectors: u64,
}

/// A partition of a GPT.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gpt {
    pub(crate) number: i32,
    pub(crate) kind: [u8; 16],
    pub(crate) guid: [u8; 16],
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) attributes: u64,
    pub(crate) name: String,
}

impl Mbr {
    /// True for the types of extended partitions.
    pub(crate) fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// Reads the table of a disk. `None` if there is none.
pub(crate) fn read(disk: &File, sector: u64, size: u64) -> io::Result<Option<Table>> {
    let Some(boot) = sector_at(disk, 0, sector, size)? else { return Ok(None) };
    if bytes::<2>(&boot, 510) != Some([0x55, 0xaa]) {
        return Ok(None);
    }
    let entries = mbr_entries(&boot);
    if entries.iter().any(|entry| entry.kind == 0xee) {
        let last = (size / sector).saturating_sub(1);
        for header in [1, last] {
            if let Some(table) = gpt(disk, header, sector, size)? {
                return Ok(Some(table));
            }
        }
    }
    // A file system's boot sector has the same signature; the flags of a table are 0 or 0x80 only.
    let flags_fit = [446, 462, 478, 494].iter().all(|at| matches!(boot.get(*at), Some(0 | 0x80)));
    let looks_like_fs = boot.get(54..57) == Some(b"FAT")
        || boot.get(82..85) == Some(b"FAT")
        || boot.get(3..7) == Some(b"NTFS");
    if !flags_fit || (entries.is_empty() && looks_like_fs) {
        return Ok(None);
    }
    let mut partitions: Vec<Mbr> = entries;
    if let Some(extended) = partitions.iter().find(|entry| entry.is_extended()).cloned() {
        logical(disk, sector, size, extended.first, &mut partitions)?;
    }
    Ok(Some(Table::Mbr(partitions)))
}

fn mbr_entries(boot: &[u8]) -> Vec<Mbr> {
    let entry = |number: i32, at: usize| {
        let raw: [u8; 16] = bytes(boot, at)?;
        let [flag, _, _, _, kind, _, _, _, f0, f1, f2, f3, s0, s1, s2, s3] = raw;
        let sectors = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let first = u64::from(u32::from_le_bytes([f0, f1, f2, f3]));
        (kind != 0 && sectors != 0).then_some(Mbr { number, active: flag == 0x80, kind, first, sectors })
    };
    [(1, 446), (2, 462), (3, 478), (4, 494)]
        .into_iter()
        .filter_map(|(number, at)| entry(number, at))
        .collect()
}

/// Follows the chain of extended boot records: each holds one logical partition, relative to itself, and the
/// next record, relative to the extended partition.
fn logical(disk: &File, sector: u64, size: u64, base: u64, into: &mut Vec<Mbr>) -> io::Result<()> {
    let mut at = base;
    let mut number = 5;
    for _ in 0..MAX_LOGICAL {
        let Some(record) = sector_at(disk, at, sector, size)? else { return Ok(()) };
        if bytes::<2>(&record, 510) != Some([0x55, 0xaa]) {
            return Ok(());
        }
        let entries = mbr_entries(&record);
        if let Some(entry) = entries.iter().find(|entry| !entry.is_extended())
            && let Some(first) = at.checked_add(entry.first)
        {
            into.push(Mbr { number, first, ..entry.clone() });
            number += 1;
        }
        let next =
            entries.iter().find(|entry| entry.is_extended()).and_then(|entry| base.checked_add(entry.first));
        match next {
            Some(next) if next > at => at = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn gpt(disk: &File, lba: u64, sector: u64, size: u64) -> io::Result<Option<Table>> {
    let Some(header) = sector_at(disk, lba, sector, size)? else { return Ok(None) };
    let (Some(signature), Some(length), Some(sum)) =
        (bytes::<8>(&header, 0), u32_at(&header, 12), u32_at(&header, 16))
    else {
        return Ok(None);
    };
    let mut covered = match header.get(..length as usize) {
        Some(covered) if &signature == b"EFI PART" && length >= 92 => covered.to_vec(),
        _ => return Ok(None),
    };
    covered.iter_mut().skip(16).take(4).for_each(|byte| *byte = 0);
    let (Some(disk_guid), Some(table), Some(count), Some(entry), Some(table_sum)) = (
        bytes(&header, 56),
        u64_at(&header, 72),
        u32_at(&header, 80),
        u32_at(&header, 84),
        u32_at(&header, 88),
    ) else {
        return Ok(None);
    };
    let sensible = count <= MAX_ENTRIES && (128..=4096).contains(&entry) && entry % 8 == 0;
    if crc32(&covered) != sum || !sensible {
        return Ok(None);
    }
    // Both factors are small, so this cannot overflow.
    let length = u64::from(count) * u64::from(entry);
    let start =
        table.checked_mul(sector).filter(|start| start.checked_add(length).is_some_and(|end| end <= size));
    let Some(start) = start else { return Ok(None) };
    let mut entries = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    disk.read_exact_at(&mut entries, start)?;
    if crc32(&entries) != table_sum {
        return Ok(None);
    }
    let partitions =
        entries.chunks(entry as usize).zip(1..).filter_map(|(raw, number)| gpt_entry(raw, number)).collect();
    Ok(Some(Table::Gpt { disk: disk_guid, partitions }))
}

fn gpt_entry(raw: &[u8], number: i32) -> Option<Gpt> {
    let kind: [u8; 16] = bytes(raw, 0)?;
    if kind == [0; 16] {
        return None;
    }
    let units =
        raw.get(56..128)?.chunks(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
    let name: String =
        char::decode_utf16(units.take_while(|unit| *unit != 0)).map(|c| c.unwrap_or('\u{fffd}')).collect();
    let (first, last) = (u64_at(raw, 32)?, u64_at(raw, 40)?);
    let fits = first <= last;
    fits.then_some(Gpt {
        number,
        kind,
        guid: bytes(raw, 16)?,
        first,
        last,
        attributes: u64_at(raw, 48)?,
        name,
    })
}

/// A GUID as text: the first three groups are little-endian.
pub(crate) fn guid_text(guid: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (place, from) in order.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02X}", guid.get(from).copied().unwrap_or_default()));
    }
    text
}

fn sector_at(disk: &File, lba: u64, sector: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    let offset = lba.checked_mul(sector).filter(|at| at.checked_add(sector).is_some_and(|end| end <= size));
    let (Some(offset), Ok(length @ 512..=65536)) = (offset, usize::try_from(sector)) else { return Ok(None) };
    let mut buffer = vec![0; length];
    disk.read_exact_at(&mut buffer, offset)?;
    Ok(Some(buffer))
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn u32_at(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn u64_at(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

/// CRC-32 as in zlib; tables of partitions are a few kilobytes, so bit by bit is fast enough.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const SIZE: u64 = 64 << 20;

    fn disk(script: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE).unwrap();
        let mut sfdisk = Command::new("sfdisk");
        let mut child = sfdisk.arg("-q").arg(file.path()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        file
    }

    #[test]
    fn reads_what_sfdisk_wrote() {
        let mbr = disk(
            "label: dos\n1: start=2048, size=8M, type=83, bootable\n2: size=40M, type=5\n5: size=8M, type=83\n6: size=10M, type=83\n",
        );
        let Some(Table::Mbr(partitions)) = read(mbr.as_file(), 512, SIZE).unwrap() else { panic!("no MBR") };
        let short: Vec<_> =
            partitions.iter().map(|p| (p.number, p.kind, p.first, p.sectors, p.active)).collect();
        assert_eq!(
            short[..3],
            [(1, 0x83, 2048, 16384, true), (2, 0x05, 18432, 81920, false), (5, 0x83, 20480, 16384, false)]
        );
        assert_eq!((short.len(), short[3].0), (4, 6));

        let gpt = disk(
            "label: gpt\nlabel-id: 01234567-89AB-CDEF-0123-456789ABCDEF\nstart=2048, size=8M, type=U, name=\"EFI System\"\nsize=8M, type=L\n",
        );
        let table = read(gpt.as_file(), 512, SIZE).unwrap().unwrap();
        let Table::Gpt { disk, partitions } = &table else { panic!("no GPT") };
        assert_eq!(guid_text(disk), "01234567-89AB-CDEF-0123-456789ABCDEF");
        let first = partitions.first().unwrap();
        assert_eq!(
            (first.number, first.first, first.last, first.name.as_str()),
            (1, 2048, 18431, "EFI System")
        );
        assert_eq!(guid_text(&first.kind), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        // With the first header broken, the one at the end of the disk counts.
        gpt.as_file().write_all_at(&[0; 100], 512).unwrap();
        assert_eq!(read(gpt.as_file(), 512, SIZE).unwrap().unwrap(), table);
    }

    #[test]
    fn damage_is_no_table_and_no_harm() {
        let good = disk(
            "label: dos\n1: start=2048, size=8M, type=83\n2: size=40M, type=5\n5: size=8M, type=83\n6: size=10M, type=83\n",
        );
        let head = {
            let mut b = vec![0; 512];
            good.as_file().read_exact_at(&mut b, 0).unwrap();
            b
        };
        for at in 440..512 {
            for value in [0, 1, 5, 0x0f, 0xee, 0xff] {
                let mut bad = head.clone();
                bad[at] = value;
                good.as_file().write_all_at(&bad, 0).unwrap();
                let _ = read(good.as_file(), 512, SIZE).unwrap();
            }
        }
        let tiny = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read(tiny.as_file(), 512, 0).unwrap(), None);
    }
}
