//! squashfs 4.0: a packed file system that is written once.
//!
//! There are no checksums but those that packing brings along; what does not unpack to the length that it has to
//! is refused.

mod compress;
mod data;
mod directory;
mod inode;
mod metadata;
mod superblock;
mod xattr;

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::Device;
use super::system::{Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, up_to_end};
use crate::block::Block;
use inode::{Body, Inode};
use metadata::Place;
use superblock::Superblock;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

/// A view of a squashfs file system.
pub struct Squashfs {
    device: Device,
    superblock: Superblock,
    metadata: metadata::Metadata,
    kept: data::Kept,
}

impl Squashfs {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, or packed by a method that this reader does not know.
    pub fn open(block: Arc<dyn Block>) -> Result<Squashfs> {
        let device = Device::new(block);
        let superblock = Superblock::read(&device)?;
        let fs = Squashfs { device, superblock, metadata: Default::default(), kept: Default::default() };
        let root = fs.inode(fs.superblock.root)?;
        if root.kind != Kind::Directory {
            return Err(fs.corrupt_inode(&root, "the root is no directory"));
        }
        Ok(fs)
    }

    fn corrupt_inode(&self, inode: &Inode, what: &str) -> FsError {
        self.device.corrupt(0, format!("inode {}: {what}", inode.number)).into()
    }

    fn target(&self, place: &mut Place, size: u64) -> Result<Vec<u8>> {
        if size == 0 || size > MAX_TARGET {
            let what = "the target of a symbolic link has no possible length";
            return Err(self.device.corrupt(place.block, what).into());
        }
        self.take(place, size as usize)
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.inode(node.number)?;
        inode.kind.must_be_file()?;
        Ok(inode)
    }
}

impl FileSystem for Squashfs {
    fn kind(&self) -> &'static str {
        "squashfs"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(self.superblock.root)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        Ok(self.inode(node.number)?.attributes())
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        let directory = self.inode(directory.number)?;
        let mut found = None;
        self.entries(&directory, Some(name), &mut |entry| {
            if entry.name == name {
                found = Some(entry.node);
            }
            // Names are sorted.
            if entry.name >= name { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(&self.inode(directory.number)?, None, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        let inode = self.inode(node.number)?;
        let Body::Symlink(mut place) = inode.body else { return Err(Errno::INVAL.into()) };
        let target = self.target(&mut place, inode.size)?;
        if target.contains(&0) {
            return Err(self.corrupt_inode(&inode, "the target of a symbolic link is cut"));
        }
        Ok(target)
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.file(node)?;
        let into = up_to_end(into, offset, inode.size);
        self.read_data(&inode, node.number, offset, into)?;
        Ok(into.len())
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        self.next_data(&self.file(node)?, node.number, offset)
    }

    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        if let Some(index) = self.inode(node.number)?.attributes {
            self.find_attribute(index, |name, _| {
                names.push(name.to_vec());
                Ok(None::<()>)
            })?;
        }
        Ok(names)
    }

    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(index) = self.inode(node.number)?.attributes else { return Ok(None) };
        self.find_attribute(
            index,
            |found, value| {
                if found == name { self.value(value).map(Some) } else { Ok(None) }
            },
        )
    }

    fn statistics(&self) -> Result<Statistics> {
        let block_size = u64::from(self.superblock.block_size);
        Ok(Statistics {
            block_size,
            blocks: self.superblock.bytes_used.div_ceil(block_size),
            free: 0,
            available: 0,
            files: self.superblock.inodes.into(),
            files_free: 0,
            name_length: 256,
        })
    }
}
