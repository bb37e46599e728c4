//! Making, applying and deleting internal snapshots.
//!
//! A snapshot is a copy of the L1 table; what it maps is shared and counted once more. The order of
//! updates is such that an interruption leaves too many references, never too few: counts rise before the
//! table that needs them is named in the header, and fall after it is no longer named. Meanwhile the image is marked as
//! dirty (see `commit.rs`): counts and COPIED flags are changed one after the other.

use super::check::CheckReport;
use super::header::{MAX_SNAPSHOTS, field};
use super::image::Qcow2;
use super::meta::Meta;
use super::overlap::Kind;
use super::snapshot::{self, MAX_TABLE_BYTES, Snapshot};
use super::storage::{read_table, table_bytes, write_all};
use super::table::{L1Entry, L2Entry};
use super::units::{HostCluster, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::sync::Ordering;

/// A change of all reference counts below an L1 table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Add,
    Drop,
}

impl Qcow2 {
    /// The internal snapshots, in the order of the table.
    ///
    /// # Errors
    /// When an earlier failure left the image unusable.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(self.meta_read()?.snapshots.clone())
    }

    /// Keeps the disk as it is now under `name`; the date is given as the time since 1970.
    ///
    /// # Errors
    /// When a reference count would not fit its width, too many snapshots exist, the name is too long, or
    /// the file cannot be written. The image is then as it was.
    pub fn create_snapshot(&self, name: &str, date: std::time::Duration) -> Result<Snapshot> {
        self.refuse_with_data_file()?;
        let (_gate, mut meta) = self.exclusive()?;
        if meta.snapshots.len() >= MAX_SNAPSHOTS as usize {
            return Err(Error::unsupported(self.name(), "it cannot hold more than 65536 snapshots"));
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(Error::Invalid("The name of the snapshot is too long".to_owned()));
        }
        let size = self.size();
        meta.while_dirty(|meta| meta.create_snapshot(name, date, size))
    }

    /// Makes the disk what it was when the snapshot was taken, size included. What it holds now is lost.
    ///
    /// # Errors
    /// [`Error::NotFound`]; and as for making one.
    pub fn apply_snapshot(&self, id_or_name: &str) -> Result<()> {
        self.refuse_with_data_file()?;
        if self.meta_read()?.has_live_bitmaps() {
            let what = format!("Could not apply snapshot '{id_or_name}': Device has active dirty bitmaps");
            return Err(Error::unsupported(self.name(), what));
        }
        let (_gate, mut meta) = self.exclusive()?;
        let g = self.geometry;
        let Some(snapshot) = snapshot::find(&meta.snapshots, id_or_name).and_then(|i| meta.snapshots.get(i))
        else {
            let what = format!("Could not apply snapshot '{id_or_name}': snapshot not found");
            return Err(Error::NotFound(what));
        };
        let snapshot = snapshot.clone();
        let size = snapshot.disk_size;
        super::resize::check_size(g, size)?;
        if g.version < 3 && size != self.size() {
            return Err(Error::unsupported(
                self.name(),
                "the disk had another size, which a v2 image cannot go back to",
            ));
        }
        meta.while_dirty(|meta| {
            let old = meta.l1.clone();
            let mut new = read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize)?;
            new.iter_mut().for_each(|entry| *entry = L1Entry(*entry).with_copied(false).0);
            let needed = g.l1_entries_for(size) as usize;
            new.resize(new.len().max(needed), 0);
            meta.share_all(&new, Share::Add)?;
            if let Err(error) = meta.switch_l1(new.clone(), size) {
                if meta.check_usable().is_ok() {
                    meta.share_all(&new, Share::Drop)?;
                }
                return Err(error);
            }
            self.set_size(size);
            meta.share_all(&old, Share::Drop)?;
            // Counts have fallen only after this.
            meta.commit()?;
            meta.correct_copied()
        })
    }

    /// Deletes a snapshot and frees what only it used.
    ///
    /// # Errors
    /// [`Error::NotFound`]; when the snapshot table cannot be read or written; and while a snapshot is open.
    pub fn delete_snapshot(&self, id_or_name: &str) -> Result<()> {
        self.refuse_with_data_file()?;
        let (_gate, mut meta) = self.exclusive()?;
        let Some(index) = snapshot::find(&meta.snapshots, id_or_name) else {
            let what = format!("Could not delete snapshot '{id_or_name}': snapshot not found");
            return Err(Error::NotFound(what));
        };
        if self.open_views.load(Ordering::Acquire) > 0 {
            let what = format!("Could not delete snapshot '{id_or_name}': a snapshot is being read");
            return Err(Error::unsupported(self.name(), what));
        }
        let mut list = meta.snapshots.clone();
        let snapshot = list.remove(index);
        let l1 = read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize)?;
        meta.while_dirty(|meta| {
            meta.write_snapshots(list)?;
            // The header does not name it any more: whatever goes wrong now only leaks.
            meta.share_all(&l1, Share::Drop)?;
            let bytes = u64::from(snapshot.l1_size) * 8;
            let first = HostCluster(snapshot.l1_offset >> self.geometry.cluster_bits);
            meta.free_later(HostRun { first, count: self.geometry.clusters_for(bytes) }, true);
            meta.commit()?;
            meta.correct_copied()
        })
    }
}

impl Qcow2 {
    /// Data that lies where the guest sees it cannot be kept while it is written anew.
    fn refuse_with_data_file(&self) -> Result<()> {
        match self.geometry.data_file {
            true => Err(Error::unsupported(self.name(), "Operation not supported")),
            false => Ok(()),
        }
    }
}

impl Meta {
    /// Makes a snapshot of a disk of `size` bytes.
    fn create_snapshot(&mut self, name: &str, date: std::time::Duration, size: u64) -> Result<Snapshot> {
        let g = self.geometry;
        let l1 = self.l1.clone();
        let bytes = l1.len() as u64 * 8;
        let run = self.allocate_table(g.clusters_for(bytes))?;
        if let Err(error) = self.share_all(&l1, Share::Add) {
            self.give_back(run);
            return Err(error);
        }
        let id = snapshot::next_id(&self.snapshots);
        let mut entry = Snapshot {
            raw_id: id.as_bytes().to_owned(),
            raw_name: name.as_bytes().to_owned(),
            id,
            name: name.to_owned(),
            date_seconds: u32::try_from(date.as_secs()).unwrap_or(u32::MAX),
            date_nanoseconds: date.subsec_nanos(),
            vm_clock: 0,
            vm_state_size: 0,
            disk_size: size,
            icount: Some(0),
            l1_offset: g.host_start(run.first).0,
            l1_size: l1.len() as u32,
            unknown_extra: Vec::new(),
            entry_length: 0,
        };
        entry.entry_length = snapshot::encode(std::slice::from_ref(&entry)).len() as u64;
        let made = self.publish_snapshot(&entry, &l1);
        if let Err(error) = made {
            // Unless the header may name the new table, everything can be taken back.
            if self.check_usable().is_ok() {
                self.snapshots.retain(|snapshot| snapshot.l1_offset != entry.l1_offset);
                self.share_all(&l1, Share::Drop)?;
                self.give_back(run);
            }
            return Err(error);
        }
        self.note_metadata(run, Kind::SnapshotL1);
        Ok(entry)
    }

    /// Writes the snapshot's L1 table and the new snapshot table, and names it in the header.
    fn publish_snapshot(&mut self, entry: &Snapshot, l1: &[u64]) -> Result<()> {
        let private: Vec<u64> = l1.iter().map(|&entry| L1Entry(entry).with_copied(false).0).collect();
        write_all(&*self.file, &table_bytes(&private), entry.l1_offset)?;
        // Nothing is ours alone any more; that must be durable before the snapshot counts on it.
        self.correct_copied()?;
        self.commit()?;
        let mut list = self.snapshots.clone();
        list.push(entry.clone());
        self.write_snapshots(list)
    }

    /// Writes a snapshot table elsewhere, lets the header name it, and gives up the old one.
    pub(super) fn write_snapshots(&mut self, mut list: Vec<Snapshot>) -> Result<()> {
        let g = self.geometry;
        let bytes = snapshot::encode(&list);
        if bytes.len() as u64 > MAX_TABLE_BYTES {
            return Err(Error::unsupported(self.file.name(), "the snapshot table would become too large"));
        }
        let run = match list.is_empty() {
            true => None,
            false => Some(self.allocate_table(g.clusters_for(bytes.len() as u64))?),
        };
        let offset = run.map_or(0, |run| g.host_start(run.first).0);
        let written = write_all(&*self.file, &bytes, offset).and_then(|()| self.commit());
        if let Err(error) = written {
            if let Some(run) = run {
                self.give_back(run);
            }
            return Err(error);
        }
        let old = HostRun {
            first: HostCluster(self.header.snapshots_offset >> g.cluster_bits),
            count: g.clusters_for(snapshot::encoded_length(&self.snapshots)),
        };
        self.header.snapshot_count = list.len() as u32;
        self.header.snapshots_offset = offset;
        let field_bytes = self.header.snapshot_table();
        self.write_header_field(field::SNAPSHOTS, &field_bytes)?;
        for snapshot in &mut list {
            snapshot.entry_length = snapshot::encode(std::slice::from_ref(snapshot)).len() as u64;
        }
        self.snapshots = list;
        if let Some(run) = run {
            self.note_metadata(run, Kind::SnapshotTable);
        }
        if old.count > 0 {
            self.forget_metadata(old);
            self.free_later(old, false);
        }
        Ok(())
    }

    /// Counts everything below an L1 table once more, or once less. When adding fails, what was added is
    /// taken back. Dropping goes through the queue of freed clusters, at the next commit.
    fn share_all(&mut self, l1: &[u64], share: Share) -> Result<()> {
        for (index, &entry) in l1.iter().enumerate() {
            let Some(table) = self.l2_table(L1Entry(entry))? else { continue };
            let result = self.share_table(table.0, share);
            if result.is_err() && share == Share::Add {
                for &entry in l1.get(..index).unwrap_or_default() {
                    if let Ok(Some(table)) = self.l2_table(L1Entry(entry)) {
                        self.share_table(table.0, Share::Drop)?;
                    }
                }
            }
            result?;
            self.make_room()?;
        }
        Ok(())
    }

    /// One table and what its entries refer to. When adding fails, nothing has changed.
    fn share_table(&mut self, table: u64, share: Share) -> Result<()> {
        let g = self.geometry;
        let mut runs = vec![HostRun::one(HostCluster(table >> g.cluster_bits))];
        for page in (0..g.cluster_size()).step_by(g.page_size() as usize) {
            let bytes = self.l2.load(&*self.file, table + page)?;
            for index in 0..g.entries_per_page() {
                let Some(entry) = L2Entry::read(bytes, index, g) else { break };
                match entry.references(g) {
                    Ok(run) => runs.extend(run),
                    Err(bad) => return Err(Error::corrupt(self.file.name(), bad.text(entry))),
                }
            }
        }
        let mut added = Vec::new();
        for run in runs {
            if share == Share::Drop {
                self.free_later(run, true);
                continue;
            }
            for cluster in run.clusters() {
                if let Err(error) = self.add_reference(cluster) {
                    added.into_iter().for_each(|cluster| self.give_back(HostRun::one(cluster)));
                    return Err(error);
                }
                added.push(cluster);
            }
        }
        Ok(())
    }

    /// Sets COPIED in all active tables to what the reference counts say.
    pub(super) fn correct_copied(&mut self) -> Result<()> {
        self.check_copied(&mut CheckReport::default(), true)
    }
}
