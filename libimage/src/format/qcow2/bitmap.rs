//! The bitmap directory: what an image remembers of each persistent dirty bitmap.
//!
//! Entries are kept whole: one that this code cannot use is written back as it was. (qcow2 specification,
//! "Bitmaps extension" and "Bitmap directory".)

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::dirty::DirtyBits;
use super::storage::{read_padded, read_table};
use super::units::Geometry;
use crate::block::Block;
use crate::error::{Error, Result};

/// Somebody writes, or did not finish writing, the bitmap.
pub(super) const IN_USE: u32 = 1;
/// It records writes.
pub(super) const AUTO: u32 = 2;
const KNOWN_FLAGS: u32 = IN_USE | AUTO;
/// A bitmap that tracks writes; there is no other type.
const DIRTY_TRACKING: u8 = 1;
/// Where an entry has its flags.
const FLAGS_AT: u64 = 12;

pub(super) const MAX_BITMAPS: usize = 65535;
const MAX_DIRECTORY_BYTES: u64 = MAX_BITMAPS as u64 * 1024;
const MAX_TABLE_ENTRIES: u64 = 0x0800_0000 / 8;
/// Bytes of bits.
pub(super) const MAX_STORED_BYTES: u64 = 0x2000_0000;
pub(super) const MAX_NAME: usize = 1023;
pub(super) const GRANULARITY_BITS: std::ops::RangeInclusive<u32> = 9..=31;

const TABLE_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const TABLE_RESERVED: u64 = 0xff00_0000_0000_01fe;
/// In a table entry without an offset: all bits are set.
const ALL_ONES: u64 = 1;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    table_offset: U64,
    table_entries: U32,
    flags: U32,
    kind: u8,
    granularity_bits: u8,
    name_length: U16,
    extra_length: U32,
}

/// A persistent bitmap.
#[derive(Debug, Clone)]
pub(super) struct Bitmap {
    pub(super) name: String,
    raw_name: Vec<u8>,
    pub(super) table_offset: u64,
    pub(super) table_entries: u32,
    pub(super) flags: u32,
    kind: u8,
    pub(super) granularity_bits: u32,
    extra: Vec<u8>,
    /// What is dirty, once it was read.
    pub(super) bits: Option<DirtyBits>,
    /// Which may differ from what is stored.
    pub(super) changed: bool,
    /// It is in use by ourselves.
    pub(super) live: bool,
    /// Where its entry lies in the file; zero for one that was not written yet.
    place: u64,
}

impl Bitmap {
    /// A new one, of which nothing is dirty.
    pub(super) fn new(name: &str, size: u64, granularity_bits: u32, enabled: bool) -> Self {
        Bitmap {
            name: name.to_owned(),
            raw_name: name.as_bytes().to_owned(),
            table_offset: 0,
            table_entries: 0,
            flags: if enabled { AUTO } else { 0 },
            kind: DIRTY_TRACKING,
            granularity_bits,
            extra: Vec::new(),
            bits: Some(DirtyBits::new(size, granularity_bits)),
            changed: true,
            live: false,
            place: 0,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.flags & AUTO != 0
    }

    /// Nobody can tell what it should hold.
    pub(super) fn is_inconsistent(&self) -> bool {
        self.flags & IN_USE != 0 && !self.live
    }

    /// Refuses one that is inconsistent, or that only others know how to use.
    pub(super) fn check_usable(&self) -> Result<()> {
        if self.is_inconsistent() {
            return Err(Error::Invalid(format!(
                "Bitmap '{}' is inconsistent and cannot be used\nTry block-dirty-bitmap-remove to delete this bitmap from disk",
                self.name
            )));
        }
        if self.kind != DIRTY_TRACKING
            || self.flags & !KNOWN_FLAGS != 0
            || !self.extra.is_empty()
            || !GRANULARITY_BITS.contains(&self.granularity_bits)
        {
            let what = format!("Bitmap '{}' is of a kind that is not known here", self.name);
            return Err(Error::Invalid(what));
        }
        Ok(())
    }

    /// Where its flags lie in the file, if its entry does.
    pub(super) fn flags_place(&self) -> Option<u64> {
        Some(self.place).filter(|&place| place != 0).map(|place| place + FLAGS_AT)
    }

    /// Reads what is dirty on a disk of `size` bytes, unless that is known.
    pub(super) fn load(&mut self, file: &dyn Block, g: Geometry, size: u64) -> Result<&mut DirtyBits> {
        if self.bits.is_none() {
            let bits = self.read(file, g, size)?;
            self.bits = Some(bits);
        }
        self.bits.as_mut().ok_or_else(|| Error::Invalid("A bitmap has no bits".to_owned()))
    }

    fn read(&self, file: &dyn Block, g: Geometry, size: u64) -> Result<DirtyBits> {
        self.check_usable()?;
        let damaged = |what: &str| {
            let what = format!("the table of bitmap '{}' {what}", self.name);
            Err(Error::corrupt_at(file.name(), self.table_offset, what))
        };
        let mut bits = DirtyBits::new(size, self.granularity_bits);
        if bits.stored_bytes() > MAX_STORED_BYTES
            || u64::from(self.table_entries) != g.clusters_for(bits.stored_bytes())
        {
            return damaged("does not fit the size of the disk");
        }
        let table = read_table(file, self.table_offset, self.table_entries as usize)?;
        let mut cluster = vec![0; g.cluster_size() as usize];
        for (index, &entry) in (0u64..).zip(&table) {
            let at = index << g.cluster_bits;
            let offset = entry & TABLE_OFFSET;
            if entry & TABLE_RESERVED != 0 || !g.is_aligned(offset) || (offset != 0 && entry & ALL_ONES != 0)
            {
                return damaged("has an invalid entry");
            }
            if offset == 0 {
                if entry & ALL_ONES != 0 {
                    bits.load_ones(at, g.cluster_size());
                }
                continue;
            }
            if offset >= file.size() {
                return damaged("points beyond the end of the file");
            }
            read_padded(file, &mut cluster, offset)?;
            bits.load(at, &cluster);
        }
        Ok(bits)
    }

    /// The clusters that its bits are stored in.
    pub(super) fn data_clusters(&self, file: &dyn Block, g: Geometry) -> Result<Vec<u64>> {
        let table = read_table(file, self.table_offset, self.table_entries as usize)?;
        let offsets = table.into_iter().map(|entry| entry & TABLE_OFFSET);
        Ok(offsets.filter(|&offset| offset != 0 && g.is_aligned(offset)).collect())
    }
}

/// Reads the directory that the header names: number of entries, bytes, position.
pub(super) fn read_directory(file: &dyn Block, named: (u32, u64, u64), g: Geometry) -> Result<Vec<Bitmap>> {
    let (count, length, offset) = named;
    let invalid = |at: u64, what: &str| Err(Error::corrupt_at(file.name(), at, what.to_owned()));
    if count == 0 || count as usize > MAX_BITMAPS || length > MAX_DIRECTORY_BYTES || length == 0 {
        return invalid(offset, "the bitmap directory has an impossible size");
    }
    if !g.is_aligned(offset) || offset.saturating_add(length) > file.size().next_multiple_of(g.cluster_size())
    {
        return invalid(offset, "the bitmap directory is misplaced");
    }
    let mut bytes = vec![0; length as usize];
    read_padded(file, &mut bytes, offset)?;
    let mut list = Vec::new();
    let mut rest = &bytes[..];
    for _ in 0..count {
        let at = offset + (bytes.len() - rest.len()) as u64;
        let Ok((raw, variable)) = RawEntry::read_from_prefix(rest) else {
            return invalid(at, "the bitmap directory is cut short");
        };
        let (extra, name) = (raw.extra_length.get() as usize, usize::from(raw.name_length.get()));
        let entry = size_of::<RawEntry>().saturating_add(extra).saturating_add(name).next_multiple_of(8);
        let names = variable.get(extra..).and_then(|names| names.get(..name));
        let (Some(extra), Some(raw_name)) = (variable.get(..extra), names) else {
            return invalid(at, "the bitmap directory is cut short");
        };
        let table_entries = raw.table_entries.get();
        let table_offset = raw.table_offset.get();
        if name == 0
            || name > MAX_NAME
            || u64::from(table_entries) > MAX_TABLE_ENTRIES
            || table_offset == 0
            || !g.is_aligned(table_offset)
            || table_offset >= super::units::MAX_HOST
        {
            return invalid(at, "an entry of the bitmap directory is invalid");
        }
        list.push(Bitmap {
            name: String::from_utf8_lossy(raw_name).into_owned(),
            raw_name: raw_name.to_owned(),
            table_offset,
            table_entries,
            flags: raw.flags.get(),
            kind: raw.kind,
            granularity_bits: u32::from(raw.granularity_bits),
            extra: extra.to_owned(),
            bits: None,
            changed: false,
            live: false,
            place: at,
        });
        rest = rest.get(entry..).unwrap_or_default();
    }
    Ok(list)
}

/// The directory as it is written at `offset`. Each bitmap learns where its entry will lie.
pub(super) fn encode_directory(list: &mut [Bitmap], offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for bitmap in list {
        bitmap.place = offset + bytes.len() as u64;
        let raw = RawEntry {
            table_offset: bitmap.table_offset.into(),
            table_entries: bitmap.table_entries.into(),
            flags: bitmap.flags.into(),
            kind: bitmap.kind,
            granularity_bits: bitmap.granularity_bits as u8,
            // Longer names are refused when a bitmap is made or read.
            name_length: (bitmap.raw_name.len() as u16).into(),
            extra_length: (bitmap.extra.len() as u32).into(),
        };
        bytes.extend_from_slice(raw.as_bytes());
        bytes.extend_from_slice(&bitmap.extra);
        bytes.extend_from_slice(&bitmap.raw_name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}
