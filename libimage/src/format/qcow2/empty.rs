//! Forgetting everything that an image holds itself, so that its backing file shows everywhere.

use super::image::Qcow2;
use super::meta::Meta;
use super::units::GuestCluster;
use super::zero::Clear;
use crate::block::Block;
use crate::error::Result;

/// Entries that are cleared between looks at the memory that this takes.
const STEP: u64 = 1024;
/// Clusters whose references are kept in memory until they are given up.
const MAX_PENDING: u64 = 1 << 20;

impl Qcow2 {
    /// Gives all clusters of the disk up, and the tables that named them. What was read from them is read from the
    /// backing file afterwards, or as zeroes. Snapshots keep what is theirs. Cut short, it has done a part: each
    /// cluster is either kept or gone.
    ///
    /// # Errors
    /// When the tables cannot be read or written.
    pub fn make_empty(&self) -> Result<()> {
        let g = self.geometry;
        let size = self.size();
        let end = g.clusters_for(size);
        drop(self.enter_to_write(0, 0)?);
        let (_gate, mut meta) = self.exclusive()?;
        // Most of it goes by cutting the file, which is faster than many holes.
        meta.freeing.space_at_the_end = true;
        let emptied = meta.give_all_up(size);
        meta.freeing.space_at_the_end = false;
        emptied?;
        meta.punch_free()?;
        drop(meta);
        // No table refers to it any more, not even on the disk.
        self.discard_data(0..end << g.cluster_bits, Clear::Remove);
        self.file.flush()
    }
}

impl Meta {
    /// Removes every entry and table of a disk of `size` bytes, and cuts what is free off the end of the file.
    fn give_all_up(&mut self, size: u64) -> Result<()> {
        let g = self.geometry;
        let end = g.clusters_for(size);
        let mut cluster = GuestCluster(0);
        while cluster.0 < end {
            let step = (end - cluster.0).min(g.l2_entries() - g.l2_index(cluster)).min(STEP);
            let (done, _) = self.clear_run(cluster, step, end - cluster.0, Clear::Remove, true)?;
            cluster.0 += done.max(1);
            // Nobody waits for the space: it is given up all at once, if the memory for that is there.
            let crowded = self.l2.is_full() && self.l2.is_mostly_dirty();
            if crowded || self.freeing.pending_clusters() > MAX_PENDING {
                self.commit()?;
            }
            self.make_read_room();
        }
        // What a saved machine state needs lies behind the disk.
        let tables = self.l1.len().min(g.l1_entries_for(size) as usize);
        self.drop_tables(0..tables)?;
        self.cut_file()
    }
}
