//! The device under a file system, with what was read lately kept at hand.
//!
//! Metadata is asked for in small pieces that lie close to each other; each piece would cost a system call, or a walk
//! through an image's tables. Large pieces, which are mostly data, are read past what is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::Block;
use crate::error::{Error, Result};

/// Bytes of a page, which is read as a whole.
const PAGE: u64 = 32 << 10;
/// Requests from this size on are not kept.
const LARGE: usize = 64 << 10;
/// Parts of what is kept, each with a lock of its own.
const SHARDS: usize = 16;
/// Pages in each part: 16 MiB in all.
const PAGES: usize = 32;

type Shard = HashMap<u64, Arc<Vec<u8>>>;

/// A device, read only.
pub(super) struct Device {
    block: Arc<dyn Block>,
    size: u64,
    shards: [Mutex<Shard>; SHARDS],
}

impl Device {
    pub(super) fn new(block: Arc<dyn Block>) -> Self {
        let size = block.size();
        Device { block, size, shards: Default::default() }
    }

    /// Size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The file that it is.
    pub(super) fn name(&self) -> &str {
        self.block.name()
    }

    /// An error that says what is wrong at `offset` of the device.
    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { file: self.name().to_owned(), offset: Some(offset), what: what.into() }
    }

    /// Fills `into` from `offset` on.
    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> Result<()> {
        if into.len() >= LARGE {
            return self.block.read_at(into, offset);
        }
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = offset.checked_add(done as u64).filter(|at| *at < self.size);
            let at = at.ok_or_else(|| Error::OutOfRange {
                file: self.name().to_owned(),
                offset,
                length: (done + rest.len()) as u64,
                size: self.size,
            })?;
            let page = self.page(at / PAGE)?;
            let inside = page.get((at % PAGE) as usize..).unwrap_or_default();
            let count = inside.len().min(rest.len());
            rest[..count].copy_from_slice(&inside[..count]);
            done += count;
        }
        Ok(())
    }

    /// Bytes of the device, at most `LARGE` for a caller that knows what it asks for.
    pub(super) fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn page(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let shard = self.shards.get(number as usize % SHARDS).unwrap_or(&self.shards[0]);
        if let Some(page) = lock(shard).get(&number) {
            return Ok(Arc::clone(page));
        }
        let start = number * PAGE;
        let mut page = vec![0; self.size.saturating_sub(start).min(PAGE) as usize];
        self.block.read_at(&mut page, start)?;
        let page = Arc::new(page);
        let mut shard = lock(shard);
        if shard.len() >= PAGES {
            shard.clear();
        }
        shard.insert(number, Arc::clone(&page));
        Ok(page)
    }
}

fn lock(shard: &Mutex<Shard>) -> std::sync::MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn reads_are_those_of_the_device() {
        let bytes: Vec<u8> = (0..3 * PAGE + 100).map(|at| (at % 251) as u8).collect();
        let memory = Memory::new(bytes.len() as u64);
        memory.write_at(&bytes, 0).unwrap();
        let device = Device::new(Arc::new(memory));
        for (offset, length) in
            [(0, 1), (PAGE - 1, 2), (100, 60_000), (7, 70_000), (3 * PAGE + 99, 1), (5, 0)]
        {
            let found = device.bytes(offset, length).unwrap();
            assert!(found == bytes[offset as usize..][..length], "{offset} {length}");
        }
        for (offset, length) in [(3 * PAGE + 100, 1), (3 * PAGE, 101), (u64::MAX, 2), (0, 200_000)] {
            assert!(device.bytes(offset, length).is_err(), "{offset} {length}");
        }
    }
}
