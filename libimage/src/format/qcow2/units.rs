//! Offsets, cluster numbers and the geometry that relates them.
//!
//! A guest offset says where the user of the disk sees a byte, a host offset where the image file
//! stores it. The two never mix: each has its own type, and so have cluster numbers.

/// Subclusters of a cluster.
pub(super) const SUBCLUSTERS: u64 = 32;

/// Largest host offset plus one: table entries hold 56 bits.
pub(super) const MAX_HOST: u64 = 1 << 56;

/// A byte as the user of the disk counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GuestOffset(pub(super) u64);

/// A byte of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostOffset(pub(super) u64);

/// A cluster of the disk, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GuestCluster(pub(super) u64);

/// A cluster of the image file, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostCluster(pub(super) u64);

/// A run of neighbouring clusters of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostRun {
    pub(super) first: HostCluster,
    /// Clusters.
    pub(super) count: u64,
}

impl HostRun {
    pub(super) fn one(first: HostCluster) -> Self {
        HostRun { first, count: 1 }
    }

    /// Cluster numbers in order.
    pub(super) fn clusters(self) -> impl Iterator<Item = HostCluster> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(HostCluster)
    }
}

/// The sizes that a header fixes for the life of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// 2 or 3.
    pub(super) version: u32,
    /// Log2 of the cluster size: 9..=21.
    pub(super) cluster_bits: u32,
    /// Log2 of the refcount width in bits: 0..=6.
    pub(super) refcount_order: u32,
    /// L2 entries say what each of a cluster's 32 subclusters holds.
    pub(super) extended: bool,
    /// Guest data lies in a file of its own, at the offsets where the guest sees it.
    pub(super) data_file: bool,
}

impl Geometry {
    /// Bytes.
    pub(super) fn cluster_size(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of one L2 table.
    pub(super) fn l2_entries(self) -> u64 {
        1 << self.l2_bits()
    }

    fn l2_bits(self) -> u32 {
        self.cluster_bits - if self.extended { 4 } else { 3 }
    }

    /// Bytes of an L2 entry.
    pub(super) fn l2_entry_size(self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// L2 entries in one page of the cache.
    pub(super) fn entries_per_page(self) -> usize {
        (self.page_size() / self.l2_entry_size()) as usize
    }

    /// Bytes that can be allocated or zero by themselves: a subcluster, or a cluster where there are none.
    pub(super) fn unit_size(self) -> u64 {
        if self.extended { self.cluster_size() / SUBCLUSTERS } else { self.cluster_size() }
    }

    /// Bytes of the disk that one L2 table maps.
    pub(super) fn l2_coverage(self) -> u64 {
        1 << (self.cluster_bits + self.l2_bits())
    }

    /// Clusters that one refcount block counts.
    pub(super) fn refblock_entries(self) -> u64 {
        1 << (self.cluster_bits + 3 - self.refcount_order)
    }

    /// Largest count that fits.
    pub(super) fn max_refcount(self) -> u64 {
        match 1u32 << self.refcount_order {
            64 => u64::MAX,
            bits => (1 << bits) - 1,
        }
    }

    /// Bytes of metadata that are cached, loaded and written as a unit.
    pub(super) fn page_size(self) -> u64 {
        self.cluster_size().min(4096)
    }

    /// Position inside its cluster.
    pub(super) fn within(self, offset: u64) -> u64 {
        offset & (self.cluster_size() - 1)
    }

    /// Clusters needed for `bytes`.
    pub(super) fn clusters_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_size())
    }

    /// The cluster that holds a guest byte.
    pub(super) fn guest_cluster(self, offset: GuestOffset) -> GuestCluster {
        GuestCluster(offset.0 >> self.cluster_bits)
    }

    /// First byte of a guest cluster.
    pub(super) fn guest_start(self, cluster: GuestCluster) -> GuestOffset {
        GuestOffset(cluster.0 << self.cluster_bits)
    }

    /// The cluster that holds a host byte.
    pub(super) fn host_cluster(self, offset: HostOffset) -> HostCluster {
        HostCluster(offset.0 >> self.cluster_bits)
    }

    /// First byte of a host cluster.
    pub(super) fn host_start(self, cluster: HostCluster) -> HostOffset {
        HostOffset(cluster.0 << self.cluster_bits)
    }

    /// Host bytes of a run of clusters.
    pub(super) fn host_bytes(self, run: HostRun) -> std::ops::Range<u64> {
        let start = self.host_start(run.first).0;
        start..start.saturating_add(run.count << self.cluster_bits)
    }

    /// Index into the L1 table.
    pub(super) fn l1_index(self, cluster: GuestCluster) -> usize {
        // At most 2^55 clusters exist, so that this fits on 64-bit machines; others refuse at open.
        (cluster.0 >> self.l2_bits()) as usize
    }

    /// Index into the L2 table.
    pub(super) fn l2_index(self, cluster: GuestCluster) -> u64 {
        cluster.0 & (self.l2_entries() - 1)
    }

    /// L1 entries that a disk of `size` bytes needs.
    pub(super) fn l1_entries_for(self, size: u64) -> u64 {
        size.div_ceil(self.l2_coverage())
    }

    /// True when a host offset is the start of a cluster.
    pub(super) fn is_aligned(self, offset: u64) -> bool {
        self.within(offset) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometry_of_the_default_image() {
        let geometry =
            Geometry { version: 3, cluster_bits: 16, refcount_order: 4, extended: false, data_file: false };
        assert_eq!(geometry.l2_entries(), 8192);
        assert_eq!(geometry.l2_coverage(), 512 << 20);
        assert_eq!(geometry.refblock_entries(), 32768);
        assert_eq!(geometry.max_refcount(), 65535);
        assert_eq!(geometry.l1_entries_for(1 << 30), 2);
        let bits = |refcount_order| Geometry { refcount_order, ..geometry }.max_refcount();
        assert_eq!((bits(0), bits(1), bits(6)), (1, 3, u64::MAX));
        let extended = Geometry { extended: true, ..geometry };
        assert_eq!((extended.l2_entries(), extended.unit_size()), (4096, 2048));
        assert_eq!(extended.l2_coverage(), 256 << 20);
    }
}
