//! The label of a physical volume, and the areas that hold the description of its group.

use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fields::Fields;

const SECTOR: usize = 512;
/// A label is in one of the first sectors.
const SECTORS: usize = 4;
const LABEL: &[u8; 8] = b"LABELONE";
const TYPE: &[u8; 8] = b"LVM2 001";
/// Begins each area of metadata, after its checksum.
const AREA_MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
const AREA_HEADER: u64 = 512;
/// Where checksums begin.
const SEED: u32 = 0xf597_a6cf;
/// Areas are a megabyte; groups of thousands of volumes have larger ones.
const MAX_TEXT: u64 = 64 << 20;
/// Most areas that a label may name.
const MAX_AREAS: usize = 16;

/// What a physical volume says of itself.
pub(super) struct Label {
    /// Its identifier: 32 characters.
    pub(super) id: String,
    /// Where its extents begin, in bytes; zero if it says nothing.
    pub(super) data: u64,
    /// Where descriptions of its group are.
    pub(super) areas: Vec<Area>,
}

/// What an area holds.
pub(super) struct Held {
    /// The description that counts; `None` if there is none yet.
    pub(super) text: Option<Vec<u8>>,
    /// Bytes by which the description may grow: an old and a new one must fit together.
    pub(super) free: u64,
    /// It is not to be used.
    pub(super) is_ignored: bool,
}

/// A piece of a physical volume that holds descriptions.
pub(super) struct Area {
    start: u64,
    size: u64,
}

/// The checksum of LVM2: CRC-32 without its inversions.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(!SEED);
    crc.update(bytes);
    !crc.finalize()
}

/// Reads the label of a device; `None` if it is no physical volume.
pub(super) fn read(block: &Arc<dyn Block>) -> Result<Option<Label>> {
    if block.size() < (SECTORS * SECTOR) as u64 {
        return Ok(None);
    }
    let mut head = [0; SECTORS * SECTOR];
    block.read_at(&mut head, 0)?;
    let is_label =
        |(_, sector): &(usize, &[u8])| sector.starts_with(LABEL) && sector.get(24..32) == Some(TYPE);
    let Some((number, sector)) = head.chunks_exact(SECTOR).enumerate().find(is_label) else {
        return Ok(None);
    };
    let damaged = |what: &str| {
        Error::corrupt_at(block.name(), (number * SECTOR) as u64, format!("the label of LVM {what}"))
    };
    let fields = Fields(sector);
    if fields.le64(8) != number as u64 {
        return Err(damaged("is in the wrong sector"));
    }
    if checksum(sector.get(20..).unwrap_or_default()) != fields.le32(16) {
        return Err(damaged("has a wrong checksum"));
    }
    let header = sector.get(fields.le32(20) as usize..).unwrap_or_default();
    let id = header.get(..32).and_then(|id| std::str::from_utf8(id).ok());
    let id = id.ok_or_else(|| damaged("has no identifier"))?.to_owned();
    // Two lists, each with an empty entry at its end: where data is, and where metadata is.
    let mut entries = header.get(40..).unwrap_or_default().chunks_exact(16).map(|entry| {
        let entry = Fields(entry);
        (entry.le64(0), entry.le64(8))
    });
    let is_used = |entry: &(u64, u64)| entry.0 != 0;
    let data = entries.by_ref().take_while(is_used).next().map_or(0, |(start, _)| start);
    // The first list has one entry, or none.
    if data != 0 {
        entries.by_ref().take_while(is_used).for_each(drop);
    }
    let areas: Vec<Area> =
        entries.take_while(is_used).take(MAX_AREAS).map(|(start, size)| Area { start, size }).collect();
    Ok(Some(Label { id, data, areas }))
}

impl Area {
    /// Reads what it holds.
    pub(super) fn read(&self, block: &Arc<dyn Block>) -> Result<Held> {
        let damaged = |what: &str| {
            Error::corrupt_at(block.name(), self.start, format!("the metadata area of LVM {what}"))
        };
        let mut header = [0; AREA_HEADER as usize];
        block.read_at(&mut header, self.start)?;
        let fields = Fields(&header);
        if checksum(header.get(4..).unwrap_or_default()) != fields.le32(0) {
            return Err(damaged("has a wrong checksum"));
        }
        if header.get(4..20) != Some(AREA_MAGIC) || fields.le32(20) != 1 || fields.le64(24) != self.start {
            return Err(damaged("has a header that makes no sense"));
        }
        let size = fields.le64(32);
        let (offset, length) = (fields.le64(40), fields.le64(48));
        let (crc, flags) = (fields.le32(56), fields.le32(60));
        // Two descriptions must fit at once, and each begins with a sector.
        let room = size.saturating_sub(AREA_HEADER) / 2;
        let free = |used: u64| room.saturating_sub(used.saturating_add(SECTOR as u64)) & !(SECTOR as u64 - 1);
        // An area may be told to be ignored; another was never written to.
        let is_ignored = flags & 1 != 0;
        if offset == 0 || length == 0 || is_ignored {
            return Ok(Held { text: None, free: free(0), is_ignored });
        }
        let fits = self.start.checked_add(size).is_some_and(|end| end <= block.size())
            && (self.size == 0 || size <= self.size)
            && (AREA_HEADER..size).contains(&offset)
            && length <= (size - AREA_HEADER).min(MAX_TEXT);
        if !fits {
            return Err(damaged("has a description that does not lie in it"));
        }
        // The area is a ring behind its header.
        let mut text = vec![0; length as usize];
        let (first, second) = text.split_at_mut(length.min(size - offset) as usize);
        block.read_at(first, self.start + offset)?;
        block.read_at(second, self.start + AREA_HEADER)?;
        if checksum(&text) != crc {
            return Err(damaged("has a description with a wrong checksum"));
        }
        Ok(Held { text: Some(text), free: free(length), is_ignored })
    }
}
