//! All metadata of an open image, behind one lock, and the order in which it reaches the file.
//!
//! The invariant of [`Meta::commit`], which is what makes a power cut at any moment harmless:
//!
//! 1. data is written before the L2 entry that publishes it exists, even in memory;
//! 2. refcount blocks, then the refcount table, are durable before any L2 or L1 entry is written;
//! 3. L2 tables are durable before the L1 entries that point at them are written;
//! 4. a reference count falls only after the entry that held the reference is durably gone.
//!
//! So the file may at worst count clusters that nobody uses: a leak, which a check gives back.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::alloc::Freeing;
use super::cache::PageCache;
use super::compress::Tail;
use super::header::{Header, autoclear, field, incompatible};
use super::refcount::{BLOCK_OFFSET, Refcounts, TABLE_SECTOR};
use super::snapshot::Snapshot;
use super::storage::{read_table, table_bytes, write_all};
use super::table::L1Entry;
use super::units::{Geometry, GuestCluster, HostCluster, HostOffset, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};

/// L1 entries that are written together.
const L1_SECTOR: usize = 64;
/// Clusters that may wait for a commit before a writer makes one happen.
const MAX_PENDING_BYTES: u64 = 64 << 20;

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
}

impl Kind {
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
        }
    }
}

/// The metadata of an open image.
pub(super) struct Meta {
    pub(super) file: Arc<dyn Block>,
    /// Where guest data lies, if not in the same file.
    pub(super) external: Option<Arc<dyn Block>>,
    pub(super) geometry: Geometry,
    pub(super) header: Header,
    pub(super) l1: Vec<u64>,
    l1_dirty: BTreeSet<usize>,
    pub(super) l2: PageCache,
    pub(super) refcounts: Refcounts,
    pub(super) freeing: Freeing,
    /// Guest clusters that a request is allocating right now; nobody else may change their mapping.
    pub(super) claims: Vec<Range<u64>>,
    pub(super) snapshots: Vec<Snapshot>,
    /// What is wrong with the snapshot table; only an image opened for checking gets this far.
    pub(super) snapshot_damage: Option<String>,
    /// Where the next compressed cluster goes.
    pub(super) tail: Option<Tail>,
    /// Changes whenever clusters become free: what was decompressed before may be something else now.
    pub(super) generation: u64,
    /// Which clusters hold metadata, known once something was written.
    metadata: Option<HashMap<HostCluster, Kind>>,
    /// Why nothing may be written any more.
    broken: Option<String>,
    /// Feature bits have been updated for writing.
    marked_for_writing: bool,
}

impl Meta {
    /// Loads the tables that `header` names. Bytes for caches are split between L2 and refcounts.
    pub(super) fn load(file: Arc<dyn Block>, header: Header, cache_bytes: u64) -> Result<Self> {
        let geometry = header.geometry;
        let l1 = read_table(&*file, header.l1_offset, header.l1_size as usize)?;
        let entries = (u64::from(header.refcount_table_clusters) << geometry.cluster_bits) / 8;
        let table = read_table(&*file, header.refcount_table_offset, entries as usize)?;
        let page = geometry.page_size();
        Ok(Meta {
            geometry,
            l1,
            l1_dirty: BTreeSet::new(),
            l2: PageCache::new(page, cache_bytes - cache_bytes / 4),
            refcounts: Refcounts {
                table,
                table_dirty: BTreeSet::new(),
                blocks: PageCache::new(page, cache_bytes / 4),
                hint: 0,
            },
            freeing: Freeing::default(),
            claims: Vec::new(),
            snapshots: Vec::new(),
            snapshot_damage: None,
            tail: None,
            generation: 0,
            metadata: None,
            broken: None,
            marked_for_writing: false,
            header,
            file,
            external: None,
        })
    }

    /// True when a commit would write something.
    pub(super) fn is_dirty(&self) -> bool {
        self.l2.is_dirty()
            || self.refcounts.blocks.is_dirty()
            || !self.refcounts.table_dirty.is_empty()
            || !self.l1_dirty.is_empty()
            || self.freeing.has_pending()
    }

    /// Makes all metadata durable, together with all data that it points at.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.check_usable()?;
        if let Some(data) = &self.external {
            data.flush()?;
        }
        let file = Arc::clone(&self.file);
        self.refcounts.blocks.write_back(&*file)?;
        if !self.refcounts.table_dirty.is_empty() {
            file.flush()?;
            let offset = self.header.refcount_table_offset;
            write_sectors(&*file, offset, &self.refcounts.table, &self.refcounts.table_dirty, TABLE_SECTOR)?;
        }
        file.flush()?;
        self.refcounts.blocks.set_clean();
        self.refcounts.table_dirty.clear();

        if self.l2.is_dirty() || !self.l1_dirty.is_empty() {
            self.l2.write_back(&*file)?;
            if !self.l1_dirty.is_empty() {
                file.flush()?;
                write_sectors(&*file, self.header.l1_offset, &self.l1, &self.l1_dirty, L1_SECTOR)?;
            }
            file.flush()?;
            self.l2.set_clean();
            self.l1_dirty.clear();
        }
        self.freeing.pending_is_durable();
        self.release_waiting()?;
        // Falling counts may reach the file at any time from now on: a loss only leaks.
        self.refcounts.blocks.write_back(&*file)?;
        self.refcounts.blocks.set_clean();
        Ok(())
    }

    /// Keeps the caches and the queue of freed clusters within their limits. Call between operations.
    pub(super) fn make_room(&mut self) -> Result<()> {
        self.release_waiting()?;
        let pending = self.freeing.pending_clusters().saturating_mul(self.geometry.cluster_size());
        let l2 = self.l2.is_full() && self.l2.is_mostly_dirty();
        let refcounts = self.refcounts.blocks.is_full() && self.refcounts.blocks.is_mostly_dirty();
        if pending > MAX_PENDING_BYTES || l2 || refcounts {
            self.commit()?;
        }
        self.make_read_room();
        Ok(())
    }

    /// Drops clean pages beyond the limit.
    pub(super) fn make_read_room(&mut self) {
        if self.l2.is_full() {
            self.l2.shrink();
        }
        if self.refcounts.blocks.is_full() {
            self.refcounts.blocks.shrink();
        }
    }

    /// Changes an L1 entry in memory.
    pub(super) fn set_l1(&mut self, index: usize, entry: L1Entry) {
        if let Some(slot) = self.l1.get_mut(index) {
            *slot = entry.0;
            self.l1_dirty.insert(index / L1_SECTOR);
        }
    }

    /// Replaces the L1 table in memory by one that already lies in the file.
    pub(super) fn replace_l1(&mut self, l1: Vec<u64>) {
        self.l1 = l1;
        self.l1_dirty.clear();
    }

    /// The L2 table that `entry` points at.
    pub(super) fn l2_table(&self, entry: L1Entry) -> Result<Option<HostOffset>> {
        match entry.table() {
            Some(table) if !self.geometry.is_aligned(table.0) => {
                let what = format!("L2 table offset {:#x} is not the start of a cluster", table.0);
                Err(Error::corrupt(self.file.name(), what))
            }
            table => Ok(table),
        }
    }

    /// The L2 table for `cluster`, private to the active disk and ready to be changed.
    ///
    /// A missing table is made; one shared with a snapshot is copied first, and the reference to the
    /// old one is given up last.
    pub(super) fn l2_for_write(&mut self, cluster: GuestCluster) -> Result<HostOffset> {
        let index = self.geometry.l1_index(cluster);
        let Some(&entry) = self.l1.get(index) else {
            return Err(Error::corrupt(self.file.name(), "the L1 table is too short for the disk"));
        };
        let entry = L1Entry(entry);
        let old = self.l2_table(entry)?;
        if let Some(table) = old.filter(|table| table.0 >= self.file.size()) {
            let table = self.geometry.host_cluster(table);
            return Err(
                self.found_corruption(table, "should be an L2 table but lies beyond the end of the file")
            );
        }
        if let Some(table) = old.filter(|_| entry.is_copied()) {
            return Ok(table);
        }
        let run = self.allocate(1)?;
        let table = self.geometry.host_start(run.first);
        let written = self.write_l2_copy(old, table);
        if let Err(error) = written {
            self.give_back(run);
            return Err(error);
        }
        self.note_metadata(run, Kind::L2);
        self.set_l1(index, L1Entry::owned(table));
        if let Some(old) = old {
            self.free_later(HostRun::one(self.geometry.host_cluster(old)), false);
        }
        Ok(table)
    }

    fn write_l2_copy(&mut self, from: Option<HostOffset>, to: HostOffset) -> Result<()> {
        let g = self.geometry;
        let mut bytes = vec![0; g.cluster_size() as usize];
        if let Some(from) = from {
            for (page, part) in (0u64..).zip(bytes.chunks_mut(g.page_size() as usize)) {
                let offset = from.0 + page * g.page_size();
                part.copy_from_slice(self.l2.load(&*self.file, offset)?);
            }
            // What a shared table points at is shared: none of its entries is the only reference.
            // (Nothing of a data file is ever shared, and there the flag has another meaning.)
            let entries = if g.data_file { &mut [][..] } else { &mut bytes[..] };
            for entry in entries.chunks_exact_mut(g.l2_entry_size() as usize) {
                if let Some(first) = entry.first_mut() {
                    *first &= 0x7f;
                }
            }
        }
        write_all(&*self.file, &bytes, to.0)?;
        self.l2.forget(to.0..to.0 + g.cluster_size());
        Ok(())
    }

    /// Writes bytes of the header in place and makes them durable. All of them lie in one sector.
    ///
    /// When this fails nobody can tell which version the file holds, so nothing is written after.
    pub(super) fn write_header_field(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_at(bytes, offset).and_then(|()| self.file.flush());
        written.inspect_err(|error| self.broken = Some(format!("updating the header failed: {error}")))
    }

    /// Rewrites the whole header cluster, durably.
    pub(super) fn write_header(&mut self) -> Result<()> {
        let bytes = self.header.encode(self.file.name())?;
        self.write_header_field(0, &bytes)
    }

    /// Updates the feature bits before the first change: readers of the file must be able to tell that
    /// somebody who does not know some feature has written to it.
    pub(super) fn mark_for_writing(&mut self) -> Result<()> {
        self.check_usable()?;
        if self.marked_for_writing {
            return Ok(());
        }
        self.check_places()?;
        // Bitmaps do not learn of our writes: without their bit they count as inconsistent.
        let kept = self.header.autoclear & autoclear::RAW_DATA_FILE;
        if self.header.autoclear != kept {
            self.header.autoclear = kept;
            self.write_header_field(field::AUTOCLEAR, &kept.to_be_bytes())?;
        }
        self.metadata_map();
        self.marked_for_writing = true;
        Ok(())
    }

    /// Refuses to write tables to places beyond the end of the file, where only damage can point.
    pub(super) fn check_places(&self) -> Result<()> {
        let size = self.file.size();
        let l1 = !self.l1.is_empty() && self.header.l1_offset >= size;
        let table = !self.refcounts.table.is_empty() && self.header.refcount_table_offset >= size;
        match l1 || table {
            true => {
                let what =
                    "the header says that a table lies beyond the end of the file, which cannot be repaired";
                Err(Error::corrupt(self.file.name(), what))
            }
            false => Ok(()),
        }
    }

    pub(super) fn needs_marking(&self) -> bool {
        !self.marked_for_writing
    }

    /// Refuses to go on after damage was found or the header is in doubt.
    pub(super) fn check_usable(&self) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(why) => {
                let what = format!("no more changes are possible ({why}); run a check before using it again");
                Err(Error::unsupported(self.file.name(), what))
            }
        }
    }

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
        let map = self.metadata_map();
        let hit = run.clusters().find_map(|cluster| map.get(&cluster).map(|kind| (cluster, *kind)));
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
        self.metadata.as_ref().is_none_or(|map| run.clusters().any(|cluster| map.contains_key(&cluster)))
    }

    fn metadata_map(&mut self) -> &mut HashMap<HostCluster, Kind> {
        let g = self.geometry;
        let (header, l1, table, snapshots) = (&self.header, &self.l1, &self.refcounts.table, &self.snapshots);
        self.metadata.get_or_insert_with(|| {
            let mut map = HashMap::new();
            let mut add = |offset: u64, bytes: u64, kind: Kind| {
                let first = offset >> g.cluster_bits;
                for cluster in first..first + g.clusters_for(bytes) {
                    map.insert(HostCluster(cluster), kind);
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
            add(header.l1_offset, l1.len() as u64 * 8, Kind::L1);
            add(header.refcount_table_offset, table.len() as u64 * 8, Kind::RefcountTable);
            add(0, 1, Kind::Header);
            map
        })
    }

    /// Remembers what newly written clusters hold.
    pub(super) fn note_metadata(&mut self, run: HostRun, kind: Kind) {
        if let Some(map) = &mut self.metadata {
            map.extend(run.clusters().map(|cluster| (cluster, kind)));
        }
    }

    /// Forgets clusters that hold no metadata any more.
    pub(super) fn forget_metadata(&mut self, run: HostRun) {
        if let Some(map) = &mut self.metadata {
            for cluster in run.clusters() {
                map.remove(&cluster);
            }
        }
    }

    /// The refcount structures on disk have been replaced.
    pub(super) fn forget_refcounts(&mut self) {
        self.refcounts.blocks.clear();
        self.refcounts.hint = 0;
        self.metadata = None;
        self.marked_for_writing = false;
        self.compressed_released();
    }

    /// Feature bits that say that somebody else's bookkeeping exists.
    pub(super) fn has_live_bitmaps(&self) -> bool {
        self.header.autoclear & autoclear::BITMAPS != 0 && self.header.extensions.has_bitmaps()
    }
}

/// Writes the dirty sectors of a table that lies at `offset`.
fn write_sectors(
    file: &dyn Block,
    offset: u64,
    table: &[u64],
    dirty: &BTreeSet<usize>,
    per_sector: usize,
) -> Result<()> {
    for &sector in dirty {
        let start = sector * per_sector;
        let end = (start + per_sector).min(table.len());
        let entries = table.get(start..end).unwrap_or_default();
        write_all(file, &table_bytes(entries), offset + start as u64 * 8)?;
    }
    Ok(())
}
