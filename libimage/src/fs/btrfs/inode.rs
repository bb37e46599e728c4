//! Inodes: what `stat` says.

use std::sync::Arc;

use rustix::io::Errno;

use super::super::system::{Attributes, FsError, Kind, Node, Result, Time};
use super::Btrfs;
use super::key::{Key, kind};
use super::roots::Root;
use crate::fields::Fields;

const LENGTH: usize = 160;
/// In a node's number of the tree: it is the empty directory that is shown in the place of a subvolume which lies
/// elsewhere, and the number is that of the directory around it. No tree has such a number.
pub(super) const EMPTY: u64 = 1 << 63;
/// What `st_ino` is for such a directory.
const EMPTY_INODE: u64 = 2;
/// Bits of an inode: its data has no checksums; it has space that was not written.
const NO_CHECKSUMS: u64 = 1;
const HAS_RESERVED: u64 = 1 << 4;
/// Its data is held against a tree of hashes.
const IS_SEALED: u64 = 1 << 32;

/// An inode.
pub(super) struct Inode {
    pub(super) node: Node,
    /// The subvolume.
    pub(super) root: Arc<Root>,
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    /// Bytes that its data takes.
    pub(super) used: u64,
    flags: u64,
}

impl Inode {
    pub(super) fn size(&self) -> u64 {
        self.attributes.size
    }

    /// It is the empty directory in the place of a subvolume.
    pub(super) fn is_empty_place(&self) -> bool {
        self.node.tree & EMPTY != 0
    }

    pub(super) fn has_checksums(&self) -> bool {
        self.flags & NO_CHECKSUMS == 0
    }

    pub(super) fn has_reserved(&self) -> bool {
        self.flags & HAS_RESERVED != 0
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.flags & IS_SEALED != 0
    }
}

fn time(bytes: &[u8], at: usize) -> Option<Time> {
    let fields = Fields(bytes);
    let nanoseconds = fields.le32(at + 8);
    (nanoseconds < 1_000_000_000).then(|| Time { seconds: fields.le64(at).cast_signed(), nanoseconds })
}

impl Btrfs {
    pub(super) fn corrupt_inode(&self, inode: &Inode, what: &str) -> FsError {
        let Node { tree, number } = inode.node;
        self.trees.pool.corrupt(inode.root.top.block, &format!("inode {number} of tree {tree}: {what}"))
    }

    pub(super) fn inode(&self, node: Node) -> Result<Inode> {
        let root = self.subvolume(node.tree & !EMPTY)?.ok_or(Errno::STALE)?;
        let item = self.trees.get(&root.top, Key::new(node.number, kind::INODE, 0))?.ok_or(Errno::NOENT)?;
        let Some(inode) = self.read_inode(node, &root, &item) else {
            let what = format!("inode {} of tree {} makes no sense", node.number, node.tree & !EMPTY);
            return Err(self.trees.pool.corrupt(root.top.block, &what));
        };
        if !inode.is_empty_place() {
            return Ok(inode);
        }
        if inode.kind != Kind::Directory {
            return Err(Errno::STALE.into());
        }
        let around = inode.attributes;
        let attributes = Attributes {
            permissions: 0o755,
            inode: EMPTY_INODE,
            links: 1,
            size: 0,
            blocks: 0,
            changed: around.modified,
            created: Some(around.modified),
            ..around
        };
        Ok(Inode { attributes, ..inode })
    }

    /// An inode from its item; `None` if that cannot be one.
    fn read_inode(&self, node: Node, root: &Arc<Root>, item: &[u8]) -> Option<Inode> {
        let fields = Fields(item);
        let mode = fields.le32(52);
        let kind = Kind::of_mode(mode).filter(|_| item.len() == LENGTH)?;
        let (size, used) = (fields.le64(16), fields.le64(24));
        if size > i64::MAX as u64 || used > i64::MAX as u64 {
            return None;
        }
        let device = fields.le64(56);
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => ((device >> 20) as u32 & 0xfff, device as u32 & 0xf_ffff),
            _ => (0, 0),
        };
        let sector = self.trees.superblock.sector;
        let attributes = Attributes {
            kind,
            permissions: mode & 0o7777,
            inode: node.number,
            links: fields.le32(40),
            user: fields.le32(44),
            group: fields.le32(48),
            size,
            blocks: used.next_multiple_of(sector) / 512,
            block_size: sector as u32,
            device,
            accessed: time(item, 112)?,
            changed: time(item, 124)?,
            modified: time(item, 136)?,
            created: Some(time(item, 148)?),
        };
        Some(Inode { node, root: Arc::clone(root), kind, attributes, used, flags: fields.le64(64) })
    }
}
