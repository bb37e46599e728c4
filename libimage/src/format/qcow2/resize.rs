//! Changing the size of the disk, and allocating it beforehand.
//!
//! Growing takes a larger L1 table where needed; the header switches over to it, and to the new size, in
//! one write. Shrinking clears what lies beyond before it says so, so that growing again shows zeroes.

use std::ops::Range;

use super::header::{MAX_L1_BYTES, field};
use super::image::Qcow2;
use super::meta::Meta;
use super::overlap::Kind;
use super::storage::{table_bytes, write_all};
use super::table::{L1Entry, L2Entry, Mapping};
use super::units::{Geometry, GuestCluster, GuestOffset, HostCluster, HostOffset, HostRun};
use super::zero::Clear;
use crate::block::{Block, Preallocation, Zero};
use crate::error::{Error, Result};
use crate::sync::Ordering;

/// Refuses sizes that the geometry cannot map.
pub(super) fn check_size(geometry: Geometry, size: u64) -> Result<()> {
    if size > i64::MAX as u64 || geometry.l1_entries_for(size).saturating_mul(8) > MAX_L1_BYTES {
        let what = "The image size is too large for file format 'qcow2' (try using a larger cluster size)";
        return Err(Error::Invalid(what.to_owned()));
    }
    Ok(())
}

impl Qcow2 {
    /// Makes the disk `size` bytes long.
    pub(super) fn resize_disk(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        let g = self.geometry;
        if !size.is_multiple_of(512) {
            return Err(Error::Invalid("The new size must be a multiple of 512".to_owned()));
        }
        check_size(g, size)?;
        self.need_data_file()?;
        let old = self.size();
        // A data file that is raw by itself is mapped in full, so that nothing but it decides what is read.
        let preallocation = match preallocation {
            Preallocation::Off if self.raw_external && size > old => Preallocation::Metadata,
            other => other,
        };
        {
            if size < old && preallocation != Preallocation::Off {
                return Err(Error::Invalid("Preallocation can't be used for shrinking an image".to_owned()));
            }
            let (_gate, mut meta) = self.exclusive()?;
            for bitmap in meta.bitmaps()? {
                bitmap.check_usable()?;
            }
            if g.version < 3 && !meta.snapshots.is_empty() {
                return Err(Error::unsupported(
                    self.file.name(),
                    "Can't resize a v2 image which has snapshots",
                ));
            }
            meta.commit()?;
            if size == old {
                return Ok(());
            }
            // Their size changes with that of the disk.
            meta.use_bitmaps(true, old)?;
        }
        if size < old {
            self.shrink(old, size)?;
            return self.finish_resize();
        }
        self.hide_old_bytes(old, size)?;
        self.resize_data_file(old, size, preallocation)?;
        {
            let (_gate, mut meta) = self.exclusive()?;
            meta.commit()?;
            meta.grow_l1(g.l1_entries_for(size), size)?;
            self.set_size(size);
        }
        self.cover_backing(old, size)?;
        if preallocation != Preallocation::Off {
            self.preallocate(old, size, preallocation)?;
        }
        self.finish_resize()
    }

    /// Stores bitmaps in their new size, and makes everything durable.
    fn finish_resize(&self) -> Result<()> {
        let (_gate, mut meta) = self.exclusive()?;
        meta.release_bitmaps(self.size())?;
        self.tracks.store(false, Ordering::Release);
        self.pristine.store(true, Ordering::Release);
        meta.commit()
    }

    /// Clears what lies beyond the old end, such as the rest of its last cluster, before it is uncovered.
    fn hide_old_bytes(&self, old: u64, size: u64) -> Result<()> {
        let g = self.geometry;
        let edge = old.checked_next_multiple_of(g.cluster_size()).unwrap_or(old);
        let _gate = self.enter()?;
        if edge > old {
            let cluster = g.guest_cluster(GuestOffset(old));
            let stored = {
                let mut meta = self.meta_write()?;
                let entry = meta.entry(cluster)?;
                !matches!(entry.decode(g), Ok(Mapping::Unallocated | Mapping::Zero(None)))
            };
            if stored && !self.reads_as_zero(old, edge - old)? {
                self.write_range(&vec![0; (edge - old) as usize], old)?;
            }
        }
        // Leftovers of saved machine state may lie there.
        let end = size.checked_next_multiple_of(g.cluster_size()).unwrap_or(size);
        let mapped = (self.meta_read()?.l1.len() as u64).saturating_mul(g.l2_coverage());
        let end = end.min(mapped);
        if edge < end { self.clear(edge..end, Clear::Remove) } else { Ok(()) }
    }

    /// A backing file that is longer than the disk was must not show through in what is new.
    fn cover_backing(&self, old: u64, size: u64) -> Result<()> {
        let Some(backing) = self.backing()? else { return Ok(()) };
        let end =
            size.min(backing.size().checked_next_multiple_of(self.geometry.cluster_size()).unwrap_or(size));
        if old >= end {
            return Ok(());
        }
        let _gate = self.enter()?;
        self.zero_range(old..end, Zero::MayUnmap)
    }

    fn shrink(&self, old: u64, size: u64) -> Result<()> {
        let g = self.geometry;
        let (_gate, meta) = self.exclusive()?;
        let mapped = (meta.l1.len() as u64).saturating_mul(g.l2_coverage());
        drop(meta);
        let edge = size.checked_next_multiple_of(g.cluster_size()).unwrap_or(size);
        let end = old.checked_next_multiple_of(g.cluster_size()).unwrap_or(old).max(mapped);
        if edge < end {
            self.clear(edge..end, Clear::Remove)?;
        }
        let mut meta = self.meta_write()?;
        let tables = meta.l1.len();
        meta.drop_tables(g.l1_entries_for(size) as usize..tables)?;
        meta.commit()?;
        meta.header.size = size;
        let bytes = meta.header.size.to_be_bytes();
        meta.write_header_field(field::SIZE, &bytes)?;
        self.set_size(size);
        meta.cut_file()?;
        drop(meta);
        self.resize_data_file(old, size, Preallocation::Off)
    }

    /// Allocates all of `old..size`, in the way that was asked for.
    pub(super) fn preallocate(&self, old: u64, size: u64, how: Preallocation) -> Result<()> {
        let g = self.geometry;
        let (_gate, mut meta) = self.exclusive()?;
        let mut cluster = GuestCluster(g.clusters_for(old));
        let end = g.clusters_for(size);
        let mut highest = 0;
        while cluster.0 < end {
            meta.make_room()?;
            meta.l2_for_write(cluster)?;
            let wanted = (end - cluster.0).min(g.l2_entries() - g.l2_index(cluster));
            let run = match g.data_file {
                true => HostRun { first: HostCluster(cluster.0), count: wanted },
                false => meta.allocate(wanted)?,
            };
            let bytes = g.host_bytes(run);
            // A data file has been prepared when it got its size.
            let prepared = match g.data_file {
                true => Ok(()),
                false => self.prepare_space(bytes.start, bytes.end, how),
            };
            let mut published = 0;
            let mut result = prepared;
            while result.is_ok() && published < run.count {
                let host = HostOffset(bytes.start + (published << g.cluster_bits));
                // Subclusters stay what they are: the backing file's, or zero.
                let reserved = |old: L2Entry| L2Entry { word: L2Entry::reserved(host).word, map: old.map };
                result = meta.publish(GuestCluster(cluster.0 + published), reserved);
                published += u64::from(result.is_ok());
            }
            if let Err(error) = result {
                let first = HostCluster(run.first.0 + published);
                if !g.data_file {
                    meta.give_back(HostRun { first, count: run.count - published });
                }
                return Err(error);
            }
            cluster.0 += run.count;
            highest = highest.max(bytes.end);
        }
        if !g.data_file && self.file.limits().growable && highest > self.file.size() {
            self.file.resize(highest, Preallocation::Off)?;
        }
        meta.commit()
    }
}

impl Meta {
    /// Sets the size of the disk, with an L1 table of at least `entries`.
    pub(super) fn grow_l1(&mut self, entries: u64, size: u64) -> Result<()> {
        if entries <= self.l1.len() as u64 {
            self.header.size = size;
            let bytes = size.to_be_bytes();
            return self.write_header_field(field::SIZE, &bytes);
        }
        let mut l1 = self.l1.clone();
        l1.resize(entries as usize, 0);
        self.switch_l1(l1, size)
    }

    /// Writes `l1` to new clusters, lets the header point there together with the disk's size, and gives up
    /// the clusters of the old table. What the old table's entries refer to is the caller's business.
    pub(super) fn switch_l1(&mut self, l1: Vec<u64>, size: u64) -> Result<()> {
        let g = self.geometry;
        let bytes = l1.len() as u64 * 8;
        let run = self.allocate_table(g.clusters_for(bytes))?;
        let offset = g.host_start(run.first).0;
        let written = write_all(&*self.file, &table_bytes(&l1), offset).and_then(|()| self.commit());
        if let Err(error) = written {
            self.give_back(run);
            return Err(error);
        }
        let old = HostRun {
            first: HostCluster(self.header.l1_offset >> g.cluster_bits),
            count: g.clusters_for(self.l1.len() as u64 * 8),
        };
        self.header.size = size;
        self.header.l1_size = l1.len() as u32;
        self.header.l1_offset = offset;
        let field_bytes = self.header.size_and_l1();
        self.write_header_field(field::SIZE, &field_bytes)?;
        self.replace_l1(l1);
        self.forget_metadata(old);
        self.note_metadata(run, Kind::L1);
        self.free_later(old, false);
        Ok(())
    }

    /// Gives up the L2 tables at these L1 indices. Their entries must be clear, or shared.
    pub(super) fn drop_tables(&mut self, indices: Range<usize>) -> Result<()> {
        for index in indices {
            let entry = L1Entry(self.l1.get(index).copied().unwrap_or(0));
            if let Some(table) = self.l2_table(entry)? {
                self.set_l1(index, L1Entry(0));
                self.free_later(HostRun::one(self.geometry.host_cluster(table)), true);
            }
        }
        Ok(())
    }

    /// Cuts free clusters off the end of the file.
    pub(super) fn cut_file(&mut self) -> Result<()> {
        self.commit()?;
        if !self.file.limits().growable {
            return Ok(());
        }
        let g = self.geometry;
        let mut end = g.clusters_for(self.file.size());
        let before = end;
        while end > 1 && self.refcount(HostCluster(end - 1))? == 0 {
            end -= 1;
        }
        match end < before {
            true => self.file.resize(end << g.cluster_bits, Preallocation::Off),
            false => Ok(()),
        }
    }
}
