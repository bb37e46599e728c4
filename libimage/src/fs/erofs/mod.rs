//! erofs: a file system that is written once. Of what is compressed, LZ4 is read.

mod inode;
mod lz4;
mod packed;
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
use crate::fields::Fields;
use inode::Inode;
use superblock::Superblock;

/// Bytes of an entry before the names.
const ENTRY: usize = 12;
const MAX_TARGET: u64 = 4096;
/// Directories beyond this are taken for damage.
const MAX_DIRECTORY: u64 = 1 << 30;

/// A view of an erofs file system.
pub struct Erofs {
    device: Device,
    superblock: Superblock,
    kept: packed::Kept,
}

impl Erofs {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it has features that this reader does not know.
    pub fn open(block: Arc<dyn Block>) -> Result<Erofs> {
        let device = Device::new(block);
        let superblock = Superblock::read(&device)?;
        let fs = Erofs { device, superblock, kept: Default::default() };
        let root = fs.inode(fs.superblock.root)?;
        if root.kind != Kind::Directory {
            return Err(fs.corrupt_inode(&root, "the root is no directory"));
        }
        Ok(fs)
    }

    fn corrupt_inode(&self, inode: &Inode, what: &str) -> FsError {
        self.device.corrupt(0, format!("inode {}: {what}", inode.number)).into()
    }

    fn entries(&self, directory: Node, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let inode = self.inode(directory.number)?;
        if inode.kind != Kind::Directory {
            return Err(Errno::NOTDIR.into());
        }
        if inode.size() > MAX_DIRECTORY {
            return Err(self.corrupt_inode(&inode, "a directory of more than 1 GiB"));
        }
        let block = 1u64 << self.superblock.block_bits;
        let wrong = || self.corrupt_inode(&inode, "its entries are damaged");
        let mut done = 0;
        while done < inode.size() {
            let mut bytes = vec![0; (inode.size() - done).min(block) as usize];
            self.read_data(&inode, done, &mut bytes)?;
            done += block;
            // Names begin behind the last entry.
            let count = usize::from(Fields(&bytes).le16(8)) / ENTRY;
            if count == 0 || count * ENTRY > bytes.len() {
                return Err(wrong());
            }
            for index in 0..count {
                let start = usize::from(Fields(&bytes).le16(index * ENTRY + 8));
                let end = match index + 1 == count {
                    true => bytes.len(),
                    false => usize::from(Fields(&bytes).le16((index + 1) * ENTRY + 8)),
                };
                let name = bytes.get(start..end).ok_or_else(wrong)?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                if name.is_empty() || name.contains(&b'/') || name.len() > 255 {
                    return Err(wrong());
                }
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let kind = bytes.get(index * ENTRY + 10).copied().and_then(Kind::of_entry);
                let node = Node::new(Fields(&bytes).le64(index * ENTRY));
                if each(Entry { name, node, kind }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.inode(node.number)?;
        inode.kind.must_be_file()?;
        Ok(inode)
    }
}

impl FileSystem for Erofs {
    fn kind(&self) -> &'static str {
        "erofs"
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

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(directory, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        let inode = self.inode(node.number)?;
        if inode.kind != Kind::Symlink {
            return Err(Errno::INVAL.into());
        }
        if inode.size() > MAX_TARGET {
            return Err(self.corrupt_inode(&inode, "the target of a symbolic link is too long"));
        }
        let mut target = vec![0; inode.size() as usize];
        self.read_data(&inode, 0, &mut target)?;
        if target.is_empty() || target.contains(&0) {
            return Err(self.corrupt_inode(&inode, "the target of a symbolic link is cut"));
        }
        Ok(target)
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.file(node)?;
        let into = up_to_end(into, offset, inode.size());
        self.read_data(&inode, offset, into)?;
        Ok(into.len())
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let inode = self.file(node)?;
        data_in_runs(offset, inode.size(), 1, |at| match self.place(&inode, at)? {
            (_, 0) => Err(self.corrupt_inode(&inode, "its data is cut")),
            (place, length) => Ok((place.is_some(), length)),
        })
    }

    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        Ok(self.attributes_of(&self.inode(node.number)?)?.into_iter().map(|(name, _)| name).collect())
    }

    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let all = self.attributes_of(&self.inode(node.number)?)?;
        Ok(all.into_iter().find(|(found, _)| found == name).map(|(_, value)| value))
    }

    fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics {
            block_size: 1 << self.superblock.block_bits,
            blocks: self.superblock.blocks,
            free: 0,
            available: 0,
            // It can have any number.
            files: u64::MAX,
            files_free: u64::MAX.saturating_sub(self.superblock.inodes),
            name_length: 255,
        })
    }
}
