//! Directories: an index of names, of which the top lies in the record and the rest in blocks.
//!
//! They are listed as ntfs-3g does: first what is at the top, then what is in the blocks, as these lie. A name is
//! looked up by way of the tree.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use rustix::io::Errno;

use super::super::system::{Entry, Node, Result};
use super::inode::{Inode, NUMBER, flag};
use super::name::{from_utf8, to_utf8, units};
use super::record::{kind, restore};
use super::stream::Stream;
use super::{FIRST_USER, Ntfs, ROOT, boot};
use crate::fields::Fields;

/// The name of the index of names, in UTF-16.
pub(super) const INDEX: &[u8] = b"$\0I\x003\x000\0";
/// What it says that it has: names, in their order.
const KIND: u32 = 0x30;
/// The longest root, in bytes.
const MAX_ROOT: u64 = 64 << 10;
/// Where the head of the index is, in a root and in a block.
const HEAD_OF_ROOT: usize = 16;
const HEAD_OF_BLOCK: usize = 24;
/// Flags of an entry: there are others before it; it is the last, without a name.
const HAS_CHILD: u16 = 1;
const LAST: u16 = 2;
/// The space of names for DOS alone.
const DOS: u8 = 2;
/// The longest name, in units of UTF-16.
const MAX_NAME: usize = 255;
/// A tree that is deeper goes round in a circle.
const MAX_DEPTH: usize = 32;

/// A directory that can be looked into.
pub(super) struct Directory {
    number: u64,
    root: Vec<u8>,
    /// Bytes of a block.
    block: usize,
    blocks: Option<Stream>,
}

/// What an index has.
struct Item<'a> {
    reference: u64,
    /// The attribute of its name.
    key: &'a [u8],
    /// The block with what comes before it.
    child: Option<u64>,
    is_last: bool,
}

impl<'a> Item<'a> {
    fn units(&self) -> Option<&'a [u8]> {
        let length = usize::from(*self.key.get(64)?) * 2;
        self.key.get(66..66 + length).filter(|name| !name.is_empty())
    }

    fn space(&self) -> u8 {
        self.key.get(65).copied().unwrap_or_default()
    }

    fn flags(&self) -> u32 {
        Fields(self.key).le32(56)
    }
}

/// The entries of a node; the last is always one without a name. `None` if they are damaged.
fn items(node: &[u8]) -> Option<Vec<Item<'_>>> {
    let (start, end) = (Fields(node).le32(0) as usize, Fields(node).le32(4) as usize);
    let mut rest = node.get(start..end)?;
    let mut all = Vec::new();
    loop {
        let fields = Fields(rest);
        let length = usize::from(fields.le16(8));
        let flags = fields.le16(12);
        let is_last = flags & LAST != 0;
        let entry = rest.get(..length).filter(|entry| entry.len() >= 16 && entry.len().is_multiple_of(8))?;
        let child =
            if flags & HAS_CHILD == 0 { None } else { Some(Fields(entry).le64(length.checked_sub(8)?)) };
        let key = if is_last { &[] } else { entry.get(16..16 + usize::from(fields.le16(10)))? };
        let item = Item { reference: fields.le64(0), key, child, is_last };
        if !is_last {
            item.units()?;
        }
        all.push(item);
        if is_last {
            return Some(all);
        }
        rest = rest.get(length..)?;
    }
}

impl Ntfs {
    /// Opens a directory.
    pub(super) fn directory(&self, inode: &Inode) -> Result<Directory> {
        if !inode.record.is_directory() || inode.flags & flag::REPARSE != 0 {
            return Err(Errno::NOTDIR.into());
        }
        let number = inode.number();
        let wrong = |what: &str| self.corrupt(number, what);
        let root = self.whole(inode, kind::INDEX_ROOT, INDEX, MAX_ROOT)?;
        let root = root.filter(|root| Fields(root).le32(0) == KIND);
        let root = root.ok_or_else(|| wrong("the directory has no index of names"))?;
        let block = boot::index_block(Fields(&root).le32(8));
        let block = block.ok_or_else(|| wrong("blocks of the directory have no possible size"))?;
        let blocks = self.stream(inode, kind::INDEX_ALLOCATION, INDEX)?;
        if blocks.as_ref().is_some_and(|blocks| !blocks.is_solid(&self.boot)) {
            return Err(wrong("the directory has holes"));
        }
        Ok(Directory { number, root, block, blocks })
    }

    fn items<'a>(&self, directory: &Directory, node: Option<&'a [u8]>) -> Result<Vec<Item<'a>>> {
        node.and_then(items)
            .ok_or_else(|| self.corrupt(directory.number, "entries of the directory are damaged"))
    }

    /// The block at a byte of the directory.
    fn index_block(&self, directory: &Directory, at: u64) -> Result<Vec<u8>> {
        let wrong = |what: &str| self.corrupt(directory.number, format!("a block of the directory: {what}"));
        let end = at.checked_add(directory.block as u64);
        let blocks = directory.blocks.as_ref().filter(|blocks| end.is_some_and(|end| end <= blocks.size));
        let blocks = blocks.ok_or_else(|| wrong("it lies outside"))?;
        let mut bytes = vec![0; directory.block];
        self.read_stream(directory.number, blocks, at, &mut bytes)?;
        restore(&mut bytes, b"INDX").map_err(wrong)?;
        if Fields(&bytes).le64(16).checked_mul(self.index_unit(directory)) != Some(at) {
            return Err(wrong("it is another one"));
        }
        Ok(bytes)
    }

    /// The unit in which places of blocks are given, in bytes.
    fn index_unit(&self, directory: &Directory) -> u64 {
        if directory.block as u64 >= self.boot.cluster { self.boot.cluster } else { 512 }
    }

    /// What a name is.
    pub(super) fn entry(&self, directory: &Directory, name: &[u8]) -> Result<Option<u64>> {
        let wanted = from_utf8(name).ok_or(Errno::ILSEQ)?;
        if wanted.len() > MAX_NAME {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.walk(directory, &|name| self.upper.compare(&wanted, name))
    }

    /// A name that is the same but for the case of letters, and what it is. Of several it is the first.
    pub(super) fn entry_in_any_case(
        &self,
        directory: &Directory,
        name: &[u16],
    ) -> Result<Option<(u64, Vec<u16>)>> {
        let mut found = None;
        self.all_items(directory, &mut |item| {
            let units = units(item.units().unwrap_or_default());
            let is_before =
                |(_, other): &(u64, Vec<u16>)| self.upper.compare(&units, other) == Ordering::Less;
            if self.upper.same(&units, name) && found.as_ref().is_none_or(is_before) {
                found = Some((item.reference, units));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn walk(&self, directory: &Directory, compare: &dyn Fn(&[u16]) -> Ordering) -> Result<Option<u64>> {
        let mut block;
        let mut node = directory.root.get(HEAD_OF_ROOT..);
        for _ in 0..MAX_DEPTH {
            let mut child = None;
            for item in self.items(directory, node)? {
                let order = match item.units() {
                    Some(name) if !item.is_last => compare(&units(name)),
                    _ => Ordering::Less,
                };
                match order {
                    Ordering::Equal => return Ok(Some(item.reference)),
                    Ordering::Less => {
                        child = item.child;
                        break;
                    }
                    Ordering::Greater => {}
                }
            }
            let Some(place) = child else { return Ok(None) };
            let outside = || self.corrupt(directory.number, "a block of the directory lies outside");
            let at = place.checked_mul(self.index_unit(directory)).ok_or_else(outside)?;
            block = self.index_block(directory, at)?;
            node = block.get(HEAD_OF_BLOCK..);
        }
        Err(self.corrupt(directory.number, "the directory goes round in a circle"))
    }

    /// Goes through all that has a name.
    fn all_items(
        &self,
        directory: &Directory,
        each: &mut dyn FnMut(&Item<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut some = |node: Option<&[u8]>| -> Result<ControlFlow<()>> {
            for item in self.items(directory, node)?.iter().filter(|item| !item.is_last) {
                if each(item)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        if some(directory.root.get(HEAD_OF_ROOT..))?.is_break() {
            return Ok(());
        }
        let Some(blocks) = &directory.blocks else { return Ok(()) };
        let in_use = self.stream(&self.inode(directory.number)?, kind::BITMAP, INDEX)?;
        let in_use = in_use.ok_or_else(|| self.corrupt(directory.number, "the directory has no bitmap"))?;
        let count = (blocks.size / directory.block as u64).min(in_use.size.saturating_mul(8));
        let mut bits = Vec::new();
        for index in 0..count {
            let bit = index % (4096 * 8);
            if bit == 0 {
                bits.resize((in_use.size - index / 8).min(4096) as usize, 0);
                self.read_stream(directory.number, &in_use, index / 8, &mut bits)?;
            }
            if bits.get((bit / 8) as usize).is_none_or(|byte| byte >> (bit % 8) & 1 == 0) {
                continue;
            }
            let block = self.index_block(directory, index * directory.block as u64)?;
            if some(block.get(HEAD_OF_BLOCK..))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Goes through what is shown of a directory.
    pub(super) fn entries(
        &self,
        directory: &Directory,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.all_items(directory, &mut |item| {
            let number = item.reference & NUMBER;
            // Names for DOS stand beside longer ones; the volume's own files are not shown.
            if item.space() == DOS || number == ROOT || number < FIRST_USER {
                return Ok(ControlFlow::Continue(()));
            }
            let name = to_utf8(&units(item.units().unwrap_or_default()));
            if matches!(&name[..], b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err(
                    self.corrupt(directory.number, "an entry of the directory has an impossible name")
                );
            }
            let kind = self.kind_in_directory(item.reference, item.flags())?;
            Ok(entry(Entry { name: &name, node: Node::new(item.reference), kind: Some(kind) }))
        })
    }
}
