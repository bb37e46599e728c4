//! Writing: in place where a cluster is ours alone, else allocate, write, publish.
//!
//! The order is in the types. A [`Claim`] keeps everybody else from changing the mapping of the guest
//! clusters it names; a [`PendingClusters`] holds host clusters that nothing refers to yet and gives them
//! back unless they are published; and publishing takes both, after the data was written.

use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

use super::alloc::InUse;
use super::image::Qcow2;
use super::map::{Lookup, Source};
use super::meta::Meta;
use super::read::View;
use super::table::{L2Entry, Mapping, entry_at, set_entry_at};
use super::units::{Geometry, GuestCluster, GuestOffset, HostOffset, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};

/// Requests up to this size are written in one piece together with what surrounds them.
const MAX_BOUNCE: usize = 4 << 20;

/// The right to change the mapping of some guest clusters, until dropped.
pub(super) struct Claim<'a> {
    image: &'a Qcow2,
    range: Range<u64>,
}

impl<'a> Claim<'a> {
    /// Claims clusters unless somebody else has any of them. `meta` is the image's own.
    fn new(image: &'a Qcow2, meta: &mut Meta, first: GuestCluster, count: u64) -> Option<Self> {
        let range = first.0..first.0.saturating_add(count);
        if meta.is_claimed(&range) {
            return None;
        }
        meta.claims.push(range.clone());
        Some(Claim { image, range })
    }

    /// Claims clusters, waiting for others to be done with them.
    pub(super) fn wait(image: &'a Qcow2, first: GuestCluster, count: u64) -> Result<Self> {
        loop {
            let seen = image.claims_released();
            let mut meta = image.meta_write()?;
            if let Some(claim) = Self::new(image, &mut meta, first, count) {
                return Ok(claim);
            }
            drop(meta);
            image.wait_for_release(seen);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Ok(mut meta) = self.image.meta_write()
            && let Some(position) = meta.claims.iter().position(|claimed| *claimed == self.range)
        {
            meta.claims.swap_remove(position);
        }
        self.image.announce_release();
    }
}

/// Host clusters that were taken into use but that no table refers to yet.
struct PendingClusters<'a> {
    image: &'a Qcow2,
    run: HostRun,
}

impl PendingClusters<'_> {
    /// The first `count` clusters have been published and are no longer ours to give back.
    fn published(&mut self, count: u64) {
        self.run.first.0 += count;
        self.run.count -= count;
    }
}

impl Drop for PendingClusters<'_> {
    fn drop(&mut self) {
        if self.run.count > 0
            && let Ok(mut meta) = self.image.meta_write()
        {
            meta.give_back(self.run);
        }
    }
}

/// How the next bytes of a request can be written.
enum Plan<'a> {
    /// Over what is there.
    InPlace { host: HostOffset, length: u64, _in_use: InUse },
    /// Into clusters whose mapping changes afterwards.
    Remap {
        claim: Claim<'a>,
        host: HostOffset,
        clusters: u64,
        pending: Option<PendingClusters<'a>>,
        fresh: bool,
    },
    /// Somebody else is remapping the first cluster.
    Wait,
}

/// How an entry must be treated when its cluster is written.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Writability {
    /// Ours alone, holding data.
    InPlace(HostOffset),
    /// Ours alone, but it reads as zeroes so far.
    Reuse(HostOffset),
    Allocate,
}

fn writability(entry: L2Entry, mapping: Mapping) -> Writability {
    match mapping {
        Mapping::Data(host) if entry.is_copied() => Writability::InPlace(host),
        Mapping::Zero(Some(host)) if entry.is_copied() => Writability::Reuse(host),
        _ => Writability::Allocate,
    }
}

impl Meta {
    pub(super) fn is_claimed(&self, range: &Range<u64>) -> bool {
        self.claims.iter().any(|claimed| claimed.start < range.end && range.start < claimed.end)
    }

    /// Replaces the entry for `cluster` by what `change` makes of it, and gives up what the old one
    /// referred to and the new one does not.
    pub(super) fn publish(
        &mut self,
        cluster: GuestCluster,
        change: impl FnOnce(L2Entry) -> L2Entry,
    ) -> Result<()> {
        let table = self.l2_for_write(cluster)?;
        let place = self.entry_place(table, cluster);
        let page = self.l2.load(&*self.file, place.page)?;
        let old = L2Entry(entry_at(page, place.index).unwrap_or(0));
        let new = change(old);
        if new == old {
            return Ok(());
        }
        let g = self.geometry;
        let wrong = |bad: super::table::BadEntry| Error::corrupt(self.file.name(), bad.text(old));
        let (before, after) = (old.references(g).map_err(wrong)?, new.references(g).map_err(wrong)?);
        // Compressed data never takes over its predecessor's reference, even in the same cluster.
        let taken_over = before == after && !old.is_compressed() && !new.is_compressed();
        let page = self.l2.load_mut(&*self.file, place.page)?;
        set_entry_at(page, place.index, new.0);
        if let Some(run) = before.filter(|_| !taken_over) {
            // Space is given back where the guest said so, not where it is about to be used again.
            self.free_later(run, after.is_none());
        }
        Ok(())
    }

    /// Refuses to write over clusters that a table says are ours but that cannot be.
    fn check_target(&mut self, run: HostRun) -> Result<()> {
        self.check_overlap(run)?;
        if self.geometry.host_bytes(run).end <= self.file.size() {
            return Ok(());
        }
        for cluster in run.clusters() {
            if self.refcount(cluster)? == 0 {
                return Err(self.found_corruption(cluster, "is in use but its reference count is zero"));
            }
        }
        Ok(())
    }

    /// How many clusters from `first` on, `max` at most, continue what the first one needs.
    fn remap_run(&mut self, first: GuestCluster, max: u64) -> Result<(Writability, u64)> {
        let g = self.geometry;
        let entry = self.entry(first)?;
        let kind = writability(entry, self.decode(entry)?);
        let max = max.min(g.l2_entries() - g.l2_index(first));
        let mut count = 1;
        while count < max {
            let cluster = GuestCluster(first.0 + count);
            if self.is_claimed(&(cluster.0..cluster.0 + 1)) {
                break;
            }
            let entry = self.entry(cluster)?;
            let Ok(mapping) = entry.decode(g) else { break };
            let follows = match (kind, writability(entry, mapping)) {
                (Writability::Allocate, Writability::Allocate) => true,
                (Writability::InPlace(a), Writability::InPlace(b))
                | (Writability::Reuse(a), Writability::Reuse(b)) => a.0 + (count << g.cluster_bits) == b.0,
                _ => false,
            };
            if !follows {
                break;
            }
            count += 1;
        }
        Ok((kind, count))
    }
}

impl Qcow2 {
    /// Writes `buf`. The caller has checked the range, and holds the gate.
    pub(super) fn write_range(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let seen = self.claims_released();
            let written = match self.plan(at, rest.len() as u64)? {
                Plan::Wait => {
                    self.wait_for_release(seen);
                    continue;
                }
                Plan::InPlace { host, length, _in_use } => {
                    let part = rest.get(..length as usize).unwrap_or(rest);
                    self.write_data(part, host, at)?;
                    part.len()
                }
                Plan::Remap { claim, host, clusters, pending, fresh } => {
                    self.write_remapped(claim, host, clusters, pending, fresh, rest, at)?
                }
            };
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
        }
        Ok(())
    }

    fn plan(&self, at: u64, length: u64) -> Result<Plan<'_>> {
        let g = self.geometry;
        let cluster = g.guest_cluster(GuestOffset(at));
        {
            let meta = self.meta_read()?;
            meta.check_usable()?;
            if meta.is_claimed(&(cluster.0..cluster.0 + 1)) {
                return Ok(Plan::Wait);
            }
            if let Some((host, length)) = meta.in_place(at, length)? {
                return Ok(Plan::InPlace { host, length, _in_use: meta.freeing.in_use() });
            }
        }
        let mut meta = self.meta_write()?;
        meta.check_usable()?;
        if meta.is_claimed(&(cluster.0..cluster.0 + 1)) {
            return Ok(Plan::Wait);
        }
        meta.make_room()?;
        let last = g.guest_cluster(GuestOffset(at + length - 1));
        meta.l2_for_write(cluster)?;
        let (kind, count) = meta.remap_run(cluster, last.0 - cluster.0 + 1)?;
        let (host, clusters, pending, fresh) = match kind {
            Writability::InPlace(host) => {
                meta.check_target(HostRun { first: g.host_cluster(host), count })?;
                let inside = g.within(at);
                let length = ((count << g.cluster_bits) - inside).min(length);
                let host = HostOffset(host.0 + inside);
                return Ok(Plan::InPlace { host, length, _in_use: meta.freeing.in_use() });
            }
            Writability::Reuse(host) => {
                meta.check_target(HostRun { first: g.host_cluster(host), count })?;
                (host, count, None, false)
            }
            Writability::Allocate => {
                let run = meta.allocate(count)?;
                let host = g.host_start(run.first);
                (host, run.count, Some(run), self.is_fresh(host))
            }
        };
        let claim = Claim::new(self, &mut meta, cluster, clusters);
        // From here on dropping `pending` takes the lock again.
        drop(meta);
        let pending = pending.map(|run| PendingClusters { image: self, run });
        match claim {
            Some(claim) => Ok(Plan::Remap { claim, host, clusters, pending, fresh }),
            None => Ok(Plan::Wait),
        }
    }

    /// Writes data and what surrounds it into clusters that nobody sees yet, then publishes them.
    #[allow(clippy::too_many_arguments, reason = "the parts of one plan")]
    fn write_remapped(
        &self,
        claim: Claim<'_>,
        host: HostOffset,
        clusters: u64,
        pending: Option<PendingClusters<'_>>,
        fresh: bool,
        data: &[u8],
        at: u64,
    ) -> Result<usize> {
        let g = self.geometry;
        let head = g.within(at) as usize;
        let room = (clusters << g.cluster_bits) as usize - head;
        let data = data.get(..room).unwrap_or(data);
        let end = at + data.len() as u64;
        let tail = (g.cluster_size() - g.within(end)) as usize % g.cluster_size() as usize;

        // New clusters at the end of the file are zero already.
        let skip_head = head == 0 || (fresh && self.reads_as_zero(at - head as u64, head as u64)?);
        let skip_tail = tail == 0 || (fresh && self.hidden_or_zero(end, tail as u64)?);
        let (head, tail) = (if skip_head { 0 } else { head }, if skip_tail { 0 } else { tail });
        let (start, target) = (at - head as u64, host.0 + g.within(at) - head as u64);
        let write = |bytes: &[u8], at: u64| self.write_data(bytes, HostOffset(target + (at - start)), at);
        if head == 0 && tail == 0 {
            write(data, at)?;
        } else if data.len() <= MAX_BOUNCE {
            let mut bounce = vec![0; head + data.len() + tail];
            let (before, rest) = bounce.split_at_mut(head);
            let (middle, after) = rest.split_at_mut(data.len());
            self.read_old(before, start)?;
            middle.copy_from_slice(data);
            self.read_old(after, end)?;
            write(&bounce, start)?;
        } else {
            let mut around = vec![0; head];
            self.read_old(&mut around, start)?;
            write(&around, start)?;
            write(data, at)?;
            around = vec![0; tail];
            self.read_old(&mut around, end)?;
            write(&around, end)?;
        }
        self.publish_run(claim, host, clusters, pending)?;
        Ok(data.len())
    }

    /// What a cluster held before it is replaced. Bytes beyond the end of the disk become zeroes.
    fn read_old(&self, buf: &mut [u8], at: u64) -> Result<()> {
        let visible = self.size().saturating_sub(at).min(buf.len() as u64) as usize;
        let (visible, hidden) = buf.split_at_mut(visible);
        hidden.fill(0);
        self.read_view(View::Active, visible, at)
    }

    fn hidden_or_zero(&self, at: u64, length: u64) -> Result<bool> {
        let visible = self.size().saturating_sub(at).min(length);
        self.reads_as_zero(at, visible)
    }

    /// Makes the tables point at clusters whose data has been written.
    fn publish_run(
        &self,
        claim: Claim<'_>,
        host: HostOffset,
        clusters: u64,
        mut pending: Option<PendingClusters<'_>>,
    ) -> Result<()> {
        let g = self.geometry;
        let mut meta = self.meta_write()?;
        let mut result = Ok(());
        for i in 0..clusters {
            let new = L2Entry::owned(HostOffset(host.0 + (i << g.cluster_bits)));
            result = meta.publish(GuestCluster(claim.range.start + i), |_| new);
            if result.is_err() {
                break;
            }
            if let Some(pending) = &mut pending {
                pending.published(1);
            }
        }
        // Both take the lock when they are dropped.
        drop(meta);
        drop(pending);
        drop(claim);
        result
    }

    pub(super) fn claims_released(&self) -> u64 {
        *self.releases()
    }

    /// Waits until claims have been released since `seen` was read.
    pub(super) fn wait_for_release(&self, seen: u64) {
        let mut now = self.releases();
        while *now == seen {
            now = self.released.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn announce_release(&self) {
        *self.releases() += 1;
        self.released.notify_all();
    }

    fn releases(&self) -> MutexGuard<'_, u64> {
        self.release_count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meta {
    /// The longest run from `at` on that can be written in place, as far as the cache can tell.
    fn in_place(&self, at: u64, length: u64) -> Result<Option<(HostOffset, u64)>> {
        let g = self.geometry;
        let cluster = g.guest_cluster(GuestOffset(at));
        let index = g.l1_index(cluster);
        let entry = super::table::L1Entry(self.l1.get(index).copied().unwrap_or(0));
        let Some(table) = self.l2_table(entry)?.filter(|_| entry.is_copied()) else { return Ok(None) };
        let place = self.entry_place(table, cluster);
        let Some(page) = self.l2.get(place.page) else { return Ok(None) };
        let count = clusters_in_place(g, page, place.index, at, length);
        if count == 0 {
            return Ok(None);
        }
        let Lookup::Found(Source::Data(host), found) = self.look_up(&self.l1, GuestOffset(at), length)?
        else {
            return Ok(None);
        };
        let usable = found.min((count << g.cluster_bits) - g.within(at));
        let run = HostRun { first: g.host_cluster(host), count };
        let claimed = self.is_claimed(&(cluster.0..cluster.0 + count));
        // What lies beyond the end of the file is looked at more closely by the slow path.
        let inside = g.host_bytes(run).end <= self.file.size();
        Ok((!claimed && inside && !self.overlaps_metadata(run)).then_some((host, usable)))
    }
}

/// Clusters from `index` on whose entries are ours alone and contiguous, as far as the request goes.
fn clusters_in_place(g: Geometry, page: &[u8], index: usize, at: u64, length: u64) -> u64 {
    let wanted = g.clusters_for(g.within(at) + length);
    let mut first = None;
    let mut count = 0;
    while count < wanted {
        let Some(entry) = entry_at(page, index + count as usize).map(L2Entry) else { break };
        let Ok(Mapping::Data(host)) = entry.decode(g) else { break };
        let start = *first.get_or_insert(host.0);
        if !entry.is_copied() || start + (count << g.cluster_bits) != host.0 {
            break;
        }
        count += 1;
    }
    count
}
