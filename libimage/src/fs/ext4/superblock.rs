//! The superblock and the group descriptors: the file system's shape.
//!
//! Sizes that they claim are held against the device before anything is allocated for them.

use rustix::io::Errno;

use super::super::device::Device;
use super::super::system::{FsError, Result};
use super::hash::Hashing;
use crate::fields::Fields;

/// Where the superblock lies.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;
const MAGIC: u16 = 0xef53;
/// As many groups as 32 TiB have with the smallest blocks.
const MAX_GROUPS: u64 = 1 << 22;

/// Features without which a reader goes wrong, by their bits.
mod incompatible {
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const BITS_64: u32 = 0x80;
    pub(super) const CSUM_SEED: u32 = 0x2000;
    pub(super) const CASEFOLD: u32 = 0x2_0000;
    /// Those that this reader knows; encrypted files are refused one by one.
    pub(super) const KNOWN: u32 = 0x2 // the kinds of files in directories
        | RECOVER
        | META_BG
        | 0x40 // extents
        | BITS_64
        | 0x100 // multiple mount protection
        | 0x200 // flexible groups
        | 0x400 // attributes in inodes of their own
        | CSUM_SEED
        | 0x4000 // large directories
        | 0x8000 // data in inodes
        | 0x1_0000 // encryption
        | CASEFOLD;
}

const METADATA_CSUM: u32 = 0x400;
const SPARSE_SUPER: u32 = 0x1;
const SPARSE_SUPER2: u32 = 0x200;
const HAS_JOURNAL: u32 = 0x4;
const DIRECTORY_INDEX: u32 = 0x20;
/// A flag of the file system: names are hashed as numbers without a sign.
const UNSIGNED_HASH: u32 = 0x2;

/// What is known of the file system as a whole.
pub(super) struct Superblock {
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_size: u16,
    /// Where the seed of checksums starts, if metadata has them.
    pub(super) seed: Option<u32>,
    /// The inode of the journal, if it is one here.
    pub(super) journal: Option<u32>,
    /// The journal is to be looked at before anything else.
    pub(super) wants_replay: bool,
    pub(super) has_huge_files: bool,
    pub(super) is_casefolded: bool,
    pub(super) cluster_blocks: u64,
    pub(super) kind: &'static str,
    /// How names are hashed, if directories can have indexes.
    pub(super) hashing: Option<Hashing>,
    first_data_block: u32,
    blocks_per_group: u32,
    pub(super) groups: u32,
    descriptor_size: u16,
    first_meta_group: u32,
    compatible: u32,
    read_only_compatible: u32,
    incompatible: u32,
    reserved: u64,
    overhead: u64,
    backups: [u32; 2],
    /// Inodes to be cleaned up when it is mounted for writing.
    pub(super) has_orphans: bool,
}

/// CRC32c without the inversions at its beginning and end, as the kernel chains it.
pub(super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

impl Superblock {
    pub(super) fn read(device: &Device) -> Result<Superblock> {
        let bytes = device.bytes(OFFSET, LENGTH)?;
        let fields = Fields(&bytes);
        let wrong = |what: String| FsError::Image(device.corrupt(OFFSET, what));
        if Fields(&bytes).le16(56) != MAGIC {
            return Err(wrong("there is no ext file system".to_owned()));
        }
        let (compatible, incompatible, read_only_compatible) =
            (fields.le32(0x5c), fields.le32(0x60), fields.le32(0x64));
        let unknown = incompatible & !incompatible::KNOWN;
        if unknown != 0 {
            return Err(FsError::Unsupported(format!("it has features that are not known ({unknown:#x})")));
        }
        let uuid = bytes.get(0x68..0x78).unwrap_or_default();
        let seed = (read_only_compatible & METADATA_CSUM != 0).then(|| {
            if incompatible & incompatible::CSUM_SEED != 0 { fields.le32(0x270) } else { crc(!0, uuid) }
        });
        if seed.is_some() && crc(!0, bytes.get(..0x3fc).unwrap_or_default()) != fields.le32(0x3fc) {
            return Err(wrong("the superblock's checksum is wrong".to_owned()));
        }
        let (shift, cluster_shift) = (fields.le32(0x18), fields.le32(0x1c));
        if shift > 6 || cluster_shift < shift || cluster_shift > 20 {
            return Err(wrong(format!("its blocks have 2^{} bytes", u64::from(shift) + 10)));
        }
        let block_size = 1024u64 << shift;
        let high = |offset| if incompatible & incompatible::BITS_64 != 0 { fields.le32(offset) } else { 0 };
        let wide = |low, offset| u64::from(fields.le32(low)) | u64::from(high(offset)) << 32;
        let blocks = wide(4, 0x150);
        let first_data_block = fields.le32(0x14);
        let (blocks_per_group, inodes_per_group) = (fields.le32(0x20), fields.le32(0x28));
        if u128::from(blocks) * u128::from(block_size) > u128::from(device.size()) {
            return Err(wrong(format!(
                "the file system has {blocks} blocks of {block_size} bytes, and the device only {} bytes",
                device.size()
            )));
        }
        let most = 8 * block_size;
        let is_sound = (8..=most << (cluster_shift - shift)).contains(&u64::from(blocks_per_group))
            && (8..=most).contains(&u64::from(inodes_per_group))
            && u64::from(first_data_block) < blocks;
        let inode_size = if fields.le32(0x4c) == 0 { 128 } else { Fields(&bytes).le16(0x58) };
        if !is_sound || !inode_size.is_power_of_two() || !(128..=block_size).contains(&u64::from(inode_size))
        {
            return Err(wrong("its groups or inodes have impossible sizes".to_owned()));
        }
        let groups = (blocks - u64::from(first_data_block)).div_ceil(u64::from(blocks_per_group));
        let groups = u32::try_from(groups).ok().filter(|groups| u64::from(*groups) <= MAX_GROUPS);
        let groups = groups.ok_or_else(|| wrong("it has too many groups".to_owned()))?;
        let descriptor_size =
            if incompatible & incompatible::BITS_64 == 0 { 32 } else { Fields(&bytes).le16(0xfe) };
        if !descriptor_size.is_power_of_two() || !(32..=block_size).contains(&u64::from(descriptor_size)) {
            return Err(wrong(format!("its group descriptors have {descriptor_size} bytes")));
        }
        let has_journal = compatible & HAS_JOURNAL != 0;
        let wants_replay = incompatible & incompatible::RECOVER != 0;
        let journal = fields.le32(0xe0);
        Ok(Superblock {
            block_size,
            blocks,
            inodes: fields.le32(0).min(groups.saturating_mul(inodes_per_group)),
            inodes_per_group,
            inode_size,
            seed,
            journal: Some(journal).filter(|journal| has_journal && *journal != 0),
            wants_replay,
            has_huge_files: read_only_compatible & 0x8 != 0,
            is_casefolded: incompatible & incompatible::CASEFOLD != 0,
            cluster_blocks: 1 << (cluster_shift - shift),
            hashing: (compatible & DIRECTORY_INDEX != 0).then(|| Hashing {
                version: bytes.get(0xfc).copied().unwrap_or_default(),
                unsigned: fields.le32(0x160) & UNSIGNED_HASH != 0,
                seed: [0xec, 0xf0, 0xf4, 0xf8].map(|at| fields.le32(at)),
            }),
            // What the kernel would mount it as, and blkid call it.
            kind: match (has_journal, incompatible & 0x2c0 | read_only_compatible & 0x478) {
                (_, 1..) => "ext4",
                (true, 0) => "ext3",
                (false, 0) => "ext2",
            },
            first_data_block,
            blocks_per_group,
            groups,
            descriptor_size,
            first_meta_group: if incompatible & incompatible::META_BG == 0 {
                u32::MAX
            } else {
                fields.le32(0x104)
            },
            compatible,
            read_only_compatible,
            incompatible,
            reserved: wide(8, 0x154),
            overhead: fields.le32(0x248).into(),
            backups: [fields.le32(0x24c), fields.le32(0x250)],
            has_orphans: fields.le32(0xe8) != 0 || read_only_compatible & 0x1_0000 != 0,
        })
    }

    /// Where the descriptor of a group lies, as block and offset in it.
    pub(super) fn descriptor(&self, group: u32) -> (u64, usize) {
        let per_block = (self.block_size / u64::from(self.descriptor_size)) as u32;
        let (table, inside) = (group / per_block, group % per_block);
        let offset = inside as usize * usize::from(self.descriptor_size);
        // The block with the superblock, which need not be the first of its group.
        let own = OFFSET / self.block_size;
        let block = if table < self.first_meta_group {
            own + 1 + u64::from(table)
        } else {
            // In the first group of those that it describes.
            let home = table * per_block;
            let first = u64::from(self.first_data_block);
            let start = first + u64::from(home) * u64::from(self.blocks_per_group);
            let shift = if table == 0 { own.saturating_sub(first) } else { 0 };
            start + shift + u64::from(self.has_superblock(home))
        };
        (block, offset)
    }

    /// What a descriptor says.
    pub(super) fn group(&self, number: u32, block: &[u8], offset: usize) -> Result<Group, &'static str> {
        let size = usize::from(self.descriptor_size);
        let bytes = block.get(offset..offset + size).ok_or("a group descriptor is missing")?;
        if let Some(seed) = self.seed {
            let sum = crc(seed, &number.to_le_bytes());
            let sum = crc(sum, bytes.get(..0x1e).unwrap_or_default());
            let sum = crc(crc(sum, &[0, 0]), bytes.get(0x20..).unwrap_or_default());
            if sum as u16 != Fields(bytes).le16(0x1e) {
                return Err("the checksum of a group descriptor is wrong");
            }
        }
        let fields = Fields(bytes);
        let is_wide = size >= 64;
        let high = |offset| if is_wide { u64::from(fields.le32(offset)) << 32 } else { 0 };
        let high16 = |offset| if is_wide { u64::from(Fields(bytes).le16(offset)) << 16 } else { 0 };
        Ok(Group {
            inode_table: u64::from(fields.le32(8)) | high(0x28),
            free_clusters: u64::from(Fields(bytes).le16(0xc)) | high16(0x2c),
            free_inodes: u64::from(Fields(bytes).le16(0xe)) | high16(0x2e),
        })
    }

    fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compatible & SPARSE_SUPER2 != 0 {
            return self.backups.contains(&group);
        }
        if group == 1 || self.read_only_compatible & SPARSE_SUPER == 0 {
            return true;
        }
        group % 2 == 1 && [3u32, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// Blocks that the file system needs for itself, as the kernel counts them: they are not in its size.
    pub(super) fn overhead(&self, journal_blocks: u64) -> u64 {
        if self.overhead != 0 {
            return self.overhead * self.cluster_blocks;
        }
        let table = (u64::from(self.inodes_per_group) * u64::from(self.inode_size)).div_ceil(self.block_size);
        let per_block = self.block_size / u64::from(self.descriptor_size);
        let descriptors = u64::from(self.groups).div_ceil(per_block);
        let in_group = |group: u32| {
            let copies = if group >= self.first_meta_group.saturating_mul(per_block as u32) {
                let place = u64::from(group) % per_block;
                u64::from(matches!(place, 0 | 1)) + u64::from(place + 1 == per_block)
            } else if self.has_superblock(group) {
                descriptors.min(self.first_meta_group.into())
            } else {
                0
            };
            u64::from(self.has_superblock(group)) + copies + 2 + table
        };
        u64::from(self.first_data_block) + (0..self.groups).map(in_group).sum::<u64>() + journal_blocks
    }

    /// Blocks that not everybody may use: those of root, and those that the kernel holds back.
    pub(super) fn withheld(&self) -> u64 {
        let has_extents = self.incompatible & 0x40 != 0;
        let held = if has_extents { (self.blocks / self.cluster_blocks / 50).min(4096) } else { 0 };
        self.reserved.saturating_add(held * self.cluster_blocks)
    }

    /// The group of an inode, and its number there.
    pub(super) fn place_of(&self, inode: u32) -> Result<(u32, u32)> {
        match inode.checked_sub(1) {
            Some(index) if inode <= self.inodes => {
                Ok((index / self.inodes_per_group, index % self.inodes_per_group))
            }
            _ => Err(Errno::STALE.into()),
        }
    }
}

fn is_power(mut number: u32, base: u32) -> bool {
    while number > 1 && number.is_multiple_of(base) {
        number /= base;
    }
    number == 1
}

/// What is known of a group.
pub(super) struct Group {
    pub(super) inode_table: u64,
    pub(super) free_clusters: u64,
    pub(super) free_inodes: u64,
}
