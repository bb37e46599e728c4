//! Where everything will lie in an image that is written from beginning to end.
//!
//! Header, refcount table, refcount blocks, L1 table, L2 tables, data: each in the order of the disk.

use super::super::units::Geometry;
use crate::error::{Error, Result};

/// Neighbouring clusters of the disk that hold data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// The first cluster of the disk.
    pub(super) first: u64,
    /// Clusters.
    pub(super) count: u64,
    /// Where its bytes begin, counted from the first byte of data.
    pub(super) start: u64,
}

/// What the source holds, in the order of the disk.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) pieces: Vec<Piece>,
    /// For each data cluster the bytes of its packed form, 0 if it is stored as it is. Empty if none is packed.
    pub(super) packed: Vec<u32>,
}

impl Contents {
    /// Data clusters with their index among them.
    pub(super) fn clusters(&self) -> impl Iterator<Item = (usize, u64)> {
        self.pieces.iter().flat_map(|piece| piece.first..piece.first + piece.count).enumerate()
    }

    /// Where each data cluster begins, and its packed length; sets the beginning of each piece. Returns the
    /// number of bytes.
    pub(super) fn place(&mut self, g: Geometry, mut each: impl FnMut(u64, u64, u32)) -> u64 {
        let (mut at, mut index) = (0u64, 0usize);
        for piece in &mut self.pieces {
            piece.start = at;
            for cluster in piece.first..piece.first + piece.count {
                let packed = self.packed.get(index).copied().unwrap_or(0);
                let start = place_of(g, at, packed);
                each(cluster, start, packed);
                at = start + length_of(g, packed);
                index += 1;
            }
        }
        at
    }
}

/// Where a cluster goes when everything before it ends at `at`.
pub(super) fn place_of(g: Geometry, at: u64, packed: u32) -> u64 {
    if packed > 0 { at } else { at.next_multiple_of(g.cluster_size()) }
}

pub(super) fn length_of(g: Geometry, packed: u32) -> u64 {
    if packed > 0 { u64::from(packed) } else { g.cluster_size() }
}

/// Sizes, in clusters, of the parts that follow the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) refcount_table: u64,
    pub(super) refcount_blocks: u64,
    pub(super) l1: u64,
    pub(super) l2_tables: u64,
    pub(super) data: u64,
}

impl Layout {
    /// Finds out how many clusters the counts of all clusters, their own included, take.
    ///
    /// # Errors
    /// When the refcount table would be larger than the format allows.
    pub(super) fn new(g: Geometry, l1_entries: u64, l2_tables: u64, data: u64) -> Result<Self> {
        let l1 = g.clusters_for(l1_entries * 8);
        let mut layout = Layout { refcount_table: 1, refcount_blocks: 1, l1, l2_tables, data };
        // Each round only makes them larger, and a block counts many clusters: it ends soon.
        loop {
            let refcount_blocks = layout.total().div_ceil(g.refblock_entries());
            let refcount_table = g.clusters_for(refcount_blocks * 8);
            let next = Layout { refcount_table, refcount_blocks, ..layout };
            if next == layout {
                break;
            }
            layout = next;
        }
        if layout.refcount_table * g.cluster_size() > super::super::header::MAX_REFTABLE_BYTES {
            let what = "The image is too large for its refcount table (larger clusters would help)";
            return Err(Error::Invalid(what.to_owned()));
        }
        Ok(layout)
    }

    pub(super) fn refcount_blocks_at(&self) -> u64 {
        1 + self.refcount_table
    }

    pub(super) fn l1_at(&self) -> u64 {
        self.refcount_blocks_at() + self.refcount_blocks
    }

    pub(super) fn l2_at(&self) -> u64 {
        self.l1_at() + self.l1
    }

    pub(super) fn data_at(&self) -> u64 {
        self.l2_at() + self.l2_tables
    }

    /// Clusters of the whole file.
    pub(super) fn total(&self) -> u64 {
        self.data_at() + self.data
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_cover_themselves() {
        for (bits, order) in [(9, 6), (9, 4), (16, 4), (21, 0)] {
            let g = Geometry {
                version: 3,
                cluster_bits: bits,
                refcount_order: order,
                extended: false,
                data_file: false,
            };
            for data in [0, 1, 31, 32, 33, 1000, 100_000] {
                let layout = Layout::new(g, 10, 3, data).unwrap();
                assert!(layout.refcount_blocks * g.refblock_entries() >= layout.total());
                assert!(layout.refcount_table * g.cluster_size() >= layout.refcount_blocks * 8);
            }
        }
    }
}
