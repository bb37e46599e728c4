//! Inodes: what a file is, and where its data begins to be found.

use super::super::system::{Attributes, FsError, Kind, Result, Time};
use super::Ext4;
use super::superblock::crc;
use crate::fields::Fields;
use rustix::io::Errno;

/// Flags of inodes.
pub(super) mod flag {
    pub(in super::super) const ENCRYPTED: u32 = 0x800;
    pub(in super::super) const INDEX: u32 = 0x1000;
    pub(in super::super) const EXTENTS: u32 = 0x8_0000;
    pub(in super::super) const HUGE_FILE: u32 = 0x4_0000;
    pub(in super::super) const EA_INODE: u32 = 0x20_0000;
    pub(in super::super) const INLINE_DATA: u32 = 0x1000_0000;
    pub(in super::super) const CASEFOLD: u32 = 0x4000_0000;
}

/// An inode as it lies on the device, checked.
#[derive(Clone)]
pub(super) struct Inode {
    pub(super) number: u32,
    bytes: Vec<u8>,
    /// What checksums of its blocks begin with.
    pub(super) seed: Option<u32>,
}

impl Inode {
    pub(super) fn new(bytes: Vec<u8>, number: u32, seed: Option<u32>) -> Result<Inode, &'static str> {
        let fields = Fields(&bytes);
        let extra = if bytes.len() > 128 { usize::from(Fields(&bytes).le16(0x80)) } else { 0 };
        if 128 + extra > bytes.len() || extra % 4 != 0 {
            return Err("an inode is larger than its place");
        }
        let seed = seed.map(|seed| crc(crc(seed, &number.to_le_bytes()), &fields.le32(0x64).to_le_bytes()));
        if let Some(seed) = seed {
            let has_high = extra >= 4;
            let part = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
            let mut sum = crc(crc(seed, part(0..0x7c)), &[0, 0]);
            sum = crc(sum, part(0x7e..128));
            if bytes.len() > 128 {
                sum = crc(sum, part(128..130));
                sum = if has_high { crc(sum, &[0, 0]) } else { crc(sum, part(130..132)) };
                sum = crc(sum, part(132..bytes.len()));
            }
            let stored = u32::from(Fields(&bytes).le16(0x7c));
            let is_right = match has_high {
                true => sum == stored | u32::from(Fields(&bytes).le16(0x82)) << 16,
                false => sum & 0xffff == stored,
            };
            if !is_right {
                return Err("the checksum of an inode is wrong");
            }
        }
        Ok(Inode { number, bytes, seed })
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.bytes)
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.fields().le32(0x20) & flag != 0
    }

    /// What it is. Inodes without a kind are not in use.
    pub(super) fn kind(&self) -> Result<Kind> {
        Kind::of_mode(Fields(&self.bytes).le16(0).into()).ok_or(FsError::Errno(Errno::STALE))
    }

    pub(super) fn size(&self) -> u64 {
        // Only files and directories can be large.
        let high = match self.kind() {
            Ok(Kind::File | Kind::Directory) => self.fields().le32(0x6c),
            _ => 0,
        };
        u64::from(self.fields().le32(4)) | u64::from(high) << 32
    }

    /// The 60 bytes that say where the data is, or hold it.
    pub(super) fn pointers(&self) -> &[u8] {
        self.bytes.get(0x28..0x64).unwrap_or_default()
    }

    /// The block with its extended attributes; 0 if it has none.
    pub(super) fn attribute_block(&self) -> u64 {
        u64::from(self.fields().le32(0x68)) | u64::from(Fields(&self.bytes).le16(0x76)) << 32
    }

    /// What lies behind its fields: extended attributes.
    pub(super) fn rest(&self) -> &[u8] {
        if self.bytes.len() <= 128 {
            return &[];
        }
        self.bytes.get(128 + usize::from(Fields(&self.bytes).le16(0x80))..).unwrap_or_default()
    }

    /// Space in units of 512 bytes.
    pub(super) fn sectors(&self, fs: &Ext4) -> u64 {
        let low = u64::from(self.fields().le32(0x1c));
        if !fs.superblock.has_huge_files {
            return low;
        }
        let count = low | u64::from(Fields(&self.bytes).le16(0x74)) << 32;
        if self.has(flag::HUGE_FILE) { count.saturating_mul(fs.superblock.block_size / 512) } else { count }
    }

    fn time(&self, at: usize, extra_at: usize) -> Time {
        let seconds = i64::from(self.fields().le32(at).cast_signed());
        let used =
            if self.bytes.len() > 128 { 128 + usize::from(Fields(&self.bytes).le16(0x80)) } else { 128 };
        if extra_at + 4 > used {
            return Time { seconds, nanoseconds: 0 };
        }
        let extra = self.fields().le32(extra_at);
        Time { seconds: seconds + (i64::from(extra & 3) << 32), nanoseconds: (extra >> 2).min(999_999_999) }
    }

    pub(super) fn attributes(&self, fs: &Ext4) -> Result<Attributes> {
        let kind = self.kind()?;
        let bytes = &self.bytes;
        let wide = |low, high| u32::from(Fields(bytes).le16(low)) | u32::from(Fields(bytes).le16(high)) << 16;
        let (old, new) = (self.fields().le32(0x28), self.fields().le32(0x2c));
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice if old != 0 => (old >> 8 & 0xff, old & 0xff),
            Kind::CharDevice | Kind::BlockDevice => (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00),
            _ => (0, 0),
        };
        // The kernel counts what lies in the inode as space, too: a file without any looks like a hole.
        let inside =
            if kind == Kind::File && self.has(flag::INLINE_DATA) { self.size().div_ceil(512) } else { 0 };
        let has_birth = bytes.len() > 128 && usize::from(Fields(bytes).le16(0x80)) >= 0x18;
        Ok(Attributes {
            kind,
            permissions: u32::from(Fields(bytes).le16(0)) & 0o7777,
            inode: self.number.into(),
            links: u32::from(Fields(bytes).le16(0x1a)),
            user: wide(2, 0x78),
            group: wide(0x18, 0x7a),
            size: self.size(),
            blocks: self.sectors(fs) + inside,
            block_size: fs.superblock.block_size as u32,
            device,
            accessed: self.time(8, 0x8c),
            changed: self.time(0xc, 0x84),
            modified: self.time(0x10, 0x88),
            created: has_birth.then(|| self.time(0x90, 0x94)),
        })
    }
}
