//! Inodes: what a file is, and the two forks in which its data and its attributes are found.

use super::super::system::{Attributes, FsError, Kind, Result, Time};
use super::Xfs;
use super::superblock::{Superblock, byte, has_right_checksum};
use crate::fields::Fields;
use rustix::io::Errno;

const MAGIC: u16 = 0x494e;
/// Bytes before the forks, in versions 1 and 2, and in version 3.
const CORE: usize = 100;
const CORE_3: usize = 176;
const CHECKSUM: usize = 100;

/// Its data is on the realtime device.
const REALTIME: u16 = 0x1;
/// More flags, of version 3: times as one number, wide counters of extents.
const BIG_TIME: u64 = 0x8;
const WIDE_COUNTERS: u64 = 0x10;

/// Seconds from the beginning of the newer times to 1970.
const EPOCH: i64 = 1 << 31;
const MILLIARD: u64 = 1_000_000_000;
/// The least size of requests that is preferred.
const REQUEST: u32 = 4096;

/// How a fork is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The number of a device.
    Device,
    /// Contents lie in the inode.
    Local,
    /// A list of extents.
    Extents,
    /// A tree of extents, with its root in the inode.
    Tree,
}

/// One of an inode's two forks.
#[derive(Clone, Copy)]
pub(super) struct Fork<'a> {
    pub(super) owner: u64,
    pub(super) layout: Layout,
    /// What of it lies in the inode.
    pub(super) bytes: &'a [u8],
    /// How many extents it has.
    pub(super) extents: u64,
}

/// An inode as it lies on the device, checked.
pub(super) struct Inode {
    pub(super) number: u64,
    bytes: Vec<u8>,
}

impl Inode {
    pub(super) fn new(bytes: Vec<u8>, number: u64, fs: &Superblock) -> Result<Inode, &'static str> {
        let fields = Fields(&bytes);
        if Fields(&bytes).be16(0) != MAGIC {
            return Err("there is no inode");
        }
        let version = byte(&bytes, 4);
        if fs.is_v5 {
            if version != 3 {
                return Err("it has an impossible version");
            }
            if !has_right_checksum(&bytes, CHECKSUM) {
                return Err("its checksum is wrong");
            }
            if fields.be64(152) != number || bytes.get(160..176) != Some(&fs.uuid[..]) {
                return Err("it belongs elsewhere");
            }
        } else if !matches!(version, 1 | 2) {
            return Err("it has an impossible version");
        }
        let inode = Inode { number, bytes };
        let is_sound = inode.fork_offset() < inode.bytes.len() - inode.core()
            && inode.size() <= i64::MAX.cast_unsigned()
            && inode.blocks() <= fs.blocks;
        if is_sound { Ok(inode) } else { Err("its sizes make no sense") }
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.bytes)
    }

    fn version(&self) -> u8 {
        byte(&self.bytes, 4)
    }

    fn core(&self) -> usize {
        if self.version() == 3 { CORE_3 } else { CORE }
    }

    fn has(&self, flag: u64) -> bool {
        self.version() == 3 && self.fields().be64(120) & flag != 0
    }

    fn mode(&self) -> u32 {
        Fields(&self.bytes).be16(2).into()
    }

    /// What it is. Inodes without a kind are not in use.
    pub(super) fn kind(&self) -> Result<Kind> {
        Kind::of_mode(self.mode()).ok_or(FsError::Errno(Errno::STALE))
    }

    pub(super) fn is_realtime(&self) -> bool {
        Fields(&self.bytes).be16(90) & REALTIME != 0
    }

    pub(super) fn size(&self) -> u64 {
        self.fields().be64(56)
    }

    /// Blocks that it has, for data and for metadata.
    pub(super) fn blocks(&self) -> u64 {
        self.fields().be64(64)
    }

    /// Where the attribute fork begins, behind the core; 0 if there is none.
    fn fork_offset(&self) -> usize {
        usize::from(byte(&self.bytes, 82)) * 8
    }

    fn layout(&self, at: usize) -> Option<Layout> {
        Some(match byte(&self.bytes, at) {
            0 => Layout::Device,
            1 => Layout::Local,
            2 => Layout::Extents,
            3 => Layout::Tree,
            _ => return None,
        })
    }

    fn fork(&self, layout_at: usize, range: std::ops::Range<usize>, extents: u64) -> Option<Fork<'_>> {
        Some(Fork {
            owner: self.number,
            layout: self.layout(layout_at)?,
            bytes: self.bytes.get(range)?,
            extents,
        })
    }

    /// Where the data is.
    pub(super) fn data(&self) -> Option<Fork<'_>> {
        let end = match self.fork_offset() {
            0 => self.bytes.len(),
            offset => self.core() + offset,
        };
        let extents =
            if self.has(WIDE_COUNTERS) { self.fields().be64(24) } else { self.fields().be32(76).into() };
        self.fork(5, self.core()..end, extents)
    }

    /// Whether there are extended attributes at all.
    pub(super) fn has_attributes(&self) -> bool {
        self.fork_offset() != 0
    }

    /// Where the extended attributes are.
    pub(super) fn attributes_fork(&self) -> Option<Fork<'_>> {
        let extents = if self.has(WIDE_COUNTERS) {
            self.fields().be32(76).into()
        } else {
            Fields(&self.bytes).be16(80).into()
        };
        self.fork(83, self.core() + self.fork_offset()..self.bytes.len(), extents)
    }

    fn time(&self, at: usize) -> Time {
        if self.has(BIG_TIME) {
            let time = self.fields().be64(at);
            let seconds = (time / MILLIARD).cast_signed() - EPOCH;
            return Time { seconds, nanoseconds: (time % MILLIARD) as u32 };
        }
        let seconds = self.fields().be32(at).cast_signed().into();
        Time { seconds, nanoseconds: self.fields().be32(at + 4).min(MILLIARD as u32 - 1) }
    }

    pub(super) fn attributes(&self, fs: &Xfs) -> Result<Attributes> {
        let kind = self.kind()?;
        let fields = self.fields();
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let device = match self.data() {
            Some(fork) if is_device => Fields(fork.bytes).be32(0),
            _ => 0,
        };
        let sectors = self.blocks() << (fs.superblock.block_shift - 9);
        Ok(Attributes {
            kind,
            permissions: self.mode() & 0o7777,
            inode: self.number,
            links: if self.version() == 1 { Fields(&self.bytes).be16(6).into() } else { fields.be32(16) },
            user: fields.be32(8),
            group: fields.be32(12),
            size: self.size(),
            blocks: sectors,
            block_size: if is_device { REQUEST } else { REQUEST.max(fs.superblock.block_size as u32) },
            // As System V had it: 14 bits, and 18.
            device: (device >> 18, device & 0x3_ffff),
            accessed: self.time(32),
            modified: self.time(40),
            changed: self.time(48),
            created: (self.version() == 3).then(|| self.time(144)),
        })
    }
}
