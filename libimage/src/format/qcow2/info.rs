//! What there is to say about an image, for `info`.

use super::crypt::EncryptionInfo;
use super::header::{CompressionType, autoclear, compatible, incompatible};
use super::image::Qcow2;
use super::snapshot::Snapshot;
use super::storage::read_padded;
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
        let directory = header.extensions.bitmap_directory().filter(|_| meta.has_live_bitmaps());
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
            bitmaps: directory.map_or(Ok(Vec::new()), |directory| self.bitmaps(directory))?,
        })
    }

    /// Reads the bitmap directory. (qcow2 specification, "Bitmap directory".)
    fn bitmaps(&self, (count, length, offset): (u32, u64, u64)) -> Result<Vec<BitmapInfo>> {
        const FIXED: usize = 24;
        let mut list = Vec::new();
        let mut at = offset;
        let end = offset.saturating_add(length).min(self.file.size());
        for _ in 0..count {
            let mut fixed = [0; FIXED];
            if at.saturating_add(FIXED as u64) > end {
                break;
            }
            read_padded(&*self.file, &mut fixed, at)?;
            let [.., f0, f1, f2, f3, _kind, granularity, n0, n1, e0, e1, e2, e3] = fixed;
            let flags = u32::from_be_bytes([f0, f1, f2, f3]);
            let extra = u64::from(u32::from_be_bytes([e0, e1, e2, e3]));
            let mut name = vec![0; usize::from(u16::from_be_bytes([n0, n1]))];
            let name_at = at.saturating_add(FIXED as u64).saturating_add(extra);
            read_padded(&*self.file, &mut name, name_at)?;
            at = name_at.saturating_add(name.len() as u64).next_multiple_of(8);
            list.push(BitmapInfo {
                name: String::from_utf8_lossy(&name).into_owned(),
                granularity: 1u64.checked_shl(u32::from(granularity)).unwrap_or(0),
                in_use: flags & 1 != 0,
                auto: flags & 2 != 0,
            });
        }
        Ok(list)
    }
}
