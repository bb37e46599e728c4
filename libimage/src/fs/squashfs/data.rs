//! Contents of files: packed blocks one after the other, holes among them, and ends that share a fragment block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::super::system::{FsError, Result};
use super::Squashfs;
use super::inode::{Body, Inode};
use super::metadata::locked;
use crate::fields::Fields;

/// The bit in a block's size that says that it is not packed.
const PLAIN: u32 = 1 << 24;
/// Blocks of a file whose places are kept: at 128 KiB each, 2 TiB.
const MAX_BLOCKS: u64 = 16 << 20;
/// Blocks between those whose places are written down.
const STRIDE: usize = 256;
/// Files whose blocks' places are kept, and how many blocks they have in all.
const KEPT_FILES: usize = 256;
const KEPT_BLOCKS: usize = 1 << 20;
/// Unpacked blocks that are kept, in bytes.
const KEPT_BYTES: usize = 32 << 20;

/// Where the blocks of a file are.
pub(super) struct Layout {
    /// What each takes up on the device, 0 for a hole, with the bit for those that are not packed.
    sizes: Vec<u32>,
    /// Where every `STRIDE`th begins.
    starts: Vec<u64>,
}

/// What was wanted lately.
#[derive(Default)]
pub(super) struct Kept {
    layouts: Mutex<HashMap<u64, Arc<Layout>>>,
    blocks: Mutex<HashMap<u64, Arc<Vec<u8>>>>,
}

impl Layout {
    fn place(&self, index: usize) -> Option<(u64, u32)> {
        let first = index / STRIDE * STRIDE;
        let start = *self.starts.get(index / STRIDE)?;
        let before: u64 = self.sizes.get(first..index)?.iter().map(|size| u64::from(size & !PLAIN)).sum();
        Some((start.checked_add(before)?, *self.sizes.get(index)?))
    }

    fn is_hole(&self, index: u64) -> bool {
        self.sizes.get(index as usize) == Some(&0)
    }
}

impl Squashfs {
    fn layout(&self, inode: &Inode, key: u64) -> Result<Arc<Layout>> {
        if let Some(found) = locked(&self.kept.layouts).get(&key) {
            return Ok(Arc::clone(found));
        }
        let Body::File { start, fragment, mut list } = inode.body else {
            return Err(self.corrupt_inode(inode, "it has no contents"));
        };
        let block_size = u64::from(self.superblock.block_size);
        let count = match fragment {
            Some(_) => inode.size / block_size,
            None => inode.size.div_ceil(block_size),
        };
        if count > MAX_BLOCKS {
            return Err(FsError::Unsupported(format!("a file has {count} blocks")));
        }
        let (mut sizes, mut starts, mut at) = (Vec::new(), Vec::new(), start);
        let mut left = count as usize;
        let mut piece = [0; 4 * STRIDE];
        while left > 0 {
            starts.push(at);
            let now = left.min(STRIDE);
            let bytes = piece.get_mut(..now * 4).unwrap_or_default();
            self.take_into(&mut list, bytes)?;
            for index in 0..now {
                let size = Fields(bytes).le32(index * 4);
                at = at.saturating_add(u64::from(size & !PLAIN));
                sizes.push(size);
            }
            left -= now;
        }
        let found = Arc::new(Layout { sizes, starts });
        let mut kept = locked(&self.kept.layouts);
        let all: usize = kept.values().map(|layout| layout.sizes.len()).sum();
        if kept.len() >= KEPT_FILES || all > KEPT_BLOCKS {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// A block as it is unpacked.
    fn data_block(&self, at: u64, size: u32) -> Result<Arc<Vec<u8>>> {
        if let Some(found) = locked(&self.kept.blocks).get(&at) {
            return Ok(Arc::clone(found));
        }
        let wrong = |what: &str| Err(self.device.corrupt(at, what).into());
        let length = size & !PLAIN;
        let end = at.saturating_add(length.into());
        // What does not get smaller is stored as it is.
        if length > self.superblock.block_size || end > self.superblock.bytes_used {
            return wrong("a block of data lies behind the end or has no possible length");
        }
        let stored = self.device.bytes(at, length as usize)?;
        let most = self.superblock.block_size as usize;
        let bytes = match size & PLAIN {
            0 => self.superblock.compressor.unpack(&stored, most),
            _ => Some(stored),
        };
        let Some(bytes) = bytes else { return wrong("a block of data cannot be unpacked") };
        let found = Arc::new(bytes);
        let mut kept = locked(&self.kept.blocks);
        if kept.len() >= (KEPT_BYTES / most).max(4) {
            kept.clear();
        }
        kept.insert(at, Arc::clone(&found));
        Ok(found)
    }

    /// The block with the end of a file, and where in it.
    fn fragment(&self, inode: &Inode, number: u32, offset: u32) -> Result<(Arc<Vec<u8>>, usize)> {
        if number >= self.superblock.fragments {
            return Err(self.corrupt_inode(inode, "its end lies in a fragment that there is not"));
        }
        let entry = self.table_entry(self.superblock.fragment_table, number.into(), 16)?;
        let fields = Fields(&entry);
        Ok((self.data_block(fields.le64(0), fields.le32(8))?, offset as usize))
    }

    /// Fills `into`, which ends at the file's end at the latest, from the byte `offset` on.
    pub(super) fn read_data(&self, inode: &Inode, key: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let Body::File { fragment, .. } = inode.body else {
            return Err(self.corrupt_inode(inode, "it has no contents"));
        };
        let layout = self.layout(inode, key)?;
        let block_size = u64::from(self.superblock.block_size);
        let mut done = 0;
        while done < into.len() {
            let position = offset + done as u64;
            let (index, inside) = (position / block_size, (position % block_size) as usize);
            // How long the block is: the file's last one is shorter.
            let length = (inode.size - index * block_size).min(block_size) as usize;
            let count = (length - inside).min(into.len() - done);
            let Some(part) = into.get_mut(done..done + count) else { break };
            let (block, start) = match (layout.place(index as usize), fragment) {
                (Some((_, 0)), _) => {
                    part.fill(0);
                    done += count;
                    continue;
                }
                (Some((at, size)), _) => {
                    let block = self.data_block(at, size)?;
                    if block.len() != length {
                        return Err(self.corrupt_inode(inode, "a block of its data is too short or too long"));
                    }
                    (block, 0)
                }
                (None, Some((number, offset))) => self.fragment(inode, number, offset)?,
                (None, None) => return Err(self.corrupt_inode(inode, "it has fewer blocks than it should")),
            };
            let from = start.checked_add(inside).and_then(|from| block.get(from..)?.get(..count));
            let Some(from) = from else {
                return Err(self.corrupt_inode(inode, "its end lies behind the end of its fragment"));
            };
            part.copy_from_slice(from);
            done += count;
        }
        Ok(())
    }

    /// The first piece of data at or after `offset`.
    pub(super) fn next_data(&self, inode: &Inode, key: u64, offset: u64) -> Result<Option<(u64, u64)>> {
        if offset >= inode.size {
            return Ok(None);
        }
        let layout = self.layout(inode, key)?;
        let block_size = u64::from(self.superblock.block_size);
        let blocks = inode.size.div_ceil(block_size);
        let start = (offset / block_size..blocks).find(|index| !layout.is_hole(*index));
        let Some(start) = start else { return Ok(None) };
        let end = (start..blocks).find(|index| layout.is_hole(*index)).unwrap_or(blocks);
        Ok(Some(((start * block_size).max(offset), (end.saturating_mul(block_size)).min(inode.size))))
    }
}
