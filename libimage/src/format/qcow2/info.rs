//! What there is to say about an image, for `info`.

use super::crypt::EncryptionInfo;
use super::header::{CompressionType, autoclear, compatible, incompatible};
use super::image::Qcow2;
use super::snapshot::Snapshot;
use crate::block::Block;
use crate::error::Result;

/// Everything format-specific that `info` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// 2 or 3.
    pub version: u32,
    /// Bytes of the disk.
    pub virtual_size: u64,
    /// Bytes.
    pub cluster_size: u64,
    /// Bits of a reference count.
    pub refcount_bits: u32,
    /// How clusters are compressed.
    pub compression: CompressionType,
    /// Reference counts may be updated late.
    pub lazy_refcounts: bool,
    /// The image was not shut down cleanly.
    pub dirty: bool,
    /// The image is marked as damaged.
    pub corrupt: bool,
    /// Subclusters are used.
    pub extended_l2: bool,
    /// The file that holds guest data, as the header has it. `Some("")` if it has no name there.
    pub data_file: Option<String>,
    /// That file is a raw image of the disk by itself.
    pub data_file_raw: bool,
    /// The backing file as the header has it.
    pub backing_file: Option<String>,
    /// Its format.
    pub backing_format: Option<String>,
    /// Internal snapshots, in the order of the table.
    pub snapshots: Vec<Snapshot>,
    /// How guest data is encrypted.
    pub encryption: Option<EncryptionInfo>,
    /// Persistent bitmaps.
    pub bitmaps: Vec<BitmapInfo>,
}

/// A persistent bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapInfo {
    /// Its name.
    pub name: String,
    /// Bytes of the disk for each bit.
    pub granularity: u64,
    /// It is being, or was never finished being, written.
    pub in_use: bool,
    /// It records writes whenever the image is open.
    pub auto: bool,
}

impl Info {
    /// The `compat` option that makes such an image.
    pub fn compat(&self) -> &'static str {
        if self.version < 3 { "0.10" } else { "1.1" }
    }
}

impl Qcow2 {
    /// All about this image that is not data.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn info(&self) -> Result<Info> {
        let meta = self.meta_read()?;
        let header = &meta.header;
        let g = self.geometry;
        Ok(Info {
            version: g.version,
            virtual_size: self.size(),
            cluster_size: g.cluster_size(),
            refcount_bits: 1 << g.refcount_order,
            compression: header.compression,
            lazy_refcounts: header.compatible & compatible::LAZY_REFCOUNTS != 0,
            dirty: header.has(incompatible::DIRTY),
            corrupt: header.has(incompatible::CORRUPT),
            extended_l2: header.has(incompatible::EXTENDED_L2),
            data_file: g.data_file.then(|| header.extensions.data_file().unwrap_or_default().to_owned()),
            data_file_raw: header.autoclear & autoclear::RAW_DATA_FILE != 0,
            backing_file: header.backing_name.clone(),
            backing_format: header.extensions.backing_format().map(str::to_owned),
            snapshots: meta.snapshots.clone(),
            encryption: self.encryption(),
            bitmaps: meta.bitmap_infos()?,
        })
    }
}
