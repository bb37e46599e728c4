//! Copying without bytes passing through memory: where stored clusters lie in the file, and taking clusters
//! over from another file. The order is that of every write: allocate, copy, publish.

use std::ops::Range;
use std::sync::Arc;

use super::image::Qcow2;
use super::map::Source;
use super::read::View;
use super::units::GuestOffset;
use super::write::Plan;
use crate::block::HostRange;
use crate::error::Result;

impl Qcow2 {
    /// The file that stores the beginning of `range` as it is. The caller has checked the range, and holds
    /// the gate.
    pub(super) fn host_range_of(&self, view: View<'_>, range: Range<u64>) -> Result<Option<HostRange>> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 || !self.stored_zeroes_are_zeroes() {
            return Ok(None);
        }
        let runs = self.runs(view, GuestOffset(range.start), length, 1)?;
        let Some(&(source, run)) = runs.list.first() else { return Ok(None) };
        let backing = self.backing()?;
        let (block, start) = match source {
            Source::Data(host) => (self.data_file()?, host.0),
            Source::Backing | Source::Reserved(_) => match &backing {
                Some(backing) => (&**backing, range.start),
                None => return Ok(None),
            },
            Source::Zero(_) | Source::Compressed(_) => return Ok(None),
        };
        // The last cluster of the file may be cut short.
        let end = start.saturating_add(run).min(block.size());
        if start < end { block.host_range(start..end) } else { Ok(None) }
    }

    /// Takes whole clusters over from `source`; returns how many bytes that are, 0 where it is not possible.
    /// The caller has checked the range, and holds the gate.
    pub(super) fn copy_clusters(&self, source: &HostRange, offset: u64) -> Result<u64> {
        let g = self.geometry;
        let whole = source.length & !(g.cluster_size() - 1);
        if !g.is_aligned(offset) || !self.stored_zeroes_are_zeroes() {
            return Ok(0);
        }
        let mut done = 0;
        while done < whole {
            let seen = self.claims_released();
            let part =
                |length| HostRange { file: Arc::clone(&source.file), offset: source.offset + done, length };
            let (wanted, copied) = match self.plan(offset + done, whole - done)? {
                Plan::Wait => {
                    self.wait_for_release(seen);
                    continue;
                }
                Plan::InPlace { host, length, _in_use } => {
                    (length, self.data_file()?.copy_from_file(&part(length), host.0)?)
                }
                Plan::Remap(remap) => {
                    let length = remap.bytes.end - remap.bytes.start;
                    let copied = self.data_file()?.copy_from_file(&part(length), remap.host.0)?;
                    // Less than all is published as nothing: the clusters are given back.
                    if copied == length {
                        self.publish_run(remap)?;
                    }
                    (length, if copied == length { length } else { 0 })
                }
            };
            done += copied & !(g.cluster_size() - 1);
            if copied < wanted {
                break;
            }
        }
        Ok(done)
    }
}
