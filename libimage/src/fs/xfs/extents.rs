//! Extents: which blocks of the device hold a fork, as a list in the inode or as a tree.

use super::super::system::{FsError, Result};
use super::Xfs;
use super::header;
use super::inode::{Fork, Layout};
use crate::fields::Fields;

/// Bytes of an extent.
const EXTENT: usize = 16;
/// What begins a block of a tree, before version 5 and since.
const MAGIC: u32 = 0x424d_4150;
const MAGIC_5: u32 = 0x424d_4133;
/// Bytes of a block before its records.
const HEADER: usize = 24;
const HEADER_5: usize = 72;
/// Deeper trees cannot be addressed.
const MAX_LEVEL: u16 = 9;
/// Blocks of a fork have numbers below this.
const END: u64 = 1 << 54;

/// Blocks of a fork in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Where they are on the device; `None` if they read as zeroes.
    pub(super) at: Option<u64>,
    /// How many, at least one.
    pub(super) count: u64,
}

/// An extent: where it is in the fork, how many blocks, and the number of the first. It may never have been written.
struct Extent {
    logical: u64,
    count: u64,
    block: u64,
    is_unwritten: bool,
}

fn extent(bytes: &[u8]) -> Extent {
    let (high, low) = (Fields(bytes).be64(0), Fields(bytes).be64(8));
    Extent {
        logical: high >> 9 & (END - 1),
        count: low & 0x1f_ffff,
        block: (high & 0x1ff) << 43 | low >> 21,
        is_unwritten: high >> 63 != 0,
    }
}

/// How many of `count` sorted records begin at or before `logical`.
fn reaching(count: usize, logical: u64, start: impl Fn(usize) -> u64) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if start(middle) <= logical { low = middle + 1 } else { high = middle }
    }
    low
}

impl Xfs {
    fn corrupt_fork(&self, fork: &Fork<'_>, what: &str) -> FsError {
        self.corrupt_inode(fork.owner, what)
    }

    /// The blocks of a fork from the block `logical` on.
    pub(super) fn run_at(&self, fork: &Fork<'_>, logical: u64) -> Result<Run> {
        if logical >= END {
            return Err(self.corrupt_fork(fork, "it is larger than can be"));
        }
        match fork.layout {
            Layout::Extents => {
                let length = usize::try_from(fork.extents).ok().and_then(|count| count.checked_mul(EXTENT));
                let records = length.and_then(|length| fork.bytes.get(..length));
                let records = records.ok_or_else(|| self.corrupt_fork(fork, "it has too many extents"))?;
                self.run_in(fork, records, logical, END)
            }
            Layout::Tree => self.run_in_tree(fork, logical),
            Layout::Device | Layout::Local => Err(self.corrupt_fork(fork, "it has no extents")),
        }
    }

    /// The blocks from `logical` on, which the given extents are responsible for up to `end`.
    fn run_in(&self, fork: &Fork<'_>, records: &[u8], logical: u64, end: u64) -> Result<Run> {
        let count = records.len() / EXTENT;
        let record = |index: usize| extent(records.get(index * EXTENT..).unwrap_or_default());
        let after = reaching(count, logical, |index| record(index).logical);
        let next = if after < count { record(after).logical } else { end };
        if next <= logical {
            return Err(self.corrupt_fork(fork, "its extents are not in order"));
        }
        let hole = Run { at: None, count: next - logical };
        let Some(found) = after.checked_sub(1).map(record) else { return Ok(hole) };
        let inside = logical - found.logical;
        if inside >= found.count {
            return Ok(hole);
        }
        let at = self.superblock.place_of(found.block, found.count);
        let at = at.ok_or_else(|| self.corrupt_fork(fork, "its data lies outside of the file system"))?;
        let at = (!found.is_unwritten).then_some(at + inside);
        Ok(Run { at, count: (found.count - inside).min(next - logical) })
    }

    fn run_in_tree(&self, fork: &Fork<'_>, logical: u64) -> Result<Run> {
        let wrong = |what| self.corrupt_fork(fork, what);
        // The root has a short header of its own.
        let mut level = Fields(fork.bytes).be16(0);
        let mut count = usize::from(Fields(fork.bytes).be16(2));
        let mut node = fork.bytes.get(4..).unwrap_or_default().to_vec();
        if !(1..=MAX_LEVEL).contains(&level) {
            return Err(wrong("its tree of extents is damaged"));
        }
        // Where what a node is responsible for ends.
        let mut end = END;
        while level > 0 {
            let most = node.len() / 16;
            if count > most {
                return Err(wrong("its tree of extents is damaged"));
            }
            let key = |index: usize| Fields(&node).be64(index * 8);
            let after = reaching(count, logical, key);
            let next = if after < count { key(after) } else { end };
            if next <= logical || next > end {
                return Err(wrong("its tree of extents is not in order"));
            }
            let Some(index) = after.checked_sub(1) else {
                return Ok(Run { at: None, count: next - logical });
            };
            let child = Fields(&node).be64((most + index) * 8);
            (node, count) = self.tree_block(fork, child, level - 1)?;
            end = next;
            level -= 1;
        }
        let records = node.get(..count * EXTENT).ok_or_else(|| wrong("its tree of extents is damaged"))?;
        self.run_in(fork, records, logical, end)
    }

    /// The records of a block of a tree, with the room behind them, and how many there are.
    fn tree_block(&self, fork: &Fork<'_>, block: u64, level: u16) -> Result<(Vec<u8>, usize)> {
        let place = self.superblock.place_of(block, 1);
        let place = place.ok_or_else(|| self.corrupt_fork(fork, "its tree of extents reaches too far"))?;
        let mut bytes = self.blocks(place, 1)?;
        let (magic, header) = if self.superblock.is_v5 { (MAGIC_5, HEADER_5) } else { (MAGIC, HEADER) };
        if Fields(&bytes).be32(0) != magic || Fields(&bytes).be16(4) != level {
            return Err(self.corrupt_fork(fork, "its tree of extents is damaged"));
        }
        self.check_header(&header::TREE, &bytes, place, fork.owner)?;
        let count = usize::from(Fields(&bytes).be16(6));
        bytes.drain(..header);
        Ok((bytes, count))
    }
}
