//! Forgetting everything that an image holds itself, so that its backing file shows everywhere.

use super::image::Qcow2;
use super::zero::Clear;
use crate::block::Block;
use crate::error::Result;

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
        let end = size.checked_next_multiple_of(g.cluster_size()).unwrap_or(size);
        {
            let _gate = self.enter_to_write(0, size)?;
            self.clear(0..end, Clear::Remove)?;
        }
        let (_gate, mut meta) = self.exclusive()?;
        // What a saved machine state needs lies behind the disk.
        let tables = meta.l1.len().min(g.l1_entries_for(size) as usize);
        meta.drop_tables(0..tables)?;
        meta.cut_file()?;
        drop(meta);
        self.file.flush()
    }
}
