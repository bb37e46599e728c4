//! Requests in the sizes that what lies below can do: whole blocks, and not too many of them at once.
//!
//! Parts of blocks are read, changed and written back. Whoever does that is alone meanwhile, as the other parts of the
//! block are written too.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::forward::forward;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// The largest smallest block, in bytes.
const MAX_MIN_BLOCK: u64 = 64 * 1024;
/// The usual largest requests, with data and without.
const MAX_DATA: u64 = 64 << 20;
const MAX_LENGTH: u64 = 0xffff_ffff;

/// The sizes that are possible. What is not given is what lies below suggests, or the protocol's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The size that all others are multiples of, in bytes.
    pub min_block: Option<u64>,
    /// Bytes of a request with data, at most.
    pub max_data: Option<u64>,
    /// Bytes of a request without data, at most.
    pub max_length: Option<u64>,
}

impl Sizes {
    /// Whether they make sense together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::Invalid(text));
        for (name, size) in
            [("minblock", self.min_block), ("maxdata", self.max_data), ("maxlen", self.max_length)]
        {
            if size == Some(0) {
                return invalid(format!("parameter '{name}' must be non-zero if specified"));
            }
        }
        let block = self.min_block.unwrap_or(1);
        if !block.is_power_of_two() {
            return invalid("minblock must be a power of 2".to_owned());
        }
        if block > MAX_MIN_BLOCK {
            return invalid(format!("minblock must not exceed {MAX_MIN_BLOCK}"));
        }
        for (name, size) in [("maxdata", self.max_data), ("maxlen", self.max_length)] {
            if size.is_some_and(|size| !size.is_multiple_of(block)) {
                return invalid(format!("{name} must be a multiple of {block}"));
            }
        }
        Ok(())
    }
}

/// A device to which only requests of possible sizes go.
pub struct BlockSize {
    below: Arc<dyn Block>,
    block: u64,
    max_data: u64,
    max_length: u64,
    size: u64,
    /// Held alone by who changes parts of blocks.
    parts: RwLock<()>,
}

impl BlockSize {
    /// Shows `below`, up to its last whole block.
    ///
    /// # Errors
    /// When the sizes make no sense.
    pub fn new(below: Arc<dyn Block>, sizes: Sizes) -> Result<Self> {
        sizes.check()?;
        let suggested = u64::from(below.limits().alignment.max(1)).next_power_of_two().min(MAX_MIN_BLOCK);
        let block = sizes.min_block.unwrap_or(suggested);
        let multiple = |most: u64| (most - most % block).max(block);
        Ok(BlockSize {
            size: below.size() - below.size() % block,
            block,
            max_data: multiple(sizes.max_data.unwrap_or(MAX_DATA)),
            max_length: multiple(sizes.max_length.unwrap_or(MAX_LENGTH)),
            parts: RwLock::new(()),
            below,
        })
    }

    /// The whole blocks within a range, and the whole blocks that cover it.
    fn inner(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start.next_multiple_of(self.block);
        start..(range.end - range.end % self.block).max(start)
    }

    fn outer(&self, range: &Range<u64>) -> Range<u64> {
        range.start - range.start % self.block..range.end.next_multiple_of(self.block)
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))
    }

    /// Calls `act` with parts of `range` that have `most` bytes at most.
    fn split(range: Range<u64>, most: u64, mut act: impl FnMut(Range<u64>) -> Result<()>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(most).min(range.end);
            act(at..end)?;
            at = end;
        }
        Ok(())
    }

    fn read_whole(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut rest = buf;
        Self::split(offset..offset + rest.len() as u64, self.max_data, |part| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut((part.end - part.start) as usize);
            rest = later;
            self.below.read_at(now, part.start)
        })
    }

    fn write_whole(&self, buf: &[u8], offset: u64) -> Result<()> {
        Self::split(offset..offset + buf.len() as u64, self.max_data, |part| {
            let inside = (part.start - offset) as usize..(part.end - offset) as usize;
            self.below.write_at(buf.get(inside).unwrap_or_default(), part.start)
        })
    }

    /// Changes a part of one block. The caller is alone.
    fn change_part(&self, part: Range<u64>, change: impl FnOnce(&mut [u8])) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let outer = self.outer(&part);
        let mut buf = vec![0; (outer.end - outer.start) as usize];
        self.read_whole(&mut buf, outer.start)?;
        let inside = (part.start - outer.start) as usize..(part.end - outer.start) as usize;
        change(buf.get_mut(inside).unwrap_or_default());
        self.write_whole(&buf, outer.start)
    }

    /// Changes `range`: the parts of blocks at its edges by `edge`, the whole ones between them by `whole`.
    fn change(
        &self,
        range: &Range<u64>,
        edge: impl Fn(&mut [u8], Range<u64>),
        whole: impl FnOnce(Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let inner = self.inner(range);
        if inner == *range {
            let _shared = self.parts.read().unwrap_or_else(PoisonError::into_inner);
            return whole(inner);
        }
        let _alone = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if inner.is_empty() {
            // At most two blocks, each in part.
            let middle = range.end.min(self.outer(&(range.start..range.start + 1)).end);
            for part in [range.start..middle, middle..range.end] {
                self.change_part(part.clone(), |bytes| edge(bytes, part))?;
            }
            return Ok(());
        }
        for part in [range.start..inner.start, inner.end..range.end] {
            self.change_part(part.clone(), |bytes| edge(bytes, part))?;
        }
        whole(inner)
    }
}

impl Block for BlockSize {
    forward!(flush, is_read_only, name, allocated_bytes);

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.check(&range)?;
        let inner = self.inner(&range);
        if inner == range {
            return self.read_whole(buf, offset);
        }
        // The whole blocks go where they belong; only the edges need a place of their own.
        let mut edges = [range.start..inner.start.min(range.end), inner.end.max(range.start)..range.end];
        if inner.is_empty() {
            edges = [range.clone(), 0..0];
        } else {
            let inside = (inner.start - offset) as usize..(inner.end - offset) as usize;
            self.read_whole(buf.get_mut(inside).unwrap_or_default(), inner.start)?;
        }
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            let outer = self.outer(&edge);
            let mut bytes = vec![0; (outer.end - outer.start) as usize];
            self.read_whole(&mut bytes, outer.start)?;
            let from = (edge.start - outer.start) as usize..(edge.end - outer.start) as usize;
            let into = (edge.start - offset) as usize..(edge.end - offset) as usize;
            if let (Some(into), Some(from)) = (buf.get_mut(into), bytes.get(from)) {
                into.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.check(&range)?;
        let bytes = |part: Range<u64>| {
            buf.get((part.start - offset) as usize..(part.end - offset) as usize).unwrap_or_default()
        };
        self.change(
            &range,
            |into, part| into.copy_from_slice(bytes(part)),
            |inner| self.write_whole(bytes(inner.clone()), inner.start),
        )
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.check(&range)?;
        self.change(
            &range,
            |into, _| into.fill(0),
            |inner| Self::split(inner, self.max_length, |part| self.below.write_zeroes(part, how)),
        )
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        Self::split(self.inner(&range), self.max_length, |part| self.below.discard(part))
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        Self::split(self.outer(&range), self.max_length, |part| self.below.prefetch(part))
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.check(&range)?;
        let mut outer = self.outer(&range);
        outer.end = outer.end.min(outer.start.saturating_add(self.max_length));
        let before = range.start - outer.start;
        let extent = self.below.status(outer)?;
        if extent.length <= before {
            // The block begins with something short: what follows in it counts as data.
            let length = (self.block - before).min(range.end - range.start);
            return Ok(Extent { offset: None, ..Extent::data(length, 0) });
        }
        let extent = extent.skip(before);
        Ok(extent.with_length(extent.length.min(range.end - range.start)))
    }

    fn limits(&self) -> Limits {
        Limits { alignment: 1, growable: false, ..self.below.limits() }
    }
}

#[cfg(test)]
#[path = "blocksize_test.rs"]
mod tests;
