//! Nodes of trees, which are checked as a whole before anything in them is believed.

use super::checksum::ROOM;
use super::key::{KEY, Key, holds_files};
use super::superblock::{Superblock, id};
use crate::fields::Fields;

/// Bytes before the items.
const HEADER: usize = 101;
/// Bytes of what leads to a child: a key, where it lies, its generation.
const LINK: usize = KEY + 16;
/// Bytes of what leads to an item: a key, where it lies behind the header, its length.
const ITEM: usize = KEY + 8;
/// Deeper trees cannot be.
pub(super) const MAX_LEVEL: u8 = 7;

/// What a node is expected to be by those who lead to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    /// The tree's number.
    pub(super) tree: u64,
    /// Where it lies.
    pub(super) block: u64,
    pub(super) level: u8,
    pub(super) generation: u64,
    /// Its first key, and the first one that is not in it any more.
    first: Option<Key>,
    pub(super) end: Option<Key>,
}

impl Pointer {
    pub(super) fn root(tree: u64, block: u64, level: u8, generation: u64) -> Pointer {
        Pointer { tree, block, level, generation, first: None, end: None }
    }

    /// Whether a node is the expected one.
    pub(super) fn check(&self, node: &Node) -> Result<(), &'static str> {
        if node.generation != self.generation || node.level != self.level {
            return Err("a node of a tree is not the one that was to be there");
        }
        // Trees of files share nodes with their snapshots.
        let is_ours = match holds_files(self.tree) {
            true => holds_files(node.owner),
            false => node.owner == self.tree,
        };
        if !is_ours {
            return Err("a node belongs to another tree");
        }
        let last = node.count.checked_sub(1).map(|last| node.key(last));
        let is_inside = match (self.first, last) {
            (Some(first), Some(_)) => node.key(0) == first,
            // Only a root may be empty.
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !is_inside || last.zip(self.end).is_some_and(|(last, end)| last >= end) {
            return Err("the keys of a node are out of place");
        }
        Ok(())
    }
}

/// A node.
pub(super) struct Node {
    bytes: Vec<u8>,
    pub(super) level: u8,
    generation: u64,
    owner: u64,
    count: usize,
}

impl Node {
    /// Checks what lies at `block`.
    pub(super) fn new(bytes: Vec<u8>, block: u64, superblock: &Superblock) -> Result<Node, &'static str> {
        let fields = Fields(&bytes);
        if !superblock.method.agrees(bytes.get(ROOM..).unwrap_or_default(), &bytes) {
            return Err("the checksum of a node is wrong");
        }
        if fields.le64(48) != block || id(&bytes, 32) != superblock.metadata_id {
            return Err("a node belongs elsewhere");
        }
        let level = bytes.get(100).copied().filter(|level| *level <= MAX_LEVEL);
        let node = Node {
            level: level.ok_or("a tree is deeper than can be")?,
            generation: fields.le64(80),
            owner: fields.le64(88),
            count: fields.le32(96) as usize,
            bytes,
        };
        node.check_items(superblock)?;
        Ok(node)
    }

    fn check_items(&self, superblock: &Superblock) -> Result<(), &'static str> {
        let length = if self.level == 0 { ITEM } else { LINK };
        let room = self.bytes.len() - HEADER;
        if self.count > room / length || (self.level > 0 && self.count == 0) {
            return Err("a node has an impossible number of items");
        }
        // Data lies backwards from the end, without gaps.
        let mut end = room;
        for index in 0..self.count {
            if index > 0 && self.key(index - 1) >= self.key(index) {
                return Err("the keys of a node are not in order");
            }
            if self.level > 0 {
                let block = self.child_block(index);
                if block == 0 || !block.is_multiple_of(superblock.sector) {
                    return Err("a node leads to an impossible place");
                }
                continue;
            }
            let (at, length) = self.place(index);
            if at.checked_add(length) != Some(end) || at < self.count * ITEM {
                return Err("the items of a node overlap");
            }
            end = at;
        }
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn slot(&self, index: usize) -> usize {
        HEADER + index * if self.level == 0 { ITEM } else { LINK }
    }

    pub(super) fn key(&self, index: usize) -> Key {
        Key::read(self.bytes.get(self.slot(index)..).unwrap_or_default())
    }

    /// Where an item lies behind the header, and its length.
    fn place(&self, index: usize) -> (usize, usize) {
        let (fields, at) = (Fields(&self.bytes), self.slot(index) + KEY);
        (fields.le32(at) as usize, fields.le32(at + 4) as usize)
    }

    /// An item of a leaf.
    pub(super) fn item(&self, index: usize) -> &[u8] {
        let (at, length) = self.place(index);
        self.bytes.get(HEADER + at..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }

    fn child_block(&self, index: usize) -> u64 {
        Fields(&self.bytes).le64(self.slot(index) + KEY)
    }

    /// What a child of a node that is no leaf has to be, if the node itself was `from`.
    pub(super) fn child(&self, index: usize, from: &Pointer) -> Pointer {
        Pointer {
            tree: from.tree,
            block: self.child_block(index),
            level: self.level.saturating_sub(1),
            generation: Fields(&self.bytes).le64(self.slot(index) + KEY + 8),
            first: Some(self.key(index)),
            end: if index + 1 < self.count { Some(self.key(index + 1)) } else { from.end },
        }
    }

    /// How many keys satisfy `before`, which holds for the first ones only.
    pub(super) fn keys_before(&self, before: impl Fn(Key) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if before(self.key(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}
