//! Zeroing and discarding: changing tables instead of writing bytes.
//!
//! What is given up is freed only after the tables that say so are durable. A cluster that somebody is
//! just remapping is waited for, so that neither request undoes half of the other.

use std::ops::Range;

use super::claim::Claim;
use super::image::Qcow2;
use super::meta::Meta;
use super::table::{L1Entry, L2Entry, Mapping};
use super::units::{Geometry, GuestCluster, GuestOffset};
use crate::block::{Block, Zero};
use crate::error::Result;

/// Clusters whose entries are changed without letting others in between.
const STEP: u64 = 1024;

/// What becomes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clear {
    /// It reads as zeroes; its space may go.
    Zero(Zero),
    /// It is not needed; never shows the backing file.
    Discard,
    /// It ceases to exist: the disk becomes shorter.
    Remove,
}

impl Qcow2 {
    /// Makes `range` read as zeroes. The caller has checked the range, and holds the gate.
    pub(super) fn zero_range(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let g = self.geometry;
        let (mask, unit) = (g.cluster_size() - 1, g.unit_size() - 1);
        let last_is_hidden = range.end == self.size();
        let start = range.start.saturating_add(unit) & !unit;
        let end = if last_is_hidden { range.end.saturating_add(mask) & !mask } else { range.end & !unit };
        if start >= end {
            return self.zero_part(range);
        }
        self.zero_part(range.start..start)?;
        // Whole clusters, and what there is of subclusters on either side of them.
        let whole = (start.saturating_add(mask) & !mask)..(end & !mask);
        if whole.start < whole.end {
            self.zero_subclusters(start..whole.start, how)?;
            self.clear(whole.clone(), Clear::Zero(how))?;
            self.zero_subclusters(whole.end..end, how)?;
        } else {
            let border = whole.start.min(end);
            self.zero_subclusters(start..border, how)?;
            self.zero_subclusters(border..end, how)?;
        }
        if end < range.end { self.zero_part(end..range.end) } else { Ok(()) }
    }

    /// Lets whole subclusters of one cluster read as zeroes.
    fn zero_subclusters(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let g = self.geometry;
        if range.is_empty() {
            return Ok(());
        }
        let cluster = g.guest_cluster(GuestOffset(range.start));
        let first = g.subcluster(range.start);
        let parts = first..first + (range.end - range.start) / g.unit_size();
        let has_backing = self.shows_backing()?;
        let claim = Claim::wait(self, cluster, 1)?;
        let mut meta = self.meta_write()?;
        meta.make_room()?;
        let entry = meta.entry(cluster).and_then(|entry| meta.decode(entry, cluster));
        let mapping = entry.map_err(|error| meta.signal(error))?;
        match mapping {
            Mapping::Compressed(_) => {
                // There is nothing but the whole to say this of.
                drop(meta);
                drop(claim);
                return self.write_pieces(&vec![0; (range.end - range.start) as usize], range.start);
            }
            Mapping::Unallocated if !has_backing => {}
            _ => {
                self.zero_raw_data(&range, how)?;
                let published = meta.publish(cluster, |old| L2Entry { map: old.map.with_zero(parts), ..old });
                published.map_err(|error| meta.signal(error))?;
            }
        }
        drop(meta);
        drop(claim);
        Ok(())
    }

    /// Zeroes less than a cluster by writing, unless it is zero already.
    fn zero_part(&self, range: Range<u64>) -> Result<()> {
        let g = self.geometry;
        let mut at = range.start;
        while at < range.end {
            let length = (g.cluster_size() - g.within(at)).min(range.end - at);
            if !self.reads_as_zero(at, length)? {
                self.write_pieces(&vec![0; length as usize], at)?;
            }
            at += length;
        }
        Ok(())
    }

    /// Discards the whole clusters of `range`.
    pub(super) fn discard_range(&self, range: Range<u64>) -> Result<()> {
        let g = self.geometry;
        if g.version < 3 && self.shows_backing()? {
            // Version 2 cannot say "zero": the backing file would show through. A hint may be ignored.
            return Ok(());
        }
        let mask = g.cluster_size() - 1;
        let start = range.start.saturating_add(mask) & !mask;
        let end = if range.end == self.size() { range.end.saturating_add(mask) } else { range.end } & !mask;
        if start < end { self.clear(start..end, Clear::Discard) } else { Ok(()) }
    }

    /// Changes the entries of whole clusters.
    pub(super) fn clear(&self, range: Range<u64>, how: Clear) -> Result<()> {
        let g = self.geometry;
        let mut cluster = GuestCluster(range.start >> g.cluster_bits);
        let end = range.end >> g.cluster_bits;
        let has_backing = self.shows_backing()?;
        while cluster.0 < end {
            // A table at a time: most of a large range usually has none.
            let step = (end - cluster.0).min(g.l2_entries() - g.l2_index(cluster)).min(STEP);
            let claim = Claim::wait(self, cluster, step)?;
            let mut meta = self.meta_write()?;
            meta.make_room()?;
            let bytes =
                |count: u64| g.guest_start(cluster).0..g.guest_start(GuestCluster(cluster.0 + count)).0;
            if let Clear::Zero(how) = how {
                self.zero_raw_data(&bytes(step), how)?;
            }
            let cleared = meta.clear_run(cluster, step, end - cluster.0, how, has_backing);
            let (done, by_hand) = cleared.map_err(|error| meta.signal(error))?;
            drop(meta);
            if let Clear::Zero(how) = how
                && done > step
            {
                self.zero_raw_data(&bytes(done), how)?;
            }
            // While the clusters are claimed nobody can have written them again.
            self.discard_data(bytes(done), how);
            drop(claim);
            if by_hand {
                self.zero_by_writing(GuestCluster(cluster.0 + done))?;
                cluster.0 += done + 1;
            } else {
                cluster.0 += done;
            }
        }
        Ok(())
    }

    /// Version 2 with a backing file has no other way.
    fn zero_by_writing(&self, cluster: GuestCluster) -> Result<()> {
        let start = self.geometry.guest_start(cluster).0;
        let length = self.size().saturating_sub(start).min(self.geometry.cluster_size());
        if self.reads_as_zero(start, length)? {
            return Ok(());
        }
        self.write_pieces(&vec![0; length as usize], start)
    }
}

impl Meta {
    /// Clears up to `count` entries of one table. Returns how many are done, and whether the one after
    /// them has to be written as zeroes instead. Absent tables may be passed over up to `all` clusters.
    pub(super) fn clear_run(
        &mut self,
        first: GuestCluster,
        count: u64,
        all: u64,
        how: Clear,
        has_backing: bool,
    ) -> Result<(u64, bool)> {
        let g = self.geometry;
        let nothing_below = !has_backing || how == Clear::Remove;
        let absent = |meta: &Meta, cluster| {
            meta.l1.get(g.l1_index(cluster)).is_none_or(|&entry| L1Entry(entry).table().is_none())
        };
        if nothing_below && absent(self, first) {
            let mut done = g.l2_entries() - g.l2_index(first);
            while done < all && absent(self, GuestCluster(first.0 + done)) {
                done += g.l2_entries();
            }
            return Ok((done.min(all), false));
        }
        for i in 0..count {
            let cluster = GuestCluster(first.0 + i);
            let old = self.entry(cluster)?;
            let mapping = self.decode(old, cluster)?;
            match replacement(old, mapping, how, has_backing, g) {
                Replacement::Keep => {}
                Replacement::Entry(new) => self.publish(cluster, |_| new)?,
                Replacement::WriteZeroes => return Ok((i, true)),
            }
        }
        Ok((count, false))
    }
}

enum Replacement {
    Keep,
    Entry(L2Entry),
    WriteZeroes,
}

fn replacement(old: L2Entry, mapping: Mapping, how: Clear, has_backing: bool, g: Geometry) -> Replacement {
    let v3 = g.version >= 3;
    let new = match (how, mapping) {
        (Clear::Remove, _) => L2Entry::UNALLOCATED,
        (_, Mapping::Unallocated) if !has_backing => L2Entry::UNALLOCATED,
        (Clear::Discard | Clear::Zero(Zero::MayUnmap), _) if v3 => L2Entry::zero(g),
        (Clear::Zero(Zero::KeepAllocated), Mapping::Data(_) | Mapping::Zero(_) | Mapping::Mixed(..))
            if v3 =>
        {
            old.with_zero_flag(g)
        }
        (Clear::Zero(Zero::KeepAllocated), _) if v3 => L2Entry::zero(g),
        // Version 2: only what has nothing below it may simply go.
        (Clear::Discard | Clear::Zero(Zero::MayUnmap), _) if !has_backing => L2Entry::UNALLOCATED,
        _ => return Replacement::WriteZeroes,
    };
    if new == old { Replacement::Keep } else { Replacement::Entry(new) }
}
