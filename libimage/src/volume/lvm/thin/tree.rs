//! The B-trees of a thin pool's metadata (`persistent-data/dm-btree` of the kernel).
//!
//! Nodes are blocks of 4096 bytes with a checksum and their own number. Keys and values are numbers of 64 bits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fields::Fields;

/// Bytes of a block of metadata.
pub(super) const BLOCK: u64 = 4096;
/// What a node's checksum is combined with.
const NODE_SALT: u32 = 121_107;
/// Bytes of a node's header.
const HEADER: usize = 32;
/// Bytes of a key, and of a value.
const NUMBER: usize = 8;
/// Flags of a node: it has children, or values.
const INNER: u32 = 1;
const LEAF: u32 = 2;
/// More levels than any tree has whose nodes are half full.
const MAX_DEPTH: usize = 16;
/// Nodes that are kept in memory: 16 MiB.
const MAX_KEPT: usize = 4096;

/// A block's checksum is right: it covers everything behind itself.
pub(super) fn is_intact(block: &[u8], salt: u32) -> bool {
    let covered = block.get(4..).unwrap_or_default();
    Fields(block).le32(0) == !crc32c::crc32c(covered) ^ salt
}

struct Node {
    is_leaf: bool,
    entries: Vec<(u64, u64)>,
}

/// What a tree says of a key, and for how many keys from it on that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The value of the key itself.
    pub(super) value: Option<u64>,
    /// Without a value: how many keys have none, at least 1.
    pub(super) empty: u64,
}

/// The blocks of metadata, and the nodes that were read lately.
pub(super) struct Nodes {
    block: Arc<dyn Block>,
    kept: Mutex<HashMap<u64, Arc<Node>>>,
}

impl Nodes {
    pub(super) fn new(block: Arc<dyn Block>) -> Self {
        Nodes { block, kept: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        self.block.name()
    }

    fn read(&self, number: u64) -> Result<Arc<Node>> {
        if let Some(node) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(self.parse(number)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(number, Arc::clone(&node));
        Ok(node)
    }

    fn parse(&self, number: u64) -> Result<Node> {
        let broken = |what: &str| {
            let text = format!("block {number} of the thin pool's metadata {what}");
            Error::corrupt(self.block.name(), text)
        };
        let at = number.checked_mul(BLOCK).ok_or_else(|| broken("lies nowhere"))?;
        let mut bytes = [0; BLOCK as usize];
        self.block.read_at(&mut bytes, at)?;
        if !is_intact(&bytes, NODE_SALT) {
            return Err(broken("has a wrong checksum"));
        }
        let fields = Fields(&bytes);
        let [flags, count, most, size] = [4, 16, 20, 24].map(|at| fields.le32(at));
        let is_leaf = match flags {
            LEAF => true,
            INNER => false,
            _ => return Err(broken("is no node of a tree")),
        };
        let room = (bytes.len() - HEADER) / (2 * NUMBER);
        if fields.le64(8) != number || size as usize != NUMBER || count > most || most as usize > room {
            return Err(broken("is no node of such a tree"));
        }
        let values = HEADER + most as usize * NUMBER;
        let entry =
            |index: usize| (fields.le64(HEADER + index * NUMBER), fields.le64(values + index * NUMBER));
        let entries: Vec<_> = (0..count as usize).map(entry).collect();
        if entries.is_sorted_by(|a, b| a.0 < b.0) {
            Ok(Node { is_leaf, entries })
        } else {
            Err(broken("has keys in disorder"))
        }
    }

    /// Looks a key up in the tree whose root is block `root`.
    ///
    /// # Errors
    /// When metadata cannot be read, or is damaged.
    pub(super) fn find(&self, root: u64, key: u64) -> Result<Found> {
        let (mut number, mut limit) = (root, u64::MAX);
        for _ in 0..MAX_DEPTH {
            let node = self.read(number)?;
            // Those up to the key, and the first one after it.
            let until = node.entries.partition_point(|(known, _)| *known <= key);
            let last = until.checked_sub(1).and_then(|index| node.entries.get(index));
            if let Some((next, _)) = node.entries.get(until) {
                limit = limit.min(*next);
            }
            let none = Found { value: None, empty: limit.saturating_sub(key).max(1) };
            match last {
                Some((known, value)) if node.is_leaf && *known == key => {
                    return Ok(Found { value: Some(*value), empty: 0 });
                }
                Some((_, child)) if !node.is_leaf => number = *child,
                _ => return Ok(none),
            }
        }
        Err(Error::corrupt(self.block.name(), "a tree of the thin pool's metadata has no end"))
    }
}
