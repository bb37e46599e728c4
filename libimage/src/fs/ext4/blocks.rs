//! Which blocks of the device hold a file: trees of extents, and the older tables of pointers.

use super::super::system::Result;
use super::Ext4;
use super::inode::{Inode, flag};
use super::superblock::crc;
use crate::fields::Fields;

const EXTENT_MAGIC: u16 = 0xf30a;
/// Deeper trees cannot be addressed.
const MAX_DEPTH: u16 = 5;
/// Extents that are longer than this were never written.
const MAX_WRITTEN: u64 = 32768;
/// Pointers in the inode itself.
const DIRECT: u64 = 12;

/// Blocks of a file in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Where they are on the device; `None` if they read as zeroes.
    pub(super) at: Option<u64>,
    /// How many, at least one.
    pub(super) count: u64,
}

impl Ext4 {
    /// The blocks of a file from the block `logical` on.
    pub(super) fn run_at(&self, inode: &Inode, logical: u64) -> Result<Run> {
        let run = if inode.has(flag::EXTENTS) {
            self.extent_at(inode, logical)?
        } else {
            self.pointer_at(inode, logical)?
        };
        if let Some(at) = run.at
            && at.checked_add(run.count).is_none_or(|end| end > self.superblock.blocks)
        {
            return Err(self.corrupt_inode(inode, "its data lies behind the end of the file system"));
        }
        Ok(run)
    }

    fn extent_at(&self, inode: &Inode, logical: u64) -> Result<Run> {
        let wrong = |what| Err(self.corrupt_inode(inode, what));
        let mut node = inode.pointers().to_vec();
        // Where what the node is responsible for ends.
        let mut end = u64::from(u32::MAX) + 1;
        let mut expected = None;
        loop {
            let (magic, entries, most, depth) =
                (Fields(&node).le16(0), Fields(&node).le16(2), Fields(&node).le16(4), Fields(&node).le16(6));
            let room = (node.len().saturating_sub(12) / 12) as u16;
            let is_sound = magic == EXTENT_MAGIC
                && entries <= most
                && most <= room
                && depth <= MAX_DEPTH
                && expected.is_none_or(|expected| expected == depth);
            if !is_sound {
                return wrong("its tree of extents is damaged");
            }
            let entry = |index: usize| node.get(12 + index * 12..24 + index * 12).unwrap_or_default();
            let start = |index: usize| u64::from(Fields(entry(index)).le32(0));
            // The last entry that begins at or before the block.
            let (mut low, mut high) = (0, usize::from(entries));
            while low < high {
                let middle = low.midpoint(high);
                if start(middle) <= logical { low = middle + 1 } else { high = middle }
            }
            let next = if low < usize::from(entries) { start(low) } else { end };
            if next <= logical {
                return wrong("its extents are not in order");
            }
            let Some(index) = low.checked_sub(1) else {
                return Ok(Run { at: None, count: next - logical });
            };
            let found = entry(index);
            if depth == 0 {
                let length = u64::from(Fields(found).le16(4));
                let (is_written, length) =
                    if length > MAX_WRITTEN { (false, length - MAX_WRITTEN) } else { (true, length) };
                let inside = logical - start(index);
                if inside >= length {
                    return Ok(Run { at: None, count: next - logical });
                }
                let physical = u64::from(Fields(found).le16(6)) << 32 | u64::from(Fields(found).le32(8));
                let at = is_written.then_some(physical.saturating_add(inside));
                return Ok(Run { at, count: (length - inside).min(next - logical) });
            }
            end = next;
            expected = Some(depth - 1);
            let child = u64::from(Fields(found).le16(8)) << 32 | u64::from(Fields(found).le32(4));
            node = self.block(child)?;
            let tail = 12 + 12 * usize::from(Fields(&node).le16(4));
            if let Some(seed) = inode.seed
                && tail + 4 <= node.len()
                && crc(seed, node.get(..tail).unwrap_or_default()) != Fields(&node).le32(tail)
            {
                return wrong("the checksum of a node of its extents is wrong");
            }
        }
    }

    fn pointer_at(&self, inode: &Inode, logical: u64) -> Result<Run> {
        let per_block = self.superblock.block_size / 4;
        let pointers = inode.pointers();
        if let Some(left) = DIRECT.checked_sub(logical).filter(|left| *left > 0) {
            return Ok(neighbours(pointers, logical as usize, left as usize));
        }
        let mut inside = logical - DIRECT;
        let mut span = per_block;
        for level in 0..3 {
            if inside < span {
                let top = u64::from(Fields(pointers).le32(4 * (DIRECT as usize + level)));
                return self.indirect_at(top, inside, span);
            }
            inside -= span;
            span *= per_block;
        }
        Err(self.corrupt_inode(inode, "it is larger than can be"))
    }

    /// The block number `inside` of the `span` ones below a table.
    fn indirect_at(&self, table: u64, mut inside: u64, mut span: u64) -> Result<Run> {
        let per_block = self.superblock.block_size / 4;
        let mut table = table;
        loop {
            if table == 0 {
                return Ok(Run { at: None, count: span - inside });
            }
            let bytes = self.block(table)?;
            if span <= per_block {
                return Ok(neighbours(&bytes, inside as usize, (span - inside) as usize));
            }
            span /= per_block;
            table = u64::from(Fields(&bytes).le32((inside / span) as usize * 4));
            inside %= span;
        }
    }
}

/// How many of the pointers from `index` on lead to one run of blocks, of at most `most`.
fn neighbours(table: &[u8], index: usize, most: usize) -> Run {
    let pointer = |index: usize| u64::from(Fields(table).le32(index * 4));
    let first = pointer(index);
    let follows = |count: &usize| match first {
        0 => pointer(index + count) == 0,
        _ => pointer(index + count) == first + *count as u64,
    };
    let count = 1 + (1..most).take_while(follows).count();
    Run { at: (first != 0).then_some(first), count: count as u64 }
}
