//! The superblock: where inodes and shared attributes lie.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use crate::fields::Fields;

const OFFSET: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const HAS_CHECKSUM: u32 = 1;
/// Packed data has zeroes before it where it does not fill its block, not behind it.
const ZEROES_BEFORE: u32 = 0x1;
/// What a file system may ask for and is known: that, data packed into several blocks, files in chunks, and packed data
/// behind inodes.
const KNOWN: u32 = ZEROES_BEFORE | 0x2 | 0x4 | 0x10;
/// What is known by name only.
const NAMES: [(u32, &str); 3] =
    [(0x8, "further devices"), (0x20, "fragments or shared data"), (0x40, "long prefixes of attributes")];

/// What of the superblock is needed.
pub(super) struct Superblock {
    pub(super) block_bits: u8,
    pub(super) root: u64,
    pub(super) inodes: u64,
    pub(super) blocks: u64,
    /// When everything was last changed whose inode has no time of its own.
    pub(super) time: (u64, u32),
    /// The first byte of inodes, and of shared attributes.
    pub(super) meta: u64,
    pub(super) attributes: u64,
    /// See [`ZEROES_BEFORE`].
    pub(super) zeroes_before: bool,
}

impl Superblock {
    pub(super) fn read(device: &Device) -> Result<Superblock> {
        let wrong = |what: &str| FsError::from(device.corrupt(OFFSET, what));
        let bytes = device.bytes(OFFSET, 128)?;
        let fields = Fields(&bytes);
        if fields.le32(0) != MAGIC {
            return Err(wrong("there is no erofs"));
        }
        let unknown = fields.le32(80) & !KNOWN;
        if unknown != 0 {
            let named = NAMES.iter().find(|(bit, _)| unknown & bit != 0);
            let what = named.map_or("features that are not known", |(_, name)| name);
            return Err(FsError::Unsupported(format!("it has {what} ({unknown:#x})")));
        }
        let block_bits = bytes.get(12).copied().unwrap_or_default();
        if !(9..=16).contains(&block_bits) || bytes.get(90) != Some(&0) {
            return Err(wrong("its blocks have no possible size"));
        }
        if fields.le32(8) & HAS_CHECKSUM != 0 {
            // Up to the end of the first block, or of a second one where blocks are small.
            let length = match (1u64 << block_bits).checked_sub(OFFSET) {
                Some(length @ 1..) => length,
                _ => 1 << block_bits,
            };
            let mut checked = device.bytes(OFFSET, length as usize)?;
            let stored = checked.get_mut(4..8).map(|sum| sum.fill(0)).map(|()| fields.le32(4));
            // The format leaves out the last step of the sum, in which all bits are turned.
            if stored != Some(!crc32c::crc32c(&checked)) {
                return Err(wrong("the checksum of the superblock is wrong"));
            }
        }
        let at = |block: u32| u64::from(block) << block_bits;
        Ok(Superblock {
            block_bits,
            root: Fields(&bytes).le16(14).into(),
            inodes: fields.le64(16),
            blocks: fields.le32(36).into(),
            time: (fields.le64(24), fields.le32(32)),
            meta: at(fields.le32(40)),
            attributes: at(fields.le32(44)),
            zeroes_before: fields.le32(80) & ZEROES_BEFORE != 0,
        })
    }
}
