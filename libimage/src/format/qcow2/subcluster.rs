//! Subclusters: what the second word of an extended L2 entry says about the 32 parts of a cluster.
//!
//! A part is stored (bit 0..31), reads as zeroes (bit 32..63), or is decided by the backing file (neither).
//! Both at once is damage. (qcow2 specification, "Extended L2 Entries".)

use std::ops::Range;

use super::table::{BadEntry, L2Entry, Mapping};
use super::units::{Geometry, GuestOffset, HostOffset, SUBCLUSTERS};

const LOW: u64 = 0xffff_ffff;

/// The bitmap of an extended L2 entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subclusters(pub(super) u64);

/// How one subcluster is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Data,
    Zero,
    /// The backing file decides.
    Below,
}

impl Subclusters {
    /// Nothing is stored.
    pub(super) const NONE: Self = Subclusters(0);
    /// All of it is stored.
    pub(super) const DATA: Self = Subclusters(LOW);
    /// All of it reads as zeroes.
    pub(super) const ZERO: Self = Subclusters(LOW << 32);

    pub(super) fn data(self) -> u32 {
        (self.0 & LOW) as u32
    }

    pub(super) fn zero(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// A subcluster is both stored and zero.
    pub(super) fn is_contradictory(self) -> bool {
        self.data() & self.zero() != 0
    }

    pub(super) fn decode(self, host: Option<HostOffset>) -> Result<Mapping, BadEntry> {
        if self.is_contradictory() || (host.is_none() && self.data() != 0) {
            return Err(BadEntry::Subclusters);
        }
        Ok(match (self, host) {
            (Self::NONE, None) => Mapping::Unallocated,
            (Self::ZERO, host) => Mapping::Zero(host),
            (Self::DATA, Some(host)) => Mapping::Data(host),
            (map, host) => Mapping::Mixed(host, map),
        })
    }

    /// How subcluster `index` is stored, and how many from there on are stored alike.
    pub(super) fn run(self, index: u32) -> (Part, u32) {
        let (data, zero) = (self.data() >> index, self.zero() >> index);
        let left = SUBCLUSTERS as u32 - index.min(31);
        let (part, same) = if data & 1 != 0 {
            (Part::Data, data.trailing_ones())
        } else if zero & 1 != 0 {
            (Part::Zero, zero.trailing_ones())
        } else {
            (Part::Below, (data | zero).trailing_zeros())
        };
        (part, same.min(left))
    }

    fn bits(range: Range<u64>) -> u64 {
        let (start, end) = (range.start.min(SUBCLUSTERS), range.end.min(SUBCLUSTERS));
        ((1u64 << end) - 1) & !((1u64 << start) - 1)
    }

    /// With the subclusters of `range` stored.
    pub(super) fn with_data(self, range: Range<u64>) -> Self {
        let bits = Self::bits(range);
        Subclusters((self.0 | bits) & !(bits << 32))
    }

    /// With the subclusters of `range` zero.
    pub(super) fn with_zero(self, range: Range<u64>) -> Self {
        let bits = Self::bits(range);
        Subclusters((self.0 | bits << 32) & !bits)
    }
}

impl Geometry {
    /// The subcluster of its cluster that a guest byte lies in.
    pub(super) fn subcluster(self, offset: u64) -> u64 {
        self.within(offset) / self.unit_size()
    }
}

/// What of clusters must be written when `request` is, if the clusters from that of `first` to that of
/// `last` change their mapping. `keep` says that the host clusters stay, so that what they hold stays too.
///
/// Whatever is stored and not kept moves along; a subcluster that is written in part is written whole.
pub(super) fn cover(
    g: Geometry,
    request: Range<u64>,
    first: L2Entry,
    last: L2Entry,
    keep: bool,
) -> Range<u64> {
    let unit = g.unit_size();
    let (head, tail) = (g.within(request.start), g.within(request.end - 1));
    let start_cluster = request.start - head;
    let end_cluster = request.end - 1 - tail;
    let (mut from, mut to) = (head / unit, tail / unit + 1);
    let is_data = |entry: L2Entry, index: u64| entry.map.data() >> index & 1 != 0;
    let mut bytes = request.clone();
    if !g.extended || first.is_compressed() {
        bytes.start = start_cluster;
    } else {
        if !keep && first.map.data() != 0 {
            from = from.min(u64::from(first.map.data().trailing_zeros()));
        }
        // What is stored already, in the same place, is not written again.
        if !(keep && is_data(first, from)) {
            bytes.start = start_cluster + from * unit;
        }
    }
    if !g.extended || last.is_compressed() {
        bytes.end = end_cluster + g.cluster_size();
    } else {
        if !keep && last.map.data() != 0 {
            to = to.max(u64::from(u32::BITS - last.map.data().leading_zeros()));
        }
        if !(keep && is_data(last, to - 1)) {
            bytes.end = end_cluster + to * unit;
        }
    }
    bytes
}

impl L2Entry {
    /// The entry after the guest bytes `written` of the cluster that begins at `start` have been stored in the
    /// cluster at `host`, which nothing else refers to.
    pub(super) fn with_written(
        self,
        host: HostOffset,
        written: &Range<u64>,
        start: GuestOffset,
        g: Geometry,
    ) -> L2Entry {
        let mut new = L2Entry::owned(host, g);
        if g.extended && !self.is_compressed() {
            let end = start.0 + g.cluster_size();
            let from = written.start.clamp(start.0, end) - start.0;
            let to = written.end.clamp(start.0, end) - start.0;
            new.map = self.map.with_data(from / g.unit_size()..to.div_ceil(g.unit_size()));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_subclusters() {
        let map = Subclusters::NONE.with_data(3..6).with_zero(6..8).with_zero(31..32);
        assert_eq!((map.data(), map.zero()), (0b11_1000, 1 << 31 | 0b1100_0000));
        assert_eq!(map.run(0), (Part::Below, 3));
        assert_eq!(map.run(4), (Part::Data, 2));
        assert_eq!(map.run(6), (Part::Zero, 2));
        assert_eq!(map.run(8), (Part::Below, 23));
        assert_eq!(map.run(31), (Part::Zero, 1));
        assert_eq!(Subclusters::DATA.run(5), (Part::Data, 27));
        assert_eq!(Subclusters::NONE.run(31), (Part::Below, 1));
        assert_eq!(map.with_data(0..32), Subclusters::DATA);
        assert_eq!(map.with_zero(0..32), Subclusters::ZERO);
        assert!(Subclusters(1 << 32 | 1).is_contradictory());
    }

    #[test]
    fn a_write_takes_along_what_its_cluster_stores() {
        let g =
            Geometry { version: 3, cluster_bits: 14, refcount_order: 4, extended: true, data_file: false };
        let entry = |map| L2Entry { word: 0x10000, map };
        let none = entry(Subclusters::NONE);
        // Alone: the subclusters that it touches.
        assert_eq!(cover(g, 700..1500, none, none, false), 512..1536);
        // Stored before and behind, in a cluster that is given up: all between.
        let some = entry(Subclusters::NONE.with_data(0..1).with_data(7..9));
        assert_eq!(cover(g, 700..1500, some, some, false), 0..9 * 512);
        // In a cluster that stays, what is stored need not be written again.
        assert_eq!(cover(g, 700..3800, some, some, true), 512..3800);
        assert_eq!(cover(g, 100..1500, some, some, true), 100..1536);
        let standard = Geometry { extended: false, ..g };
        assert_eq!(cover(standard, 700..1500, none, none, false), 0..16384);
    }
}
