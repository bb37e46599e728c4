//! Reading an internal snapshot as a disk of its own.

use std::ops::Range;
use std::sync::Arc;

use super::image::Qcow2;
use super::read::View;
use super::snapshot;
use super::storage::read_table;
use crate::block::{Block, Extent, HostRange, Limits, check_range, read_only};
use crate::error::{Error, Result};
use crate::sync::Ordering;

/// An internal snapshot, for reading. While it lives the snapshot cannot be deleted.
pub struct SnapshotView {
    image: Arc<Qcow2>,
    l1: Vec<u64>,
    size: u64,
    name: String,
}

impl Qcow2 {
    /// Opens the snapshot with this id or name for reading. It shares the image's backing file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such snapshot; and when its table cannot be read.
    pub fn open_snapshot(self: &Arc<Self>, id_or_name: &str) -> Result<SnapshotView> {
        let _gate = self.enter()?;
        let meta = self.meta_read()?;
        let index = snapshot::find(&meta.snapshots, id_or_name);
        let Some(snapshot) = index.and_then(|index| meta.snapshots.get(index)) else {
            return Err(Error::NotFound(format!("Can't find snapshot '{id_or_name}' in '{}'", self.name())));
        };
        let size = snapshot.disk_size;
        if self.geometry.l1_entries_for(size) > u64::from(snapshot.l1_size) {
            let what = format!("the L1 table of snapshot '{id_or_name}' is too small for its disk");
            return Err(Error::corrupt(self.name(), what));
        }
        let l1 = read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize)?;
        let name = format!("{} (snapshot {})", self.name(), snapshot.name);
        self.open_views.fetch_add(1, Ordering::AcqRel);
        Ok(SnapshotView { image: Arc::clone(self), l1, size, name })
    }
}

impl Drop for SnapshotView {
    fn drop(&mut self) {
        self.image.open_views.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Block for SnapshotView {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let _gate = self.image.enter()?;
        self.image.read_view(View::Fixed(&self.l1), buf, offset)
    }

    read_only!();

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let _gate = self.image.enter()?;
        self.image.status_view(View::Fixed(&self.l1), range)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let _gate = self.image.enter()?;
        self.image.host_range_of(View::Fixed(&self.l1), range)
    }

    fn limits(&self) -> Limits {
        self.image.limits()
    }

    fn name(&self) -> &str {
        &self.name
    }
}
