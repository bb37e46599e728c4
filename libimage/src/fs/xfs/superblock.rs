//! The superblock: the shape of the file system, and where a block or an inode lies on the device.

use rustix::io::Errno;

use super::super::device::Device;
use super::super::system::{FsError, Result, Statistics};
use crate::error::Error;
use crate::fields::Fields;

const MAGIC: u32 = 0x5846_5342;
/// Where its checksum lies.
const CHECKSUM: usize = 224;
/// The largest number that an inode can have.
const MAX_INODE: u64 = (1 << 56) - 1;
/// Inodes that are made at once.
const CHUNK: u64 = 64;
/// Blocks of each allocation group that the kernel keeps for its trees of free space.
const SET_ASIDE: u64 = 8;

/// How the header of free space in an allocation group begins, and where its checksum lies.
const GROUP_MAGIC: u32 = 0x5841_4746;
const GROUP_CHECKSUM: usize = 216;

/// Bits of the version number.
mod version {
    pub(super) const SHARED: u16 = 0x200;
    pub(super) const DIRECTORIES_V2: u16 = 0x2000;
    pub(super) const CASELESS: u16 = 0x4000;
    pub(super) const MORE_BITS: u16 = 0x8000;
}

/// Features of version 4 for which it has more bits.
const V4_FILE_TYPES: u32 = 0x200;

/// Features of version 5 with which older readers go wrong.
mod incompatible {
    pub(super) const FILE_TYPES: u32 = 0x1;
    pub(super) const META_UUID: u32 = 0x4;
    pub(super) const NEEDS_REPAIR: u32 = 0x10;
    pub(super) const KNOWN: u32 = FILE_TYPES
        | 0x2 // sparse chunks of inodes
        | META_UUID
        | 0x8 // times beyond 2038
        | NEEDS_REPAIR
        | 0x20 // large counters of extents
        | 0x40 // exchanged ranges
        | 0x80; // pointers to parents
}

/// Of the features that only writers have to know, those that counters depend on: trees of owners and of shared blocks.
const OWNERS: u32 = 0x2;
const SHARED_BLOCKS: u32 = 0x4;

/// Features that only writers have to know: trees of free inodes, of owners, of shared blocks, and counters of inodes.
const READ_ONLY_COMPATIBLE: u32 = 0xf;

/// What is known of the file system as a whole.
pub(super) struct Superblock {
    /// Version 5: metadata has checksums and says what it belongs to.
    pub(super) is_v5: bool,
    pub(super) block_size: u64,
    pub(super) block_shift: u32,
    /// Blocks of a directory's block, as a power of two.
    pub(super) directory_shift: u32,
    pub(super) inode_size: usize,
    pub(super) root: u64,
    /// What metadata carries.
    pub(super) uuid: [u8; 16],
    /// Directories say what kind of thing an entry is.
    pub(super) has_file_types: bool,
    /// Names are the same in upper and lower case.
    pub(super) is_caseless: bool,
    pub(super) blocks: u64,
    log_start: u64,
    log_blocks: u32,
    group_blocks: u32,
    groups: u32,
    group_shift: u32,
    inodes_shift: u32,
    inodes: u64,
    free_inodes: u64,
    free_blocks: u64,
    inode_percentage: u8,
    sector_size: usize,
    read_only_compatible: u32,
}

/// The byte at an offset.
pub(super) fn byte(bytes: &[u8], offset: usize) -> u8 {
    bytes.get(offset).copied().unwrap_or_default()
}

/// Whether the checksum at an offset is that of all bytes with zeroes in its place.
pub(super) fn has_right_checksum(bytes: &[u8], at: usize) -> bool {
    let (Some(before), Some(after)) = (bytes.get(..at), bytes.get(at + 4..)) else { return false };
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after);
    sum == Fields(bytes).le32(at)
}

fn unsupported(what: impl Into<String>) -> FsError {
    FsError::Unsupported(what.into())
}

impl Superblock {
    pub(super) fn read(device: &Device) -> Result<Superblock> {
        let bytes = device.bytes(0, 512)?;
        let wrong = |what: &str| FsError::Image(device.corrupt(0, what));
        if Fields(&bytes).be32(0) != MAGIC {
            return Err(wrong("there is no XFS"));
        }
        let sector_size = usize::from(Fields(&bytes).be16(102));
        if !sector_size.is_power_of_two() || !(512..=32768).contains(&sector_size) {
            return Err(wrong("its sectors have an impossible size"));
        }
        let bytes = device.bytes(0, sector_size)?;
        let found = Superblock::parse(&bytes, device)?;
        if u128::from(found.blocks) << found.block_shift > u128::from(device.size()) {
            return Err(FsError::Image(device.corrupt(
                0,
                format!(
                    "the file system has {} blocks of {} bytes, and the device only {} bytes",
                    found.blocks,
                    found.block_size,
                    device.size()
                ),
            )));
        }
        Ok(found)
    }

    fn parse(bytes: &[u8], device: &Device) -> Result<Superblock> {
        let fields = Fields(bytes);
        let wrong = |what: &str| FsError::Image(device.corrupt(0, what));
        let bits = Fields(bytes).be16(100);
        let is_v5 = match bits & 0xf {
            4 => false,
            5 => true,
            other => return Err(unsupported(format!("it has version {other}"))),
        };
        if is_v5 && !has_right_checksum(bytes, CHECKSUM) {
            return Err(wrong("the superblock's checksum is wrong"));
        }
        let incompatible = if is_v5 { fields.be32(216) } else { 0 };
        let unknown = incompatible & !incompatible::KNOWN;
        let read_only_compatible = if is_v5 { fields.be32(212) } else { 0 };
        let unknown_read_only = read_only_compatible & !READ_ONLY_COMPATIBLE;
        if unknown | unknown_read_only != 0 {
            return Err(unsupported(format!(
                "it has features that are not known ({unknown:#x}, {unknown_read_only:#x})"
            )));
        }
        if incompatible & incompatible::NEEDS_REPAIR != 0 {
            return Err(unsupported("it has to be repaired first"));
        }
        if bits & version::SHARED != 0 || (!is_v5 && bits & version::DIRECTORIES_V2 == 0) {
            return Err(unsupported(format!("it is of an early kind ({bits:#x})")));
        }
        if byte(bytes, 126) != 0 {
            return Err(wrong("it was not made to the end"));
        }
        if fields.be64(16) != 0 {
            return Err(unsupported("it has a realtime device"));
        }
        let log_start = fields.be64(48);
        if log_start == 0 {
            return Err(unsupported("its log is on another device"));
        }
        // Early kernels wrote these bits four bytes too far.
        let more_bits = match bits & version::MORE_BITS {
            0 => 0,
            _ => fields.be32(200) | fields.be32(204),
        };
        let uuid_at = if incompatible & incompatible::META_UUID != 0 { 248 } else { 32 };
        let uuid = bytes.get(uuid_at..).and_then(|rest| rest.first_chunk::<16>());
        let shifts = |at| u32::from(byte(bytes, at));
        let found = Superblock {
            is_v5,
            block_size: fields.be32(4).into(),
            block_shift: shifts(120),
            directory_shift: shifts(192),
            inode_size: Fields(bytes).be16(104).into(),
            root: fields.be64(56),
            uuid: uuid.copied().unwrap_or_default(),
            has_file_types: if is_v5 {
                incompatible & incompatible::FILE_TYPES != 0
            } else {
                more_bits & V4_FILE_TYPES != 0
            },
            is_caseless: bits & version::CASELESS != 0,
            blocks: fields.be64(8),
            log_start,
            log_blocks: fields.be32(96),
            group_blocks: fields.be32(84),
            groups: fields.be32(88),
            group_shift: shifts(124),
            inodes_shift: shifts(123),
            inodes: fields.be64(128),
            free_inodes: fields.be64(136),
            free_blocks: fields.be64(144),
            inode_percentage: byte(bytes, 127),
            sector_size: bytes.len(),
            read_only_compatible,
        };
        if found.is_sound(shifts(122)) { Ok(found) } else { Err(wrong("its sizes make no sense")) }
    }

    /// Whether the sizes fit each other: everything after this computes with them.
    fn is_sound(&self, inode_shift: u32) -> bool {
        let (smallest_block, smallest_inode) = if self.is_v5 { (10, 9) } else { (9, 8) };
        let (groups, group_blocks) = (u64::from(self.groups), u64::from(self.group_blocks));
        (smallest_block..=16).contains(&self.block_shift)
            && self.block_size == 1 << self.block_shift
            && (smallest_inode..=11).contains(&inode_shift)
            && self.inode_size == 1 << inode_shift
            && inode_shift + self.inodes_shift == self.block_shift
            && self.block_shift + self.directory_shift <= 16
            && groups > 0
            && (64..=1 << 31).contains(&group_blocks)
            && 1u64 << self.group_shift.min(63) == group_blocks.next_power_of_two()
            && self.blocks <= groups * group_blocks
            && self.blocks > (groups - 1) * group_blocks
            && self.blocks < 1 << 52
    }

    /// How many blocks a group has: the last one may have fewer.
    fn length_of(&self, group: u64) -> u64 {
        let size = u64::from(self.group_blocks);
        self.blocks.saturating_sub(group.saturating_mul(size)).min(size)
    }

    /// Where `count` blocks lie of which the first has a number made of group and place: counted from the device's
    /// beginning. `None` if they lie nowhere.
    pub(super) fn place_of(&self, block: u64, count: u64) -> Option<u64> {
        let (group, inside) = (block >> self.group_shift, block & ((1 << self.group_shift) - 1));
        let is_there = group < u64::from(self.groups) && inside.checked_add(count)? <= self.length_of(group);
        is_there.then(|| group * u64::from(self.group_blocks) + inside)
    }

    /// Where an inode lies, in bytes.
    pub(super) fn place_of_inode(&self, number: u64) -> Option<u64> {
        let block = self.place_of(number >> self.inodes_shift, 1)?;
        let inside = number & ((1 << self.inodes_shift) - 1);
        (number <= MAX_INODE).then_some((block << self.block_shift) + inside * self.inode_size as u64)
    }

    /// Where an inode lies of which a caller gave the number.
    pub(super) fn place_of_node(&self, number: u64) -> Result<u64> {
        self.place_of_inode(number).ok_or(FsError::Errno(Errno::STALE))
    }

    /// Where the log lies and how long it is, in bytes.
    pub(super) fn log(&self, device: &Device) -> Result<(u64, u64), Error> {
        let count = u64::from(self.log_blocks);
        let place = self.place_of(self.log_start, count).filter(|_| count > 0);
        let place = place.ok_or_else(|| device.corrupt(0, "its log lies nowhere"))?;
        Ok((place << self.block_shift, count << self.block_shift))
    }

    /// Blocks in a group's trees of free space, without their roots: what its header says.
    fn free_space_tree(&self, device: &Device, group: u32) -> Result<u64> {
        let start = (u64::from(group) * u64::from(self.group_blocks)) << self.block_shift;
        let place = start + self.sector_size as u64;
        let bytes = device.bytes(place, self.sector_size)?;
        let fields = Fields(&bytes);
        let is_sound = fields.be32(0) == GROUP_MAGIC
            && fields.be32(8) == group
            && bytes.get(64..80) == Some(&self.uuid[..])
            && has_right_checksum(&bytes, GROUP_CHECKSUM);
        if !is_sound {
            return Err(device.corrupt(place, "the header of an allocation group is damaged").into());
        }
        let owners =
            if self.read_only_compatible & OWNERS != 0 { fields.be32(80).saturating_sub(1) } else { 0 };
        Ok(fields.be32(60).saturating_sub(owners).into())
    }

    /// What `statfs` says of a mount that only reads.
    pub(super) fn statistics(&self, device: &Device) -> Result<Statistics> {
        let is_sound = self.free_blocks <= self.blocks
            && self.free_inodes <= self.inodes
            && self.inodes <= self.blocks << self.inodes_shift;
        if !is_sound {
            return Err(unsupported("its counters have to be made again"));
        }
        let mut kept = SET_ASIDE * u64::from(self.groups);
        if self.read_only_compatible & SHARED_BLOCKS != 0 {
            // A mount looks for shared blocks that were left over, and so comes to know all groups.
            for group in 0..self.groups {
                kept += self.free_space_tree(device, group)?;
            }
        }
        let free = self.free_blocks.saturating_sub(kept);
        let mut files = (self.inodes + (free << self.inodes_shift)).min(MAX_INODE);
        if self.inode_percentage > 0 {
            let chunk = CHUNK.max(1 << self.inodes_shift) >> self.inodes_shift;
            let most = self.blocks * u64::from(self.inode_percentage) / 100;
            files = files.min((most / chunk * chunk) << self.inodes_shift);
        }
        let files = files.max(self.inodes);
        Ok(Statistics {
            block_size: self.block_size,
            blocks: self.blocks.saturating_sub(self.log_blocks.into()),
            free,
            available: free,
            files,
            files_free: files - (self.inodes - self.free_inodes),
            name_length: 255,
        })
    }
}
