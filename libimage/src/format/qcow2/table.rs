//! Entries of the L1 and L2 tables: what eight bytes (or sixteen, with subclusters) say about a cluster.
//!
//! Decoding never trusts an entry: an offset that is not a cluster's start, or a flag that the version
//! does not know, is an error and not a place to read from. (qcow2 specification, "Cluster mapping".)

use super::subcluster::Subclusters;
use super::units::{Geometry, HostOffset, HostRun};

/// The reference count of what the entry points at is exactly one.
pub(super) const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;

/// An entry of an L1 table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct L1Entry(pub(super) u64);

impl L1Entry {
    /// An entry for a table that only this L1 refers to.
    pub(super) fn owned(table: HostOffset) -> Self {
        L1Entry(table.0 | COPIED)
    }

    /// Where the L2 table lies, if there is one.
    pub(super) fn table(self) -> Option<HostOffset> {
        Some(HostOffset(self.0 & OFFSET)).filter(|offset| offset.0 != 0)
    }

    pub(super) fn is_copied(self) -> bool {
        self.0 & COPIED != 0
    }

    pub(super) fn with_copied(self, copied: bool) -> Self {
        L1Entry(if copied { self.0 | COPIED } else { self.0 & !COPIED })
    }

    pub(super) fn has_reserved_bits(self) -> bool {
        self.0 & L1_RESERVED != 0
    }
}

/// An entry of an L2 table, not yet looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct L2Entry {
    pub(super) word: u64,
    /// What is said of each subcluster; always zero in images without extended entries.
    pub(super) map: Subclusters,
}

/// What an L2 entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    /// The backing file decides; without one, or beyond its end, zeroes.
    Unallocated,
    /// Zeroes. A host cluster may be kept for later writes.
    Zero(Option<HostOffset>),
    /// Bytes in the image file.
    Data(HostOffset),
    /// Compressed bytes in the image file.
    Compressed(Compressed),
    /// Each subcluster is stored in its own way. Where any holds data there is a host cluster.
    Mixed(Option<HostOffset>, Subclusters),
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadEntry {
    /// The offset is not the start of a cluster.
    Unaligned,
    /// The zero flag in a version 2 image.
    ZeroFlag,
    /// A compressed entry whose offset has bits above the 56th.
    Offset,
    /// Subclusters that hold data without a place for it, or data and zeroes at once.
    Subclusters,
    /// A compressed cluster in an image whose data lies elsewhere.
    CompressedOutside,
    /// Data that does not lie in the data file where the guest sees it.
    Displaced,
}

impl BadEntry {
    pub(super) fn text(self, entry: L2Entry) -> String {
        let word = entry.word;
        match self {
            BadEntry::Unaligned => format!("L2 entry {word:#x} points into the middle of a cluster"),
            BadEntry::ZeroFlag => {
                format!("L2 entry {word:#x} has the zero flag, which version 2 does not know")
            }
            BadEntry::Offset => format!("L2 entry {word:#x} points beyond the largest offset"),
            BadEntry::Subclusters => {
                format!("L2 entry {word:#x} contradicts its subcluster bitmap {:#x}", entry.map.0)
            }
            BadEntry::CompressedOutside => {
                format!(
                    "L2 entry {word:#x} is compressed, which an image with an external data file cannot hold"
                )
            }
            BadEntry::Displaced => {
                format!("L2 entry {word:#x} does not point to where its cluster lies in the data file")
            }
        }
    }
}

impl L2Entry {
    pub(super) const UNALLOCATED: L2Entry = L2Entry { word: 0, map: Subclusters::NONE };

    /// Zeroes, with no cluster kept for them.
    pub(super) fn zero(geometry: Geometry) -> Self {
        L2Entry::UNALLOCATED.with_zero_flag(geometry)
    }

    /// Data in a cluster that nothing else refers to.
    pub(super) fn owned(host: HostOffset, geometry: Geometry) -> Self {
        let map = if geometry.extended { Subclusters::DATA } else { Subclusters::NONE };
        L2Entry { word: host.0 | COPIED, map }
    }

    /// A cluster that nothing else refers to, of which no subcluster is in use. Without subclusters it is
    /// data at once.
    pub(super) fn reserved(host: HostOffset) -> Self {
        L2Entry { word: host.0 | COPIED, map: Subclusters::NONE }
    }

    /// Reads as zeroes, keeping the host cluster and its COPIED flag.
    pub(super) fn with_zero_flag(self, geometry: Geometry) -> Self {
        match geometry.extended {
            true => L2Entry { map: Subclusters::ZERO, ..self },
            false => L2Entry { word: self.word | ZERO, ..self },
        }
    }

    pub(super) fn is_copied(self) -> bool {
        self.word & COPIED != 0
    }

    pub(super) fn with_copied(self, copied: bool) -> Self {
        L2Entry { word: if copied { self.word | COPIED } else { self.word & !COPIED }, ..self }
    }

    pub(super) fn is_compressed(self) -> bool {
        self.word & COMPRESSED != 0
    }

    pub(super) fn has_reserved_bits(self) -> bool {
        !self.is_compressed() && self.word & L2_RESERVED != 0
    }

    /// The offset field of an entry that is not compressed, aligned or not.
    pub(super) fn raw_offset(self) -> u64 {
        self.word & OFFSET
    }

    /// The zero flag of a standard entry; in an extended one the bit is reserved.
    pub(super) fn has_zero_flag(self, geometry: Geometry) -> bool {
        !geometry.extended && !self.is_compressed() && self.word & ZERO != 0
    }

    /// A cluster of some file belongs to this (uncompressed) entry. In a data file the first cluster has
    /// offset 0 too, and is told from none by its COPIED flag.
    pub(super) fn has_cluster(self, geometry: Geometry) -> bool {
        self.raw_offset() != 0 || (geometry.data_file && self.is_copied() && !self.has_zero_flag(geometry))
    }

    /// What the entry means.
    pub(super) fn decode(self, geometry: Geometry) -> Result<Mapping, BadEntry> {
        if self.is_compressed() {
            if geometry.data_file {
                return Err(BadEntry::CompressedOutside);
            }
            return Compressed::decode(self, geometry).map(Mapping::Compressed);
        }
        let offset = self.raw_offset();
        if !geometry.is_aligned(offset) {
            return Err(BadEntry::Unaligned);
        }
        let host = self.has_cluster(geometry).then_some(HostOffset(offset));
        if geometry.extended {
            return self.map.decode(host);
        }
        let zero = self.word & ZERO != 0;
        if zero && geometry.version < 3 {
            return Err(BadEntry::ZeroFlag);
        }
        Ok(match (host, zero) {
            (host, true) => Mapping::Zero(host),
            (None, false) => Mapping::Unallocated,
            (Some(host), false) => Mapping::Data(host),
        })
    }

    /// The host clusters that this entry holds a reference to. Those of a data file are not counted.
    pub(super) fn references(self, geometry: Geometry) -> Result<Option<HostRun>, BadEntry> {
        Ok(match self.decode(geometry)? {
            _ if geometry.data_file => None,
            Mapping::Unallocated | Mapping::Zero(None) | Mapping::Mixed(None, _) => None,
            Mapping::Data(host) | Mapping::Zero(Some(host)) | Mapping::Mixed(Some(host), _) => {
                Some(HostRun::one(geometry.host_cluster(host)))
            }
            Mapping::Compressed(compressed) => Some(compressed.touched(geometry)),
        })
    }

    /// Reads entry `index` of a table, or of a part of one; `None` past its end.
    pub(super) fn read(table: &[u8], index: usize, geometry: Geometry) -> Option<Self> {
        if !geometry.extended {
            return entry_at(table, index).map(|word| L2Entry { word, map: Subclusters::NONE });
        }
        let word = entry_at(table, index * 2)?;
        Some(L2Entry { word, map: Subclusters(entry_at(table, index * 2 + 1)?) })
    }

    /// Writes entry `index` of a table; false past its end.
    pub(super) fn write(self, table: &mut [u8], index: usize, geometry: Geometry) -> bool {
        if !geometry.extended {
            return set_entry_at(table, index, self.word);
        }
        set_entry_at(table, index * 2, self.word) && set_entry_at(table, index * 2 + 1, self.map.0)
    }
}

/// Where a compressed cluster lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Compressed {
    /// First byte; not aligned to anything.
    pub(super) offset: HostOffset,
    /// Bytes up to the end of its last 512-byte sector; the compressed stream may end before.
    pub(super) length: u64,
}

impl Compressed {
    fn offset_bits(geometry: Geometry) -> u32 {
        62 - (geometry.cluster_bits - 8)
    }

    fn decode(entry: L2Entry, geometry: Geometry) -> Result<Self, BadEntry> {
        let bits = Self::offset_bits(geometry);
        let offset = entry.word & ((1 << bits) - 1);
        if offset >= super::units::MAX_HOST {
            return Err(BadEntry::Offset);
        }
        let additional = (entry.word & (COMPRESSED - 1)) >> bits;
        Ok(Compressed { offset: HostOffset(offset), length: (additional + 1) * 512 - (offset & 511) })
    }

    /// The entry for `length` compressed bytes at `offset`, or `None` if it cannot be expressed.
    pub(super) fn entry(offset: HostOffset, length: u64, geometry: Geometry) -> Option<L2Entry> {
        let bits = Self::offset_bits(geometry);
        let last = offset.0.checked_add(length.checked_sub(1)?)?;
        let additional = (last / 512) - (offset.0 / 512);
        (last < (1 << bits).min(super::units::MAX_HOST) && additional < 1 << (62 - bits))
            .then_some(L2Entry { word: COMPRESSED | additional << bits | offset.0, map: Subclusters::NONE })
    }

    /// The host clusters that its sectors lie in. Each holds one reference for it.
    pub(super) fn touched(self, geometry: Geometry) -> HostRun {
        let first = geometry.host_cluster(HostOffset(self.offset.0 & !511));
        let last = geometry.host_cluster(HostOffset(self.offset.0 + self.length - 1));
        HostRun { first, count: last.0 - first.0 + 1 }
    }
}

/// The host clusters that a compressed run of bytes would touch, counted in whole sectors.
pub(super) fn touched_by(offset: HostOffset, length: u64, geometry: Geometry) -> HostRun {
    let end = (offset.0 + length).next_multiple_of(512);
    Compressed { offset, length: end - offset.0 }.touched(geometry)
}

/// Reads big-endian entry `index` of a table; `None` past its end.
pub(super) fn entry_at(table: &[u8], index: usize) -> Option<u64> {
    let bytes = table.get(index.checked_mul(8)?..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

/// Writes big-endian entry `index`; false past the table's end.
pub(super) fn set_entry_at(table: &mut [u8], index: usize, value: u64) -> bool {
    match table.get_mut(index.saturating_mul(8)..).and_then(|t| t.first_chunk_mut::<8>()) {
        Some(bytes) => {
            *bytes = value.to_be_bytes();
            true
        }
        None => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn geometry(cluster_bits: u32) -> Geometry {
        Geometry { version: 3, cluster_bits, refcount_order: 4, extended: false, data_file: false }
    }

    fn entry(word: u64) -> L2Entry {
        L2Entry { word, map: Subclusters::NONE }
    }

    #[test]
    fn compressed_descriptors_for_every_cluster_size() {
        for bits in 9..=21 {
            let g = geometry(bits);
            for (offset, length) in [(0x50000u64, 1u64), (0x501ff, 2), (0x50123, g.cluster_size() - 1)] {
                let entry = Compressed::entry(HostOffset(offset), length, g).unwrap();
                let Mapping::Compressed(found) = entry.decode(g).unwrap() else { panic!("not compressed") };
                assert_eq!(found.offset.0, offset);
                assert!(found.length >= length && found.length < length + 512);
                assert_eq!((found.offset.0 + found.length) % 512, 0);
                assert_eq!(found.touched(g), touched_by(HostOffset(offset), length, g));
            }
        }
        // As the specification says for 64 KiB clusters: 54 bits of offset.
        let entry = Compressed::entry(HostOffset(0x1_0000), 1024, geometry(16)).unwrap();
        assert_eq!(entry.word, 1 << 62 | 1 << 54 | 0x1_0000);
    }

    #[test]
    fn bad_entries_are_refused() {
        let g = geometry(16);
        assert_eq!(entry(0x50200).decode(g), Err(BadEntry::Unaligned));
        assert_eq!(entry(0x50001).decode(Geometry { version: 2, ..g }), Err(BadEntry::ZeroFlag));
        assert_eq!(entry(0x50001).decode(g), Ok(Mapping::Zero(Some(HostOffset(0x50000)))));
        assert_eq!(entry(u64::MAX).decode(geometry(9)), Err(BadEntry::Offset));
    }
}
