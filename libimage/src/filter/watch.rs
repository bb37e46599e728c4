//! Remembers the first change that failed, for those who must not say later that all is well.
//!
//! A guest is told of a failed write, but may keep it to itself: a journal that could not be written shows up
//! in its log and nowhere else. Whoever gave it the disk can ask here.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::block::{Block, Extent, Limits, Preallocation, Zero};
use crate::error::{Result, describe};

/// Passes everything on; keeps the text of the first error of a write, zeroing or flush.
pub struct Watch<B> {
    inner: B,
    failure: Mutex<Option<String>>,
}

impl<B: std::ops::Deref<Target: Block> + Send + Sync> Watch<B> {
    /// Watches over `inner`.
    pub fn new(inner: B) -> Self {
        Watch { inner, failure: Mutex::new(None) }
    }

    /// The first change that failed, if one did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, done: Result<()>) -> Result<()> {
        if let Err(error) = &done {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| describe(error));
        }
        done
    }
}

impl<B: std::ops::Deref<Target: Block> + Send + Sync> Block for Watch<B> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.note(self.inner.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.note(self.inner.write_zeroes(range, how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.inner.discard(range)
    }

    fn flush(&self) -> Result<()> {
        self.note(self.inner.flush())
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
        self.inner.resize(size, preallocation)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.inner.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filter::Slice;
    use crate::storage::Memory;
    use std::sync::Arc;

    #[test]
    fn the_first_failed_change_is_remembered() {
        let inner: Arc<dyn Block> = Arc::new(Memory::new(1000));
        let watch = Watch::new(Arc::new(Slice::new(inner, 0, 500).unwrap()) as Arc<dyn Block>);
        watch.write_at(&[1; 500], 0).unwrap();
        assert!(watch.read_at(&mut [0; 2], 499).is_err());
        assert_eq!(watch.failure(), None);
        assert!(watch.write_at(&[1; 2], 499).is_err());
        assert!(watch.write_at(&[1; 9], 499).is_err());
        assert!(watch.failure().unwrap().contains("Request of 2 bytes"));
    }
}
