//! The header of a package: an index of tags and a store with their values, all numbers big-endian.

use super::be32;

pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const SUMMARY: u32 = 1004;
pub(super) const DESCRIPTION: u32 = 1005;
pub(super) const URL: u32 = 1020;
pub(super) const ARCH: u32 = 1022;

/// Types of values: numbers of 32 bits, texts, texts in several languages of which the first is the original.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

const ENTRY: usize = 16;
const MAX_ENTRIES: u32 = 0xffff;

/// A header in a record of the database, which leaves the header's own magic number out.
pub(super) struct Header<'a> {
    index: &'a [u8],
    store: &'a [u8],
}

impl<'a> Header<'a> {
    /// Takes the index and the store apart. Nothing of them is believed yet.
    pub(super) fn parse(record: &'a [u8]) -> Option<Self> {
        let entries = be32(record, 0).filter(|&entries| entries <= MAX_ENTRIES)?;
        let stored = usize::try_from(be32(record, 4)?).ok()?;
        let index = usize::try_from(entries).ok()?.checked_mul(ENTRY)?;
        let (index, store) = record.get(8..)?.split_at_checked(index)?;
        Some(Header { index, store: store.get(..stored)? })
    }

    /// The stored bytes from where a tag's value begins, and its type.
    fn find(&self, tag: u32) -> Option<(u32, &'a [u8])> {
        let entry = self.index.chunks_exact(ENTRY).find(|entry| be32(entry, 0) == Some(tag))?;
        let offset = usize::try_from(be32(entry, 8)?).ok()?;
        let count = be32(entry, 12)?;
        (count > 0).then_some((be32(entry, 4)?, self.store.get(offset..)?))
    }

    /// A text, up to its NUL.
    pub(super) fn text(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, bytes) = self.find(tag)?;
        if !matches!(kind, STRING | STRING_ARRAY | I18N_STRING) {
            return None;
        }
        bytes.split(|&byte| byte == 0).next()
    }

    /// The first number.
    pub(super) fn number(&self, tag: u32) -> Option<u32> {
        let (kind, bytes) = self.find(tag)?;
        if kind == INT32 { be32(bytes, 0) } else { None }
    }
}
