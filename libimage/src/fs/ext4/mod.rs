//! ext2, ext3 and ext4, read only. The journal is replayed in memory; nothing is ever written.
//!
//! What has a checksum is held against it before it is believed.

mod blocks;
mod directory;
mod hash;
mod inode;
mod journal;
mod superblock;
mod xattr;

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::Device;
use super::system::{
    Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, data_in_runs, up_to_end,
};
use crate::block::Block;
use inode::{Inode, flag};
use journal::{Logged, Replayed};
use superblock::Superblock;

const ROOT: u64 = 2;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4095;
/// Bytes that an inode has room for in the place of pointers.
const INSIDE: usize = 60;

/// A view of an ext file system.
pub struct Ext4 {
    device: Device,
    superblock: Superblock,
    replayed: Replayed,
}

impl Ext4 {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it has features that this reader does not know.
    pub fn open(block: Arc<dyn Block>) -> Result<Ext4> {
        let device = Device::new(block);
        let superblock = Superblock::read(&device)?;
        let mut fs = Ext4 { device, superblock, replayed: Replayed::new() };
        if fs.superblock.wants_replay {
            let journal = fs.superblock.journal.ok_or_else(|| {
                FsError::Unsupported("its journal, which has to be replayed, is on another device".to_owned())
            })?;
            let journal = fs.inode(journal)?;
            fs.replayed = fs.replay(&journal)?;
            // The superblock is the one thing that is read before the journal is known.
            if !fs.replayed.is_empty() {
                fs.superblock = Superblock::read(&fs.with_replayed_superblock()?)?;
            }
        }
        let root = fs.inode(ROOT as u32)?;
        if root.kind()? != Kind::Directory {
            return Err(fs.corrupt_inode(&root, "the root is no directory"));
        }
        Ok(fs)
    }

    /// The device as far as the superblock, as it is after the journal.
    fn with_replayed_superblock(&self) -> Result<Device> {
        let size = self.superblock.block_size;
        let count = 4096u64.div_ceil(size);
        let memory = crate::storage::Memory::new(self.device.size());
        for number in 0..count {
            memory.write_at(&self.block(number)?, number * size)?;
        }
        Ok(Device::new(Arc::new(memory)))
    }

    /// A block as it lies on the device.
    fn block_as_it_lies(&self, number: u64) -> Result<Vec<u8>> {
        if number >= self.superblock.blocks {
            let what = format!("a block is wanted that lies behind its end ({number})");
            return Err(self.device.corrupt(0, what).into());
        }
        let size = self.superblock.block_size;
        Ok(self.device.bytes(number * size, size as usize)?)
    }

    /// A block, as it is after the journal.
    fn block(&self, number: u64) -> Result<Vec<u8>> {
        match self.replayed.get(&number) {
            None => self.block_as_it_lies(number),
            Some(logged) => self.logged(*logged),
        }
    }

    fn logged(&self, logged: Logged) -> Result<Vec<u8>> {
        let mut bytes = self.block_as_it_lies(logged.at)?;
        if logged.is_escaped
            && let Some(first) = bytes.first_chunk_mut::<4>()
        {
            *first = journal::magic();
        }
        Ok(bytes)
    }

    fn corrupt_inode(&self, inode: &Inode, what: &str) -> FsError {
        self.device.corrupt(0, format!("inode {}: {what}", inode.number)).into()
    }

    fn inode(&self, number: u32) -> Result<Inode> {
        let (group, index) = self.superblock.place_of(number)?;
        let (block, offset) = self.superblock.descriptor(group);
        let corrupt =
            |what: &str| FsError::from(self.device.corrupt(block * self.superblock.block_size, what));
        let found = self.superblock.group(group, &self.block(block)?, offset).map_err(corrupt)?;
        let size = u64::from(self.superblock.inode_size);
        let position = u64::from(index) * size;
        let table = found.inode_table.checked_add(position / self.superblock.block_size);
        let bytes = self.block(table.ok_or_else(|| corrupt("a table of inodes lies nowhere"))?)?;
        let start = (position % self.superblock.block_size) as usize;
        let bytes = bytes.get(start..start + size as usize).unwrap_or_default().to_vec();
        let inode = Inode::new(bytes, number, self.superblock.seed);
        inode.map_err(|what| self.device.corrupt(0, format!("inode {number}: {what}")).into())
    }

    fn node(&self, node: Node) -> Result<Inode> {
        self.inode(u32::try_from(node.number).map_err(|_| Errno::STALE)?)
    }

    /// The data of a small file or directory that lies in its inode.
    fn inline_data(&self, inode: &Inode) -> Result<Vec<u8>> {
        let mut bytes = inode.pointers().to_vec();
        bytes.extend(self.inline_rest(inode)?);
        Ok(bytes)
    }

    /// Fills `into` from what lies in blocks; the caller has looked at the size.
    fn read_blocks(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<()> {
        let size = self.superblock.block_size;
        let mut done = 0;
        while done < into.len() {
            let position = offset + done as u64;
            let (logical, inside) = (position / size, position % size);
            let run = self.run_at(inode, logical)?;
            let mut length =
                (run.count.saturating_mul(size) - inside).min((into.len() - done) as u64) as usize;
            let Some(part) = into.get_mut(done..done + length) else { break };
            match run.at {
                None => part.fill(0),
                Some(at) if self.replayed.is_empty() => self.device.read(part, at * size + inside)?,
                Some(at) => {
                    // Some of it may be in the journal only: block by block.
                    length = length.min((size - inside) as usize);
                    let block = self.block(at)?;
                    let from = block.get(inside as usize..inside as usize + length).unwrap_or_default();
                    part.get_mut(..length).unwrap_or_default().copy_from_slice(from);
                }
            }
            done += length;
        }
        Ok(())
    }

    fn refuse_encrypted(&self, inode: &Inode) -> Result<()> {
        match inode.has(flag::ENCRYPTED) {
            true => Err(FsError::Unsupported("the file is encrypted".to_owned())),
            false => Ok(()),
        }
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.node(node)?;
        inode.kind()?.must_be_file()?;
        self.refuse_encrypted(&inode)?;
        Ok(inode)
    }
}

impl FileSystem for Ext4 {
    fn kind(&self) -> &'static str {
        self.superblock.kind
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(ROOT)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        self.node(node)?.attributes(self)
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        let directory = self.node(directory)?;
        let mut found = None;
        self.entries(&directory, &mut |entry| {
            if entry.name == name {
                found = Some(entry.node);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        // No two names of such a directory are the same in another case, so one that is there is the right one.
        if found.is_none() && directory.has(flag::CASEFOLD) && self.superblock.is_casefolded {
            return Err(FsError::Unsupported(
                "names in the directory are the same in upper and lower case".to_owned(),
            ));
        }
        Ok(found)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.in_order(&self.node(directory)?, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        let inode = self.node(node)?;
        if inode.kind()? != Kind::Symlink {
            return Err(Errno::INVAL.into());
        }
        self.refuse_encrypted(&inode)?;
        let size = inode.size();
        if size > MAX_TARGET {
            return Err(self.corrupt_inode(&inode, "the target of a symbolic link is too long"));
        }
        let size = size as usize;
        let attribute_sectors = match inode.attribute_block() {
            0 => 0,
            _ => self.superblock.cluster_blocks * self.superblock.block_size / 512,
        };
        let is_inside = !inode.has(flag::EXTENTS)
            && !inode.has(flag::INLINE_DATA)
            && size < INSIDE
            && inode.sectors(self) <= attribute_sectors;
        let bytes = if inode.has(flag::INLINE_DATA) {
            self.inline_data(&inode)?
        } else if is_inside {
            inode.pointers().to_vec()
        } else {
            let mut bytes = vec![0; size];
            self.read_blocks(&inode, 0, &mut bytes)?;
            bytes
        };
        let target = bytes.get(..size).filter(|target| !target.contains(&0));
        target
            .map(<[u8]>::to_vec)
            .ok_or_else(|| self.corrupt_inode(&inode, "the target of a symbolic link is cut"))
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.file(node)?;
        let into = up_to_end(into, offset, inode.size());
        let count = into.len();
        if inode.has(flag::INLINE_DATA) {
            let bytes = self.inline_data(&inode)?;
            let from =
                usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let (inside, beyond) = into.split_at_mut(from.len().min(count));
            inside.copy_from_slice(from.get(..inside.len()).unwrap_or_default());
            // What is beyond reads as zeroes, whatever size the inode claims.
            beyond.fill(0);
        } else {
            self.read_blocks(&inode, offset, into)?;
        }
        Ok(count)
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let inode = self.file(node)?;
        let size = inode.size();
        if inode.has(flag::INLINE_DATA) {
            return Ok((offset < size).then_some((offset, size)));
        }
        data_in_runs(offset, size, self.superblock.block_size, |logical| {
            let run = self.run_at(&inode, logical)?;
            Ok((run.at.is_some(), run.count))
        })
    }

    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        self.attribute_names(&self.node(node)?)
    }

    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.attribute(&self.node(node)?, name)
    }

    fn statistics(&self) -> Result<Statistics> {
        let fs = &self.superblock;
        if fs.has_orphans {
            return Err(FsError::Unsupported(
                "files that were removed while open are still to be cleaned up".to_owned(),
            ));
        }
        let journal_blocks = match fs.journal {
            Some(journal) => self.inode(journal)?.size() / fs.block_size,
            None => 0,
        };
        let (mut free, mut files_free) = (0, 0);
        for number in 0..fs.groups {
            let (block, offset) = fs.descriptor(number);
            let group = fs.group(number, &self.block(block)?, offset);
            let group = group.map_err(|what| self.device.corrupt(block * fs.block_size, what))?;
            free += group.free_clusters * fs.cluster_blocks;
            files_free += group.free_inodes;
        }
        Ok(Statistics {
            block_size: fs.block_size,
            blocks: fs.blocks.saturating_sub(fs.overhead(journal_blocks)),
            free,
            available: free.saturating_sub(fs.withheld()),
            files: fs.inodes.into(),
            files_free,
            name_length: 255,
        })
    }
}
