//! The order in which metadata reaches the file.
//!
//! The invariant of [`Meta::commit`], which is what makes a power cut at any moment harmless:
//!
//! 1. data is written before the L2 entry that publishes it exists, even in memory;
//! 2. refcount blocks, then the refcount table, are durable before any L2 or L1 entry is written;
//! 3. L2 tables are durable before the L1 entries that point at them are written;
//! 4. a reference count falls only after the entry that held the reference is durably gone.
//!
//! So the file may at worst count clusters that nobody uses: a leak, which a check gives back. An image with
//! lazy refcounts gives the second rule up: its dirty bit, durable before, makes whoever opens it next count
//! anew. It goes when the image is closed. Changes of snapshots, between which counts and COPIED flags cannot agree, set
//! the bit for as long as they take.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::header::{compatible, field, incompatible};
use super::meta::Meta;
use super::refcount::TABLE_SECTOR;
use super::storage::{table_bytes, write_all};
use crate::block::Block;
use crate::error::Result;

/// L1 entries that are written together.
pub(super) const L1_SECTOR: usize = 64;
/// Clusters that may wait for a commit before a writer makes one happen.
const MAX_PENDING_BYTES: u64 = 64 << 20;

impl Meta {
    /// True when a commit would write something.
    pub(super) fn is_dirty(&self) -> bool {
        self.l2.is_dirty()
            || !self.l1_dirty.is_empty()
            || self.freeing.has_pending()
            || (self.counts_are_dirty() && !self.lagging)
    }

    fn counts_are_dirty(&self) -> bool {
        self.refcounts.blocks.is_dirty() || !self.refcounts.table_dirty.is_empty()
    }

    /// Makes all metadata durable, together with all data that it points at. Counts may be left behind where
    /// the image allows that, and says so.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.check_usable()?;
        let allowed = self.header.compatible & compatible::LAZY_REFCOUNTS != 0;
        if self.lazy_refcounts.unwrap_or(allowed)
            && self.geometry.version >= 3
            && !self.lagging
            && self.counts_are_dirty()
            && !self.header.has(incompatible::DIRTY)
        {
            self.mark()?;
            self.lagging = true;
        }
        self.write_everything()
    }

    /// Makes everything durable, the counts included, and says so if the image said otherwise.
    pub(super) fn settle(&mut self) -> Result<()> {
        let lagging = std::mem::take(&mut self.lagging);
        self.write_everything().inspect_err(|_| self.lagging = lagging)?;
        if !lagging {
            return Ok(());
        }
        self.file.flush()?;
        self.unmark()
    }

    /// Does what leaves reference counts and COPIED flags at odds for a while. The image is marked as dirty meanwhile,
    /// so that whoever opens it after a power cut puts them right; version 2 has no such mark. Everything is durable
    /// when this returns.
    pub(super) fn while_dirty<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let mark = self.geometry.version >= 3 && !self.header.has(incompatible::DIRTY);
        if mark {
            self.check_usable()?;
            self.mark()?;
        }
        self.commit()?;
        let result = work(self);
        if result.is_err() && self.check_usable().is_ok() {
            // What was half done has been taken back, but for the flags. Where damage keeps them from being put
            // right, they are part of it: whoever opens the image next must not take that as a reason for a repair.
            let _ = self.commit().and_then(|()| self.correct_copied());
        }
        self.commit().and_then(|()| if mark { self.unmark() } else { Ok(()) }).and(result)
    }

    /// Says in the file that counts may be wrong. Whatever is written next has to wait for a flush, which every
    /// commit begins with.
    fn mark(&mut self) -> Result<()> {
        self.header.incompatible |= incompatible::DIRTY;
        let bytes = self.header.incompatible.to_be_bytes();
        let written = self.file.write_at(&bytes, field::INCOMPATIBLE);
        written.inspect_err(|error| self.broken = Some(format!("updating the header failed: {error}")))
    }

    fn unmark(&mut self) -> Result<()> {
        self.header.incompatible &= !incompatible::DIRTY;
        let bytes = self.header.incompatible.to_be_bytes();
        self.write_header_field(field::INCOMPATIBLE, &bytes)
    }

    fn write_everything(&mut self) -> Result<()> {
        self.check_usable()?;
        self.check_metadata_writes()?;
        if let Some(data) = &self.external {
            data.flush()?;
        }
        let file = Arc::clone(&self.file);
        if !self.lagging {
            self.refcounts.blocks.write_back(&*file)?;
            if !self.refcounts.table_dirty.is_empty() {
                file.flush()?;
                let offset = self.header.refcount_table_offset;
                let (table, dirty) = (&self.refcounts.table, &self.refcounts.table_dirty);
                write_sectors(&*file, offset, table, dirty, TABLE_SECTOR)?;
            }
        }
        file.flush()?;
        if !self.lagging {
            self.refcounts.blocks.set_clean();
            self.refcounts.table_dirty.clear();
        }

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
        if !self.lagging || self.refcounts.blocks.is_mostly_dirty() {
            self.refcounts.blocks.write_back(&*file)?;
            self.refcounts.blocks.set_clean();
        }
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
