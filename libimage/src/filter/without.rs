//! Devices that lack something which others can do: writing, telling holes from data, fast zeroes, fetching early,
//! flushing.

use std::ops::Range;
use std::sync::Arc;

use super::forward::forward;
use crate::block::{Block, Extent, Limits, Zero, check_range, read_only};
use crate::error::Result;

/// Bytes that are written, or read, at once in the place of a call that is not there.
const PIECE: u64 = 1 << 20;

/// A device that nobody may write to.
pub struct ReadOnly {
    below: Arc<dyn Block>,
}

impl ReadOnly {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        ReadOnly { below }
    }
}

impl Block for ReadOnly {
    read_only!();
    forward!(size, read_at, prefetch, status, fixed_limits, name, host_range, allocated_bytes);
}

/// A device that seems to be full of data.
pub struct NoExtents {
    below: Arc<dyn Block>,
}

impl NoExtents {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        NoExtents { below }
    }
}

impl Block for NoExtents {
    forward!(size, read_at, write_at, write_zeroes, discard, prefetch, flush);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        Ok(Extent { offset: None, ..Extent::data(length, 0) })
    }

    fn limits(&self) -> Limits {
        Limits { zero_init: false, ..self.below.limits() }
    }
}

/// How zeroes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroes {
    /// As any other bytes.
    Written,
    /// By the call for zeroes, but space is never given back.
    KeepAllocated,
    /// As they come.
    Unchanged,
}

/// A device for which zeroes are nothing special.
pub struct NoZero {
    below: Arc<dyn Block>,
    zeroes: Zeroes,
}

impl NoZero {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>, zeroes: Zeroes) -> Self {
        NoZero { below, zeroes }
    }
}

impl Block for NoZero {
    forward!(size, read_at, write_at, discard, prefetch, flush, status, limits);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        match self.zeroes {
            Zeroes::Unchanged => return self.below.write_zeroes(range, how),
            Zeroes::KeepAllocated => return self.below.write_zeroes(range, Zero::KeepAllocated),
            Zeroes::Written => {}
        }
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let zeroes = vec![0; PIECE.min(range.end - range.start) as usize];
        super::blocks::pieces(range, PIECE).try_for_each(|piece| {
            self.below.write_at(zeroes.get(..piece.length).unwrap_or_default(), piece.start)
        })
    }
}

/// A device for which [`Block::prefetch`] does nothing.
pub struct NoCache {
    below: Arc<dyn Block>,
}

impl NoCache {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        NoCache { below }
    }
}

/// A device for which [`Block::prefetch`] is to read and to forget, whatever the one below would do.
pub struct ReadEarly {
    below: Arc<dyn Block>,
}

impl ReadEarly {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        ReadEarly { below }
    }
}

impl Block for ReadEarly {
    forward!(size, read_at, write_at, write_zeroes, discard, flush, status, limits);
    forward!(is_read_only, name, host_range, allocated_bytes);
}

impl Block for NoCache {
    forward!(size, read_at, write_at, write_zeroes, discard, flush, status, limits);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))
    }
}

/// A device whose flushes are forgotten: fast, and unsafe.
pub struct NoFlush {
    below: Arc<dyn Block>,
}

impl NoFlush {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        NoFlush { below }
    }
}

impl Block for NoFlush {
    forward!(size, read_at, write_at, write_zeroes, discard, prefetch, status, limits);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "without_test.rs"]
mod tests;
