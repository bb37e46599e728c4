//! Extended attributes: behind an inode's fields, in a block of their own, or each in an inode.

use super::super::acl;
use super::super::system::{FsError, Result};
use super::Ext4;
use super::inode::{Inode, flag};
use super::superblock::crc;
use crate::fields::Fields;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the header of a block.
const HEADER: usize = 32;
/// The largest value: what the kernel allows.
const MAX_VALUE: usize = 64 << 10;
/// The number of the attributes that belong to the file system itself.
const SYSTEM: u8 = 7;

/// An attribute, its value not yet looked for.
struct Found<'a> {
    space: u8,
    name: &'a [u8],
    /// Where the value begins in the attribute area, or the inode that holds it.
    at: usize,
    inode: u32,
    size: usize,
}

/// The prefix of a kind of attributes, and whether more follows it.
fn prefix(space: u8) -> Option<&'static str> {
    Some(match space {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        SYSTEM => "system.",
        8 => "system.richacl",
        _ => return None,
    })
}

impl Ext4 {
    /// Calls `each` with every attribute's number of prefix, name and value, until it returns something.
    fn find_attribute<T>(
        &self,
        inode: &Inode,
        mut each: impl FnMut(&Found<'_>, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if let Some(area) = inode.rest().get(4..)
            && Fields(inode.rest()).le32(0) == MAGIC
            && let Some(found) = self.in_area(inode, area, 0, &mut each)?
        {
            return Ok(Some(found));
        }
        let number = inode.attribute_block();
        if number == 0 {
            return Ok(None);
        }
        let block = self.block(number)?;
        let fields = Fields(&block);
        if fields.le32(0) != MAGIC {
            return Err(self.corrupt_inode(inode, "the block of its extended attributes is none"));
        }
        if let Some(seed) = self.superblock.seed {
            let sum = crc(crc(seed, &number.to_le_bytes()), block.get(..0x10).unwrap_or_default());
            let sum = crc(crc(sum, &[0; 4]), block.get(0x14..).unwrap_or_default());
            if sum != fields.le32(0x10) {
                return Err(self.corrupt_inode(inode, "the checksum of its extended attributes is wrong"));
            }
        }
        self.in_area(inode, &block, HEADER, &mut each)
    }

    /// Entries begin at `at`; values are where they say, counted from the area's beginning.
    fn in_area<T>(
        &self,
        inode: &Inode,
        area: &[u8],
        mut at: usize,
        each: &mut impl FnMut(&Found<'_>, &[u8]) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        while Fields(area).le32(at) != 0 {
            let wrong = || self.corrupt_inode(inode, "its extended attributes are damaged");
            let [length, space, ..] = *area.get(at..at + 16).ok_or_else(wrong)? else { return Err(wrong()) };
            let fields = Fields(area);
            let found = Found {
                space,
                name: area.get(at + 16..at + 16 + usize::from(length)).ok_or_else(wrong)?,
                at: usize::from(Fields(area).le16(at + 2)),
                inode: fields.le32(at + 4),
                size: fields.le32(at + 8) as usize,
            };
            if let Some(done) = each(&found, area)? {
                return Ok(Some(done));
            }
            at += (16 + usize::from(length)).next_multiple_of(4);
        }
        Ok(None)
    }

    fn value(&self, inode: &Inode, found: &Found<'_>, area: &[u8]) -> Result<Vec<u8>> {
        let wrong = || self.corrupt_inode(inode, "the value of an extended attribute lies elsewhere");
        if found.size > MAX_VALUE {
            return Err(wrong());
        }
        if found.inode == 0 {
            let end = found.at.checked_add(found.size).ok_or_else(wrong)?;
            return area.get(found.at..end).map(<[u8]>::to_vec).ok_or_else(wrong);
        }
        let holder = self.inode(found.inode)?;
        if !holder.has(flag::EA_INODE) || holder.size() != found.size as u64 {
            return Err(wrong());
        }
        let mut value = vec![0; found.size];
        self.read_blocks(&holder, 0, &mut value)?;
        Ok(value)
    }

    /// What of a file or directory lies among the attributes, after what lies in the inode.
    pub(super) fn inline_rest(&self, inode: &Inode) -> Result<Vec<u8>> {
        let found = self.find_attribute(inode, |found, area| {
            let is_it = found.space == SYSTEM && found.name == b"data";
            if is_it { self.value(inode, found, area).map(Some) } else { Ok(None) }
        });
        Ok(found?.unwrap_or_default())
    }

    pub(super) fn attribute_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.find_attribute(inode, |found, _| {
            if let Some(name) = full_name(found) {
                names.push(name);
            }
            Ok(None::<()>)
        })?;
        Ok(names)
    }

    pub(super) fn attribute(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.find_attribute(inode, |found, area| {
            if full_name(found).as_deref() != Some(name) {
                return Ok(None);
            }
            let value = self.value(inode, found, area)?;
            if !matches!(found.space, 2 | 3) {
                return Ok(Some(value));
            }
            let wrong = || self.corrupt_inode(inode, "its access control list is damaged");
            acl::from_short_form(&value).ok_or_else(wrong).map(Some)
        })
    }
}

/// The name as callers know it; `None` for what is not theirs to see.
fn full_name(found: &Found<'_>) -> Option<Vec<u8>> {
    let prefix = prefix(found.space)?;
    if found.space == SYSTEM && found.name == b"data" {
        return None;
    }
    Some([prefix.as_bytes(), found.name].concat())
}

impl From<&'static str> for FsError {
    fn from(what: &'static str) -> Self {
        FsError::Unsupported(what.to_owned())
    }
}
