//! Writing: in place where a cluster is ours alone, else allocate, write, publish.
//!
//! The order is in the types. A [`Claim`] keeps everybody else from changing the mapping of the guest
//! clusters it names; a [`PendingClusters`] holds host clusters that nothing refers to yet and gives them
//! back unless they are published; and publishing takes both, after the data was written.

use std::ops::Range;

use super::alloc::InUse;
use super::claim::{Claim, PendingClusters};
use super::image::Qcow2;
use super::meta::Meta;
use super::publish::Writability;
use super::read::View;
use super::subcluster::cover;
use super::units::{GuestCluster, GuestOffset, HostOffset, HostRun};
use crate::block::Block;
use crate::error::Result;

/// Requests up to this size are written in one piece together with what surrounds them.
const MAX_BOUNCE: usize = 4 << 20;

/// How the next bytes of a request can be written.
pub(super) enum Plan<'a> {
    /// Over what is there.
    InPlace { host: HostOffset, length: u64, _in_use: InUse },
    /// Into clusters whose mapping changes afterwards.
    Remap(Remap<'a>),
    /// Somebody else is remapping the first cluster.
    Wait,
}

/// A write that changes the mapping of clusters.
pub(super) struct Remap<'a> {
    claim: Claim<'a>,
    /// Where the first of them lies, or will lie.
    pub(super) host: HostOffset,
    clusters: u64,
    /// Of the request.
    pub(super) bytes: Range<u64>,
    /// To be written: the request and what must move or be completed with it.
    cover: Range<u64>,
    pending: Option<PendingClusters<'a>>,
    /// Never written before: what is zero need not be.
    fresh: bool,
}

impl Qcow2 {
    /// Writes `buf`. The caller has checked the range, and holds the gate.
    pub(super) fn write_pieces(&self, buf: &[u8], offset: u64) -> Result<()> {
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
                Plan::Remap(remap) => self.write_remapped(remap, rest)?,
            };
            rest = rest.get(written..).unwrap_or_default();
            at += written as u64;
        }
        Ok(())
    }

    pub(super) fn plan(&self, at: u64, length: u64) -> Result<Plan<'_>> {
        let g = self.geometry;
        let cluster = g.guest_cluster(GuestOffset(at));
        // A second time only after the page that names the cluster was brought in.
        for loaded in [false, true] {
            let absent = {
                let meta = self.meta_read()?;
                meta.check_usable()?;
                if meta.is_claimed(&(cluster.0..cluster.0 + 1)) {
                    return Ok(Plan::Wait);
                }
                // Damage is dealt with where it can be marked.
                if let Ok(Some((host, length))) = meta.in_place(at, length) {
                    return Ok(Plan::InPlace { host, length, _in_use: meta.freeing.in_use() });
                }
                meta.absent_page(cluster).filter(|_| !loaded)
            };
            let Some(page) = absent else { break };
            self.load_page(page)?;
        }
        let mut meta = self.meta_write()?;
        meta.check_usable()?;
        if meta.is_claimed(&(cluster.0..cluster.0 + 1)) {
            return Ok(Plan::Wait);
        }
        meta.make_room()?;
        let planned = self.plan_slowly(&mut meta, at, length);
        let (plan, pending) = planned.map_err(|error| meta.signal(error))?;
        // From here on dropping what was allocated takes the lock again.
        drop(meta);
        let pending = pending.map(|run| PendingClusters { image: self, run });
        Ok(match plan {
            Plan::Remap(remap) => Plan::Remap(Remap { pending, ..remap }),
            other => other,
        })
    }

    /// A plan for what cannot be written in place at once, and the clusters that were allocated for it.
    fn plan_slowly(&self, meta: &mut Meta, at: u64, length: u64) -> Result<(Plan<'_>, Option<HostRun>)> {
        let g = self.geometry;
        let cluster = g.guest_cluster(GuestOffset(at));
        let last = g.guest_cluster(GuestOffset(at + length - 1));
        meta.l2_for_write(cluster)?;
        let (kind, count) = meta.remap_run(cluster, last.0 - cluster.0 + 1)?;
        let (host, run, fresh) = match kind {
            Writability::InPlace(host) => {
                meta.check_target(HostRun { first: g.host_cluster(host), count })?;
                let inside = g.within(at);
                let length = ((count << g.cluster_bits) - inside).min(length);
                let host = HostOffset(host.0 + inside);
                return Ok((Plan::InPlace { host, length, _in_use: meta.freeing.in_use() }, None));
            }
            Writability::Reuse(host) => {
                meta.check_target(HostRun { first: g.host_cluster(host), count })?;
                (host, None, false)
            }
            Writability::Allocate if g.data_file => {
                let host = HostOffset(g.guest_start(cluster).0);
                (host, None, self.is_fresh(host))
            }
            Writability::Allocate => {
                let run = meta.allocate(count)?;
                let host = g.host_start(run.first);
                (host, Some(run), self.is_fresh(host))
            }
        };
        let clusters = run.map_or(count, |run| run.count);
        let (first, last) = (meta.entry(cluster), meta.entry(GuestCluster(cluster.0 + clusters - 1)));
        let claim = Claim::new(self, meta, cluster, clusters);
        let (Ok(first), Ok(last), Some(claim)) = (first, last, claim) else {
            if let Some(run) = run {
                meta.give_back(run);
            }
            return Ok((Plan::Wait, None));
        };
        let end = (at + length).min(g.guest_start(GuestCluster(cluster.0 + clusters)).0);
        let keep = matches!(kind, Writability::Reuse(_));
        let mut cover = cover(g, at..end, first, last, keep);
        if g.data_file {
            // A file that is the disk's image is not longer than the disk.
            cover.end = cover.end.min(self.size()).max(end);
        }
        let remap = Remap { claim, host, clusters, bytes: at..end, cover, pending: None, fresh };
        Ok((Plan::Remap(remap), run))
    }

    /// Writes data and what surrounds it into clusters that nobody sees yet, then publishes them.
    fn write_remapped(&self, remap: Remap<'_>, data: &[u8]) -> Result<usize> {
        let (at, end, cover) = (remap.bytes.start, remap.bytes.end, &remap.cover);
        let data = data.get(..(end - at) as usize).unwrap_or(data);
        let (head, tail) = (at - cover.start, cover.end - end);
        // New clusters at the end of the file are zero already.
        let skip_head = head == 0 || (remap.fresh && self.reads_as_zero(cover.start, head)?);
        let skip_tail = tail == 0 || (remap.fresh && self.hidden_or_zero(end, tail)?);
        let head = if skip_head { 0 } else { head as usize };
        let tail = if skip_tail { 0 } else { tail as usize };
        let start = at - head as u64;
        let base = self.geometry.guest_start(GuestCluster(remap.claim.range.start)).0;
        let write =
            |bytes: &[u8], at: u64| self.write_data(bytes, HostOffset(remap.host.0 + (at - base)), at);
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
        self.publish_run(remap)?;
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
    pub(super) fn publish_run(&self, remap: Remap<'_>) -> Result<()> {
        let g = self.geometry;
        let Remap { claim, host, clusters, cover, mut pending, .. } = remap;
        let mut meta = self.meta_write()?;
        let mut result = Ok(());
        for i in 0..clusters {
            let cluster = GuestCluster(claim.range.start + i);
            let (host, start) = (HostOffset(host.0 + (i << g.cluster_bits)), g.guest_start(cluster));
            result = meta.publish(cluster, |old| old.with_written(host, &cover, start, g));
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
}
