//! Directories: names are found by their hashes and listed in the order in which they were made.

use std::ops::ControlFlow;

use rustix::io::Errno;

use super::super::system::{Entry, FsError, Kind, Node, Result};
use super::Btrfs;
use super::entry::{Entries, MAX_NAME, Named};
use super::inode::{EMPTY, Inode};
use super::key::{FIRST_FREE, Key, kind, name_hash};

impl Btrfs {
    fn directory(&self, node: Node) -> Result<Inode> {
        let inode = self.inode(node)?;
        if inode.kind == Kind::Directory { Ok(inode) } else { Err(Errno::NOTDIR.into()) }
    }

    /// Where an entry leads. A subvolume that lies elsewhere is seen as an empty directory.
    fn target(&self, directory: &Inode, entry: &Named<'_>) -> Result<Node> {
        let Node { tree, number } = directory.node;
        match entry.location.kind {
            kind::INODE => Ok(Node { tree, number: entry.location.object }),
            kind::ROOT => {
                let below = entry.location.object;
                let root = self.subvolume(below)?.filter(|root| root.directory >= FIRST_FREE);
                match root {
                    Some(root) if self.lies_in(below, tree, number, entry.name)? => {
                        Ok(Node { tree: below, number: root.directory })
                    }
                    _ => Ok(Node { tree: tree | EMPTY, number }),
                }
            }
            _ => Err(self.corrupt_inode(directory, "one of its entries leads nowhere")),
        }
    }

    fn damaged_entries(&self, directory: &Inode) -> FsError {
        self.corrupt_inode(directory, "its entries are damaged")
    }

    pub(super) fn entry(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        let directory = self.directory(directory)?;
        if directory.is_empty_place() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let key = Key::new(directory.node.number, kind::DIRECTORY_ITEM, name_hash(name));
        let Some(item) = self.trees.get(&directory.root.top, key)? else { return Ok(None) };
        for entry in Entries(&item) {
            let entry = entry.ok_or_else(|| self.damaged_entries(&directory))?;
            if entry.name == name {
                return self.target(&directory, &entry).map(Some);
            }
        }
        Ok(None)
    }

    pub(super) fn entries(
        &self,
        directory: Node,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let directory = self.directory(directory)?;
        if directory.is_empty_place() {
            return Ok(());
        }
        let number = directory.node.number;
        // 0 and 1 would be those of `.` and `..`, which have no entries.
        let mut cursor = self.trees.find(&directory.root.top, Key::new(number, kind::DIRECTORY_INDEX, 2))?;
        while cursor.key_of(number, kind::DIRECTORY_INDEX).is_some() {
            let entry = Entries(cursor.item()).next().flatten();
            let entry =
                entry.filter(|entry| !matches!(entry.name, b"." | b"..") && !entry.name.contains(&b'/'));
            let entry = entry.ok_or_else(|| self.damaged_entries(&directory))?;
            let node = self.target(&directory, &entry)?;
            if each(Entry { name: entry.name, node, kind: entry.kind }).is_break() {
                break;
            }
            cursor.advance()?;
        }
        Ok(())
    }
}
