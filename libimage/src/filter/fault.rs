//! Makes chosen requests fail, to see what a format makes of it.
//!
//! Changes (writes, zeroing, flushes, resizing) are counted; those in an armed range of numbers fail. A
//! failing write may have stored a part of its bytes first, as real ones may.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::{Block, Extent, Limits, Preallocation, Zero};
use crate::error::{Error, Result};

/// A storage some of whose requests fail.
pub struct Fault {
    inner: Arc<dyn Block>,
    changes: AtomicU64,
    failing: Mutex<Range<u64>>,
    torn: AtomicBool,
}

impl Fault {
    /// Lets everything pass until it is armed.
    pub fn new(inner: Arc<dyn Block>) -> Self {
        Fault { inner, changes: AtomicU64::new(0), failing: Mutex::new(0..0), torn: AtomicBool::new(false) }
    }

    /// Lets the changes whose number lies in `range` fail, counted from now. With `torn`, failing writes
    /// store the whole sectors of their first half.
    pub fn arm(&self, range: Range<u64>, torn: bool) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.store(0, Ordering::SeqCst);
        self.torn.store(torn, Ordering::SeqCst);
        *failing = range;
    }

    /// Changes asked for since it was armed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn check(&self, action: &'static str) -> Result<()> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        match failing.contains(&number) {
            true => Err(Error::io(action, self.inner.name(), io::Error::from(io::ErrorKind::StorageFull))),
            false => Ok(()),
        }
    }
}

impl Block for Fault {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let checked = self.check("write to");
        if checked.is_err() && self.torn.load(Ordering::SeqCst) {
            // Sectors are written whole or not at all.
            let middle = offset + buf.len() as u64 / 2;
            let kept = (middle - middle % 512).saturating_sub(offset) as usize;
            if let Some(part) = buf.get(..kept).filter(|part| !part.is_empty()) {
                self.inner.write_at(part, offset)?;
            }
        }
        checked?;
        self.inner.write_at(buf, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.check("zero")?;
        self.inner.write_zeroes(range, how)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.check("discard")?;
        self.inner.discard(range)
    }

    fn flush(&self) -> Result<()> {
        self.check("flush")?;
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
        self.check("resize")?;
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
    use crate::storage::Memory;

    #[test]
    fn exactly_the_armed_requests_fail() {
        let fault = Fault::new(Arc::new(Memory::new(2000)));
        fault.arm(1..2, true);
        fault.write_at(&[1; 2000], 0).unwrap();
        assert!(fault.write_at(&[2; 2000], 0).is_err());
        fault.flush().unwrap();
        let mut bytes = [0; 2000];
        fault.read_at(&mut bytes, 0).unwrap();
        assert!(bytes[..512] == [2; 512] && bytes[512..] == [1; 1488]);
        assert_eq!(fault.changes(), 3);
    }
}
