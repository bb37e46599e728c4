//! Requests cut into blocks, and locks for blocks: what filters that keep blocks have in common.

use std::array;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks enough that two requests seldom meet at one by chance.
const LOCKS: usize = 64;

/// The part of a request that lies in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The block's number.
    pub(super) block: u64,
    /// The first byte that is meant, on the device.
    pub(super) start: u64,
    /// Bytes that are meant.
    pub(super) length: usize,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.length as u64)
    }
}

/// Cuts `range` at the borders of blocks of `size` bytes.
pub(super) fn pieces(range: Range<u64>, size: u64) -> impl Iterator<Item = Piece> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end || size == 0 {
            return None;
        }
        let length = (size - at % size).min(range.end - at);
        let piece = Piece { block: at / size, start: at, length: length as usize };
        at += length;
        Some(piece)
    })
}

/// The blocks that lie wholly within `range`. The last block of a device is whole where the device ends.
pub(super) fn whole(range: &Range<u64>, size: u64, device: u64) -> Range<u64> {
    let first = range.start.div_ceil(size);
    let end = if range.end >= device { device.div_ceil(size) } else { range.end / size };
    first..end.max(first)
}

/// The bytes of some blocks of a device.
pub(super) fn bytes_of(blocks: &Range<u64>, size: u64, device: u64) -> Range<u64> {
    let start = blocks.start.saturating_mul(size).min(device);
    start..blocks.end.saturating_mul(size).min(device).max(start)
}

/// A lock for each block, shared by several of them. Nobody takes a second one while it has one.
pub(super) struct BlockLocks {
    locks: [RwLock<()>; LOCKS],
}

impl BlockLocks {
    pub(super) fn new() -> Self {
        BlockLocks { locks: array::from_fn(|_| RwLock::new(())) }
    }

    /// Held while a block is read.
    pub(super) fn read(&self, block: u64) -> RwLockReadGuard<'_, ()> {
        self.locks[block as usize % LOCKS].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while a block is changed.
    pub(super) fn write(&self, block: u64) -> RwLockWriteGuard<'_, ()> {
        self.locks[block as usize % LOCKS].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while many blocks are changed at once: always in the same order.
    pub(super) fn write_all(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        self.locks.iter().map(|lock| lock.write().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

/// Takes a lock that keeps what it guards in order by itself: whoever panicked with it left it whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
