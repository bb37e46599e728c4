//! A window onto part of a block device: a partition, or a raw image inside another file.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, HostRange, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// The bytes `start..start + size` of another block device. No request reaches beyond them.
pub struct Slice {
    inner: Arc<dyn Block>,
    start: u64,
    size: u64,
    name: String,
}

impl Slice {
    /// A window of `size` bytes that begins at byte `start` of `inner`.
    ///
    /// # Errors
    /// When it does not lie within `inner`.
    pub fn new(inner: Arc<dyn Block>, start: u64, size: u64) -> Result<Self> {
        check_range(&*inner, start, size)?;
        let name = inner.name().to_owned();
        Ok(Slice { inner, start, size, name })
    }

    fn shift(&self, range: &Range<u64>) -> Result<Range<u64>> {
        if range.start > range.end {
            return Err(Error::Invalid("A range ends before it starts".to_owned()));
        }
        check_range(self, range.start, range.end - range.start)?;
        Ok(range.start + self.start..range.end + self.start)
    }
}

impl Block for Slice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        self.inner.read_at(buf, offset + self.start)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        self.inner.write_at(buf, offset + self.start)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.inner.write_zeroes(self.shift(&range)?, how)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        self.inner.host_range(self.shift(&range)?)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.inner.discard(self.shift(&range)?)
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.inner.prefetch(self.shift(&range)?)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.inner.status(self.shift(&range)?)
    }

    fn limits(&self) -> Limits {
        Limits { growable: false, ..self.inner.limits() }
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn nothing_outside_the_window_is_reached() {
        let inner = Arc::new(Memory::from_bytes(&[1; 3000]));
        let slice = Slice::new(inner.clone(), 1000, 1000).unwrap();
        slice.write_at(&[2; 1000], 0).unwrap();
        assert!(slice.write_at(&[3], 1000).is_err());
        assert!(slice.read_at(&mut [0; 2], 999).is_err());
        assert!(slice.write_zeroes(900..1001, Zero::MayUnmap).is_err());
        let mut all = vec![0; 3000];
        inner.read_at(&mut all, 0).unwrap();
        assert!(all[..1000].iter().all(|&b| b == 1) && all[2000..].iter().all(|&b| b == 1));
        assert!(Slice::new(inner.clone(), 2001, 1000).is_err());
        assert!(Slice::new(inner, u64::MAX, 2).is_err());
    }
}
