//! btrfs, read only: subvolumes and snapshots, packed data, one device or several. What has a checksum is held
//! against it before it is believed, and where there are several copies the right one is found.
//!
//! What is shown is what a mount without options shows. A log that was not brought to its end is not replayed: such a
//! file system is refused.

mod checksum;
mod chunk;
mod data;
mod directory;
mod entry;
mod extent;
mod inode;
mod key;
mod node;
mod pool;
mod roots;
mod statistics;
mod subvolumes;
mod superblock;
mod trees;
mod unpack;
mod xattr;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::system::{Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, up_to_end};
use crate::block::Block;
use crate::fields::Fields;
use extent::{Data, Packed};
use inode::Inode;
use key::{DEVICES, Key, kind};
use pool::Pool;
use roots::Root;
pub use subvolumes::Subvolume;
use superblock::id;
use trees::Trees;

const MAX_TARGET: u64 = 4095;

/// A view of a btrfs.
pub struct Btrfs {
    trees: Trees,
    /// The directory at the top of what is shown.
    top: Node,
    roots: Mutex<HashMap<u64, Arc<Root>>>,
    /// Extents that were unpacked lately.
    unpacked: Mutex<VecDeque<(Packed, Arc<Vec<u8>>)>>,
}

impl Btrfs {
    /// Opens the file system on `block` and, if it has more devices, on those of `others` that are part of it.
    /// `others` is called only then; `block` is not to be among them.
    ///
    /// # Errors
    /// When there is none, it is damaged, a device is missing, its log has to be replayed, or it has features that
    /// this reader does not know.
    pub fn open(block: Arc<dyn Block>, others: &dyn Fn() -> Vec<Arc<dyn Block>>) -> Result<Btrfs> {
        let (superblock, pool) = Pool::gather(block, others)?;
        let trees = Trees::open(superblock, pool)?;
        let mut fs = Btrfs { trees, top: Node::new(0), roots: Mutex::default(), unpacked: Mutex::default() };
        fs.check_devices()?;
        let (tree, number) = fs.shown()?;
        fs.top = Node { tree, number };
        let top = fs.inode(fs.top)?;
        if top.kind != Kind::Directory {
            return Err(fs.corrupt_inode(&top, "the root is no directory"));
        }
        Ok(fs)
    }

    /// Holds the list of devices against those that are here.
    fn check_devices(&self) -> Result<()> {
        let (superblock, pool) = (&self.trees.superblock, &self.trees.pool);
        let mut cursor = self.trees.find(&superblock.chunks, Key::new(DEVICES, kind::DEVICE, 0))?;
        while let Some(key) = cursor.key_of(DEVICES, kind::DEVICE) {
            let item = cursor.item();
            if id(item, 82) != superblock.metadata_id {
                return Err(FsError::Unsupported(
                    "it grew from a seed, which is a device of its own".to_owned(),
                ));
            }
            let member = pool.find(key.offset, id(item, 66)).and_then(|member| pool.members.get(member));
            let Some(member) = member else {
                return Err(FsError::Unsupported(format!("its device {} is not there", key.offset)));
            };
            if Fields(item).le64(8) > member.device.size() {
                return Err(member.device.corrupt(0, "it is smaller than its file system says").into());
            }
            cursor.advance()?;
        }
        Ok(())
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.inode(node)?;
        inode.kind.must_be_file()?;
        if inode.is_sealed() {
            return Err(FsError::Unsupported("the file is sealed by fs-verity".to_owned()));
        }
        Ok(inode)
    }
}

impl FileSystem for Btrfs {
    fn kind(&self) -> &'static str {
        "btrfs"
    }

    fn name(&self) -> &str {
        self.trees.pool.name()
    }

    fn root(&self) -> Node {
        self.top
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        Ok(self.inode(node)?.attributes)
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        self.entry(directory, name)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(directory, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        let inode = self.inode(node)?;
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
        let size = inode.size();
        let mut extents = self.extents(&inode, offset)?;
        let (mut at, mut start) = (offset, None);
        while at < size {
            let extent = extents.at(at)?;
            match (extent.data, start) {
                (Data::Hole | Data::Reserved, Some(_)) => break,
                (Data::Hole | Data::Reserved, None) | (_, Some(_)) => {}
                (_, None) => {
                    start = Some(at);
                    // As the kernel concludes: a file with as many bytes of data as it is long has no holes.
                    if inode.used == size && !inode.has_reserved() {
                        at = size;
                        break;
                    }
                }
            }
            at = extent.end;
        }
        Ok(start.map(|start| (start, at.min(size))))
    }

    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        self.attribute_names(&self.inode(node)?)
    }

    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.attribute(&self.inode(node)?, name)
    }

    fn statistics(&self) -> Result<Statistics> {
        self.statfs()
    }
}
