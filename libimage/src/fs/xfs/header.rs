//! What blocks of metadata say of themselves since version 5: a checksum, and whose they are and where they belong.

use super::super::system::{FsError, Result};
use super::Xfs;
use super::superblock::has_right_checksum;
use crate::fields::Fields;

/// Where in a block these things stand.
pub(super) struct Header {
    checksum: usize,
    /// The address, in sectors.
    address: usize,
    uuid: usize,
    /// The inode.
    owner: usize,
}

/// Of trees of extents.
pub(super) const TREE: Header = Header { checksum: 64, address: 24, uuid: 40, owner: 56 };
/// Of blocks with entries of a directory.
pub(super) const ENTRIES: Header = Header { checksum: 4, address: 8, uuid: 24, owner: 40 };
/// Of blocks that find names by their hashes.
pub(super) const HASHES: Header = Header { checksum: 12, address: 16, uuid: 32, owner: 48 };
/// Of values of attributes and targets of symbolic links.
pub(super) const BODY: Header = Header { checksum: 12, address: 40, uuid: 16, owner: 32 };

impl Xfs {
    /// Holds a block's header against what is known of it. Before version 5 there is nothing to hold.
    pub(super) fn check_header(&self, header: &Header, bytes: &[u8], block: u64, owner: u64) -> Result<()> {
        if !self.superblock.is_v5 {
            return Ok(());
        }
        let fields = Fields(bytes);
        let wrong = |what: &str| {
            let what = format!("inode {owner}: {what}");
            Err(FsError::Image(self.device.corrupt(block << self.superblock.block_shift, what)))
        };
        if !has_right_checksum(bytes, header.checksum) {
            return wrong("the checksum of a block of its metadata is wrong");
        }
        let is_ours = fields.be64(header.address) == block << (self.superblock.block_shift - 9)
            && bytes.get(header.uuid..header.uuid + 16) == Some(&self.superblock.uuid[..])
            && fields.be64(header.owner) == owner;
        if is_ours { Ok(()) } else { wrong("a block of its metadata belongs elsewhere") }
    }
}
