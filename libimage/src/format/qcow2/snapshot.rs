//! The snapshot table: what an image remembers of each internal snapshot.
//!
//! Entries are kept whole: extra data that this code does not know is written back as it was.
//! (qcow2 specification, "Snapshots".)

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::{Header, MAX_L1_BYTES, MAX_SNAPSHOTS};
use super::storage::read_padded;
use crate::block::Block;
use crate::error::{Error, Result};

pub(super) const MAX_TABLE_BYTES: u64 = 64 << 20;
pub(super) const MAX_EXTRA: u32 = 1024;
/// Extra data that this code writes: VM state size, disk size, instruction count.
const EXTRA_LENGTH: usize = 24;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    l1_offset: U64,
    l1_size: U32,
    id_length: U16,
    name_length: U16,
    date_seconds: U32,
    date_nanoseconds: U32,
    vm_clock: U64,
    vm_state_size: U32,
    extra_length: U32,
}

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Unique in the image; a number in all images that QEMU makes.
    pub id: String,
    /// What the user called it. Several may have the same name.
    pub name: String,
    /// Seconds since 1970.
    pub date_seconds: u32,
    /// And nanoseconds.
    pub date_nanoseconds: u32,
    /// Nanoseconds that the guest had run.
    pub vm_clock: u64,
    /// Bytes of saved machine state.
    pub vm_state_size: u64,
    /// Size of the disk, in bytes. Where an old image does not say, it was as large as it is now.
    pub disk_size: u64,
    /// Instructions that the guest had executed, if they were counted.
    pub icount: Option<u64>,
    pub(super) l1_offset: u64,
    pub(super) l1_size: u32,
    /// Id and name as they are stored: others may have used another encoding than UTF-8.
    pub(super) raw_id: Vec<u8>,
    pub(super) raw_name: Vec<u8>,
    /// Extra data behind what is known.
    pub(super) unknown_extra: Vec<u8>,
    /// Bytes of its entry as it was read or written.
    pub(super) entry_length: u64,
}

/// Reads the table that `header` names. With an error comes what could be read before it.
pub(super) fn read(file: &dyn Block, header: &Header) -> (Vec<Snapshot>, Result<()>) {
    let mut list = Vec::new();
    let result = read_into(&mut list, file, header);
    (list, result)
}

fn read_into(list: &mut Vec<Snapshot>, file: &dyn Block, header: &Header) -> Result<()> {
    let name = file.name();
    if header.snapshot_count > MAX_SNAPSHOTS {
        return Err(Error::corrupt(name, "Snapshot table too large"));
    }
    let mut at = header.snapshots_offset;
    if !header.geometry.is_aligned(at) {
        return Err(Error::corrupt(name, "Snapshot table offset invalid"));
    }
    for index in 0..header.snapshot_count {
        if at >= file.size() || at - header.snapshots_offset > MAX_TABLE_BYTES {
            return Err(Error::corrupt_at(
                name,
                at,
                "Snapshot table is too large, or lies beyond the end of the file",
            ));
        }
        let (snapshot, length) = read_entry(file, header, at)
            .map_err(|error| error.context(format!("Could not read snapshot {index} of '{name}'")))?;
        list.push(snapshot);
        at += length;
    }
    Ok(())
}

fn read_entry(file: &dyn Block, header: &Header, at: u64) -> Result<(Snapshot, u64)> {
    let name = file.name();
    let mut fixed = [0; size_of::<RawEntry>()];
    read_padded(file, &mut fixed, at)?;
    let Ok(raw) = RawEntry::read_from_bytes(&fixed) else {
        return Err(Error::corrupt_at(name, at, "a snapshot entry is cut short"));
    };
    if raw.extra_length.get() > MAX_EXTRA {
        return Err(Error::corrupt_at(name, at, "Too much extra metadata in a snapshot table entry"));
    }
    let (extra, id, title) = (
        raw.extra_length.get() as usize,
        usize::from(raw.id_length.get()),
        usize::from(raw.name_length.get()),
    );
    if header.geometry.version >= 3 && extra < 16 {
        return Err(Error::corrupt_at(name, at, "a snapshot table entry has no disk size"));
    }
    let mut variable = vec![0; extra + id + title];
    read_padded(file, &mut variable, at + fixed.len() as u64)?;
    let (extra, names) = variable.split_at(extra);
    let (id, title) = names.split_at(id);
    let number = |index: usize| {
        extra
            .get(index * 8..)
            .and_then(|rest| rest.first_chunk::<8>())
            .map(|bytes| u64::from_be_bytes(*bytes))
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let length = (fixed.len() + variable.len()).next_multiple_of(8) as u64;
    let snapshot = Snapshot {
        id: text(id),
        name: text(title),
        raw_id: id.to_owned(),
        raw_name: title.to_owned(),
        date_seconds: raw.date_seconds.get(),
        date_nanoseconds: raw.date_nanoseconds.get(),
        vm_clock: raw.vm_clock.get(),
        vm_state_size: number(0).unwrap_or(u64::from(raw.vm_state_size.get())),
        disk_size: number(1).unwrap_or(header.size),
        icount: number(2).filter(|&count| count != u64::MAX),
        l1_offset: raw.l1_offset.get(),
        l1_size: raw.l1_size.get(),
        unknown_extra: extra.get(EXTRA_LENGTH..).unwrap_or_default().to_owned(),
        entry_length: length,
    };
    check(&snapshot, header, name, at)?;
    Ok((snapshot, length))
}

fn check(snapshot: &Snapshot, header: &Header, file: &str, at: u64) -> Result<()> {
    let bytes = u64::from(snapshot.l1_size) * 8;
    let valid = bytes <= MAX_L1_BYTES
        && header.geometry.is_aligned(snapshot.l1_offset)
        && snapshot.l1_offset.checked_add(bytes).is_some_and(|end| end <= super::units::MAX_HOST);
    if valid {
        Ok(())
    } else {
        Err(Error::corrupt_at(file, at, "a snapshot's L1 table is too large or not aligned"))
    }
}

/// Bytes of the table in the file.
pub(super) fn encoded_length(list: &[Snapshot]) -> u64 {
    list.iter().map(|snapshot| snapshot.entry_length).sum()
}

/// The table as it is written.
pub(super) fn encode(list: &[Snapshot]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for snapshot in list {
        let raw = RawEntry {
            l1_offset: snapshot.l1_offset.into(),
            l1_size: snapshot.l1_size.into(),
            // Longer names cannot have been read, and are refused when a snapshot is made.
            id_length: (snapshot.raw_id.len() as u16).into(),
            name_length: (snapshot.raw_name.len() as u16).into(),
            date_seconds: snapshot.date_seconds.into(),
            date_nanoseconds: snapshot.date_nanoseconds.into(),
            vm_clock: snapshot.vm_clock.into(),
            vm_state_size: u32::try_from(snapshot.vm_state_size).unwrap_or(0).into(),
            extra_length: ((EXTRA_LENGTH + snapshot.unknown_extra.len()) as u32).into(),
        };
        bytes.extend_from_slice(raw.as_bytes());
        bytes.extend_from_slice(&snapshot.vm_state_size.to_be_bytes());
        bytes.extend_from_slice(&snapshot.disk_size.to_be_bytes());
        bytes.extend_from_slice(&snapshot.icount.unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(&snapshot.unknown_extra);
        bytes.extend_from_slice(&snapshot.raw_id);
        bytes.extend_from_slice(&snapshot.raw_name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// The snapshot with this id, else the first one with this name.
pub(super) fn find(list: &[Snapshot], id_or_name: &str) -> Option<usize> {
    list.iter()
        .position(|snapshot| snapshot.id == id_or_name)
        .or_else(|| list.iter().position(|snapshot| snapshot.name == id_or_name))
}

/// One more than the largest number among the ids.
pub(super) fn next_id(list: &[Snapshot]) -> String {
    let largest = list.iter().filter_map(|snapshot| snapshot.id.parse::<u64>().ok()).max();
    largest.unwrap_or(0).saturating_add(1).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    /// An entry of an old image, with a name in Latin-1, and one with extra data from the future.
    #[test]
    fn entries_survive_a_rewrite() {
        let mut bytes = vec![0; 65536];
        let entry = |extra: &[u8], name: &[u8]| {
            let mut entry = vec![0; 40];
            entry[..8].copy_from_slice(&0x10000u64.to_be_bytes());
            entry[11] = 2;
            entry[13] = 1;
            entry[15] = name.len() as u8;
            entry[39] = extra.len() as u8;
            entry.extend_from_slice(extra);
            entry.push(b'7');
            entry.extend_from_slice(name);
            entry.resize(entry.len().next_multiple_of(8), 0);
            entry
        };
        bytes.extend(entry(&[], b"gr\xfcn"));
        bytes.extend(entry(&[9; 40], b"later"));
        let memory = Memory::from_bytes(&bytes);
        let mut header =
            crate::format::qcow2::create::CreateOptions { version: 2, ..Default::default() }.empty_header();
        (header.size, header.snapshot_count, header.snapshots_offset) = (1 << 20, 2, 65536);
        let (list, result) = read(&memory, &header);
        result.unwrap();
        assert_eq!((list[0].disk_size, list[0].raw_name.as_slice()), (1 << 20, &b"gr\xfcn"[..]));
        assert_eq!(list[1].unknown_extra, [9; 16]);
        memory.write_at(&encode(&list), 65536).unwrap();
        let (again, _) = read(&memory, &header);
        assert_eq!(again[1], list[1]);
        assert_eq!(
            Snapshot { entry_length: 0, ..again[0].clone() },
            Snapshot { entry_length: 0, ..list[0].clone() }
        );
        assert_eq!(
            (find(&list, "later"), find(&list, "7"), next_id(&list)),
            (Some(1), Some(0), "8".to_owned())
        );
    }
}
