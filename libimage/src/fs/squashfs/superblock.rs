//! The superblock: where the tables lie, and how everything is packed.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use super::compress::Compressor;
use crate::fields::Fields;

const SIZE: usize = 96;
const MAGIC: u32 = 0x7371_7368;
/// Written in the place of a table that is not there.
pub(super) const ABSENT: u64 = u64::MAX;

/// What of the superblock is needed.
pub(super) struct Superblock {
    pub(super) inodes: u32,
    pub(super) block_size: u32,
    pub(super) fragments: u32,
    pub(super) compressor: Compressor,
    pub(super) ids: u16,
    /// Reference of the directory at the top.
    pub(super) root: u64,
    /// Where the file system ends.
    pub(super) bytes_used: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: u64,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
}

impl Superblock {
    pub(super) fn read(device: &Device) -> Result<Superblock> {
        let wrong = |what: &str| FsError::from(device.corrupt(0, what));
        let bytes = device.bytes(0, SIZE)?;
        let fields = Fields(&bytes);
        if fields.le32(0) != MAGIC {
            return Err(wrong("there is no squashfs"));
        }
        let (major, minor) = (Fields(&bytes).le16(28), Fields(&bytes).le16(30));
        if (major, minor) != (4, 0) {
            return Err(FsError::Unsupported(format!("it is squashfs {major}.{minor}, not 4.0")));
        }
        let block_size = fields.le32(12);
        let is_sound = block_size.is_power_of_two()
            && (4096..=1 << 20).contains(&block_size)
            && block_size.trailing_zeros() == u32::from(Fields(&bytes).le16(22));
        if !is_sound {
            return Err(wrong("its blocks have no possible size"));
        }
        let bytes_used = fields.le64(40);
        if bytes_used > device.size() || bytes_used < SIZE as u64 {
            return Err(wrong("it is cut off"));
        }
        Ok(Superblock {
            inodes: fields.le32(4),
            block_size,
            fragments: fields.le32(16),
            compressor: Compressor::new(Fields(&bytes).le16(20))?,
            ids: Fields(&bytes).le16(26),
            root: fields.le64(32),
            bytes_used,
            id_table: fields.le64(48),
            xattr_table: fields.le64(56),
            inode_table: fields.le64(64),
            directory_table: fields.le64(72),
            fragment_table: fields.le64(80),
        })
    }
}
