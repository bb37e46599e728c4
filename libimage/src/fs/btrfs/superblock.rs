//! The superblock: what kind of file system it is, and where its first trees begin.
//!
//! There are copies further on, but a mount never looks at them: they are for programs that repair.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use super::checksum::{Method, ROOM};
use super::key::tree;
use super::node::{MAX_LEVEL, Pointer};
use crate::fields::Fields;

const OFFSET: u64 = 64 << 10;
const SIZE: usize = 4096;
const MAGIC: &[u8; 8] = b"_BHRfS_M";
/// Where the first chunks are listed, and how many bytes there are for it.
const CHUNKS: usize = 811;
const CHUNKS_ROOM: usize = 2048;
/// Written, moved, with errors, a seed for others.
const KNOWN_FLAGS: u64 = 0x7 | SEED;
const SEED: u64 = 1 << 32;
/// Features that need nothing, or are known: from mixed references up to three and four copies, and simple quotas.
const KNOWN: u64 = 0xfff | 0x1_0000;
const METADATA_ID: u64 = 0x400;
/// Features that are refused under their names.
const NAMED: [(u64, &str); 3] = [(0x1000, "zoned"), (0x2000, "extent-tree-v2"), (0x4000, "raid-stripe-tree")];
/// Free space tree (twice), verity, block group tree.
const KNOWN_READ_ONLY: u64 = 0xf;
const FREE_SPACE_TREE: u64 = 1;
const BLOCK_GROUP_TREE: u64 = 8;

/// What of the superblock is needed.
pub(super) struct Superblock {
    pub(super) method: Method,
    /// The file system's identity, and the one in its metadata.
    pub(super) id: [u8; 16],
    pub(super) metadata_id: [u8; 16],
    pub(super) generation: u64,
    /// The tree of all other trees' roots.
    pub(super) roots: Pointer,
    pub(super) chunks: Pointer,
    /// Bytes of all devices.
    pub(super) total: u64,
    /// The directory in the tree of roots that names the default subvolume.
    pub(super) directory: u64,
    pub(super) devices: u64,
    /// Bytes of a sector of data, and of a node of a tree.
    pub(super) sector: u64,
    pub(super) node: usize,
    pub(super) has_free_space_tree: bool,
    pub(super) has_block_group_tree: bool,
    /// The device on which it lies.
    pub(super) device: u64,
    pub(super) device_id: [u8; 16],
    /// Keys and items of the chunks in which the tree of chunks lies.
    pub(super) first_chunks: Vec<u8>,
}

/// A UUID inside bytes.
pub(super) fn id(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

impl Superblock {
    pub(super) fn read(device: &Device) -> Result<Superblock> {
        let wrong = |what: &str| FsError::from(device.corrupt(OFFSET, what));
        let bytes = device.bytes(OFFSET, SIZE)?;
        let fields = Fields(&bytes);
        if bytes.get(64..72) != Some(MAGIC) {
            return Err(wrong("there is no btrfs"));
        }
        let method = fields.le16(196);
        let method = Method::new(method).ok_or_else(|| {
            FsError::Unsupported(format!("its checksums are of a kind that is not known ({method})"))
        })?;
        if !method.agrees(bytes.get(ROOM..).unwrap_or_default(), &bytes) {
            return Err(wrong("the checksum of the superblock is wrong"));
        }
        let (incompatible, read_only) = (fields.le64(188), fields.le64(180));
        Self::check_features(fields.le64(56), incompatible, read_only)?;
        if fields.le64(96) != 0 {
            return Err(FsError::Unsupported("its log has to be replayed".to_owned()));
        }
        let (sector, node) = (fields.le32(144), fields.le32(148));
        let is_sound = fields.le64(48) == OFFSET
            && sector.is_power_of_two()
            && node.is_power_of_two()
            && (4096..=64 << 10).contains(&sector)
            && (sector..=64 << 10).contains(&node);
        if !is_sound {
            return Err(wrong("its sizes make no sense"));
        }
        let levels =
            bytes.get(198..200).and_then(|levels| levels.first_chunk()).copied().unwrap_or([u8::MAX; 2]);
        if levels.iter().any(|level| *level > MAX_LEVEL) {
            return Err(wrong("its trees are deeper than can be"));
        }
        let own = id(&bytes, 32);
        let metadata_id = if incompatible & METADATA_ID != 0 { id(&bytes, 571) } else { own };
        let first_chunks = usize::try_from(fields.le32(160)).ok().filter(|length| *length <= CHUNKS_ROOM);
        let first_chunks = first_chunks.and_then(|length| bytes.get(CHUNKS..CHUNKS + length));
        let generation = fields.le64(72);
        Ok(Superblock {
            method,
            id: own,
            metadata_id,
            generation,
            roots: Pointer::root(tree::ROOTS, fields.le64(80), levels[0], generation),
            chunks: Pointer::root(tree::CHUNKS, fields.le64(88), levels[1], fields.le64(164)),
            total: fields.le64(112),
            directory: fields.le64(128),
            devices: fields.le64(136),
            sector: sector.into(),
            node: node as usize,
            has_free_space_tree: read_only & FREE_SPACE_TREE != 0,
            has_block_group_tree: read_only & BLOCK_GROUP_TREE != 0,
            device: fields.le64(201),
            device_id: id(&bytes, 267),
            first_chunks: first_chunks.ok_or_else(|| wrong("its list of chunks is too long"))?.to_vec(),
        })
    }

    fn check_features(flags: u64, incompatible: u64, read_only: u64) -> Result<()> {
        let unsupported = |what: String| Err(FsError::Unsupported(what));
        if let Some((_, name)) = NAMED.iter().find(|(bit, _)| incompatible & bit != 0) {
            return unsupported(format!("it has the feature {name}, which is not known here"));
        }
        let unknown = (incompatible & !KNOWN, read_only & !KNOWN_READ_ONLY);
        if unknown != (0, 0) {
            return unsupported(format!(
                "it has features that are not known ({:#x}, {:#x})",
                unknown.0, unknown.1
            ));
        }
        if flags & !KNOWN_FLAGS != 0 {
            return unsupported(format!("its state is not a usual one ({:#x})", flags & !KNOWN_FLAGS));
        }
        Ok(())
    }
}
