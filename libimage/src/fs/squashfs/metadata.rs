//! Metadata blocks: inodes, directories and tables lie packed in pieces of 8 KiB, one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::system::Result;
use super::Squashfs;
use crate::fields::Fields;

/// Bytes of a metadata block that is not the last of its table.
pub(super) const METADATA: usize = 8192;
/// The bit in a block's header that says that it is not packed.
const PLAIN: u16 = 0x8000;
/// Blocks that are kept unpacked: 8 MiB.
const KEPT: usize = 1024;

/// A metadata block, unpacked.
struct Unpacked {
    bytes: Vec<u8>,
    /// Where the one after it begins.
    next: u64,
}

/// The blocks that were wanted lately.
#[derive(Default)]
pub(super) struct Metadata(Mutex<HashMap<u64, Arc<Unpacked>>>);

/// A place in metadata: a block, and a byte of what it unpacks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: usize,
}

impl Place {
    /// From a reference to something in the table that begins at `table`.
    pub(super) fn of(reference: u64, table: u64) -> Place {
        // References have 48 bits; a table that lies nowhere is seen when the block is read.
        Place { block: table.saturating_add(reference >> 16), offset: (reference & 0xffff) as usize }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Squashfs {
    fn metadata_block(&self, at: u64) -> Result<Arc<Unpacked>> {
        if let Some(found) = locked(&self.metadata.0).get(&at) {
            return Ok(Arc::clone(found));
        }
        let wrong = |what: &str| Err(self.device.corrupt(at, what).into());
        let start = at.saturating_add(2);
        if start > self.superblock.bytes_used {
            return wrong("a block of metadata lies behind the end");
        }
        let header = Fields(&self.device.bytes(at, 2)?).le16(0);
        let length = usize::from(header & !PLAIN);
        let next = start + length as u64;
        if length == 0 || length > METADATA || next > self.superblock.bytes_used {
            return wrong("a block of metadata has no possible length");
        }
        let packed = self.device.bytes(start, length)?;
        let bytes = match header & PLAIN {
            0 => self.superblock.compressor.unpack(&packed, METADATA),
            _ => Some(packed),
        };
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return wrong("a block of metadata cannot be unpacked");
        };
        let found = Arc::new(Unpacked { bytes, next });
        let mut kept = locked(&self.metadata.0);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(at, Arc::clone(&found));
        Ok(found)
    }

    /// Fills `into` from metadata, and moves the place behind it.
    pub(super) fn take_into(&self, place: &mut Place, mut into: &mut [u8]) -> Result<()> {
        while !into.is_empty() {
            let block = self.metadata_block(place.block)?;
            let Some(rest) = block.bytes.get(place.offset..) else {
                let what = "something is to lie behind the end of its block of metadata";
                return Err(self.device.corrupt(place.block, what).into());
            };
            let count = rest.len().min(into.len());
            let (now, after) = into.split_at_mut(count);
            now.copy_from_slice(rest.get(..count).unwrap_or_default());
            into = after;
            place.offset += count;
            // Every block has bytes and lies behind the one before: this ends.
            if !into.is_empty() {
                *place = Place { block: block.next, offset: 0 };
            }
        }
        Ok(())
    }

    /// Bytes of metadata; callers have bounded how many.
    pub(super) fn take(&self, place: &mut Place, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.take_into(place, &mut bytes)?;
        Ok(bytes)
    }

    /// An entry of `size` bytes, which divides a block, of a table found through the list of its blocks at `list`.
    pub(super) fn table_entry(&self, list: u64, index: u64, size: usize) -> Result<Vec<u8>> {
        let per_block = (METADATA / size) as u64;
        let at = list.saturating_add(index / per_block * 8);
        if at.saturating_add(8) > self.superblock.bytes_used {
            return Err(self.device.corrupt(at, "a table lies behind the end").into());
        }
        let block = Fields(&self.device.bytes(at, 8)?).le64(0);
        let mut place = Place { block, offset: (index % per_block) as usize * size };
        self.take(&mut place, size)
    }
}
