//! Extended attributes: in the inode while they fit, then in a tree of blocks, large values in blocks of their own.

use super::super::acl;
use super::super::system::Result;
use super::Xfs;
use super::header;
use super::inode::{Fork, Inode, Layout};
use super::superblock::byte;
use crate::fields::Fields;

/// What leaves have for a magic number, before version 5 and since.
const LEAF: [u16; 2] = [0xfbee, 0x3bee];
/// What begins a block of a value, since version 5, and how many bytes come before the value.
const VALUE_MAGIC: u32 = 0x5841_524d;
const VALUE_HEADER: usize = 56;
/// The largest value.
const MAX_VALUE: usize = 64 << 10;

/// Flags of attributes: the value lies beside the name; whose names they are; a change was not finished.
mod flag {
    pub(super) const LOCAL: u8 = 0x1;
    pub(super) const TRUSTED: u8 = 0x2;
    pub(super) const SECURITY: u8 = 0x4;
    pub(super) const PARENT: u8 = 0x8;
    pub(super) const INCOMPLETE: u8 = 0x80;
}

/// The trusted attributes that hold access control lists, and how these are known.
const LISTS: [(&[u8], &[u8]); 2] =
    [(b"SGI_ACL_FILE", b"system.posix_acl_access"), (b"SGI_ACL_DEFAULT", b"system.posix_acl_default")];

/// An attribute.
struct Found<'a> {
    flags: u8,
    name: &'a [u8],
    value: Value<'a>,
}

/// A value, or where it lies: the first block in the fork, and bytes.
#[derive(Clone, Copy)]
enum Value<'a> {
    Here(&'a [u8]),
    There(u64, usize),
}

impl Found<'_> {
    /// What its name begins with; `None` for what is not for callers to see.
    fn prefix(&self) -> Option<&'static [u8]> {
        match self.flags & (flag::TRUSTED | flag::SECURITY | flag::PARENT) {
            0 => Some(b"user."),
            flag::TRUSTED => Some(b"trusted."),
            flag::SECURITY => Some(b"security."),
            _ => None,
        }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.prefix().is_some_and(|prefix| name.strip_prefix(prefix) == Some(self.name))
    }
}

/// From the form on disk: a count, and of each entry the tag, the number, and the permissions.
fn shown_list(stored: &[u8]) -> Option<Vec<u8>> {
    let (count, entries) = stored.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<12>();
    if !rest.is_empty() || u32::from_be_bytes(*count) as usize != entries.len() {
        return None;
    }
    let entry = |entry: &[u8; 12]| {
        let tag = u16::try_from(Fields(entry).be32(0)).ok()?;
        matches!(tag, 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20)
            .then(|| (tag, Fields(entry).be16(8), Fields(entry).be32(4)))
    };
    Some(acl::shown(&entries.iter().map(entry).collect::<Option<Vec<_>>>()?))
}

impl Xfs {
    /// Calls `each` with every attribute, until it returns something.
    fn find_attribute<T>(
        &self,
        inode: &Inode,
        mut each: impl FnMut(&Fork<'_>, &Found<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if !inode.has_attributes() {
            return Ok(None);
        }
        let wrong = || self.corrupt_inode(inode.number, "its extended attributes are damaged");
        let fork = inode.attributes_fork().ok_or_else(wrong)?;
        if fork.layout == Layout::Local {
            return self.in_inode(&fork, &mut each);
        }
        if fork.layout == Layout::Extents && fork.extents == 0 {
            return Ok(None);
        }
        let mut leaf = self.hash_leaf(&fork, 0, 1, None)?;
        if !leaf.is_first() {
            return Err(wrong());
        }
        loop {
            if leaf.magic != LEAF[usize::from(self.superblock.is_v5)] {
                return Err(wrong());
            }
            if let Some(found) = self.in_leaf(&fork, &leaf.bytes, &mut each)? {
                return Ok(Some(found));
            }
            match self.hash_leaf_after(&fork, &leaf, 1)? {
                Some(next) => leaf = next,
                None => return Ok(None),
            }
        }
    }

    fn in_inode<T>(
        &self,
        fork: &Fork<'_>,
        each: &mut impl FnMut(&Fork<'_>, &Found<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let wrong = || self.corrupt_inode(fork.owner, "its extended attributes are damaged");
        let bytes = fork.bytes.get(..usize::from(Fields(fork.bytes).be16(0))).ok_or_else(wrong)?;
        let mut at = 4;
        for _ in 0..byte(bytes, 2) {
            let (name, value) = (usize::from(byte(bytes, at)), usize::from(byte(bytes, at + 1)));
            let both = bytes.get(at + 3..at + 3 + name + value).ok_or_else(wrong)?;
            let (name, value) = both.split_at(name);
            let found = Found { flags: byte(bytes, at + 2), name, value: Value::Here(value) };
            if let Some(done) = each(fork, &found)? {
                return Ok(Some(done));
            }
            at += 3 + both.len();
        }
        Ok(None)
    }

    fn in_leaf<T>(
        &self,
        fork: &Fork<'_>,
        bytes: &[u8],
        each: &mut impl FnMut(&Fork<'_>, &Found<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let wrong = || self.corrupt_inode(fork.owner, "its extended attributes are damaged");
        let (count_at, start) = if self.superblock.is_v5 { (56, 80) } else { (12, 32) };
        let count = usize::from(Fields(bytes).be16(count_at));
        let entries = bytes.get(start..start + count * 8).ok_or_else(wrong)?;
        for entry in entries.as_chunks::<8>().0 {
            let (at, flags) = (usize::from(Fields(entry).be16(4)), entry[6]);
            if flags & flag::INCOMPLETE != 0 {
                continue;
            }
            let fields = Fields(bytes);
            let (name_at, name_length, value) = if flags & flag::LOCAL != 0 {
                let (value, name) = (usize::from(Fields(bytes).be16(at)), usize::from(byte(bytes, at + 2)));
                let start = at + 3 + name;
                let value = bytes.get(start..start + value).ok_or_else(wrong)?;
                (at + 3, name, Value::Here(value))
            } else {
                let value = Value::There(fields.be32(at).into(), fields.be32(at + 4) as usize);
                (at + 9, usize::from(byte(bytes, at + 8)), value)
            };
            let name = bytes.get(name_at..name_at + name_length).ok_or_else(wrong)?;
            if let Some(done) = each(fork, &Found { flags, name, value })? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    fn value(&self, fork: &Fork<'_>, value: Value<'_>) -> Result<Vec<u8>> {
        let wrong = || self.corrupt_inode(fork.owner, "the value of an extended attribute is damaged");
        let (first, size) = match value {
            Value::Here(value) => return Ok(value.to_vec()),
            Value::There(_, size) if size > MAX_VALUE => return Err(wrong()),
            Value::There(first, size) => (first, size),
        };
        let mut value = Vec::new();
        for logical in first.. {
            if value.len() >= size {
                break;
            }
            let (place, bytes) = self.fork_blocks(fork, logical, 1)?.ok_or_else(wrong)?;
            let left = size - value.len();
            if !self.superblock.is_v5 {
                value.extend(bytes.iter().take(left));
                continue;
            }
            self.check_header(&header::BODY, &bytes, place, fork.owner)?;
            let fields = Fields(&bytes);
            let part = bytes.get(VALUE_HEADER..).unwrap_or_default();
            let part = part.get(..left.min(part.len())).unwrap_or_default();
            let is_next = fields.be32(0) == VALUE_MAGIC
                && fields.be32(4) as usize == value.len()
                && fields.be32(8) as usize == part.len();
            if !is_next {
                return Err(wrong());
            }
            value.extend(part);
        }
        Ok(value)
    }

    pub(super) fn attribute_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.find_attribute(inode, |_, found| {
            if let Some(prefix) = found.prefix() {
                let list =
                    LISTS.iter().find(|(name, _)| found.flags & flag::TRUSTED != 0 && found.name == *name);
                names.extend(list.map(|(_, shown)| shown.to_vec()));
                names.push([prefix, found.name].concat());
            }
            Ok(None::<()>)
        })?;
        Ok(names)
    }

    pub(super) fn attribute(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let list = LISTS.iter().find(|(_, shown)| *shown == name);
        let stored = match list {
            Some((stored, _)) => [b"trusted.", *stored].concat(),
            None => name.to_vec(),
        };
        let value = self.find_attribute(inode, |fork, found| {
            if found.is(&stored) { self.value(fork, found.value).map(Some) } else { Ok(None) }
        })?;
        match (value, list) {
            (Some(value), Some(_)) => {
                // One without entries is none.
                if value == [0; 4] {
                    return Ok(None);
                }
                let wrong = || self.corrupt_inode(inode.number, "its access control list is damaged");
                shown_list(&value).ok_or_else(wrong).map(Some)
            }
            (value, _) => Ok(value),
        }
    }
}
