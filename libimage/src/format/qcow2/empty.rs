//! Forgetting everything that an image holds itself, so that its backing file shows everywhere.

use super::image::Qcow2;
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
        let mut cluster = GuestCluster(0);
        while cluster.0 < end {
            let step = (end - cluster.0).min(g.l2_entries() - g.l2_index(cluster)).min(STEP);
            let (done, _) = meta.clear_run(cluster, step, end - cluster.0, Clear::Remove, true)?;
            cluster.0 += done.max(1);
            // Nobody waits for the space: it is given up all at once, if the memory for that is there.
            let crowded = meta.l2.is_full() && meta.l2.is_mostly_dirty();
            if crowded || meta.freeing.pending_clusters() > MAX_PENDING {
                meta.commit()?;
            }
            meta.make_read_room();
        }
        // What a saved machine state needs lies behind the disk.
        let tables = meta.l1.len().min(g.l1_entries_for(size) as usize);
        meta.drop_tables(0..tables)?;
        meta.cut_file()?;
        drop(meta);
        // No table refers to it any more, not even on the disk.
        self.discard_data(0..end << g.cluster_bits, Clear::Remove);
        self.file.flush()
    }
}
