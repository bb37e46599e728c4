//! Extents: where the data of a file lies.

use super::super::system::{FsError, Result};
use super::Btrfs;
use super::inode::Inode;
use super::key::{Key, kind};
use super::trees::Cursor;
use super::unpack::Packing;
use crate::fields::Fields;

/// Bytes before what lies in the item itself, and of an item of what lies elsewhere.
const HEADER: usize = 21;
const LENGTH: usize = 53;
/// The most that a packed extent has, packed or not: more than the kernel makes.
const MOST_PACKED: u64 = 1 << 20;
/// The most that lies in an item.
const MOST_INSIDE: u64 = 64 << 10;

/// A piece of a file.
pub(super) struct Extent {
    /// Where in the file it begins, and where it ends.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) data: Data,
}

/// What there is of a piece of a file.
pub(super) enum Data {
    Hole,
    /// Space that was never written.
    Reserved,
    /// Bytes in the item itself; zeroes follow.
    Inside(Vec<u8>),
    /// Bytes at an address.
    At(u64),
    /// Bytes that have to be unpacked, and how far behind the first of them the extent begins.
    Packed(Packed, u64),
}

/// Bytes that have to be unpacked: their address, length, and how many there are then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) packing: Packing,
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) unpacked: u64,
}

/// The extents of a file, from a place in it on.
pub(super) struct Extents<'a> {
    fs: &'a Btrfs,
    inode: &'a Inode,
    cursor: Cursor<'a>,
}

impl Btrfs {
    /// The extents of a file at and after the byte `offset`.
    pub(super) fn extents<'a>(&'a self, inode: &'a Inode, offset: u64) -> Result<Extents<'a>> {
        let number = inode.node.number;
        let key = Key::new(number, kind::EXTENT_DATA, offset);
        let mut cursor = self.trees.find_before(&inode.root.top, key)?;
        if cursor.key().is_some_and(|found| found < Key::new(number, kind::EXTENT_DATA, 0)) {
            cursor.advance()?;
        }
        Ok(Extents { fs: self, inode, cursor })
    }
}

impl Extents<'_> {
    /// The extent with the byte `offset`, which is never before one that was asked for already. A hole that has no
    /// item begins where it was asked for.
    pub(super) fn at(&mut self, offset: u64) -> Result<Extent> {
        loop {
            let hole = |end| Extent { start: offset, end, data: Data::Hole };
            let Some(key) = self.cursor.key_of(self.inode.node.number, kind::EXTENT_DATA) else {
                return Ok(hole(u64::MAX));
            };
            if key.offset > offset {
                return Ok(hole(key.offset));
            }
            let extent = self.read(key.offset)?;
            if offset < extent.end {
                return Ok(extent);
            }
            self.cursor.advance()?;
        }
    }

    /// The extent at the cursor, which begins at `start`.
    fn read(&self, start: u64) -> Result<Extent> {
        let wrong = || self.fs.corrupt_inode(self.inode, "one of its extents makes no sense");
        let item = self.cursor.item();
        let fields = Fields(item);
        let sector = self.fs.trees.superblock.sector;
        let &[packing, encryption, encoding, encoding_too, form] = item.get(16..HEADER).ok_or_else(wrong)?
        else {
            return Err(wrong());
        };
        if (encryption, encoding, encoding_too) != (0, 0, 0) {
            return Err(FsError::Unsupported("the file is encrypted".to_owned()));
        }
        let packing = Packing::new(packing)?;
        let unpacked = fields.le64(8);
        if form == 0 {
            let bytes = item.get(HEADER..).unwrap_or_default();
            let is_sound = start == 0
                && unpacked <= MOST_INSIDE
                && (packing.is_some() || unpacked == bytes.len() as u64);
            if !is_sound {
                return Err(wrong());
            }
            let bytes = match packing {
                None => bytes.to_vec(),
                Some(packing) => {
                    packing.unpack(bytes, unpacked as usize, sector as usize).ok_or_else(wrong)?
                }
            };
            return Ok(Extent { start, end: unpacked.next_multiple_of(sector), data: Data::Inside(bytes) });
        }
        let (address, length, inside, count) =
            (fields.le64(21), fields.le64(29), fields.le64(37), fields.le64(45));
        let end = start.checked_add(count).filter(|end| *end <= 1 << 63);
        let is_sound = item.len() == LENGTH
            && form <= 2
            && count > 0
            && [start, address, length, inside, count].iter().all(|number| number.is_multiple_of(sector));
        let Some(end) = end.filter(|_| is_sound) else { return Err(wrong()) };
        let extent = |data| Ok(Extent { start, end, data });
        if address == 0 {
            return extent(Data::Hole);
        }
        let whole = if packing.is_some() { unpacked } else { length };
        if inside.checked_add(count).is_none_or(|end| end > whole) || address.checked_add(length).is_none() {
            return Err(wrong());
        }
        match packing {
            _ if form == 2 => extent(Data::Reserved),
            None => extent(Data::At(address + inside)),
            Some(packing) if unpacked <= MOST_PACKED && length <= MOST_PACKED => {
                extent(Data::Packed(Packed { packing, address, length, unpacked }, inside))
            }
            Some(_) => Err(wrong()),
        }
    }
}
