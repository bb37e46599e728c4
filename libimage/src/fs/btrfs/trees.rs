//! Trees: how items are found by their keys, and gone through in order.
//!
//! Each step down is to a lower level and to keys between those of its neighbours, so every walk ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::system::Result;
use super::key::{Key, kind};
use super::node::{Node, Pointer};
use super::pool::Pool;
use super::superblock::Superblock;

/// Parts of the nodes that are kept, each with a lock of its own, and the bytes that each may have.
const SHARDS: usize = 16;
const SHARD: usize = 2 << 20;

/// The trees of a file system.
pub(super) struct Trees {
    pub(super) superblock: Superblock,
    pub(super) pool: Pool,
    nodes: [Mutex<HashMap<u64, Arc<Node>>>; SHARDS],
}

/// A place in a tree: an item, or the end.
pub(super) struct Cursor<'a> {
    trees: &'a Trees,
    /// The nodes above, each with what it was expected to be and the child that was gone to.
    above: Vec<(Arc<Node>, Pointer, usize)>,
    leaf: Arc<Node>,
    index: usize,
}

impl Trees {
    /// Reads the chunks, after which everything else can be found.
    pub(super) fn open(superblock: Superblock, mut pool: Pool) -> Result<Trees> {
        pool.first_chunks(&superblock)?;
        let mut trees = Trees { superblock, pool, nodes: Default::default() };
        let mut chunks = Vec::new();
        let mut at = trees.find(&trees.superblock.chunks, Key::new(0, 0, 0))?;
        while let Some(key) = at.key() {
            if key.kind == kind::CHUNK {
                chunks.push(trees.pool.read_chunk(key, at.item(), trees.superblock.sector)?);
            }
            at.advance()?;
        }
        trees.pool.take_chunks(chunks)?;
        Ok(trees)
    }

    /// A node, from the first copy of it that is whole and is what it has to be.
    fn node(&self, wanted: &Pointer) -> Result<Arc<Node>> {
        let number = (wanted.block / self.superblock.node as u64) as usize % SHARDS;
        let shard = self.nodes.get(number).unwrap_or(&self.nodes[0]);
        let known = shard.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted.block).cloned();
        if let Some(node) = known.filter(|node| wanted.check(node).is_ok()) {
            return Ok(node);
        }
        let mut failure = None;
        for copy in 0..self.pool.copies(wanted.block)? {
            let mut bytes = vec![0; self.superblock.node];
            if let Err(error) = self.pool.read(wanted.block, copy, &mut bytes) {
                failure = Some(error);
                continue;
            }
            let node = Node::new(bytes, wanted.block, &self.superblock);
            match node.and_then(|node| wanted.check(&node).map(|()| node)) {
                Ok(node) => {
                    let node = Arc::new(node);
                    let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                    if shard.len() >= SHARD / self.superblock.node {
                        shard.clear();
                    }
                    shard.insert(wanted.block, Arc::clone(&node));
                    return Ok(node);
                }
                Err(what) => failure = Some(self.pool.corrupt(wanted.block, what)),
            }
        }
        Err(failure.unwrap_or_else(|| self.pool.corrupt(wanted.block, "a node has no copies")))
    }

    /// Goes down to the leaf in which `key` is, if it is anywhere.
    fn descend(&self, root: &Pointer, key: Key) -> Result<Cursor<'_>> {
        let mut pointer = *root;
        let mut node = self.node(&pointer)?;
        let mut above = Vec::with_capacity(usize::from(node.level));
        while node.level > 0 {
            let index = node.keys_before(|other| other <= key).saturating_sub(1);
            let child = node.child(index, &pointer);
            let next = self.node(&child)?;
            above.push((node, pointer, index));
            (node, pointer) = (next, child);
        }
        Ok(Cursor { trees: self, above, leaf: node, index: 0 })
    }

    /// The first item whose key is not before `key`.
    pub(super) fn find(&self, root: &Pointer, key: Key) -> Result<Cursor<'_>> {
        let mut cursor = self.descend(root, key)?;
        cursor.index = cursor.leaf.keys_before(|other| other < key);
        cursor.settle()?;
        Ok(cursor)
    }

    /// The last item whose key is not after `key`, or the first item of all.
    pub(super) fn find_before(&self, root: &Pointer, key: Key) -> Result<Cursor<'_>> {
        let mut cursor = self.descend(root, key)?;
        cursor.index = cursor.leaf.keys_before(|other| other <= key).saturating_sub(1);
        Ok(cursor)
    }

    /// The item with exactly this key.
    pub(super) fn get(&self, root: &Pointer, key: Key) -> Result<Option<Vec<u8>>> {
        let cursor = self.descend(root, key)?;
        let index = cursor.leaf.keys_before(|other| other < key);
        let is_there = index < cursor.leaf.count() && cursor.leaf.key(index) == key;
        Ok(is_there.then(|| cursor.leaf.item(index).to_vec()))
    }
}

impl Cursor<'_> {
    /// The item's key; `None` at the end.
    pub(super) fn key(&self) -> Option<Key> {
        (self.index < self.leaf.count()).then(|| self.leaf.key(self.index))
    }

    /// The key, if it is of this object and kind.
    pub(super) fn key_of(&self, object: u64, kind: u8) -> Option<Key> {
        self.key().filter(|key| key.object == object && key.kind == kind)
    }

    /// The item.
    pub(super) fn item(&self) -> &[u8] {
        self.leaf.item(self.index)
    }

    /// Goes to the next item.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.index += 1;
        self.settle()
    }

    /// From behind a leaf's last item to the next leaf.
    fn settle(&mut self) -> Result<()> {
        if self.index < self.leaf.count() {
            return Ok(());
        }
        while let Some((node, pointer, index)) = self.above.pop() {
            if index + 1 == node.count() {
                continue;
            }
            let mut child = node.child(index + 1, &pointer);
            self.above.push((node, pointer, index + 1));
            loop {
                let next = self.trees.node(&child)?;
                if next.level == 0 {
                    (self.leaf, self.index) = (next, 0);
                    return Ok(());
                }
                let below = next.child(0, &child);
                self.above.push((next, child, 0));
                child = below;
            }
        }
        Ok(())
    }
}
