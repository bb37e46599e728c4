//! Keys: by what the items of a tree are sorted and found.

use crate::fields::Fields;

/// Bytes of a key.
pub(super) const KEY: usize = 17;

/// What an item is.
pub(super) mod kind {
    pub(crate) const INODE: u8 = 1;
    /// Under which name an inode is in which directory.
    pub(crate) const INODE_REFERENCE: u8 = 12;
    pub(crate) const XATTR: u8 = 24;
    /// Entries of a directory, by the hashes of their names.
    pub(crate) const DIRECTORY_ITEM: u8 = 84;
    /// Entries of a directory, in the order in which they were made.
    pub(crate) const DIRECTORY_INDEX: u8 = 96;
    pub(crate) const EXTENT_DATA: u8 = 108;
    pub(crate) const EXTENT_CHECKSUM: u8 = 128;
    pub(crate) const ROOT: u8 = 132;
    /// Which subvolume lies in which, under what name.
    pub(crate) const ROOT_REFERENCE: u8 = 156;
    pub(crate) const BLOCK_GROUP: u8 = 192;
    pub(crate) const DEVICE: u8 = 216;
    pub(crate) const CHUNK: u8 = 228;
    /// Work that was begun and is gone on with at the next mount.
    pub(crate) const TEMPORARY: u8 = 248;
}

/// Trees that have fixed numbers.
pub(super) mod tree {
    pub(crate) const ROOTS: u64 = 1;
    pub(crate) const EXTENTS: u64 = 2;
    pub(crate) const CHUNKS: u64 = 3;
    /// The subvolume at the top.
    pub(crate) const FILES: u64 = 5;
    pub(crate) const CHECKSUMS: u64 = 7;
    pub(crate) const FREE_SPACE: u64 = 10;
    pub(crate) const BLOCK_GROUPS: u64 = 11;
}

/// The object under which all checksums of data are.
pub(super) const CHECKSUMS: u64 = -10_i64 as u64;
/// The object under which all devices are.
pub(super) const DEVICES: u64 = 1;
/// The object of a balance that was interrupted.
pub(super) const BALANCE: u64 = -4_i64 as u64;
/// The first number of a subvolume, and of a file.
pub(super) const FIRST_FREE: u64 = 256;

/// A key. They are compared field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) fn new(object: u64, kind: u8, offset: u64) -> Key {
        Key { object, kind, offset }
    }

    /// The key at the beginning of `bytes`; zeroes where there are too few.
    pub(super) fn read(bytes: &[u8]) -> Key {
        let fields = Fields(bytes);
        Key {
            object: fields.le64(0),
            kind: bytes.get(8).copied().unwrap_or_default(),
            offset: fields.le64(9),
        }
    }
}

/// Whether a tree of this number holds files: the upper 16 bits of a subvolume's number are those of quota groups.
pub(super) fn holds_files(tree: u64) -> bool {
    tree == self::tree::FILES || (FIRST_FREE..1 << 48).contains(&tree)
}

/// What names are hashed to: a CRC-32C that begins with its own number and leaves out the last turn of all bits.
pub(super) fn name_hash(name: &[u8]) -> u64 {
    u64::from(!crc32c::crc32c_append(1, name))
}
