//! The header: the first bytes of an image, which say where everything else lies.
//!
//! What is parsed here has been checked against the limits of the format, so that later code may
//! compute with it; and what this version does not understand is kept to be written back unchanged.
//! (qcow2 specification, "Header".)

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::Extensions;
use super::units::Geometry;
use crate::block::Block;
use crate::error::{Error, Result};

pub(super) const MAGIC: u32 = 0x5146_49fb;
const V2_LENGTH: usize = 72;
/// Where headers end, extensions and names included, unless somebody stores much in them.
const USUAL_LENGTH: usize = 4096;
const V3_MIN_LENGTH: usize = 104;
/// What this code writes, and the part of a longer header that it understands.
const V3_LENGTH: usize = 112;

pub(super) const MAX_L1_BYTES: u64 = 32 << 20;
pub(super) const MAX_REFTABLE_BYTES: u64 = 8 << 20;
pub(super) const MAX_SNAPSHOTS: u32 = 65536;
const MAX_BACKING_NAME: u32 = 1023;

/// Feature bits that change how the image must be read.
pub(super) mod incompatible {
    pub(in super::super) const DIRTY: u64 = 1;
    pub(in super::super) const CORRUPT: u64 = 1 << 1;
    pub(in super::super) const DATA_FILE: u64 = 1 << 2;
    pub(in super::super) const COMPRESSION: u64 = 1 << 3;
    pub(in super::super) const EXTENDED_L2: u64 = 1 << 4;
    /// What this code can serve.
    pub(in super::super) const SUPPORTED: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;
}

/// Feature bits that may be ignored.
pub(super) mod compatible {
    pub(in super::super) const LAZY_REFCOUNTS: u64 = 1;
}

/// Feature bits that a writer which does not know them must clear.
pub(super) mod autoclear {
    pub(in super::super) const BITMAPS: u64 = 1;
    pub(in super::super) const RAW_DATA_FILE: u64 = 2;
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: U32,
    version: U32,
    backing_file_offset: U64,
    backing_file_size: U32,
    cluster_bits: U32,
    size: U64,
    crypt_method: U32,
    l1_size: U32,
    l1_table_offset: U64,
    refcount_table_offset: U64,
    refcount_table_clusters: U32,
    nb_snapshots: U32,
    snapshots_offset: U64,
    incompatible_features: U64,
    compatible_features: U64,
    autoclear_features: U64,
    refcount_order: U32,
    header_length: U32,
    compression_type: u8,
    padding: [u8; 7],
}

/// Byte positions of header fields that are rewritten in place, each within one sector.
pub(super) mod field {
    pub(in super::super) const SIZE: u64 = 24;
    pub(in super::super) const REFCOUNT_TABLE: u64 = 48;
    pub(in super::super) const SNAPSHOTS: u64 = 60;
    pub(in super::super) const INCOMPATIBLE: u64 = 72;
    pub(in super::super) const COMPATIBLE: u64 = 80;
    pub(in super::super) const AUTOCLEAR: u64 = 88;
}

/// How clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// Raw deflate streams.
    #[default]
    Zlib,
    /// Zstandard frames.
    Zstd,
}

impl CompressionType {
    /// The name used on command lines.
    pub fn name(self) -> &'static str {
        match self {
            CompressionType::Zlib => "zlib",
            CompressionType::Zstd => "zstd",
        }
    }
}

/// How guest data is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CryptMethod {
    None,
    Aes,
    Luks,
}

impl CryptMethod {
    fn number(self) -> u32 {
        match self {
            CryptMethod::None => 0,
            CryptMethod::Aes => 1,
            CryptMethod::Luks => 2,
        }
    }
}

/// A checked header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) geometry: Geometry,
    pub(super) size: u64,
    pub(super) l1_size: u32,
    pub(super) l1_offset: u64,
    pub(super) refcount_table_offset: u64,
    pub(super) refcount_table_clusters: u32,
    pub(super) snapshot_count: u32,
    pub(super) snapshots_offset: u64,
    pub(super) incompatible: u64,
    pub(super) compatible: u64,
    pub(super) autoclear: u64,
    pub(super) compression: CompressionType,
    pub(super) crypt: CryptMethod,
    pub(super) extensions: Extensions,
    pub(super) backing_name: Option<String>,
    /// Bytes of a longer header than we know, kept as they are. Empty: a header of 104 bytes had none.
    pub(super) unknown: Vec<u8>,
}

impl Header {
    /// Reads and checks the header of `file`. A `lenient` reader (a check) accepts table positions that
    /// make no sense, to be able to report them.
    pub(super) fn read(file: &dyn Block, lenient: bool) -> Result<Self> {
        let name = file.name();
        let mut start = vec![0; (file.size().min(V3_LENGTH as u64)) as usize];
        file.read_at(&mut start, 0)?;
        let found = start.len();
        start.resize(V3_LENGTH, 0);
        let Ok((raw, _)) = RawHeader::read_from_prefix(&start) else {
            return Err(Error::corrupt(name, "the file is too short for a qcow2 header"));
        };
        if found < V2_LENGTH || raw.magic.get() != MAGIC {
            return Err(Error::corrupt(name, "Image is not in qcow2 format"));
        }
        let version = raw.version.get();
        if version != 2 && version != 3 {
            return Err(Error::unsupported(name, format!("Unsupported qcow2 version {version}")));
        }
        let cluster_bits = raw.cluster_bits.get();
        if !(9..=21).contains(&cluster_bits) {
            return Err(Error::corrupt(name, format!("Unsupported cluster size: 2^{cluster_bits}")));
        }
        let v3 = version == 3;
        let header_length = if v3 { raw.header_length.get() as usize } else { V2_LENGTH };
        if v3 && header_length < V3_MIN_LENGTH {
            return Err(Error::corrupt(name, "qcow2 header too short"));
        }
        if header_length % 8 != 0 {
            return Err(Error::corrupt(name, format!("the qcow2 header has the odd length {header_length}")));
        }
        if header_length > 1 << cluster_bits {
            return Err(Error::corrupt(name, "qcow2 header exceeds cluster size"));
        }
        if file.size() < header_length as u64 {
            return Err(Error::corrupt(name, "the file ends inside the qcow2 header"));
        }
        let refcount_order = if v3 { raw.refcount_order.get() } else { 4 };
        if refcount_order > 6 {
            return Err(Error::corrupt(
                name,
                "Reference count entry width too large; may not exceed 64 bits",
            ));
        }
        let features = if v3 { raw.incompatible_features.get() } else { 0 };
        let geometry = Geometry {
            version,
            cluster_bits,
            refcount_order,
            extended: features & incompatible::EXTENDED_L2 != 0,
            data_file: features & incompatible::DATA_FILE != 0,
        };
        let backing_offset = raw.backing_file_offset.get();
        let backing_size = raw.backing_file_size.get();
        let most = file.size().min(geometry.cluster_size()) as usize;
        let mut cluster = vec![0; most.min(USUAL_LENGTH)];
        file.read_at(&mut cluster, 0)?;
        let whole = match backing_offset {
            0 => Extensions::end_in(cluster.get(header_length..).unwrap_or_default()),
            start => start.saturating_add(u64::from(backing_size)) <= cluster.len() as u64,
        };
        if !whole && cluster.len() < most {
            cluster.resize(most, 0);
            file.read_at(&mut cluster, 0)?;
        }

        if backing_offset > geometry.cluster_size() {
            return Err(Error::corrupt(name, "Invalid backing file offset"));
        }
        let extensions_end = if backing_offset != 0 { backing_offset as usize } else { cluster.len() };
        let extensions = cluster.get(header_length..extensions_end).unwrap_or_default();
        let extensions = Extensions::parse(extensions, header_length as u64, name)?;
        let (incompatible, compatible, autoclear) = match v3 {
            true => {
                (raw.incompatible_features.get(), raw.compatible_features.get(), raw.autoclear_features.get())
            }
            false => (0, 0, 0),
        };
        let type_byte = if v3 && header_length > V3_MIN_LENGTH { raw.compression_type } else { 0 };
        let compression = match type_byte {
            0 => CompressionType::Zlib,
            1 => CompressionType::Zstd,
            other => {
                return Err(Error::unsupported(name, format!("qcow2: unknown compression type: {other}")));
            }
        };
        let flagged = incompatible & incompatible::COMPRESSION != 0;
        if (compression != CompressionType::Zlib) != flagged {
            let not = if flagged { " not" } else { "" };
            let what = format!("qcow2: Compression type incompatible feature bit must{not} be set");
            return Err(Error::corrupt(name, what));
        }
        let unknown_bits = incompatible & !incompatible::SUPPORTED;
        if unknown_bits != 0 {
            let features = extensions.feature_names(0, unknown_bits);
            return Err(Error::unsupported(name, format!("Unsupported qcow2 feature(s): {features}")));
        }
        if geometry.extended && cluster_bits < 14 {
            let what = format!(
                "qcow2: cluster size {} is too small for extended L2 entries (at least 16384 bytes)",
                geometry.cluster_size()
            );
            return Err(Error::corrupt(name, what));
        }
        if autoclear & autoclear::RAW_DATA_FILE != 0 && !geometry.data_file {
            return Err(Error::corrupt(name, "data-file-raw requires a data file"));
        }
        let crypt = match raw.crypt_method.get() {
            0 => CryptMethod::None,
            1 => CryptMethod::Aes,
            2 => CryptMethod::Luks,
            other => return Err(Error::unsupported(name, format!("Unsupported encryption method {other}"))),
        };
        let backing_name = match backing_offset {
            0 => None,
            start => {
                if backing_size > MAX_BACKING_NAME
                    || u64::from(backing_size) > geometry.cluster_size() - start
                    || backing_size == 0
                {
                    return Err(Error::corrupt(name, "Backing file name too long, or empty"));
                }
                let bytes = cluster.get(start as usize..start as usize + backing_size as usize);
                let bytes = bytes
                    .ok_or_else(|| Error::corrupt(name, "the file ends inside the backing file's name"))?;
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| Error::corrupt(name, "the backing file's name is not UTF-8"))?;
                Some(text.to_owned())
            }
        };
        let unknown = cluster.get(V3_LENGTH.min(header_length)..header_length).unwrap_or_default();
        let header = Header {
            geometry,
            // Whole sectors only, as in QEMU, which writes no other sizes either.
            size: raw.size.get() & !511,
            l1_size: raw.l1_size.get(),
            l1_offset: raw.l1_table_offset.get(),
            refcount_table_offset: raw.refcount_table_offset.get(),
            refcount_table_clusters: raw.refcount_table_clusters.get(),
            snapshot_count: raw.nb_snapshots.get(),
            snapshots_offset: raw.snapshots_offset.get(),
            incompatible,
            compatible,
            autoclear,
            compression,
            crypt,
            extensions,
            backing_name,
            unknown: if v3 { unknown.to_owned() } else { Vec::new() },
        };
        header.check_tables(name, lenient)?;
        Ok(header)
    }

    fn check_tables(&self, name: &str, lenient: bool) -> Result<()> {
        let g = self.geometry;
        let bad = |what: &str| Err(Error::corrupt(name, what));
        let valid = |offset: u64, bytes: u64| {
            g.is_aligned(offset) && offset.checked_add(bytes).is_some_and(|end| end <= i64::MAX as u64)
        };
        let l1_bytes = u64::from(self.l1_size) * 8;
        if l1_bytes > MAX_L1_BYTES {
            return bad("Active L1 table too large");
        }
        if !valid(self.l1_offset, l1_bytes) {
            return bad("Active L1 table offset invalid");
        }
        if g.l1_entries_for(self.size) > i32::MAX as u64 {
            return bad("Image is too big");
        }
        if self.size > i64::MAX as u64 || g.l1_entries_for(self.size) > u64::from(self.l1_size) {
            return bad("L1 table is too small");
        }
        let table_bytes = u64::from(self.refcount_table_clusters) << g.cluster_bits;
        if self.refcount_table_clusters == 0 && !lenient {
            return bad("Image does not contain a reference count table");
        }
        if table_bytes > MAX_REFTABLE_BYTES {
            return bad("Reference count table too large");
        }
        if !valid(self.refcount_table_offset, table_bytes) {
            return bad("Reference count table offset invalid");
        }
        if !lenient && self.snapshot_count > MAX_SNAPSHOTS {
            return bad("Snapshot table too large");
        }
        if !lenient && !g.is_aligned(self.snapshots_offset) {
            return bad("Snapshot table offset invalid");
        }
        Ok(())
    }

    /// The whole first cluster as it should be on disk: header, extensions, backing file name.
    ///
    /// # Errors
    /// When it does not fit one cluster.
    pub(super) fn encode(&self, file: &str) -> Result<Vec<u8>> {
        let g = self.geometry;
        let v3 = g.version == 3;
        let length = if v3 { V3_LENGTH + self.unknown.len() } else { V2_LENGTH };
        let mut tail = self.extensions.encode();
        let backing = self.backing_name.as_deref().unwrap_or_default().as_bytes();
        let backing_offset = length + tail.len();
        tail.extend_from_slice(backing);
        if backing.len() as u32 > MAX_BACKING_NAME {
            let name = self.backing_name.as_deref().unwrap_or_default();
            let format = self.extensions.backing_format().unwrap_or_default();
            return Err(Error::Invalid(format!(
                "Could not assign backing file '{name}' with format '{format}': Invalid argument"
            )));
        }
        if (length + tail.len()) as u64 > g.cluster_size() {
            return Err(Error::unsupported(file, "No space left in the file header"));
        }
        let raw = RawHeader {
            magic: MAGIC.into(),
            version: g.version.into(),
            backing_file_offset: if backing.is_empty() { 0 } else { backing_offset as u64 }.into(),
            backing_file_size: (backing.len() as u32).into(),
            cluster_bits: g.cluster_bits.into(),
            size: self.size.into(),
            crypt_method: self.crypt.number().into(),
            l1_size: self.l1_size.into(),
            l1_table_offset: self.l1_offset.into(),
            refcount_table_offset: self.refcount_table_offset.into(),
            refcount_table_clusters: self.refcount_table_clusters.into(),
            nb_snapshots: self.snapshot_count.into(),
            snapshots_offset: self.snapshots_offset.into(),
            incompatible_features: self.incompatible.into(),
            compatible_features: self.compatible.into(),
            autoclear_features: self.autoclear.into(),
            refcount_order: g.refcount_order.into(),
            header_length: (length as u32).into(),
            compression_type: match self.compression {
                CompressionType::Zlib => 0,
                CompressionType::Zstd => 1,
            },
            padding: [0; 7],
        };
        let mut bytes = raw.as_bytes().get(..length.min(V3_LENGTH)).unwrap_or_default().to_vec();
        if v3 {
            bytes.extend_from_slice(&self.unknown);
        }
        bytes.extend_from_slice(&tail);
        bytes.resize(g.cluster_size() as usize, 0);
        Ok(bytes)
    }

    /// Size, encryption, L1 size and L1 position: the 24 bytes at [`field::SIZE`], one sector.
    pub(super) fn size_and_l1(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.crypt.number().to_be_bytes());
        bytes[12..16].copy_from_slice(&self.l1_size.to_be_bytes());
        bytes[16..].copy_from_slice(&self.l1_offset.to_be_bytes());
        bytes
    }

    /// Position and size of the refcount table: the 12 bytes at [`field::REFCOUNT_TABLE`].
    pub(super) fn refcount_table(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.refcount_table_offset.to_be_bytes());
        bytes[8..].copy_from_slice(&self.refcount_table_clusters.to_be_bytes());
        bytes
    }

    /// Number and position of snapshots: the 12 bytes at [`field::SNAPSHOTS`].
    pub(super) fn snapshot_table(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.snapshot_count.to_be_bytes());
        bytes[4..].copy_from_slice(&self.snapshots_offset.to_be_bytes());
        bytes
    }

    /// Number of bitmaps, bytes and position of their directory, if there are any that are valid.
    pub(super) fn live_bitmap_directory(&self) -> Option<(u32, u64, u64)> {
        self.extensions.bitmap_directory().filter(|_| self.autoclear & autoclear::BITMAPS != 0)
    }

    pub(super) fn has(&self, incompatible_bit: u64) -> bool {
        self.incompatible & incompatible_bit != 0
    }
}
