//! What lies where: the answer for `map`, for copying only what is there, and for block status over NBD.

use std::ops::Range;

use super::image::Qcow2;
use super::map::Source;
use super::read::View;
use super::units::{GuestOffset, HostCluster};
use crate::block::Extent;
use crate::error::Result;

/// Runs that one answer may be put together from.
const MAX_RUNS: usize = 256;

impl Qcow2 {
    /// The extent at the start of `range`, which the caller has checked.
    pub(super) fn status_view(&self, view: View<'_>, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Extent::absent(0));
        }
        let mut extent: Option<Extent> = None;
        let mut at = range.start;
        for _ in 0..MAX_RUNS {
            let runs = self.runs(view, GuestOffset(at), range.end - at, 1)?;
            let Some(&(source, run)) = runs.list.first() else { break };
            let mut next = self.extent_of(source, run, at)?;
            if self.crypt.is_some() && next.depth == 0 {
                // Nobody could make use of what lies there.
                next.offset = None;
            }
            match &mut extent {
                None => extent = Some(next),
                Some(so_far) if continues(so_far, &next) => so_far.length += next.length,
                Some(_) => break,
            }
            at += next.length;
            if at >= range.end || next.length < run {
                break;
            }
        }
        Ok(extent.unwrap_or(Extent::absent(length)))
    }

    fn extent_of(&self, source: Source, run: u64, at: u64) -> Result<Extent> {
        Ok(match source {
            Source::Zero(None) => Extent::zero(run),
            // Space is kept, but nobody can see what it holds.
            Source::Zero(Some(host)) => Extent { offset: Some(host.0), ..Extent::zero(run) },
            Source::Compressed(_) => Extent { compressed: true, offset: None, ..Extent::data(run, 0) },
            Source::Data(host) => self.data_extent(host.0, run)?,
            Source::Backing => self.backing_extent(run, at)?,
            Source::Reserved(host) => match self.backing_extent(run, at)? {
                absent if !absent.present && absent.depth == 0 => Extent { offset: Some(host.0), ..absent },
                present => present,
            },
        })
    }

    /// Stored bytes; preallocated ones that nobody has written yet are holes of the file.
    fn data_extent(&self, host: u64, run: u64) -> Result<Extent> {
        let data = Extent::data(run, host);
        if !self.stored_zeroes_are_zeroes() || !self.has_unwritten_data()? {
            return Ok(data);
        }
        let size = self.data_file()?.size();
        if host >= size {
            return Ok(Extent { zero: true, ..data });
        }
        let stored = self.data_status(host..(host + run).min(size))?;
        let length = if stored.zero && host + stored.length >= size { run } else { stored.length };
        Ok(Extent { zero: stored.zero, ..data.with_length(length) })
    }

    fn backing_extent(&self, run: u64, at: u64) -> Result<Extent> {
        let Some(backing) = self.backing()? else { return Ok(Extent::absent(run)) };
        let size = backing.size();
        if at >= size {
            // Nobody decides about what lies behind the end of a shorter backing file: zeroes, as in QEMU.
            return Ok(Extent::absent(run));
        }
        let below = backing.status(at..(at + run).min(size))?;
        Ok(Extent { depth: below.depth.saturating_add(1), ..below })
    }

    /// True if more clusters are in use than the file has space for, so that some were never written.
    /// Found out once: it costs a pass over the reference counts.
    fn has_unwritten_data(&self) -> Result<bool> {
        if let Some(&known) = self.sparse_data.get() {
            return Ok(known);
        }
        let stored = self.file.allocated_bytes().unwrap_or(u64::MAX);
        let sparse = stored < self.file.size() && {
            let stored = stored / self.geometry.cluster_size();
            let threshold = (stored.saturating_mul(10) / 9).max(stored + 2);
            self.count_used(threshold)? >= threshold
        };
        Ok(*self.sparse_data.get_or_init(|| sparse))
    }

    /// Clusters in use, counted up to `enough`.
    fn count_used(&self, enough: u64) -> Result<u64> {
        let clusters = self.geometry.clusters_for(self.file.size());
        let mut used = 0;
        let mut meta = self.meta_write()?;
        let mut at = 0;
        while at < clusters && used < enough {
            // Runs of free clusters are skipped quickly.
            let free = meta.free_length(at, clusters - at)?;
            at += free;
            if at < clusters {
                used += u64::from(meta.refcount(HostCluster(at))? > 0);
                at += 1;
            }
            meta.make_read_room();
        }
        Ok(used)
    }
}

/// True if `next` lies right behind `extent` and is the same kind of thing.
fn continues(extent: &Extent, next: &Extent) -> bool {
    let offsets = match (extent.offset, next.offset) {
        (Some(a), Some(b)) => a.checked_add(extent.length) == Some(b),
        (None, None) => true,
        _ => false,
    };
    offsets && Extent { length: 0, offset: None, ..*extent } == Extent { length: 0, offset: None, ..*next }
}
