//! XFS, versions 4 and 5, read only. What has a checksum is held against it before it is believed.
//!
//! A log that was not brought to its end is not replayed: such a file system is refused.

mod attribute;
mod directory;
mod extents;
mod hashes;
mod header;
mod inode;
mod log;
mod superblock;
mod symlink;

use std::ops::ControlFlow;
use std::sync::Arc;

use super::device::Device;
use super::system::{
    Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, data_in_runs, up_to_end,
};
use crate::block::Block;
use inode::{Fork, Inode};
use superblock::Superblock;

/// A view of an XFS.
pub struct Xfs {
    device: Device,
    superblock: Superblock,
}

impl Xfs {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, its log has to be replayed, or it has features that this reader does not
    /// know.
    pub fn open(block: Arc<dyn Block>) -> Result<Xfs> {
        let device = Device::new(block);
        let superblock = Superblock::read(&device)?;
        if !log::is_clean(&device, &superblock)? {
            return Err(FsError::Unsupported("its log has to be replayed".to_owned()));
        }
        let fs = Xfs { device, superblock };
        if fs.inode(fs.superblock.root)?.kind()? != Kind::Directory {
            return Err(fs.corrupt_inode(fs.superblock.root, "the root is no directory"));
        }
        Ok(fs)
    }

    fn corrupt_inode(&self, number: u64, what: &str) -> FsError {
        let offset = self.superblock.place_of_inode(number).unwrap_or_default();
        self.device.corrupt(offset, format!("inode {number}: {what}")).into()
    }

    fn inode(&self, number: u64) -> Result<Inode> {
        let place = self.superblock.place_of_node(number)?;
        let bytes = self.device.bytes(place, self.superblock.inode_size)?;
        Inode::new(bytes, number, &self.superblock).map_err(|what| self.corrupt_inode(number, what))
    }

    fn node(&self, node: Node) -> Result<Inode> {
        self.inode(node.number)
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.node(node)?;
        inode.kind()?.must_be_file()?;
        if inode.is_realtime() {
            return Err(FsError::Unsupported("the file is on a realtime device".to_owned()));
        }
        Ok(inode)
    }

    fn data<'a>(&self, inode: &'a Inode) -> Result<Fork<'a>> {
        inode.data().ok_or_else(|| self.corrupt_inode(inode.number, "its data has an impossible form"))
    }

    /// A few blocks of the device.
    fn blocks(&self, block: u64, count: u64) -> Result<Vec<u8>> {
        let shift = self.superblock.block_shift;
        Ok(self.device.bytes(block << shift, (count << shift) as usize)?)
    }

    /// `count` blocks of a fork, which together hold one thing, and where on the device they begin. `None` if they
    /// were never written.
    fn fork_blocks(&self, fork: &Fork<'_>, logical: u64, count: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let mut all = Vec::new();
        let mut first = None;
        let mut done = 0;
        while done < count {
            let run = self.run_at(fork, logical + done)?;
            let part = run.count.min(count - done);
            match run.at {
                Some(at) if first.is_some() || done == 0 => {
                    first.get_or_insert(at);
                    all.extend(self.blocks(at, part)?);
                }
                None if first.is_none() => {}
                _ => return Err(self.corrupt_inode(fork.owner, "a block of its metadata has a hole")),
            }
            done += part;
        }
        Ok(first.map(|first| (first, all)))
    }
}

impl FileSystem for Xfs {
    fn kind(&self) -> &'static str {
        "xfs"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(self.superblock.root)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        self.node(node)?.attributes(self)
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        if self.superblock.is_caseless {
            return Err(FsError::Unsupported("names are the same in upper and lower case".to_owned()));
        }
        self.entry(&self.node(directory)?, name)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(&self.node(directory)?, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        self.target(&self.node(node)?)
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.file(node)?;
        let fork = self.data(&inode)?;
        let into = up_to_end(into, offset, inode.size());
        let count = into.len();
        let size = self.superblock.block_size;
        let mut done = 0;
        while done < count {
            let position = offset + done as u64;
            let (logical, inside) = (position / size, position % size);
            let run = self.run_at(&fork, logical)?;
            let length = (run.count.saturating_mul(size) - inside).min((count - done) as u64) as usize;
            let Some(part) = into.get_mut(done..done + length) else { break };
            match run.at {
                None => part.fill(0),
                Some(at) => self.device.read(part, at * size + inside)?,
            }
            done += length;
        }
        Ok(count)
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let inode = self.file(node)?;
        let fork = self.data(&inode)?;
        data_in_runs(offset, inode.size(), self.superblock.block_size, |logical| {
            let run = self.run_at(&fork, logical)?;
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
        self.superblock.statistics(&self.device)
    }
}
