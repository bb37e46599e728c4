//! Directories: blocks of entries one after the other. Indexes beside them are passed over.

use std::ops::ControlFlow;

use super::super::system::{Entry, FsError, Kind, Node, Result};
use super::Ext4;
use super::inode::{Inode, flag};
use super::superblock::crc;
use crate::fields::Fields;
use rustix::io::Errno;

/// What stands in the place of a kind at a block's end, before its checksum.
const CHECKSUM_KIND: u8 = 0xde;
/// Where the root of an index says how names are hashed.
const INDEX_VERSION: usize = 0x1c;
/// Directories beyond this are taken for damage: 1 GiB of names.
const MAX_SIZE: u64 = 1 << 30;

impl Ext4 {
    /// Goes through a directory. `true` for `dots` lists `.` and `..` as well.
    pub(super) fn entries(
        &self,
        directory: &Inode,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        if directory.kind()? != Kind::Directory {
            return Err(Errno::NOTDIR.into());
        }
        if directory.has(flag::ENCRYPTED) {
            return Err(FsError::Unsupported("the directory is encrypted".to_owned()));
        }
        let size = directory.size();
        if size > MAX_SIZE {
            return Err(self.corrupt_inode(directory, "a directory of more than 1 GiB"));
        }
        if directory.has(flag::INLINE_DATA) {
            let bytes = self.inline_data(directory)?;
            // The first four bytes are the directory above; what does not fit into the inode is a block of its own.
            let (inside, behind) = bytes.split_at_checked(60).unwrap_or((&bytes, &[]));
            for part in [inside.get(4..).unwrap_or_default(), behind] {
                if self.block_entries(directory, part, entry)?.is_break() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let block_size = self.superblock.block_size;
        let mut logical = 0;
        while logical < size.div_ceil(block_size) {
            let run = self.run_at(directory, logical)?;
            let count = run.count.min(size.div_ceil(block_size) - logical);
            let numbers = logical..;
            logical += count;
            // A hole holds no names.
            let Some(at) = run.at else { continue };
            for (number, block) in numbers.zip(at..at + count) {
                let bytes = self.block(block)?;
                self.check_block(directory, number, &bytes)?;
                if self.block_entries(directory, &bytes, entry)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Goes through a directory in the order in which the kernel lists it: by the hashes of names, where it has an index
    /// or is so small that it would not need one, else as they lie there.
    pub(super) fn in_order(
        &self,
        directory: &Inode,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let is_indexed = directory.has(flag::INDEX);
        let is_hashed = is_indexed
            || directory.size() / self.superblock.block_size == 1
            || directory.has(flag::INLINE_DATA);
        let Some(mut hashing) =
            self.superblock.hashing.filter(|_| is_hashed && !directory.has(flag::CASEFOLD))
        else {
            return self.entries(directory, entry);
        };
        if is_indexed
            && let Some(at) = self.run_at(directory, 0)?.at
            && let Some(version) = self.block(at)?.get(INDEX_VERSION)
        {
            hashing.version = *version;
        }
        let mut all = Vec::new();
        let mut is_known = true;
        self.entries(directory, &mut |entry| {
            let hash = hashing.of(entry.name);
            is_known &= hash.is_some();
            all.push((hash, entry.name.to_vec(), entry.node, entry.kind));
            ControlFlow::Continue(())
        })?;
        if !is_known {
            return Err(FsError::Unsupported(
                "the names in a directory are hashed in another way".to_owned(),
            ));
        }
        all.sort_by_key(|(hash, ..)| *hash);
        for (_, name, node, kind) in all {
            if entry(Entry { name: &name, node, kind }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Holds the checksum of a directory's block against it.
    fn check_block(&self, directory: &Inode, logical: u64, bytes: &[u8]) -> Result<()> {
        let Some(seed) = directory.seed else { return Ok(()) };
        let is_right = if directory.has(flag::INDEX) && is_index(bytes, logical) {
            index_checksum(seed, bytes)
        } else {
            let tail = bytes.len() - 12;
            let is_marked = Fields(bytes).le32(tail) == 0
                && Fields(bytes).le16(tail + 4) == 12
                && bytes.get(tail + 7) == Some(&CHECKSUM_KIND);
            is_marked && crc(seed, bytes.get(..tail).unwrap_or_default()) == Fields(bytes).le32(tail + 8)
        };
        if is_right {
            Ok(())
        } else {
            Err(self.corrupt_inode(directory, "the checksum of a directory's block is wrong"))
        }
    }

    fn block_entries(
        &self,
        directory: &Inode,
        bytes: &[u8],
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut at = 0;
        while at + 8 <= bytes.len() {
            let inode = Fields(bytes).le32(at);
            let length = usize::from(Fields(bytes).le16(at + 4));
            // Blocks of 64 KiB do not fit into 16 bits.
            let length = match length {
                0 | 0xffff if bytes.len() >= 1 << 16 => 1 << 16,
                _ => length & 0xfffc | (length & 3) << 16,
            };
            let name_length = usize::from(bytes.get(at + 6).copied().unwrap_or_default());
            let kind = bytes.get(at + 7).copied().unwrap_or_default();
            let is_sound =
                length >= 12.min(bytes.len() - at) && at + length <= bytes.len() && 8 + name_length <= length;
            if !is_sound || length == 0 {
                return Err(self.corrupt_inode(directory, "an entry of a directory reaches too far"));
            }
            let name = bytes.get(at + 8..at + 8 + name_length).unwrap_or_default();
            at += length;
            if inode == 0 || name == b"." || name == b".." {
                continue;
            }
            if inode > self.superblock.inodes
                || name.is_empty()
                || name.iter().any(|byte| matches!(byte, 0 | b'/'))
            {
                return Err(self.corrupt_inode(directory, "an entry of a directory makes no sense"));
            }
            let kind = Kind::of_entry(kind & 0xf);
            if entry(Entry { name, node: Node::new(inode.into()), kind }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Whether a block of an indexed directory is part of the index: its root, or an inner node.
fn is_index(bytes: &[u8], logical: u64) -> bool {
    let length = usize::from(Fields(bytes).le16(4));
    if logical == 0 {
        length == 12
    } else {
        Fields(bytes).le32(0) == 0 && (length == bytes.len() || length % 0xffff == 0)
    }
}

/// Whether the checksum at the end of a block of a directory's index is right.
fn index_checksum(seed: u32, bytes: &[u8]) -> bool {
    // The root has entries for `.` and `..` before its table, the others one empty entry.
    let count_at = if Fields(bytes).le16(4) == 12 { 0x20 } else { 8 };
    let (limit, count) =
        (usize::from(Fields(bytes).le16(count_at)), usize::from(Fields(bytes).le16(count_at + 2)));
    let tail = count_at + limit * 8;
    let Some(used) = bytes.get(..count_at + count * 8) else { return false };
    let Some(stored) = bytes.get(tail..tail + 8) else { return false };
    let sum = crc(seed, used);
    let sum = crc(crc(sum, stored.get(..4).unwrap_or_default()), &[0; 4]);
    count <= limit && sum == Fields(stored).le32(4)
}
