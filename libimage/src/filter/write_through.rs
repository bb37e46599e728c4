//! Every write is durable when it returns: the cache modes `writethrough` and `directsync`.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, Limits, Preallocation, Zero};
use crate::error::Result;

/// Flushes after each change of another block device.
pub struct WriteThrough {
    inner: Arc<dyn Block>,
}

impl WriteThrough {
    /// Shows `inner`.
    pub fn new(inner: Arc<dyn Block>) -> Self {
        WriteThrough { inner }
    }
}

impl Block for WriteThrough {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.inner.write_at(buf, offset)?;
        self.inner.flush()
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.inner.write_zeroes(range, how)?;
        self.inner.flush()
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.inner.discard(range)
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.inner.prefetch(range)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.inner.status(range)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.inner.resize(size, preallocation)?;
        self.inner.flush()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.inner.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::filter::{Event, Trace};
    use crate::storage::Memory;

    #[test]
    fn each_change_is_flushed() {
        let trace = Arc::new(Trace::new(Arc::new(Memory::new(8192))));
        let through = WriteThrough::new(trace.clone());
        through.write_at(&[1; 10], 5).unwrap();
        through.write_zeroes(0..100, Zero::MayUnmap).unwrap();
        let flushes = trace.events().iter().filter(|event| matches!(event, Event::Flush)).count();
        assert_eq!(flushes, 2);
    }
}
