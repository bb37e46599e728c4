//! All metadata of an open image, behind one lock.
//!
//! What is changed here reaches the file in the order that [`super::commit`] keeps, and only where
//! [`super::overlap`] allows.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::alloc::Freeing;
use super::bitmap::Bitmap;
use super::cache::PageCache;
use super::commit::L1_SECTOR;
use super::compress::Tail;
use super::header::{Header, autoclear, field};
use super::overlap::{Kind, OverlapChecks, Places};
use super::refcount::Refcounts;
use super::snapshot::Snapshot;
use super::storage::{read_table, write_all};
use super::table::L1Entry;
use super::units::{Geometry, GuestCluster, HostOffset, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};

/// The metadata of an open image.
pub(super) struct Meta {
    pub(super) file: Arc<dyn Block>,
    /// Where guest data lies, if not in the same file.
    pub(super) external: Option<Arc<dyn Block>>,
    pub(super) geometry: Geometry,
    pub(super) header: Header,
    pub(super) l1: Vec<u64>,
    pub(super) l1_dirty: BTreeSet<usize>,
    pub(super) l2: PageCache,
    pub(super) refcounts: Refcounts,
    pub(super) freeing: Freeing,
    /// Guest clusters that a request is allocating right now; nobody else may change their mapping.
    pub(super) claims: Vec<Range<u64>>,
    pub(super) snapshots: Vec<Snapshot>,
    /// Persistent bitmaps, once they were read.
    pub(super) bitmaps: Option<Vec<Bitmap>>,
    /// What is wrong with the snapshot table; only an image opened for checking gets this far.
    pub(super) snapshot_damage: Option<String>,
    /// Where the next compressed cluster goes.
    pub(super) tail: Option<Tail>,
    /// Changes whenever clusters become free: what was decompressed before may be something else now.
    pub(super) generation: u64,
    /// Which clusters hold metadata, known once something was written.
    pub(super) places: Option<Places>,
    /// Why nothing may be written any more.
    pub(super) broken: Option<String>,
    /// Feature bits have been updated for writing.
    marked_for_writing: bool,
    /// Reference counts in the file may be out of date: the dirty bit says so there (lazy refcounts).
    pub(super) lagging: bool,
    /// Whether they may, if the image is not to decide.
    pub(super) lazy_refcounts: Option<bool>,
    /// What data must not be written over.
    pub(super) overlap_checks: OverlapChecks,
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
            bitmaps: None,
            snapshot_damage: None,
            tail: None,
            generation: 0,
            places: None,
            broken: None,
            marked_for_writing: false,
            lagging: false,
            lazy_refcounts: None,
            overlap_checks: OverlapChecks::default(),
            header,
            file,
            external: None,
        })
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
        // Bitmaps that cannot be read do not learn of our writes: without their bit they are inconsistent.
        let mut kept = autoclear::RAW_DATA_FILE;
        if self.has_live_bitmaps() && self.bitmaps().is_ok() {
            kept |= autoclear::BITMAPS;
        }
        let kept = self.header.autoclear & kept;
        if self.header.autoclear != kept {
            self.header.autoclear = kept;
            self.write_header_field(field::AUTOCLEAR, &kept.to_be_bytes())?;
        }
        self.places();
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

    /// The refcount structures on disk have been replaced.
    pub(super) fn forget_refcounts(&mut self) {
        self.refcounts.blocks.clear();
        self.refcounts.hint = 0;
        self.places = None;
        self.marked_for_writing = false;
        self.compressed_released();
    }

    /// Feature bits that say that somebody else's bookkeeping exists.
    pub(super) fn has_live_bitmaps(&self) -> bool {
        self.header.autoclear & autoclear::BITMAPS != 0 && self.header.extensions.has_bitmaps()
    }
}
