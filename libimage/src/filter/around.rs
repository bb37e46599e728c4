//! Filters that do something around every call, whatever it is: wait, count, write it down, fail it, try it again.
//!
//! Such a filter says once what it does ([`Around`]); [`Wrapped`] makes a device of it. The kernel is never let in
//! behind its back: there is no [`Block::host_range`].

use std::ops::Range;
use std::sync::Arc;

use super::forward::forward;
use crate::block::{Block, Extent, Zero};
use crate::error::Result;

/// A call as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// What is asked for.
    pub(super) kind: Kind,
    /// The first byte; 0 for a flush.
    pub(super) offset: u64,
    /// Bytes; 0 for a flush.
    pub(super) count: u64,
    /// Space may be given back (of zeroes).
    pub(super) may_unmap: bool,
}

/// The kinds of calls, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the method of its name")]
pub enum Kind {
    Read,
    Write,
    Trim,
    Zero,
    Extents,
    Cache,
    Flush,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Read, Kind::Write, Kind::Trim, Kind::Zero, Kind::Extents, Kind::Cache, Kind::Flush];

    /// Its place in [`Kind::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// What a call can return, beyond success.
pub(super) trait Outcome {
    /// The extent that was found, with its start.
    fn extent(&self) -> Option<Extent> {
        None
    }
}

impl Outcome for () {}

impl Outcome for Extent {
    fn extent(&self) -> Option<Extent> {
        Some(*self)
    }
}

/// What is done around each call.
pub(super) trait Around: Send + Sync {
    /// Does `call` by calling `run` with the device below: once, several times, or not at all.
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T>;

    /// Nothing is written from now on.
    fn refuses_writes(&self) -> bool {
        false
    }
}

/// A device, and what is done around each call to it.
pub(super) struct Wrapped<A> {
    below: Arc<dyn Block>,
    around: A,
}

impl<A: Around> Wrapped<A> {
    pub(super) fn new(below: Arc<dyn Block>, around: A) -> Self {
        Wrapped { below, around }
    }

    fn call<T: Outcome>(
        &self,
        kind: Kind,
        range: &Range<u64>,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let count = range.end.saturating_sub(range.start);
        self.around.around(&*self.below, Call { kind, offset: range.start, count, may_unmap: false }, run)
    }
}

fn range_of(offset: u64, length: usize) -> Range<u64> {
    offset..offset.saturating_add(length as u64)
}

impl<A: Around> Block for Wrapped<A> {
    forward!(size, limits, name, allocated_bytes);

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.call(Kind::Read, &range_of(offset, buf.len()), &mut |below| below.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.call(Kind::Write, &range_of(offset, buf.len()), &mut |below| below.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let count = range.end.saturating_sub(range.start);
        let may_unmap = how == Zero::MayUnmap;
        let call = Call { kind: Kind::Zero, offset: range.start, count, may_unmap };
        self.around.around(&*self.below, call, &mut |below| below.write_zeroes(range.clone(), how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.call(Kind::Trim, &range, &mut |below| below.discard(range.clone()))
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.call(Kind::Cache, &range, &mut |below| below.prefetch(range.clone()))
    }

    fn flush(&self) -> Result<()> {
        self.call(Kind::Flush, &(0..0), &mut |below| below.flush())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.call(Kind::Extents, &range, &mut |below| below.status(range.clone()))
    }

    fn is_read_only(&self) -> bool {
        self.below.is_read_only() || self.around.refuses_writes()
    }
}
