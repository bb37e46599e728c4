//! Directories: entries in the inode while they fit, then in blocks, of which larger ones have an index of hashes.

use std::ops::{ControlFlow, Range};

use super::super::system::{Entry, Kind, Node, Result};
use super::Xfs;
use super::hashes::hash;
use super::header;
use super::inode::{Fork, Inode, Layout};
use super::superblock::byte;
use crate::fields::Fields;
use rustix::io::Errno;

/// What begins a block of entries, before version 5 and since; and one which is the only one, with its index inside.
const DATA: [u32; 2] = [0x5844_3244, 0x5844_4433];
const SINGLE: [u32; 2] = [0x5844_3242, 0x5844_4233];
/// What leaves of the index have for a magic number: of the only one, and of several.
const ONLY_LEAF: [u16; 2] = [0xd2f1, 0x3df1];
const LEAF: [u16; 2] = [0xd2ff, 0x3dff];
/// Where the index begins, in bytes of the directory.
const INDEX: u64 = 32 << 30;
/// Marks space without an entry.
const FREE: u16 = 0xffff;

/// What lies at a place of a block.
struct Found<'a> {
    /// Nothing, where there is space.
    entry: Option<Entry<'a>>,
    /// Where the next thing lies.
    next: usize,
}

impl Xfs {
    fn directory_fork<'a>(&self, directory: &'a Inode) -> Result<Fork<'a>> {
        match directory.kind()? {
            Kind::Directory => self.data(directory),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Goes through a directory.
    pub(super) fn entries(
        &self,
        directory: &Inode,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let fork = self.directory_fork(directory)?;
        if fork.layout == Layout::Local {
            return self.local_entries(directory, &fork, entry);
        }
        let shift = self.superblock.directory_shift;
        let end = self.directory_blocks(directory)?;
        let mut left = directory.blocks();
        let mut number = 0;
        while number < end {
            let run = self.run_at(&fork, number << shift)?;
            let hole = run.count >> shift;
            if run.at.is_none() && hole > 0 {
                number += hole;
                continue;
            }
            // What is damaged cannot make this long.
            left = left.checked_sub(1).ok_or_else(|| {
                self.corrupt_inode(directory.number, "the directory has more blocks than it says")
            })?;
            if let Some(bytes) = self.directory_block(directory, &fork, number)?
                && self.block_entries(directory, &bytes, entry)?.is_break()
            {
                return Ok(());
            }
            number += 1;
        }
        Ok(())
    }

    /// What a name is. Large directories are asked by way of their index.
    pub(super) fn entry(&self, directory: &Inode, name: &[u8]) -> Result<Option<Node>> {
        let fork = self.directory_fork(directory)?;
        if fork.layout != Layout::Local && self.directory_blocks(directory)? > 1 {
            return self.indexed_entry(directory, &fork, name);
        }
        let mut found = None;
        self.entries(directory, &mut |entry| {
            if entry.name == name {
                found = Some(entry.node);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// How many blocks of entries it has.
    fn directory_blocks(&self, directory: &Inode) -> Result<u64> {
        let size = self.superblock.block_size << self.superblock.directory_shift;
        if directory.size() > INDEX || !directory.size().is_multiple_of(size) {
            return Err(self.corrupt_inode(directory.number, "the directory has an impossible size"));
        }
        Ok(directory.size() / size)
    }

    fn local_entries(
        &self,
        directory: &Inode,
        fork: &Fork<'_>,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let wrong = || self.corrupt_inode(directory.number, "the entries in the directory are damaged");
        let size = usize::try_from(directory.size()).map_err(|_| wrong())?;
        let bytes = fork.bytes.get(..size).ok_or_else(wrong)?;
        let (count, wide) = (byte(bytes, 0), byte(bytes, 1));
        let width = if wide > 0 { 8 } else { 4 };
        // The directory above stands first.
        let mut at = 2 + width;
        for _ in 0..count {
            let length = usize::from(byte(bytes, at));
            let name = bytes.get(at + 3..at + 3 + length).ok_or_else(wrong)?;
            at += 3 + length;
            let mut what = None;
            if self.superblock.has_file_types {
                what = Kind::of_entry(byte(bytes, at));
                at += 1;
            }
            let fields = Fields(bytes);
            let number = if wide > 0 { fields.be64(at) } else { fields.be32(at).into() };
            at += width;
            if at > size {
                return Err(wrong());
            }
            if entry(self.checked_entry(directory, number, name, what)?).is_break() {
                return Ok(());
            }
        }
        if at == size { Ok(()) } else { Err(wrong()) }
    }

    fn checked_entry<'a>(
        &self,
        directory: &Inode,
        number: u64,
        name: &'a [u8],
        kind: Option<Kind>,
    ) -> Result<Entry<'a>> {
        let is_sound = self.superblock.place_of_inode(number).is_some()
            && !name.is_empty()
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        if !is_sound {
            return Err(self.corrupt_inode(directory.number, "an entry of the directory makes no sense"));
        }
        Ok(Entry { name, node: Node::new(number), kind })
    }

    /// A block of entries, checked; `None` if there is a hole.
    fn directory_block(&self, directory: &Inode, fork: &Fork<'_>, number: u64) -> Result<Option<Vec<u8>>> {
        let shift = self.superblock.directory_shift;
        let Some((place, bytes)) = self.fork_blocks(fork, number << shift, 1 << shift)? else {
            return Ok(None);
        };
        let generation = usize::from(self.superblock.is_v5);
        let magic = Fields(&bytes).be32(0);
        let is_single = magic == SINGLE[generation] && self.directory_blocks(directory)? == 1;
        if !is_single && magic != DATA[generation] {
            return Err(self.corrupt_inode(directory.number, "a block of the directory is none"));
        }
        self.check_header(&header::ENTRIES, &bytes, place, directory.number)?;
        Ok(Some(bytes))
    }

    /// Where in a block entries are: between its header and, in an only one, the index.
    fn range(&self, directory: &Inode, bytes: &[u8]) -> Result<Range<usize>> {
        let start = if self.superblock.is_v5 { 64 } else { 16 };
        if !SINGLE.contains(&Fields(bytes).be32(0)) {
            return Ok(start..bytes.len());
        }
        let tail = bytes.len().saturating_sub(8);
        let end = tail.checked_sub(Fields(bytes).be32(tail) as usize * 8).filter(|end| *end >= start);
        let end = end.ok_or_else(|| self.corrupt_inode(directory.number, "its index is too large"))?;
        Ok(start..end)
    }

    fn block_entries(
        &self,
        directory: &Inode,
        bytes: &[u8],
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let Range { start: mut at, end } = self.range(directory, bytes)?;
        while at < end {
            let found = self.found_at(directory, bytes, at, end)?;
            at = found.next;
            if let Some(found) = found.entry
                && !matches!(found.name, b"." | b"..")
                && entry(found).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn found_at<'a>(&self, directory: &Inode, bytes: &'a [u8], at: usize, end: usize) -> Result<Found<'a>> {
        let wrong = || self.corrupt_inode(directory.number, "an entry of the directory reaches too far");
        // What everything in a block ends with: where it began.
        let is_whole = |length: usize| {
            let next = at + length;
            next <= end && length.is_multiple_of(8) && usize::from(Fields(bytes).be16(next - 2)) == at
        };
        if Fields(bytes).be16(at) == FREE {
            let length = usize::from(Fields(bytes).be16(at + 2));
            let is_sound = length >= 8 && is_whole(length);
            return if is_sound { Ok(Found { entry: None, next: at + length }) } else { Err(wrong()) };
        }
        let length = usize::from(byte(bytes, at + 8));
        let name_end = at + 9 + length;
        let kind_length = usize::from(self.superblock.has_file_types);
        let whole = (9 + length + kind_length + 2).next_multiple_of(8);
        if !is_whole(whole) {
            return Err(wrong());
        }
        let name = bytes.get(at + 9..name_end).ok_or_else(wrong)?;
        let what = if self.superblock.has_file_types { Kind::of_entry(byte(bytes, name_end)) } else { None };
        let entry = self.checked_entry(directory, Fields(bytes).be64(at), name, what)?;
        Ok(Found { entry: Some(entry), next: at + whole })
    }

    fn indexed_entry(&self, directory: &Inode, fork: &Fork<'_>, name: &[u8]) -> Result<Option<Node>> {
        let wrong = || self.corrupt_inode(directory.number, "the directory's index is damaged");
        let shift = self.superblock.directory_shift;
        let (span, wanted) = (1 << shift, hash(name));
        let generation = usize::from(self.superblock.is_v5);
        let (count_at, start) = if self.superblock.is_v5 { (56, 64) } else { (12, 16) };
        let root = INDEX >> self.superblock.block_shift;
        let mut leaf = self.hash_leaf(fork, root, span, Some(wanted))?;
        let mut left = directory.blocks();
        loop {
            let count = usize::from(Fields(&leaf.bytes).be16(count_at));
            let is_leaf = leaf.magic == LEAF[generation] || leaf.magic == ONLY_LEAF[generation];
            if !is_leaf || start + count * 8 > leaf.bytes.len() {
                return Err(wrong());
            }
            let fields = Fields(&leaf.bytes);
            let hash_at = |index: usize| fields.be32(start + index * 8);
            let (mut index, mut high) = (0, count);
            while index < high {
                let middle = index.midpoint(high);
                if hash_at(middle) < wanted { index = middle + 1 } else { high = middle }
            }
            while index < count && hash_at(index) == wanted {
                // In units of 8 bytes; 0 for what was removed.
                let address = u64::from(fields.be32(start + index * 8 + 4)) * 8;
                if address != 0
                    && let Some(node) = self.entry_at(directory, fork, address, name)?
                {
                    return Ok(Some(node));
                }
                index += 1;
            }
            if index < count {
                return Ok(None);
            }
            left = left.checked_sub(1).ok_or_else(wrong)?;
            match self.hash_leaf_after(fork, &leaf, span)? {
                Some(next) => leaf = next,
                None => return Ok(None),
            }
        }
    }

    /// The node of the entry at an address, if it has that name.
    fn entry_at(
        &self,
        directory: &Inode,
        fork: &Fork<'_>,
        address: u64,
        name: &[u8],
    ) -> Result<Option<Node>> {
        let wrong = || self.corrupt_inode(directory.number, "the directory's index leads nowhere");
        let size = self.superblock.block_size << self.superblock.directory_shift;
        if address >= directory.size() {
            return Err(wrong());
        }
        let bytes = self.directory_block(directory, fork, address / size)?.ok_or_else(wrong)?;
        let range = self.range(directory, &bytes)?;
        let at = (address % size) as usize;
        if !range.contains(&at) {
            return Err(wrong());
        }
        let entry = self.found_at(directory, &bytes, at, range.end)?.entry.ok_or_else(wrong)?;
        Ok((entry.name == name).then_some(entry.node))
    }
}
