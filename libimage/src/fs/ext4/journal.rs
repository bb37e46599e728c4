//! The journal (jbd2): blocks that were promised and are not yet in their places.
//!
//! It is replayed in memory: where a block lies in the journal is remembered, and whoever reads the block gets that.
//! The rules are the kernel's recovery: transactions count up to the first that is not whole, and a block that was
//! revoked later than it was written is left alone.

use std::collections::HashMap;

use super::super::system::{FsError, Result};
use super::Ext4;
use super::inode::Inode;
use super::superblock::crc;
use crate::fields::Fields;

const MAGIC: u32 = 0xc03b_3998;

/// The bytes that every block of a journal's own begins with.
pub(super) fn magic() -> [u8; 4] {
    MAGIC.to_be_bytes()
}
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

const REVOKES: u32 = 0x1;
const BITS_64: u32 = 0x2;
const ASYNC_COMMIT: u32 = 0x4;
const CSUM_V2: u32 = 0x8;
const CSUM_V3: u32 = 0x10;
const FAST_COMMIT: u32 = 0x20;

const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Where a block's newest contents lie in the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logged {
    /// The block of the device.
    pub(super) at: u64,
    /// Its first four bytes are those that a journal's own blocks begin with, and were put aside.
    pub(super) is_escaped: bool,
}

/// Blocks and their newest contents.
pub(super) type Replayed = HashMap<u64, Logged>;

/// The journal's shape.
struct Journal<'a> {
    fs: &'a Ext4,
    inode: &'a Inode,
    features: u32,
    first: u32,
    end: u32,
    /// What its checksums begin with.
    seed: Option<u32>,
}

/// What an entry of a descriptor says.
struct Tag {
    block: u64,
    is_escaped: bool,
    checksum: u32,
}

impl Ext4 {
    /// What the journal in `inode` holds.
    pub(super) fn replay(&self, inode: &Inode) -> Result<Replayed> {
        let block = self.journal_block(inode, 0)?;
        let fields = Fields(&block);
        let kind = fields.be32(4);
        if fields.be32(0) != MAGIC || !matches!(kind, 3 | 4) {
            return Err(self.corrupt_inode(inode, "the journal has no superblock"));
        }
        let start = fields.be32(0x1c);
        if start == 0 {
            return Ok(Replayed::new());
        }
        let features = if kind == 4 { fields.be32(0x28) } else { 0 };
        let unknown = features & !(REVOKES | BITS_64 | CSUM_V2 | CSUM_V3);
        if unknown & (FAST_COMMIT | ASYNC_COMMIT) != 0 || unknown != 0 {
            return Err(FsError::Unsupported(format!(
                "the journal has features that are not known ({unknown:#x})"
            )));
        }
        let end = fields.be32(0x10);
        let first = fields.be32(0x14);
        let blocks = inode.size() / self.superblock.block_size;
        let is_sound = u64::from(fields.be32(0xc)) == self.superblock.block_size
            && u64::from(end) <= blocks
            && first >= 1
            && (first..end).contains(&start);
        if !is_sound {
            return Err(self.corrupt_inode(inode, "the journal's superblock makes no sense"));
        }
        let has_checksums = features & (CSUM_V2 | CSUM_V3) != 0;
        let seed = has_checksums.then(|| crc(!0, block.get(0x30..0x40).unwrap_or_default()));
        if has_checksums {
            let sum = crc(!0, block.get(..0xfc).unwrap_or_default());
            let sum = crc(crc(sum, &[0; 4]), block.get(0x100..0x400).unwrap_or_default());
            if sum != fields.be32(0xfc) {
                return Err(self.corrupt_inode(inode, "the checksum of the journal's superblock is wrong"));
            }
        }
        let journal = Journal { fs: self, inode, features, first, end, seed };
        journal.replay(start, fields.be32(0x18))
    }

    fn journal_block(&self, inode: &Inode, number: u32) -> Result<Vec<u8>> {
        match self.run_at(inode, number.into())?.at {
            Some(at) => self.block_as_it_lies(at),
            None => Err(self.corrupt_inode(inode, "the journal has a hole")),
        }
    }
}

impl Journal<'_> {
    fn block(&self, number: u32) -> Result<Vec<u8>> {
        self.fs.journal_block(self.inode, number)
    }

    fn after(&self, number: u32, count: u32) -> u32 {
        let length = u64::from(self.end - self.first);
        let inside = u64::from(number - self.first) + u64::from(count);
        self.first + (inside % length) as u32
    }

    /// Goes through the transactions once to find the last whole one, keeping what they say meanwhile.
    fn replay(&self, start: u32, sequence: u32) -> Result<Replayed> {
        // By block: what was written or revoked, and in which transaction.
        let mut written: HashMap<u64, Vec<(u32, Logged)>> = HashMap::new();
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        let mut pending_writes = Vec::new();
        let mut pending_revokes = Vec::new();
        let mut at = start;
        let mut transaction = sequence;
        // No journal has more blocks to be read than it has.
        let mut left = u64::from(self.end - self.first);
        while left > 0 {
            let block = self.block(at)?;
            let fields = Fields(&block);
            if fields.be32(0) != MAGIC || fields.be32(8) != transaction {
                break;
            }
            match fields.be32(4) {
                DESCRIPTOR => {
                    if !self.has_right_tail(&block) {
                        break;
                    }
                    let tags = self.tags(&block);
                    let count = tags.len() as u32;
                    if u64::from(count) >= left {
                        break;
                    }
                    for (index, tag) in (1..).zip(tags) {
                        pending_writes.push((self.after(at, index), tag));
                    }
                    at = self.after(at, count + 1);
                    left -= u64::from(count) + 1;
                    continue;
                }
                REVOKE => {
                    if !self.has_right_tail(&block) {
                        break;
                    }
                    pending_revokes.extend(self.revoked(&block));
                }
                COMMIT => {
                    if !self.is_right_commit(&block) {
                        break;
                    }
                    for (place, tag) in std::mem::take(&mut pending_writes) {
                        let logged = self.logged(place, &tag, transaction)?;
                        let all: &mut Vec<(u32, Logged)> = written.entry(tag.block).or_default();
                        all.push((transaction, logged));
                    }
                    for block in std::mem::take(&mut pending_revokes) {
                        revoked.insert(block, transaction);
                    }
                    transaction = transaction.wrapping_add(1);
                }
                _ => break,
            }
            at = self.after(at, 1);
            left -= 1;
        }
        let is_newer = |than: u32, number: u32| number.wrapping_sub(than).cast_signed() > 0;
        let newest = written.into_iter().filter_map(|(block, all)| {
            let revoked = revoked.get(&block);
            let (_, logged) =
                all.into_iter().rfind(|(written, _)| revoked.is_none_or(|than| is_newer(*than, *written)))?;
            Some((block, logged))
        });
        Ok(newest.collect())
    }

    fn logged(&self, place: u32, tag: &Tag, transaction: u32) -> Result<Logged> {
        let at = self.fs.run_at(self.inode, place.into())?.at;
        let at = at.ok_or_else(|| self.fs.corrupt_inode(self.inode, "the journal has a hole"))?;
        if let Some(seed) = self.seed {
            let bytes = self.fs.block_as_it_lies(at)?;
            let sum = crc(crc(seed, &transaction.to_be_bytes()), &bytes);
            let expected = if self.features & CSUM_V3 != 0 { sum } else { sum & 0xffff };
            if expected != tag.checksum {
                return Err(self
                    .fs
                    .corrupt_inode(self.inode, "the checksum of a block in the journal is wrong"));
            }
        }
        Ok(Logged { at, is_escaped: tag.is_escaped })
    }

    fn tags(&self, block: &[u8]) -> Vec<Tag> {
        let has_wide = self.features & BITS_64 != 0;
        let is_v3 = self.features & CSUM_V3 != 0;
        let size = match (is_v3, has_wide) {
            (true, _) => 16,
            (false, true) => 12,
            (false, false) => 8,
        };
        let end = block.len() - if self.seed.is_some() { 4 } else { 0 };
        let mut tags = Vec::new();
        let mut at = 12;
        while at + size <= end {
            let fields = Fields(block);
            let flags = if is_v3 { fields.be32(at + 4) } else { fields.be16(at + 6).into() };
            let high = if has_wide { fields.be32(at + 8) } else { 0 };
            tags.push(Tag {
                block: u64::from(fields.be32(at)) | u64::from(high) << 32,
                is_escaped: flags & ESCAPED != 0,
                checksum: if is_v3 { fields.be32(at + 12) } else { fields.be16(at + 4).into() },
            });
            at += size + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        tags
    }

    fn revoked(&self, block: &[u8]) -> Vec<u64> {
        let size = if self.features & BITS_64 != 0 { 8 } else { 4 };
        let used = (Fields(block).be32(12) as usize).min(block.len());
        let records = block.get(16..used).unwrap_or_default().chunks_exact(size);
        records
            .map(|record| if size == 8 { Fields(record).be64(0) } else { Fields(record).be32(0).into() })
            .collect()
    }

    /// The checksum at the end of a descriptor or a block of revocations.
    fn has_right_tail(&self, block: &[u8]) -> bool {
        let Some(seed) = self.seed else { return true };
        let tail = block.len() - 4;
        crc(crc(seed, block.get(..tail).unwrap_or_default()), &[0; 4]) == Fields(block).be32(tail)
    }

    fn is_right_commit(&self, block: &[u8]) -> bool {
        let Some(seed) = self.seed else { return true };
        let sum = crc(crc(seed, block.get(..0x10).unwrap_or_default()), &[0; 4]);
        crc(sum, block.get(0x14..).unwrap_or_default()) == Fields(block).be32(0x10)
    }
}
