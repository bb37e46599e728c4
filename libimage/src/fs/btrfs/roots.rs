//! Roots of trees, subvolumes and snapshots among them: a tree that has the others' roots as its items.

use std::sync::{Arc, PoisonError};

use super::super::system::{FsError, Result};
use super::Btrfs;
use super::entry::Entries;
use super::key::{FIRST_FREE, Key, holds_files, kind, name_hash, tree};
use super::node::{MAX_LEVEL, Pointer};
use crate::fields::Fields;

/// The shortest item of a root, from before subvolumes had UUIDs.
const SHORTEST: usize = 239;
/// The name of the default subvolume.
const DEFAULT: &[u8] = b"default";
/// Roots that are kept.
const KEPT: usize = 1024;

/// A root.
pub(super) struct Root {
    pub(super) top: Pointer,
    /// The number of the directory at a subvolume's top.
    pub(super) directory: u64,
    /// Bytes of its nodes.
    pub(super) used: u64,
    /// Nothing leads to it any more: it is being deleted.
    is_gone: bool,
}

impl Btrfs {
    /// The root of a tree; `None` if there is none of that number.
    pub(super) fn root_of(&self, number: u64) -> Result<Option<Arc<Root>>> {
        let lock = || self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = lock().get(&number) {
            return Ok(Some(Arc::clone(root)));
        }
        let roots = &self.trees.superblock.roots;
        // A snapshot's key says when it was made.
        let cursor = self.trees.find_before(roots, Key::new(number, kind::ROOT, u64::MAX))?;
        if cursor.key_of(number, kind::ROOT).is_none() {
            return Ok(None);
        }
        let item = cursor.item();
        let fields = Fields(item);
        let level = item.get(238).copied().unwrap_or(u8::MAX);
        let block = fields.le64(176);
        if item.len() < SHORTEST || level > MAX_LEVEL || !block.is_multiple_of(self.trees.superblock.sector) {
            return Err(self
                .trees
                .pool
                .corrupt(roots.block, &format!("the root of tree {number} is damaged")));
        }
        let root = Arc::new(Root {
            top: Pointer::root(number, block, level, fields.le64(160)),
            directory: fields.le64(168),
            used: fields.le64(192),
            is_gone: fields.le32(216) == 0,
        });
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(number, Arc::clone(&root));
        Ok(Some(root))
    }

    /// The root of a tree that has to be there.
    pub(super) fn needed_root(&self, number: u64) -> Result<Arc<Root>> {
        let missing = || self.trees.pool.corrupt(0, &format!("there is no tree {number}"));
        self.root_of(number)?.ok_or_else(missing)
    }

    /// A subvolume that can be entered.
    pub(super) fn subvolume(&self, number: u64) -> Result<Option<Arc<Root>>> {
        if !holds_files(number) {
            return Ok(None);
        }
        Ok(self.root_of(number)?.filter(|root| !root.is_gone))
    }

    /// Whether a subvolume lies in a directory under a name. In a snapshot of what is around it, it does not.
    pub(super) fn lies_in(&self, number: u64, tree: u64, directory: u64, name: &[u8]) -> Result<bool> {
        let key = Key::new(tree, kind::ROOT_REFERENCE, number);
        let Some(item) = self.trees.get(&self.trees.superblock.roots, key)? else { return Ok(false) };
        Ok(Fields(&item).le64(0) == directory && item.get(18..) == Some(name))
    }

    /// The number of the subvolume that is shown when none is asked for.
    pub(super) fn default_subvolume(&self) -> Result<u64> {
        let superblock = &self.trees.superblock;
        let key = Key::new(superblock.directory, kind::DIRECTORY_ITEM, name_hash(DEFAULT));
        let Some(item) = self.trees.get(&superblock.roots, key)? else { return Ok(tree::FILES) };
        let wrong = || {
            self.trees.pool.corrupt(superblock.roots.block, "the name of the default subvolume is damaged")
        };
        for entry in Entries(&item) {
            let entry = entry.ok_or_else(wrong)?;
            if entry.name == DEFAULT {
                return Ok(entry.location.object);
            }
        }
        Ok(tree::FILES)
    }

    /// The subvolume that is shown when none is asked for, with the number of its top directory.
    pub(super) fn shown(&self) -> Result<(u64, u64)> {
        let number = self.default_subvolume()?;
        match self.subvolume(number)? {
            Some(root) if root.directory >= FIRST_FREE => Ok((number, root.directory)),
            Some(_) => Err(self.trees.pool.corrupt(0, "the default subvolume has no directory")),
            None => Err(FsError::Unsupported(format!("its default subvolume ({number}) is not there"))),
        }
    }
}
