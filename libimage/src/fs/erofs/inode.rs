//! Inodes, in a short form and in a long one, and where their data lies.

use super::super::system::{Attributes, FsError, Kind, Result, Time};
use super::Erofs;
use crate::fields::Fields;
use rustix::io::Errno;

/// Bytes of the short form, which numbers of inodes count.
pub(super) const SLOT: u64 = 32;
/// The mark of chunks that have entries of eight bytes instead of four.
const HAS_INDEXES: u32 = 0x20;
/// In the place of a block of a hole.
const HOLE: u32 = u32::MAX;

/// How the data of a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Blocks in a row.
    Plain,
    /// The same, but the end lies behind the inode.
    Inline,
    /// Compressed, with an index in its long form or in a packed one.
    Packed { full_index: bool },
    /// Pieces of one size, each somewhere.
    Chunks,
}

/// An inode.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) kind: Kind,
    attributes: Attributes,
    layout: Layout,
    /// Where the data is, in the way of the layout.
    place: u32,
    /// The first byte of extended attributes, and how many there are.
    pub(super) xattrs: (u64, u64),
}

impl Inode {
    pub(super) fn size(&self) -> u64 {
        self.attributes.size
    }

    pub(super) fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// Where what follows the inode and its attributes begins.
    pub(super) fn behind(&self) -> u64 {
        self.xattrs.0 + self.xattrs.1
    }

    fn is_packed(&self) -> bool {
        matches!(self.layout, Layout::Packed { .. })
    }

    /// The index of its compressed data is in the long form.
    pub(super) fn has_full_index(&self) -> bool {
        self.layout == Layout::Packed { full_index: true }
    }
}

impl Erofs {
    pub(super) fn inode(&self, number: u64) -> Result<Inode> {
        let at = number.checked_mul(SLOT).and_then(|at| at.checked_add(self.superblock.meta));
        let at = at.filter(|at| *at < self.device.size()).ok_or(Errno::STALE)?;
        let wrong = |what: &str| FsError::from(self.device.corrupt(at, format!("inode {number}: {what}")));
        let mut bytes = self.device.bytes(at, SLOT as usize)?;
        let format = Fields(&bytes).le16(0);
        let is_long = format & 1 != 0;
        if is_long {
            bytes.extend(self.device.bytes(at.saturating_add(SLOT), SLOT as usize)?);
        }
        if format & !0xf != 0 {
            return Err(FsError::Unsupported(format!("an inode has a form that is not known ({format:#x})")));
        }
        let layout = match format >> 1 {
            0 => Layout::Plain,
            1 => Layout::Packed { full_index: true },
            3 => Layout::Packed { full_index: false },
            2 => Layout::Inline,
            4 => Layout::Chunks,
            _ => {
                return Err(FsError::Unsupported(
                    "the data of a file is laid out in a way that is not known".to_owned(),
                ));
            }
        };
        let fields = Fields(&bytes);
        let mode = u32::from(Fields(&bytes).le16(4));
        let kind = Kind::of_mode(mode).ok_or_else(|| wrong("it has no possible mode"))?;
        let (size, links, user, group, time);
        if is_long {
            (size, links, user, group) = (fields.le64(8), fields.le32(44), fields.le32(24), fields.le32(28));
            time = (fields.le64(32), fields.le32(40));
        } else {
            (size, links) = (fields.le32(8).into(), Fields(&bytes).le16(6).into());
            (user, group) = (Fields(&bytes).le16(24).into(), Fields(&bytes).le16(26).into());
            time = self.superblock.time;
        }
        if size > i64::MAX as u64 - (1 << 20) || time.1 > 999_999_999 {
            return Err(wrong("it has no possible size or time"));
        }
        let place = fields.le32(16);
        let block = 1u64 << self.superblock.block_bits;
        let blocks = match layout {
            Layout::Packed { .. } => u64::from(place) * (block / 512),
            _ => size.next_multiple_of(block) / 512,
        };
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => {
                (place >> 8 & 0xfff, place & 0xff | place >> 12 & 0xf_ff00)
            }
            _ => (0, 0),
        };
        let time = Time { seconds: time.0.cast_signed(), nanoseconds: time.1 };
        let xattrs = match u64::from(Fields(&bytes).le16(2)) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let attributes = Attributes {
            kind,
            permissions: mode & 0o7777,
            inode: number,
            links,
            user,
            group,
            size,
            blocks,
            block_size: block as u32,
            device,
            accessed: time,
            modified: time,
            changed: time,
            created: None,
        };
        Ok(Inode { number, kind, attributes, layout, place, xattrs: (at + bytes.len() as u64, xattrs) })
    }

    /// Where the byte `offset` of a file that is not compressed lies, or that it is in a hole, and how many follow it there.
    pub(super) fn place(&self, inode: &Inode, offset: u64) -> Result<(Option<u64>, u64)> {
        let bits = self.superblock.block_bits;
        let left = inode.size().saturating_sub(offset);
        let start = u64::from(inode.place) << bits;
        let nowhere = || self.corrupt_inode(inode, "its data lies nowhere");
        match inode.layout {
            Layout::Plain => Ok((Some(start.checked_add(offset).ok_or_else(nowhere)?), left)),
            Layout::Inline => {
                // The last block, if it is not full.
                let tail = inode.size() >> bits << bits;
                if offset < tail {
                    return Ok((Some(start.checked_add(offset).ok_or_else(nowhere)?), tail - offset));
                }
                let (at, end) = (inode.behind(), inode.behind() + (inode.size() - tail));
                if end > at && at >> bits != (end - 1) >> bits {
                    return Err(self.corrupt_inode(inode, "its end lies in two blocks"));
                }
                Ok((Some(at.checked_add(offset - tail).ok_or_else(nowhere)?), left))
            }
            // It lies in no one place, but nowhere is a hole.
            Layout::Packed { .. } => Ok((Some(0), left)),
            Layout::Chunks => {
                if inode.place & !(HAS_INDEXES | 0x1f) != 0 {
                    return Err(FsError::Unsupported(
                        "the chunks of a file have a form that is not known".to_owned(),
                    ));
                }
                let chunk_bits = u32::from(bits) + (inode.place & 0x1f);
                let entry = if inode.place & HAS_INDEXES != 0 { 8 } else { 4 };
                let at = inode.behind().next_multiple_of(entry) + (offset >> chunk_bits) * entry;
                let bytes = self.device.bytes(at, entry as usize)?;
                let fields = Fields(&bytes);
                let (device, block) = match entry {
                    8 => (Fields(&bytes).le16(2), fields.le32(4)),
                    _ => (0, fields.le32(0)),
                };
                let inside = offset & ((1 << chunk_bits) - 1);
                let length = left.min((1 << chunk_bits) - inside);
                match (block, device) {
                    (HOLE, _) => Ok((None, length)),
                    (_, 0) => Ok((Some((u64::from(block) << bits) + inside), length)),
                    _ => Err(FsError::Unsupported("the file lies on another device".to_owned())),
                }
            }
        }
    }

    /// Fills `into`, which ends at the file's end at the latest, from the byte `offset` on.
    pub(super) fn read_data(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while inode.is_packed() && done < into.len() {
            match self.read_packed(inode, offset + done as u64, into.get_mut(done..).unwrap_or_default())? {
                0 => return Err(self.corrupt_inode(inode, "its data is cut")),
                count => done += count,
            }
        }
        while done < into.len() {
            let (at, length) = self.place(inode, offset + done as u64)?;
            let count = length.min((into.len() - done) as u64) as usize;
            let Some(part @ [_, ..]) = into.get_mut(done..done + count) else {
                return Err(self.corrupt_inode(inode, "its data is cut"));
            };
            match at {
                Some(at) => self.device.read(part, at)?,
                None => part.fill(0),
            }
            done += count;
        }
        Ok(())
    }
}
