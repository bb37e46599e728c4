//! Inodes: seven kinds of things, each in a short form and in a long one.

use super::super::system::{Attributes, Kind, Result, Time};
use super::Squashfs;
use super::metadata::Place;
use crate::fields::Fields;

/// Bytes that all inodes begin with.
const HEADER: usize = 16;
/// In the place of the number of a fragment or of attributes.
const NONE: u32 = u32::MAX;
/// The size of blocks of the device that the kernel works with, which `stat` shows.
const DEVICE_BLOCK: u32 = 1024;

/// An inode, and where what belongs to it lies.
pub(super) struct Inode {
    pub(super) kind: Kind,
    permissions: u32,
    user: u32,
    group: u32,
    modified: u32,
    pub(super) number: u32,
    links: u32,
    pub(super) size: u64,
    sectors: u64,
    device: u32,
    pub(super) attributes: Option<u32>,
    pub(super) body: Body,
}

/// What only some kinds have.
pub(super) enum Body {
    Directory {
        /// Its entries.
        place: Place,
        /// Entries of its index, and where they are.
        index: (u16, Place),
    },
    File {
        /// The first of its blocks.
        start: u64,
        /// The fragment with its end, and where in that.
        fragment: Option<(u32, u32)>,
        /// The list of the sizes of its blocks.
        list: Place,
    },
    Symlink(Place),
    Other,
}

impl Squashfs {
    /// The inode that a reference leads to.
    pub(super) fn inode(&self, reference: u64) -> Result<Inode> {
        let mut place = Place::of(reference, self.superblock.inode_table);
        let at = place.block;
        let header = self.take(&mut place, HEADER)?;
        let number = Fields(&header).le16(0);
        let (is_long, kind) = match number {
            1..=7 => (false, number),
            8..=14 => (true, number - 7),
            _ => return Err(self.device.corrupt(at, format!("an inode has the type {number}")).into()),
        };
        let fields = Fields(&header);
        let mut inode = Inode {
            kind: kind_of(kind).unwrap_or(Kind::File),
            permissions: u32::from(Fields(&header).le16(2)) & 0o7777,
            user: self.id(Fields(&header).le16(4))?,
            group: self.id(Fields(&header).le16(6))?,
            modified: fields.le32(8),
            number: fields.le32(12),
            links: 1,
            size: 0,
            sectors: 0,
            device: 0,
            attributes: None,
            body: Body::Other,
        };
        let mut attributes = NONE;
        let mut next = |length| self.take(&mut place, length);
        match (inode.kind, is_long) {
            (Kind::Directory, false) => {
                let rest = next(16)?;
                let fields = Fields(&rest);
                inode.links = fields.le32(4);
                inode.size = Fields(&rest).le16(8).into();
                inode.body = self.directory_at(fields.le32(0), Fields(&rest).le16(10), (0, place));
            }
            (Kind::Directory, true) => {
                let rest = next(24)?;
                let fields = Fields(&rest);
                inode.links = fields.le32(0);
                inode.size = fields.le32(4).into();
                attributes = fields.le32(20);
                let index = (Fields(&rest).le16(16), place);
                inode.body = self.directory_at(fields.le32(8), Fields(&rest).le16(18), index);
            }
            (Kind::File, false) => {
                let rest = next(16)?;
                let fields = Fields(&rest);
                inode.size = fields.le32(12).into();
                inode.sectors = inode.size.div_ceil(512);
                let fragment = some(fields.le32(4)).map(|number| (number, fields.le32(8)));
                inode.body = Body::File { start: fields.le32(0).into(), fragment, list: place };
            }
            (Kind::File, true) => {
                let rest = next(40)?;
                let fields = Fields(&rest);
                inode.size = fields.le64(8);
                inode.sectors = inode.size.saturating_sub(fields.le64(16)).div_ceil(512);
                inode.links = fields.le32(24);
                attributes = fields.le32(36);
                let fragment = some(fields.le32(28)).map(|number| (number, fields.le32(32)));
                inode.body = Body::File { start: fields.le64(0), fragment, list: place };
            }
            (Kind::Symlink, is_long) => {
                let rest = next(8)?;
                let fields = Fields(&rest);
                inode.links = fields.le32(0);
                inode.size = fields.le32(4).into();
                inode.body = Body::Symlink(place);
                if is_long {
                    // The number of the attributes is behind the target.
                    let mut behind = place;
                    self.target(&mut behind, inode.size)?;
                    attributes = Fields(&self.take(&mut behind, 4)?).le32(0);
                }
            }
            (Kind::BlockDevice | Kind::CharDevice, is_long) => {
                let rest = next(if is_long { 12 } else { 8 })?;
                let fields = Fields(&rest);
                inode.links = fields.le32(0);
                inode.device = fields.le32(4);
                attributes = if is_long { fields.le32(8) } else { NONE };
            }
            (Kind::Fifo | Kind::Socket, is_long) => {
                let rest = next(if is_long { 8 } else { 4 })?;
                inode.links = Fields(&rest).le32(0);
                attributes = if is_long { Fields(&rest).le32(4) } else { NONE };
            }
        }
        if inode.size > i64::MAX as u64 {
            return Err(self.corrupt_inode(&inode, "it has no possible size"));
        }
        inode.attributes = some(attributes);
        if let Some(index) = inode.attributes {
            inode.sectors = inode.sectors.saturating_add(self.attribute_sectors(index)?);
        }
        Ok(inode)
    }

    fn directory_at(&self, block: u32, offset: u16, index: (u16, Place)) -> Body {
        let block = self.superblock.directory_table.saturating_add(block.into());
        Body::Directory { place: Place { block, offset: offset.into() }, index }
    }

    /// An owner or group, by its place in the table of them.
    fn id(&self, index: u16) -> Result<u32> {
        if index >= self.superblock.ids {
            let at = self.superblock.id_table;
            return Err(self.device.corrupt(at, format!("there is no owner number {index}")).into());
        }
        Ok(Fields(&self.table_entry(self.superblock.id_table, index.into(), 4)?).le32(0))
    }
}

fn some(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}

/// The kind that a number of inodes and directories stands for.
pub(super) fn kind_of(number: u16) -> Option<Kind> {
    Some(match number {
        1 => Kind::Directory,
        2 => Kind::File,
        3 => Kind::Symlink,
        4 => Kind::BlockDevice,
        5 => Kind::CharDevice,
        6 => Kind::Fifo,
        7 => Kind::Socket,
        _ => return None,
    })
}

impl Inode {
    pub(super) fn attributes(&self) -> Attributes {
        let time = Time { seconds: self.modified.into(), nanoseconds: 0 };
        Attributes {
            kind: self.kind,
            permissions: self.permissions,
            inode: self.number.into(),
            links: self.links,
            user: self.user,
            group: self.group,
            size: self.size,
            blocks: self.sectors,
            block_size: DEVICE_BLOCK,
            device: (self.device >> 8 & 0xfff, self.device & 0xff | self.device >> 12 & 0xf_ff00),
            accessed: time,
            modified: time,
            changed: time,
            created: None,
        }
    }
}
