//! Changing entries of L2 tables, and what the present ones allow a write to do.

use super::map::{Lookup, Source};
use super::meta::Meta;
use super::table::{L1Entry, L2Entry, Mapping};
use super::units::{Geometry, GuestCluster, GuestOffset, HostOffset, HostRun};
use crate::error::{Error, Result};

/// How an entry must be treated when its cluster is written.
#[derive(PartialEq, Eq, Clone, Copy)]
pub(super) enum Writability {
    /// Ours alone, holding data.
    InPlace(HostOffset),
    /// Ours alone, but not all of it holds data so far.
    Reuse(HostOffset),
    Allocate,
}

fn writability(entry: L2Entry, mapping: Mapping) -> Writability {
    match mapping {
        Mapping::Data(host) if entry.is_copied() => Writability::InPlace(host),
        Mapping::Zero(Some(host)) | Mapping::Mixed(Some(host), _) if entry.is_copied() => {
            Writability::Reuse(host)
        }
        _ => Writability::Allocate,
    }
}

impl Meta {
    /// Replaces the entry for `cluster` by what `change` makes of it, and gives up what the old one
    /// referred to and the new one does not.
    pub(super) fn publish(
        &mut self,
        cluster: GuestCluster,
        change: impl FnOnce(L2Entry) -> L2Entry,
    ) -> Result<()> {
        let table = self.l2_for_write(cluster)?;
        let g = self.geometry;
        let place = self.entry_place(table, cluster);
        let page = self.l2.load(&*self.file, place.page)?;
        let old = L2Entry::read(page, place.index, g).unwrap_or(L2Entry::UNALLOCATED);
        let new = change(old);
        if new == old {
            return Ok(());
        }
        let references = |entry: L2Entry| entry.references(g).map_err(|bad| bad.text(old));
        let (before, after) = match (references(old), references(new)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(text), _) | (_, Err(text)) => {
                return Err(self.signal(Error::corrupt(self.file.name(), text)));
            }
        };
        // Compressed data never takes over its predecessor's reference, even in the same cluster.
        let taken_over = before == after && !old.is_compressed() && !new.is_compressed();
        let page = self.l2.load_mut(&*self.file, place.page)?;
        new.write(page, place.index, g);
        if let Some(run) = before.filter(|_| !taken_over) {
            // Space is given back where the guest said so, not where it is about to be used again.
            self.free_later(run, after.is_none());
        }
        Ok(())
    }

    /// Refuses to write over clusters that a table says are ours but that cannot be.
    pub(super) fn check_target(&mut self, run: HostRun) -> Result<()> {
        if self.geometry.data_file {
            // There is no metadata, and no count, in a data file.
            return Ok(());
        }
        self.check_data_overlap(run)?;
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
    pub(super) fn remap_run(&mut self, first: GuestCluster, max: u64) -> Result<(Writability, u64)> {
        let g = self.geometry;
        let entry = self.entry(first)?;
        let kind = writability(entry, self.decode(entry, first)?);
        let max = max.min(g.l2_entries() - g.l2_index(first));
        let mut count = 1;
        while count < max {
            let cluster = GuestCluster(first.0 + count);
            if self.is_claimed(&(cluster.0..cluster.0 + 1)) {
                break;
            }
            let entry = self.entry(cluster)?;
            let Ok(mapping) = self.decode(entry, cluster) else { break };
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

    /// The longest run from `at` on that can be written in place, as far as the cache can tell.
    pub(super) fn in_place(&self, at: u64, length: u64) -> Result<Option<(HostOffset, u64)>> {
        let g = self.geometry;
        let cluster = g.guest_cluster(GuestOffset(at));
        let index = g.l1_index(cluster);
        let entry = L1Entry(self.l1.get(index).copied().unwrap_or(0));
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
        if g.data_file {
            return Ok((!claimed).then_some((host, usable)));
        }
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
        let Some(entry) = L2Entry::read(page, index + count as usize, g) else { break };
        let Ok(Mapping::Data(host) | Mapping::Mixed(Some(host), _)) = entry.decode(g) else { break };
        let start = *first.get_or_insert(host.0);
        if !entry.is_copied() || start + (count << g.cluster_bits) != host.0 {
            break;
        }
        count += 1;
    }
    count
}
