//! A device that consists of pieces, each of which can be unpacked by itself; the last ones used are kept.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::stream::failure;
use crate::block::{Block, Extent, Limits, check_range, read_only};
use crate::error::{Error, Result};
use crate::filter::blocks::lock;

/// A piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it lies packed.
    pub(super) packed: Range<u64>,
    /// The first unpacked byte, and how many there are: one, at least.
    pub(super) start: u64,
    pub(super) length: u64,
    /// What else its format has to know of it.
    pub(super) detail: u64,
}

/// How pieces are unpacked.
pub(super) trait Unpack: Send + Sync {
    /// A decoder of a piece.
    fn reader<'a>(&self, below: &'a dyn Block, piece: &Piece) -> Result<Box<dyn Read + 'a>>;
}

/// A piece that is kept; empty until somebody unpacked it.
type Slot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// A device of pieces.
pub(super) struct Pieces<U> {
    below: Arc<dyn Block>,
    unpack: U,
    /// By their first bytes, without gaps.
    pieces: Vec<Piece>,
    size: u64,
    /// The last ones used, the newest first.
    kept: Mutex<VecDeque<(usize, Slot)>>,
    depth: usize,
}

impl<U: Unpack> Pieces<U> {
    /// Shows what `pieces` are unpacked, and keeps up to `depth` of them.
    pub(super) fn new(below: Arc<dyn Block>, unpack: U, pieces: Vec<Piece>, depth: usize) -> Self {
        let size = pieces.last().map_or(0, |piece| piece.start.saturating_add(piece.length));
        Pieces { below, unpack, pieces, size, kept: Mutex::default(), depth: depth.max(1) }
    }

    /// The number of the piece that a byte lies in.
    fn number(&self, offset: u64) -> usize {
        self.pieces.partition_point(|piece| piece.start <= offset).saturating_sub(1)
    }

    fn unpacked(&self, number: usize) -> Result<Arc<Vec<u8>>> {
        let slot = {
            let mut kept = lock(&self.kept);
            let place = kept.iter().position(|(kept, _)| *kept == number);
            let slot =
                place.and_then(|place| kept.remove(place)).map_or_else(Slot::default, |(_, slot)| slot);
            kept.push_front((number, Arc::clone(&slot)));
            kept.truncate(self.depth);
            slot
        };
        // Others who want the same piece wait here, and find it.
        let mut slot = lock(&slot);
        if let Some(bytes) = &*slot {
            return Ok(Arc::clone(bytes));
        }
        let Some(piece) = self.pieces.get(number) else {
            return Err(Error::corrupt(self.name(), "a part of it is missing"));
        };
        let mut bytes = Vec::new();
        let reader = self.unpack.reader(&*self.below, piece)?;
        let limit = piece.length.saturating_add(1);
        let read = reader.take(limit).read_to_end(&mut bytes);
        read.map_err(|error| failure(self.name(), piece.packed.start, "a block cannot be unpacked", error))?;
        if bytes.len() as u64 != piece.length {
            let what = format!("a block should have {} bytes when unpacked", piece.length);
            return Err(Error::corrupt_at(self.name(), piece.packed.start, what));
        }
        let bytes = Arc::new(bytes);
        *slot = Some(Arc::clone(&bytes));
        Ok(bytes)
    }
}

impl<U: Unpack> Block for Pieces<U> {
    read_only!();

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let (mut at, mut rest, mut number) = (offset, buf, self.number(offset));
        while !rest.is_empty() {
            let bytes = self.unpacked(number)?;
            let start = self.pieces.get(number).map_or(0, |piece| piece.start);
            let from = bytes.get(at.saturating_sub(start) as usize..).unwrap_or_default();
            let count = from.len().min(rest.len());
            if count == 0 {
                return Err(Error::corrupt(self.name(), "a part of it is missing"));
            }
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            (at, rest, number) = (at + count as u64, later, number + 1);
        }
        Ok(())
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if !range.is_empty() {
            // More than are kept would be unpacked in vain.
            let last = self.number(range.end - 1);
            for number in (self.number(range.start)..=last).take(self.depth) {
                self.unpacked(number)?;
            }
        }
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        Ok(Extent { offset: None, compressed: true, ..Extent::data(length, 0) })
    }

    fn limits(&self) -> Limits {
        let largest = self.pieces.iter().take(2).map(|piece| piece.length).max().unwrap_or(1);
        // What is told to others stays within what they can ask for.
        let preferred = largest.next_power_of_two().clamp(4096, 32 << 20) as u32;
        Limits { preferred, ..Limits::default() }
    }

    fn name(&self) -> &str {
        self.below.name()
    }
}
