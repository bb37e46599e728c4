//! Taking clusters of the image file into use, and giving them back.
//!
//! A cluster given up is free again only when (1) nothing durable refers to it, and (2) every read or
//! write that began while something did has ended. Until then it waits here, so that a slow request can
//! never touch a cluster's next owner. The allocator refuses to hand out a cluster that metadata uses.

use std::collections::VecDeque;
use std::sync::Arc;

use super::meta::Meta;
use super::units::{HostCluster, HostRun, MAX_HOST};
use crate::error::{Error, Result};

/// Clusters given up, and how to let go of them.
#[derive(Debug, Clone, Copy)]
struct Freed {
    run: HostRun,
    /// Give the space back to the file system.
    punch: bool,
}

/// Held by a request while it uses host offsets that it looked up.
pub(super) type InUse = Arc<()>;

/// Clusters on their way to being free.
#[derive(Default)]
pub(super) struct Freeing {
    /// Given up in memory; the file may still refer to them.
    pending: Vec<Freed>,
    pending_clusters: u64,
    /// Given up durably, with the mark of the requests that may still use them; oldest first.
    waiting: VecDeque<(InUse, Vec<Freed>)>,
    /// Cloned by every request that begins now.
    mark: InUse,
    /// Space is given back by [`Meta::punch_free`] at the end, not run by run.
    pub(super) space_at_the_end: bool,
}

impl Freeing {
    pub(super) fn in_use(&self) -> InUse {
        Arc::clone(&self.mark)
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Some clusters could not be freed yet because requests were using them.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn pending_clusters(&self) -> u64 {
        self.pending_clusters
    }

    /// Nothing durable refers to the pending clusters any more.
    pub(super) fn pending_is_durable(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mark = std::mem::take(&mut self.mark);
        self.waiting.push_back((mark, std::mem::take(&mut self.pending)));
        self.pending_clusters = 0;
    }
}

impl Meta {
    /// Gives up one reference to each cluster of `run`, once that is safe.
    pub(super) fn free_later(&mut self, run: HostRun, punch: bool) {
        self.freeing.pending_clusters += run.count;
        if let Some(last) = self.freeing.pending.last_mut() {
            let adjacent = last.run.first.0 + last.run.count == run.first.0;
            if adjacent && last.punch == punch {
                last.run.count += run.count;
                return;
            }
        }
        self.freeing.pending.push(Freed { run, punch });
    }

    /// Frees what no request uses any more.
    pub(super) fn release_waiting(&mut self) -> Result<()> {
        while let Some((mut mark, mut freed)) = self.freeing.waiting.pop_front() {
            // Unique: every request that cloned it has ended.
            if Arc::get_mut(&mut mark).is_none() {
                self.freeing.waiting.push_front((mark, freed));
                break;
            }
            while let Some(last) = freed.pop() {
                if let Err(error) = self.release(last) {
                    // This run is leaked, which harms nothing; the others are kept for a later try.
                    self.freeing.waiting.push_front((mark, freed));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, freed: Freed) -> Result<()> {
        // Space goes back first: while its count is above zero nobody can have got the cluster again.
        let mut hole: Option<HostRun> = None;
        for cluster in freed.run.clusters() {
            let last_use = self.refcount(cluster)? == 1;
            match &mut hole {
                Some(run) if last_use && run.first.0 + run.count == cluster.0 => run.count += 1,
                _ if last_use => {
                    self.punch(hole.replace(HostRun::one(cluster)), freed.punch);
                }
                _ => {}
            }
        }
        self.punch(hole, freed.punch);
        for cluster in freed.run.clusters() {
            if self.drop_reference(cluster)? == 0 {
                let run = HostRun::one(cluster);
                self.l2.forget(self.geometry.host_bytes(run));
                self.forget_metadata(run);
                self.compressed_released();
            }
        }
        Ok(())
    }

    fn punch(&self, hole: Option<HostRun>, wanted: bool) {
        if let Some(run) = hole.filter(|_| wanted && !self.freeing.space_at_the_end) {
            // Only a hint: the cluster counts as holding anything at all once it is free.
            let _ = self.file.discard(self.geometry.host_bytes(run));
        }
    }

    /// Gives the space of all free clusters of the file back.
    pub(super) fn punch_free(&mut self) -> Result<()> {
        let end = self.geometry.clusters_for(self.file.size());
        let mut at = 0;
        while at < end {
            let count = self.free_length(at, end - at)?;
            if count > 0 {
                self.punch(Some(HostRun { first: HostCluster(at), count }), true);
            }
            at += count.max(1);
        }
        Ok(())
    }

    /// Takes between one and `max` neighbouring free clusters into use, each with one reference.
    pub(super) fn allocate(&mut self, max: u64) -> Result<HostRun> {
        loop {
            let first = self.find_free(self.refcounts.hint)?;
            self.refcounts.hint = first;
            if first >= self.counted_clusters() {
                self.grow_refcount_table(first)?;
                continue;
            }
            if self.block_for(HostCluster(first))?.is_none() {
                // The block counts itself, so that making it needs no other cluster.
                let cluster = HostCluster(first);
                self.install_block(self.table_index(cluster), cluster)?;
                self.set_refcount(cluster, 1)?;
                continue;
            }
            // Not beyond this block's range: the next block may not exist yet.
            let range = self.geometry.refblock_entries();
            let count = self.free_length(first, max.max(1).min(range - first % range))?;
            return self.take(HostRun { first: HostCluster(first), count });
        }
    }

    /// Takes exactly `count` neighbouring clusters into use, for a table.
    pub(super) fn allocate_table(&mut self, count: u64) -> Result<HostRun> {
        let mut first = self.find_free(self.refcounts.hint)?;
        loop {
            let end = first.checked_add(count).ok_or_else(|| self.no_room())?;
            if end > self.counted_clusters() {
                self.grow_refcount_table(end)?;
                first = self.find_free(first)?;
                continue;
            }
            let free = self.free_length(first, count)?;
            if free < count {
                first = self.find_free(first + free)?;
                continue;
            }
            let run = HostRun { first: HostCluster(first), count };
            let last = HostCluster(end.saturating_sub(1));
            let blocks = self.table_index(run.first)..=self.table_index(last);
            let missing: Vec<usize> =
                blocks.filter(|&i| self.refcounts.table.get(i).is_none_or(|&entry| entry == 0)).collect();
            if missing.is_empty() {
                return self.take(run);
            }
            for index in missing {
                let block = self.allocate(1)?;
                if self.refcounts.table.get(index).is_some_and(|&entry| entry == 0) {
                    if let Err(error) = self.install_block(index, block.first) {
                        self.give_back(block);
                        return Err(error);
                    }
                } else {
                    self.give_back(block);
                }
            }
            first = self.find_free(self.refcounts.hint)?;
        }
    }

    fn take(&mut self, run: HostRun) -> Result<HostRun> {
        if self.geometry.host_bytes(run).end > MAX_HOST {
            return Err(self.no_room());
        }
        self.check_overlap(run)?;
        for (done, cluster) in run.clusters().enumerate() {
            if let Err(error) = self.set_refcount(cluster, 1) {
                self.give_back(HostRun { first: run.first, count: done as u64 });
                return Err(error);
            }
        }
        if self.refcounts.hint == run.first.0 {
            self.refcounts.hint += run.count;
        }
        Ok(run)
    }

    /// Returns clusters that nothing ever referred to, at once. An error only leaks them.
    pub(super) fn give_back(&mut self, run: HostRun) {
        for cluster in run.clusters() {
            let _ = self.drop_reference(cluster);
        }
    }

    fn no_room(&self) -> Error {
        Error::unsupported(
            self.file.name(),
            "the image file has reached the largest offset that qcow2 can address",
        )
    }
}
