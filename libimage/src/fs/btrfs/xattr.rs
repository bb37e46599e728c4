//! Extended attributes, which are stored under their whole names and in the form in which they are shown.

use super::super::system::Result;
use super::Btrfs;
use super::entry::Entries;
use super::inode::Inode;
use super::key::{Key, kind, name_hash};

impl Btrfs {
    pub(super) fn attribute_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        if inode.is_empty_place() {
            return Ok(names);
        }
        let number = inode.node.number;
        let mut cursor = self.trees.find(&inode.root.top, Key::new(number, kind::XATTR, 0))?;
        while cursor.key_of(number, kind::XATTR).is_some() {
            for entry in Entries(cursor.item()) {
                let entry = entry.ok_or_else(|| self.damaged_attributes(inode))?;
                names.push(entry.name.to_vec());
            }
            cursor.advance()?;
        }
        Ok(names)
    }

    pub(super) fn attribute(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        if inode.is_empty_place() {
            return Ok(None);
        }
        let key = Key::new(inode.node.number, kind::XATTR, name_hash(name));
        let Some(item) = self.trees.get(&inode.root.top, key)? else { return Ok(None) };
        for entry in Entries(&item) {
            let entry = entry.ok_or_else(|| self.damaged_attributes(inode))?;
            if entry.name == name {
                return Ok(Some(entry.value.to_vec()));
            }
        }
        Ok(None)
    }

    fn damaged_attributes(&self, inode: &Inode) -> super::super::system::FsError {
        self.corrupt_inode(inode, "its extended attributes are damaged")
    }
}
