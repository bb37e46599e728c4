//! Which clusters hold metadata, and refusing to write anything else there.
//!
//! A damaged table can say that a cluster of metadata is data, or two tables at once. Whoever writes asks here
//! first; when the answer is no, the image is marked as corrupt and nothing is written to it any more.

use std::collections::HashMap;

use super::commit::L1_SECTOR;
use super::header::{field, incompatible};
use super::meta::Meta;
use super::refcount::{BLOCK_OFFSET, TABLE_SECTOR};
use super::storage::read_table;
use super::table::L1Entry;
use super::units::{HostCluster, HostRun};
use crate::error::{Error, Result};

/// A directory that claims to be longer is not looked at as a whole.
const MAX_DIRECTORY: u64 = 64 << 20;

/// What a cluster of metadata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    L1,
    L2,
    RefcountTable,
    RefcountBlock,
    SnapshotTable,
    SnapshotL1,
    BitmapDirectory,
    SnapshotL2,
}

impl Kind {
    const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// As QEMU calls it.
    fn name(self) -> &'static str {
        match self {
            Kind::Header => "qcow2_header",
            Kind::L1 => "active L1 table",
            Kind::L2 => "active L2 table",
            Kind::RefcountTable => "refcount table",
            Kind::RefcountBlock => "refcount block",
            Kind::SnapshotTable => "snapshot table",
            Kind::SnapshotL1 => "inactive L1 table",
            Kind::BitmapDirectory => "bitmap directory",
            Kind::SnapshotL2 => "inactive L2 table",
        }
    }
}

/// What data must not be written over, where a damaged table says that it should be. New clusters are always
/// compared with all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverlapChecks {
    kinds: u16,
}

impl Default for OverlapChecks {
    /// All that needs no reading: `cached`.
    fn default() -> Self {
        OverlapChecks {
            kinds: CONSTANT | Kind::L2.bit() | Kind::RefcountBlock.bit() | Kind::SnapshotL1.bit(),
        }
    }
}

/// What is always in memory, and rarely moves.
const CONSTANT: u16 = Kind::Header.bit()
    | Kind::L1.bit()
    | Kind::RefcountTable.bit()
    | Kind::SnapshotTable.bit()
    | Kind::BitmapDirectory.bit();

impl OverlapChecks {
    /// The single checks by the names that options have for them.
    const SINGLE: [(&str, Kind); 9] = [
        ("main-header", Kind::Header),
        ("active-l1", Kind::L1),
        ("active-l2", Kind::L2),
        ("refcount-table", Kind::RefcountTable),
        ("refcount-block", Kind::RefcountBlock),
        ("snapshot-table", Kind::SnapshotTable),
        ("inactive-l1", Kind::SnapshotL1),
        ("inactive-l2", Kind::SnapshotL2),
        ("bitmap-directory", Kind::BitmapDirectory),
    ];

    /// The names of the single checks, as options have them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::SINGLE.into_iter().map(|(name, _)| name)
    }

    /// The checks of the template called `name`: `none`, `constant`, `cached` or `all`.
    pub fn template(name: &str) -> Option<Self> {
        let cached = OverlapChecks::default();
        Some(match name {
            "none" => OverlapChecks { kinds: 0 },
            "constant" => OverlapChecks { kinds: CONSTANT },
            "cached" => cached,
            "all" => OverlapChecks { kinds: cached.kinds | Kind::SnapshotL2.bit() },
            _ => return None,
        })
    }

    /// Switches the check called `name` on or off, if there is one.
    pub fn set(&mut self, name: &str, on: bool) {
        let Some((_, kind)) = Self::SINGLE.into_iter().find(|(known, _)| *known == name) else { return };
        self.kinds = if on { self.kinds | kind.bit() } else { self.kinds & !kind.bit() };
    }

    fn has(self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }
}

/// What is known to lie in clusters of the file.
#[derive(Default)]
pub(super) struct Places {
    kinds: HashMap<HostCluster, Kind>,
    /// Clusters that hold something else besides.
    clashes: HashMap<HostCluster, Kind>,
}

impl Places {
    fn add(&mut self, cluster: HostCluster, kind: Kind) {
        if let Some(other) = self.kinds.insert(cluster, kind).filter(|&other| other != kind) {
            self.clashes.insert(cluster, other);
        }
    }

    fn remove(&mut self, cluster: HostCluster) {
        self.kinds.remove(&cluster);
        self.clashes.remove(&cluster);
    }

    fn kind(&self, cluster: HostCluster) -> Option<Kind> {
        self.kinds.get(&cluster).copied()
    }

    /// What else lies where something of this kind is to be written.
    fn clash(&self, cluster: HostCluster, kind: Kind) -> Option<Kind> {
        match self.kind(cluster) {
            Some(other) if other != kind => Some(other),
            _ => self.clashes.get(&cluster).copied(),
        }
    }
}

impl Meta {
    /// Stops all writing and sets the header's corrupt bit; returns the error to report.
    pub(super) fn found_corruption(&mut self, cluster: HostCluster, what: &str) -> Error {
        let text = format!("cluster {} {what}", cluster.0);
        self.mark_corrupt(text.clone());
        Error::corrupt_at(self.file.name(), self.geometry.host_start(cluster).0, text)
    }

    /// Marks the image as damaged if `error` says so, for damage that is met while writing; returns the error.
    pub(super) fn signal(&mut self, error: Error) -> Error {
        if let Error::Corrupt { what, .. } = &error {
            let what = what.clone();
            self.mark_corrupt(what);
        }
        error
    }

    fn mark_corrupt(&mut self, what: String) {
        if self.broken.is_some() {
            return;
        }
        if self.geometry.version >= 3 && !self.header.has(incompatible::CORRUPT) {
            self.header.incompatible |= incompatible::CORRUPT;
            let bytes = self.header.incompatible.to_be_bytes();
            // Best effort: the error that is reported is what counts.
            let _ = self.write_header_field(field::INCOMPATIBLE, &bytes);
        }
        self.broken = Some(what);
    }

    /// Refuses a write to clusters that metadata occupies.
    pub(super) fn check_overlap(&mut self, run: HostRun) -> Result<()> {
        self.refuse_overlap(run, |_| true)
    }

    /// Refuses to write data over such metadata as the user wants to be safe.
    pub(super) fn check_data_overlap(&mut self, run: HostRun) -> Result<()> {
        let checks = self.overlap_checks;
        // Unless something else was asked for, data goes over nothing that is known.
        self.refuse_overlap(run, |kind| checks == OverlapChecks::default() || checks.has(kind))
    }

    fn refuse_overlap(&mut self, run: HostRun, matters: impl Fn(Kind) -> bool) -> Result<()> {
        let places = self.places();
        let hit = run.clusters().find_map(|cluster| {
            let kind = places.kind(cluster).filter(|&kind| matters(kind))?;
            Some((cluster, kind))
        });
        match hit {
            None => Ok(()),
            Some((cluster, kind)) => {
                let what = format!(": Preventing invalid write on metadata (overlaps with {})", kind.name());
                Err(self.found_corruption(cluster, &what))
            }
        }
    }

    /// True if any cluster of the run is known to hold metadata. Needs no exclusive access.
    pub(super) fn overlaps_metadata(&self, run: HostRun) -> bool {
        self.places.as_ref().is_none_or(|places| run.clusters().any(|cluster| places.kind(cluster).is_some()))
    }

    /// The L2 tables of snapshots, as far as their L1 tables can be read, if they are to be known.
    fn snapshot_tables(&self) -> Vec<HostCluster> {
        if !self.overlap_checks.has(Kind::SnapshotL2) {
            return Vec::new();
        }
        let tables = self.snapshots.iter().filter_map(|snapshot| {
            read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize).ok()
        });
        let entries = tables.flatten().filter_map(|entry| L1Entry(entry).table());
        entries.map(|table| self.geometry.host_cluster(table)).collect()
    }

    /// Which clusters hold metadata.
    pub(super) fn places(&mut self) -> &mut Places {
        let g = self.geometry;
        let inactive = if self.places.is_none() { self.snapshot_tables() } else { Vec::new() };
        let (header, l1, table, snapshots) = (&self.header, &self.l1, &self.refcounts.table, &self.snapshots);
        self.places.get_or_insert_with(|| {
            let mut places = Places::default();
            let mut add = |offset: u64, bytes: u64, kind: Kind| {
                let first = offset >> g.cluster_bits;
                for cluster in first..first + g.clusters_for(bytes) {
                    places.add(HostCluster(cluster), kind);
                }
            };
            for &entry in l1 {
                if let Some(table) = L1Entry(entry).table() {
                    add(table.0, 1, Kind::L2);
                }
            }
            for &entry in table.iter().filter(|&&entry| entry != 0) {
                add(entry & BLOCK_OFFSET, 1, Kind::RefcountBlock);
            }
            for snapshot in snapshots {
                add(snapshot.l1_offset, u64::from(snapshot.l1_size) * 8, Kind::SnapshotL1);
            }
            add(header.snapshots_offset, super::snapshot::encoded_length(snapshots), Kind::SnapshotTable);
            if let Some((_, length, offset)) = header.live_bitmap_directory() {
                add(offset, length.min(MAX_DIRECTORY), Kind::BitmapDirectory);
            }
            add(header.l1_offset, l1.len() as u64 * 8, Kind::L1);
            add(header.refcount_table_offset, table.len() as u64 * 8, Kind::RefcountTable);
            add(0, 1, Kind::Header);
            for cluster in inactive {
                places.kinds.entry(cluster).or_insert(Kind::SnapshotL2);
            }
            places
        })
    }

    /// Refuses to write tables where something else lies too: what is in memory of them is written next.
    pub(super) fn check_metadata_writes(&mut self) -> Result<()> {
        if !self.l2.is_dirty()
            && !self.refcounts.blocks.is_dirty()
            && self.l1_dirty.is_empty()
            && self.refcounts.table_dirty.is_empty()
        {
            return Ok(());
        }
        let g = self.geometry;
        self.places();
        let Some(places) = &self.places else { return Ok(()) };
        let cluster = |offset: u64| HostCluster(offset >> g.cluster_bits);
        let l1 = self.l1_dirty.iter().map(|&sector| self.header.l1_offset + (sector * L1_SECTOR * 8) as u64);
        let table = self.refcounts.table_dirty.iter();
        let table =
            table.map(|&sector| self.header.refcount_table_offset + (sector * TABLE_SECTOR * 8) as u64);
        let hit = (self.l2.dirty_offsets().map(|offset| (offset, Kind::L2)))
            .chain(self.refcounts.blocks.dirty_offsets().map(|offset| (offset, Kind::RefcountBlock)))
            .chain(l1.map(|offset| (offset, Kind::L1)))
            .chain(table.map(|offset| (offset, Kind::RefcountTable)))
            .find_map(|(offset, kind)| Some((cluster(offset), places.clash(cluster(offset), kind)?)));
        match hit {
            None => Ok(()),
            Some((cluster, other)) => {
                let what = format!(": Preventing invalid write on metadata (overlaps with {})", other.name());
                Err(self.found_corruption(cluster, &what))
            }
        }
    }

    /// Remembers what newly written clusters hold.
    pub(super) fn note_metadata(&mut self, run: HostRun, kind: Kind) {
        if let Some(places) = &mut self.places {
            run.clusters().for_each(|cluster| places.add(cluster, kind));
        }
    }

    /// Forgets clusters that hold no metadata any more.
    pub(super) fn forget_metadata(&mut self, run: HostRun) {
        if let Some(places) = &mut self.places {
            run.clusters().for_each(|cluster| places.remove(cluster));
        }
    }
}
