//! A storage that has nothing: it reads as zeroes and forgets what is written. For measurements.

use std::ops::Range;

use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

/// `size` bytes that are not there.
pub struct Null {
    name: String,
    size: u64,
    zeroes: bool,
    read_only: bool,
}

impl Null {
    /// As the driver `driver` makes it. Only with `zeroes` does it promise what reads return.
    ///
    /// # Errors
    /// When the size is none that a disk can have.
    pub fn new(driver: &str, size: u64, zeroes: bool, read_only: bool) -> Result<Self> {
        let size = crate::units::round_up(size, 512)
            .filter(|&size| size <= i64::MAX as u64)
            .ok_or_else(|| Error::Invalid(format!("Image size {size} is too large")))?;
        Ok(Null { name: format!("{driver}://"), size, zeroes, read_only })
    }

    fn writable(&self, offset: u64, length: u64) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly { file: self.name.clone() });
        }
        check_range(self, offset, length)
    }
}

impl Block for Null {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        buf.fill(0);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.writable(offset, buf.len() as u64)
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        self.writable(range.start, range.end.saturating_sub(range.start))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.writable(range.start, range.end.saturating_sub(range.start))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        Ok(match self.zeroes {
            true => Extent { offset: Some(range.start), ..Extent::zero(length) },
            false => Extent { zero: false, ..Extent::absent(length) },
        })
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn resize(&self, _size: u64, _preallocation: Preallocation) -> Result<()> {
        Err(Error::unsupported(self.name(), "Image format driver does not support resize"))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn allocated_bytes(&self) -> Option<u64> {
        Some(0)
    }
}
