//! Bytes that must stay as they are, in a device that can be written otherwise; and writing that only compares.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::blocks::pieces;
use super::forward::forward;
use crate::block::{Block, Zero, check_range};
use crate::error::{Error, Result};
use crate::job::zero::is_zero;

/// Bytes that are compared at once.
const PIECE: u64 = 1 << 20;

/// Whether `range` of `block` holds `bytes`, or zeroes.
fn holds(block: &dyn Block, range: Range<u64>, bytes: Option<&[u8]>) -> Result<bool> {
    let mut rest = bytes.unwrap_or_default();
    let mut buf = vec![0; PIECE.min(range.end.saturating_sub(range.start)) as usize];
    let mut at = range.start;
    while at < range.end {
        let mut end = at.saturating_add(PIECE).min(range.end);
        if bytes.is_none() {
            let extent = block.status(at..range.end)?;
            end = at.saturating_add(extent.length.max(1)).min(range.end);
            if extent.zero {
                at = end;
                continue;
            }
        }
        for piece in pieces(at..end, PIECE) {
            let found = buf.get_mut(..piece.length).unwrap_or_default();
            block.read_at(found, piece.start)?;
            let same = match bytes {
                None => is_zero(found),
                Some(_) => {
                    let (part, later) = rest.split_at(piece.length.min(rest.len()));
                    rest = later;
                    part == found
                }
            };
            if !same {
                return Ok(false);
            }
        }
        at = end;
    }
    Ok(true)
}

/// A range that must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The first byte.
    pub start: u64,
    /// The last byte; `None` for the end of the device.
    pub last: Option<u64>,
    /// It is everything else that is protected.
    pub complement: bool,
}

impl Protected {
    /// What is protected of a device of `size` bytes.
    fn ranges(&self, size: u64) -> [Range<u64>; 2] {
        let start = self.start.min(size);
        let end = self.last.map_or(size, |last| last.saturating_add(1).min(size)).max(start);
        if self.complement { [0..start, end..size] } else { [start..end, 0..0] }
    }
}

/// A device of which parts cannot be changed.
pub struct Protect {
    below: Arc<dyn Block>,
    ranges: Vec<Range<u64>>,
}

impl Protect {
    /// Shows `below`, with what is protected.
    pub fn new(below: Arc<dyn Block>, protected: &[Protected]) -> Self {
        let size = below.size();
        let ranges = protected.iter().flat_map(|range| range.ranges(size)).filter(|range| !range.is_empty());
        Protect { ranges: ranges.collect(), below }
    }

    /// Refuses a change of `range` to `bytes` (`None`: zeroes) if that would change what is protected.
    fn check(&self, range: &Range<u64>, bytes: Option<&[u8]>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        for protected in &self.ranges {
            let both = protected.start.max(range.start)..protected.end.min(range.end);
            if both.is_empty() {
                continue;
            }
            let part = |bytes| {
                <[u8]>::get(bytes, (both.start - range.start) as usize..(both.end - range.start) as usize)
            };
            if !holds(&*self.below, both.clone(), bytes.and_then(part))? {
                let source = io::Error::from(Errno::PERM);
                return Err(Error::io_at("change protected bytes of", self.name(), both.start, source));
            }
        }
        Ok(())
    }
}

impl Block for Protect {
    forward!(
        size,
        read_at,
        prefetch,
        flush,
        status,
        fixed_limits,
        is_read_only,
        name,
        host_range,
        allocated_bytes
    );

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check(&(offset..offset.saturating_add(buf.len() as u64)), Some(buf))?;
        self.below.write_at(buf, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.check(&range, None)?;
        self.below.write_zeroes(range, how)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.check(&range, None)?;
        self.below.discard(range)
    }
}

/// A device that accepts to be written only what is there already: a test of what copies.
pub struct CheckWrite {
    below: Arc<dyn Block>,
}

impl CheckWrite {
    /// Shows `below`, which is never written.
    pub fn new(below: Arc<dyn Block>) -> Self {
        CheckWrite { below }
    }

    fn check(&self, range: Range<u64>, bytes: Option<&[u8]>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let start = range.start;
        if holds(&*self.below, range, bytes)? {
            return Ok(());
        }
        let source = io::Error::from(Errno::IO);
        Err(Error::io_at("write something else than there is to", self.name(), start, source))
    }
}

impl Block for CheckWrite {
    forward!(size, read_at, prefetch, status, fixed_limits, name, allocated_bytes);

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check(offset..offset.saturating_add(buf.len() as u64), Some(buf))
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        self.check(range, None)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.check(range, None)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "protect_test.rs"]
mod tests;
