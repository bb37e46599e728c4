//! How much space an image will need: a promise that creating and filling it does not exceed.
//!
//! The sums are those of a qcow2 file in which everything is allocated; clusters that the source does not have are
//! then left out, their metadata is not. So the result is never too small.

use crate::block::{Block, Preallocation};
use crate::error::{Error, Result};
use crate::format::qcow2::BitmapInfo;

/// The largest L1 table that QEMU opens, in bytes.
const MAX_L1: u64 = 32 << 20;
/// Bytes of an L1, a refcount table, or a bitmap table entry.
const ENTRY: u64 = 8;
/// Bytes of a bitmap directory entry without its name.
const BITMAP_ENTRY: u64 = 24;

/// Sizes of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// With the data that there is now.
    pub required: u64,
    /// When all of the disk has been written.
    pub fully_allocated: u64,
}

/// A qcow2 image that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Qcow2Layout {
    /// Bytes of a cluster: a power of two.
    pub cluster_size: u64,
    /// Bits of a reference count: a power of two, at most 64.
    pub refcount_bits: u32,
    /// Subclusters.
    pub extended_l2: bool,
    /// What is allocated from the start.
    pub preallocation: Preallocation,
    /// What the source has may or may not be in a backing file: all of it counts.
    pub has_backing: bool,
    /// Bytes for the header of an encryption.
    pub encryption_header: u64,
}

fn too_large() -> Error {
    Error::Invalid("The image size is too large (try using a larger cluster size)".to_owned())
}

/// What a qcow2 image of `size` bytes takes up; with what `source` holds, if there is one.
///
/// # Errors
/// When there cannot be such an image, or the source cannot be looked at.
pub fn qcow2(layout: &Qcow2Layout, size: u64, source: Option<&dyn Block>) -> Result<Sizes> {
    let cluster = layout.cluster_size;
    let l2_entry = if layout.extended_l2 { 2 * ENTRY } else { ENTRY };
    let disk = size.checked_next_multiple_of(cluster).ok_or_else(too_large)?;
    let l2_tables = (disk / cluster).div_ceil(cluster / l2_entry);
    if l2_tables.saturating_mul(ENTRY) > MAX_L1 {
        return Err(too_large());
    }
    let all_at_once = matches!(layout.preallocation, Preallocation::Falloc | Preallocation::Full);
    let data = match source {
        _ if all_at_once => disk,
        None => 0,
        Some(_) if layout.has_backing => disk,
        Some(source) => data_bytes(source, cluster)?,
    };
    // One cluster for the header, whole clusters for both kinds of tables.
    let tables = cluster + l2_tables * cluster + (l2_tables * ENTRY).next_multiple_of(cluster);
    let clusters = (tables + disk) / cluster;
    let metadata = tables + refcount_bytes(clusters, layout) + layout.encryption_header;
    Ok(Sizes { required: metadata + data, fully_allocated: metadata + disk })
}

/// Bytes of refcount table and blocks for `clusters` clusters and themselves.
fn refcount_bytes(clusters: u64, layout: &Qcow2Layout) -> u64 {
    let per_block = (layout.cluster_size * 8 / u64::from(layout.refcount_bits.max(1))).max(1);
    let (mut blocks, mut table) = (0, 0);
    loop {
        let next_blocks = (clusters + blocks + table).div_ceil(per_block);
        let next_table = next_blocks.div_ceil(layout.cluster_size / ENTRY);
        if (next_blocks, next_table) == (blocks, table) {
            return (blocks + table) * layout.cluster_size;
        }
        (blocks, table) = (next_blocks, next_table);
    }
}

/// Bytes of the clusters in which `source` holds data.
fn data_bytes(source: &dyn Block, cluster: u64) -> Result<u64> {
    let size = source.size();
    let (mut at, mut sum) = (0, 0);
    while at < size {
        let extent = source.status(at..size)?;
        let mut length = extent.length.clamp(1, size - at);
        if extent.data && extent.present && !extent.zero {
            length = (at + length).next_multiple_of(cluster) - at;
            sum += at % cluster + length;
        }
        at += length;
    }
    Ok(sum)
}

/// What copies of `bitmaps` of a disk of `size` bytes take up in an image with such clusters. Broken ones cannot be
/// copied.
pub fn bitmap_bytes(bitmaps: &[BitmapInfo], size: u64, cluster: u64) -> u64 {
    let mut directory = 0u64;
    let mut sum = 0u64;
    for bitmap in bitmaps.iter().filter(|bitmap| !bitmap.in_use) {
        let bytes = size.div_ceil(bitmap.granularity.max(1)).div_ceil(8);
        let clusters = bytes.div_ceil(cluster);
        sum += clusters * cluster + (clusters * ENTRY).next_multiple_of(cluster);
        directory += (BITMAP_ENTRY + bitmap.name.len() as u64).next_multiple_of(8);
    }
    sum + directory.next_multiple_of(cluster)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::storage::Memory;

    const LAYOUT: Qcow2Layout = Qcow2Layout {
        cluster_size: 65_536,
        refcount_bits: 16,
        extended_l2: false,
        preallocation: Preallocation::Off,
        has_backing: false,
        encryption_header: 0,
    };

    #[test]
    fn as_qemu_img_measures() {
        let sizes = |layout: Qcow2Layout, size| {
            let sizes = qcow2(&layout, size, None).unwrap();
            (sizes.required, sizes.fully_allocated)
        };
        assert_eq!(sizes(LAYOUT, 1 << 30), (393_216, 1_074_135_040));
        assert_eq!(sizes(Qcow2Layout { cluster_size: 4096, ..LAYOUT }, 1 << 30), (2_637_824, 1_076_379_648));
        let large = Qcow2Layout { cluster_size: 2 << 20, refcount_bits: 64, ..LAYOUT };
        assert_eq!(sizes(large, 1 << 30), (10_485_760, 1_084_227_584));
        assert_eq!(sizes(Qcow2Layout { extended_l2: true, ..LAYOUT }, 1 << 30), (524_288, 1_074_266_112));
        assert_eq!(sizes(LAYOUT, 0), (196_608, 196_608));
        assert_eq!(sizes(LAYOUT, 100 << 40), (16_779_902_976, 109_967_942_680_576));
        assert!(qcow2(&LAYOUT, 7 << 60, None).is_err() && qcow2(&LAYOUT, u64::MAX, None).is_err());
    }

    #[test]
    fn clusters_with_data_count_whole() {
        let source = Memory::new(10 << 20);
        source.write_at(&[1], 100_000).unwrap();
        source.write_at(&[1; 2], (5 << 20) - 1).unwrap();
        let empty = qcow2(&LAYOUT, 10 << 20, None).unwrap();
        let sizes = qcow2(&LAYOUT, 10 << 20, Some(&source)).unwrap();
        assert_eq!(sizes.required - empty.required, 3 * 65_536);
        assert_eq!(sizes.fully_allocated, empty.fully_allocated);
    }
}
