//! Subvolumes by their paths: all that there are, and one of them as what is shown.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::super::system::{FileSystem, FsError, Kind, Node, Result};
use super::Btrfs;
use super::key::{Key, kind, tree};
use crate::fields::Fields;

/// Longer paths cannot be used.
const MAX_PATH: usize = 4095;

/// A subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number.
    pub number: u64,
    /// Its path from the top of all, without a slash at its beginning.
    pub path: Vec<u8>,
}

impl Btrfs {
    /// How many devices it has.
    pub fn devices(&self) -> usize {
        self.trees.pool.members.len()
    }

    /// Whether the subvolume at the top of all is the one that is shown.
    pub fn shows_top(&self) -> bool {
        self.top.tree == tree::FILES
    }

    /// All subvolumes but the one at the top, by their numbers.
    ///
    /// # Errors
    /// [`FsError`], when their names cannot be read.
    pub fn subvolumes(&self) -> Result<Vec<Subvolume>> {
        // By number: what is around it, and its path in there.
        let mut found = BTreeMap::new();
        let roots = &self.trees.superblock.roots;
        let mut cursor = self.trees.find(roots, Key::new(tree::FILES, kind::ROOT_REFERENCE, 0))?;
        while let Some(key) = cursor.key() {
            if key.kind == kind::ROOT_REFERENCE
                && let Some(root) = self.subvolume(key.object)?
            {
                let name = cursor.item().get(18..).filter(|name| !name.is_empty());
                let name =
                    name.ok_or_else(|| self.trees.pool.corrupt(roots.block, "a subvolume has no name"))?;
                let directory = Fields(cursor.item()).le64(0);
                let mut path = self.path_in(key.object, root.directory, directory)?;
                path.extend(name);
                found.insert(key.offset, (key.object, path));
            }
            cursor.advance()?;
        }
        found
            .keys()
            .map(|number| Ok(Subvolume { number: *number, path: self.path_of(&found, *number)? }))
            .collect()
    }

    /// The path of a directory in a subvolume, with a slash at its end unless it is the one at the top.
    fn path_in(&self, number: u64, top: u64, directory: u64) -> Result<Vec<u8>> {
        let wrong = || self.trees.pool.corrupt(0, &format!("a subvolume lies nowhere in tree {number}"));
        let root = self.subvolume(number)?.ok_or_else(wrong)?;
        let (mut names, mut at, mut length) = (Vec::new(), directory, 0);
        while at != top {
            let cursor = self.trees.find(&root.top, Key::new(at, kind::INODE_REFERENCE, 0))?;
            let key = cursor.key_of(at, kind::INODE_REFERENCE).ok_or_else(wrong)?;
            let count = usize::from(Fields(cursor.item()).le16(8));
            let name = cursor.item().get(10..10 + count).filter(|name| !name.is_empty()).ok_or_else(wrong)?;
            length += name.len() + 1;
            if length > MAX_PATH {
                return Err(wrong());
            }
            names.push(name.to_vec());
            at = key.offset;
        }
        Ok(names.into_iter().rev().flat_map(|name| [name, b"/".to_vec()]).flatten().collect())
    }

    /// The path of a subvolume from the top of all.
    fn path_of(&self, found: &BTreeMap<u64, (u64, Vec<u8>)>, number: u64) -> Result<Vec<u8>> {
        let (mut path, mut at) = (Vec::new(), number);
        while at != tree::FILES {
            let Some((around, inside)) = found.get(&at).filter(|_| path.len() <= MAX_PATH) else {
                return Err(self.trees.pool.corrupt(0, &format!("subvolume {number} lies nowhere")));
            };
            let below = if path.is_empty() { path } else { [b"/", &path[..]].concat() };
            path = [&inside[..], &below].concat();
            at = *around;
        }
        Ok(path)
    }

    /// The same file system with the subvolume at `path`, which begins at the top of all, as what is shown.
    ///
    /// # Errors
    /// [`FsError::Errno`] when there is none; [`FsError::Unsupported`] when a symbolic link is on the way.
    pub fn within(mut self, path: &[u8]) -> Result<Btrfs> {
        let root = self.needed_root(tree::FILES)?;
        let mut node = Node { tree: tree::FILES, number: root.directory };
        for name in path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if name == b".." {
                return Err(FsError::Unsupported("the path of a subvolume leads upwards".to_owned()));
            }
            node = self.lookup(node, name)?.ok_or(Errno::NOENT)?;
            if self.attributes(node)?.kind == Kind::Symlink {
                return Err(FsError::Unsupported("a symbolic link leads to a subvolume".to_owned()));
            }
        }
        let is_top = self.subvolume(node.tree)?.is_some_and(|root| root.directory == node.number);
        if !is_top {
            return Err(Errno::INVAL.into());
        }
        self.top = node;
        Ok(self)
    }
}
