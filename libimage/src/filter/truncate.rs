//! A device that looks larger or smaller than it is: cut to a size, or rounded to a multiple.
//!
//! What is added reads as zeroes, and only zeroes may be written there.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::forward::forward;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};
use crate::job::zero::is_zero;

/// The size that is wanted. All three may be given: they are applied in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewSize {
    /// Bytes, whatever the size is.
    pub exactly: Option<u64>,
    /// Up to a multiple of these bytes, a power of two.
    pub up_to: Option<u64>,
    /// Down to a multiple of these bytes, a power of two.
    pub down_to: Option<u64>,
}

impl NewSize {
    fn of(&self, size: u64, name: &str) -> Result<u64> {
        let mut size = self.exactly.unwrap_or(size);
        if let Some(step) = self.up_to {
            size = size.checked_next_multiple_of(step).filter(|&size| size <= i64::MAX as u64).ok_or_else(
                || {
                    Error::unsupported(
                        name,
                        format!("its size of {size} bytes cannot be rounded up to a multiple of {step}"),
                    )
                },
            )?;
        }
        if let Some(step) = self.down_to {
            size -= size.checked_rem(step).unwrap_or(0);
        }
        Ok(size)
    }
}

/// A device of another size.
pub struct Truncate {
    below: Arc<dyn Block>,
    /// The size below, and the one that is shown.
    real: u64,
    size: u64,
}

impl Truncate {
    /// Shows `below` with another size.
    ///
    /// # Errors
    /// When that size is more than 2^63 - 1 bytes.
    pub fn new(below: Arc<dyn Block>, size: NewSize) -> Result<Self> {
        let real = below.size();
        let size = size.of(real, below.name())?;
        Ok(Truncate { below, real, size })
    }

    /// The part of a request that lies within the device below.
    fn inside(&self, range: &Range<u64>) -> Result<Range<u64>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        Ok(range.start.min(self.real)..range.end.min(self.real))
    }
}

impl Block for Truncate {
    forward!(flush, is_read_only, name, allocated_bytes);

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let range = self.inside(&(offset..offset.saturating_add(buf.len() as u64)))?;
        let (part, behind) = buf.split_at_mut((range.end - range.start) as usize);
        behind.fill(0);
        if part.is_empty() { Ok(()) } else { self.below.read_at(part, offset) }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = self.inside(&(offset..offset.saturating_add(buf.len() as u64)))?;
        let (part, behind) = buf.split_at((range.end - range.start) as usize);
        if !is_zero(behind) {
            let source = io::Error::from(Errno::NOSPC);
            return Err(Error::io_at("write behind the end of", self.name(), self.real, source));
        }
        if part.is_empty() { Ok(()) } else { self.below.write_at(part, offset) }
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let range = self.inside(&range)?;
        if range.is_empty() { Ok(()) } else { self.below.write_zeroes(range, how) }
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        let range = self.inside(&range)?;
        if range.is_empty() { Ok(()) } else { self.below.discard(range) }
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        let range = self.inside(&range)?;
        if range.is_empty() { Ok(()) } else { self.below.prefetch(range) }
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let inside = self.inside(&range)?;
        if inside.is_empty() {
            return Ok(Extent::zero(range.end.saturating_sub(range.start)));
        }
        self.below.status(inside)
    }

    fn limits(&self) -> Limits {
        let below = self.below.limits();
        Limits {
            growable: false,
            alignment: if self.size == self.real { below.alignment } else { 1 },
            ..below
        }
    }
}

#[cfg(test)]
#[path = "truncate_test.rs"]
mod tests;
