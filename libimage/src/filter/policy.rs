//! What becomes of zeroes and of discards: the options `discard` and `detect-zeroes` of a node.
//!
//! As in QEMU, a request that is all zeroes counts as one to write zeroes, and discards are hints that a node may be
//! told to ignore; then whatever is zeroed keeps its space.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, HostRange, Limits, Preallocation, Zero, check_range};
use crate::error::Result;
use crate::job::zero::is_zero;

/// What a node was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Nothing is given back (`discard=ignore`).
    pub keep_space: bool,
    /// What a write of nothing but zeroes becomes (`detect-zeroes`).
    pub zeroes: Option<Zero>,
}

/// Applies [`Rules`] to the requests to another block device.
pub struct Policy {
    inner: Arc<dyn Block>,
    rules: Rules,
}

impl Policy {
    /// Shows `inner`.
    pub fn new(inner: Arc<dyn Block>, rules: Rules) -> Self {
        Policy { inner, rules }
    }
}

impl Block for Policy {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        match self.rules.zeroes {
            // Only files are written behind their end, and that is how they grow.
            Some(how) if !buf.is_empty() && is_zero(buf) && offset < self.inner.size() => {
                let end = offset.saturating_add(buf.len() as u64);
                if end > self.inner.size() {
                    return self.inner.write_at(buf, offset);
                }
                self.write_zeroes(offset..end, how)
            }
            _ => self.inner.write_at(buf, offset),
        }
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.inner.write_zeroes(range, if self.rules.keep_space { Zero::KeepAllocated } else { how })
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        if self.rules.keep_space {
            return check_range(self, range.start, range.end.saturating_sub(range.start));
        }
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

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        // What any write may free does not stay where it is.
        if self.rules.zeroes == Some(Zero::MayUnmap) { Ok(None) } else { self.inner.host_range(range) }
    }

    fn copy_from_file(&self, source: &HostRange, offset: u64) -> Result<u64> {
        // What the kernel copies nobody looks at.
        if self.rules.zeroes.is_some() { Ok(0) } else { self.inner.copy_from_file(source, offset) }
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
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::filter::{Event, Trace};
    use crate::storage::Memory;

    fn events(rules: Rules) -> String {
        let trace = Arc::new(Trace::new(Arc::new(Memory::new(8192))));
        let policy = Policy::new(trace.clone(), rules);
        policy.write_at(&[0; 512], 0).unwrap();
        policy.write_at(&[1; 512], 512).unwrap();
        policy.write_zeroes(1024..2048, Zero::MayUnmap).unwrap();
        policy.discard(4096..8192).unwrap();
        assert!(policy.discard(4096..8193).is_err());
        let name =
            |event: &Event| format!("{event:?}").chars().take_while(char::is_ascii_alphabetic).collect();
        trace.events().iter().map(name).collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn zeroes_and_discards_are_what_was_asked_for() {
        assert_eq!(events(Rules::default()), "Write Write WriteZeroes Discard");
        let detecting = Rules { zeroes: Some(Zero::KeepAllocated), ..Rules::default() };
        assert_eq!(events(detecting), "WriteZeroes Write WriteZeroes Discard");
        let keeping = Rules { keep_space: true, zeroes: None };
        assert_eq!(events(keeping), "Write Write WriteZeroes");
    }
}
