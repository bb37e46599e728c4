//! A device that can be written while what lies below stays as it is: changes go to a temporary file, and are
//! forgotten with it.
//!
//! All connections to one [`Overlay`] see the same changes. Each block is either the one below, or in the overlay,
//! or zeroes. A block changes under its lock only, so that a part of it is never lost between two writers, or under
//! a reader that copies it.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::blocks::{BlockLocks, Piece, bytes_of, pieces, whole};
use super::forward::forward;
use super::marks::Marks;
use super::switch::Switch;
use super::temporary::Temporary;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// Bytes of a block where nothing else was asked for.
pub const DEFAULT_BLOCK: u64 = 64 * 1024;
/// The smallest and the largest block, in bytes.
pub const BLOCKS: Range<u64> = 4096..(1 << 31) + 1;

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Below,
    Overlay,
    Zero,
}

/// The changes.
pub struct Overlay {
    file: Temporary,
    block: u64,
    /// Blocks that were only read are kept as well.
    keep_read: Switch,
    /// So are blocks that were only announced ([`Block::prefetch`]).
    keep_prefetched: bool,
    places: RwLock<Marks<Place>>,
    locks: BlockLocks,
}

impl Overlay {
    /// No changes, to be kept in blocks of `block` bytes (a power of two within [`BLOCKS`]).
    ///
    /// # Errors
    /// When the size of blocks is another one, or there is no place for temporary files.
    pub fn new(block: u64, keep_read: Switch, keep_prefetched: bool) -> Result<Self> {
        if !BLOCKS.contains(&block) || !block.is_power_of_two() {
            let text = "cow-block-size is out of range (4096..2G) or not a power of 2";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok(Overlay {
            file: Temporary::new()?,
            block,
            keep_read,
            keep_prefetched,
            places: RwLock::new(Marks::new()),
            locks: BlockLocks::new(),
        })
    }

    fn run(&self, block: u64, end: u64) -> (Place, u64) {
        self.places.read().unwrap_or_else(PoisonError::into_inner).run(block, end)
    }

    fn place(&self, blocks: Range<u64>, place: Place) {
        self.places.write().unwrap_or_else(PoisonError::into_inner).set(blocks, place);
    }
}

/// A device with its changes.
pub struct Cow {
    below: Arc<dyn Block>,
    overlay: Arc<Overlay>,
    /// What lies below keeps its size; it is not asked again.
    size: u64,
}

impl Cow {
    /// Shows `below` with the changes of `overlay`.
    pub fn new(below: Arc<dyn Block>, overlay: Arc<Overlay>) -> Self {
        let size = below.size();
        Cow { below, overlay, size }
    }

    /// The bytes of one block as they are below; shorter at the end of the device.
    fn fetch(&self, block: u64) -> Result<Vec<u8>> {
        let bytes = bytes_of(&(block..block.saturating_add(1)), self.overlay.block, self.size);
        let mut buf = vec![0; (bytes.end - bytes.start) as usize];
        self.below.read_at(&mut buf, bytes.start)?;
        Ok(buf)
    }

    /// Copies a block into the overlay unless it is there already. The caller has its lock.
    fn pull(&self, block: u64) -> Result<()> {
        if self.overlay.run(block, u64::MAX).0 == Place::Below {
            self.overlay.file.write(&self.fetch(block)?, block.saturating_mul(self.overlay.block))?;
            self.overlay.place(block..block.saturating_add(1), Place::Overlay);
        }
        Ok(())
    }

    /// Puts `bytes` (`None`: zeroes) in the place of a part of a block.
    fn put(&self, piece: Piece, bytes: Option<&[u8]>) -> Result<()> {
        let overlay = &*self.overlay;
        let _lock = overlay.locks.write(piece.block);
        let blocks = piece.block..piece.block.saturating_add(1);
        let of_block = bytes_of(&blocks, overlay.block, self.size);
        let place = overlay.run(piece.block, u64::MAX).0;
        let zeroes;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None if place == Place::Zero => return Ok(()),
            None => {
                zeroes = vec![0; piece.length];
                &zeroes
            }
        };
        let inside = (piece.start - of_block.start) as usize;
        let is_whole = bytes.len() as u64 == of_block.end - of_block.start;
        if place == Place::Overlay || is_whole {
            overlay.file.write(bytes, piece.start)?;
        } else {
            let mut all = match place {
                Place::Below => self.fetch(piece.block)?,
                _ => vec![0; (of_block.end - of_block.start) as usize],
            };
            if let Some(part) = all.get_mut(inside..inside + bytes.len()) {
                part.copy_from_slice(bytes);
            }
            overlay.file.write(&all, of_block.start)?;
        }
        overlay.place(blocks, Place::Overlay);
        Ok(())
    }

    /// Makes whole blocks zero.
    fn clear(&self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let _locks = self.overlay.locks.write_all();
        self.overlay.place(blocks.clone(), Place::Zero);
        self.overlay.file.forget(bytes_of(&blocks, self.overlay.block, self.size));
    }

    fn pull_all(&self, range: Range<u64>) -> Result<()> {
        for piece in pieces(range, self.overlay.block) {
            if self.overlay.run(piece.block, u64::MAX).0 == Place::Below {
                let _lock = self.overlay.locks.write(piece.block);
                self.pull(piece.block)?;
            }
        }
        Ok(())
    }
}

impl Block for Cow {
    forward!(name);

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let end = offset + buf.len() as u64;
        if self.overlay.keep_read.is_on() {
            self.pull_all(offset..end)?;
        }
        let (mut at, mut rest) = (offset, buf);
        while at < end {
            let (place, until) = self.overlay.run(at / self.overlay.block, end.div_ceil(self.overlay.block));
            let until = until.saturating_mul(self.overlay.block).min(end);
            let Some((part, later)) = rest.split_at_mut_checked((until - at) as usize) else { break };
            match place {
                Place::Below => self.below.read_at(part, at)?,
                Place::Overlay => self.overlay.file.read(part, at)?,
                Place::Zero => part.fill(0),
            }
            (at, rest) = (until, later);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let mut rest = buf;
        for piece in pieces(offset..offset + buf.len() as u64, self.overlay.block) {
            let Some((part, later)) = rest.split_at_checked(piece.length) else { break };
            self.put(piece, Some(part))?;
            rest = later;
        }
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let blocks = whole(&range, self.overlay.block, self.size);
        let inner = bytes_of(&blocks, self.overlay.block, self.size);
        if blocks.is_empty() {
            return pieces(range, self.overlay.block).try_for_each(|piece| self.put(piece, None));
        }
        let edges = [range.start..inner.start, inner.end..range.end];
        for piece in edges.into_iter().flat_map(|edge| pieces(edge, self.overlay.block)) {
            self.put(piece, None)?;
        }
        self.clear(blocks);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        self.clear(whole(&range, self.overlay.block, self.size));
        Ok(())
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if self.overlay.keep_prefetched { self.pull_all(range) } else { self.below.prefetch(range) }
    }

    /// Nothing here outlives the process.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let block = self.overlay.block;
        let (place, until) = self.overlay.run(range.start / block, range.end.div_ceil(block));
        let until = until.saturating_mul(block).min(range.end);
        let length = until - range.start;
        match place {
            Place::Below => self.below.status(range.start..until),
            Place::Overlay => Ok(Extent { offset: None, ..Extent::data(length, 0) }),
            Place::Zero => Ok(Extent::zero(length)),
        }
    }

    fn limits(&self) -> Limits {
        let preferred = u32::try_from(self.overlay.block).unwrap_or(u32::MAX);
        let below = self.below.limits();
        Limits { alignment: 1, preferred, growable: false, zero_init: below.zero_init }
    }

    fn is_read_only(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "cow_test.rs"]
mod tests;
