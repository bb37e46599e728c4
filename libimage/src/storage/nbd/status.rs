//! What a server told of holes and data, kept until something is written: it tells much at once.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use nbd_protocol::client::StatusExtent;

use crate::error::Result;

/// The extents of the last answer.
#[derive(Default)]
pub(super) struct Statuses {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Counts changes: an answer to a question that was asked before one is not kept.
    changes: u64,
    /// Where each extent ends, in ascending order, and what it is.
    extents: Vec<(u64, u64)>,
    /// Where the first one begins.
    start: u64,
}

impl Known {
    fn find(&self, range: &Range<u64>) -> Option<StatusExtent> {
        if range.start < self.start {
            return None;
        }
        let (end, flags) = *self.extents.get(self.extents.partition_point(|(end, _)| *end <= range.start))?;
        Some(StatusExtent { length: end.min(range.end) - range.start, flags })
    }
}

impl Statuses {
    /// Something is about to change, or just did.
    pub(super) fn changing(&self) {
        let mut known = self.lock();
        known.changes = known.changes.wrapping_add(1);
        known.extents.clear();
    }

    /// The extent at the start of `range`, not longer than it; asked for with `ask` if it is not known. That returns
    /// extents from a place at or before the range.
    pub(super) fn find(
        &self,
        range: Range<u64>,
        ask: impl FnOnce() -> Result<(u64, Vec<StatusExtent>)>,
    ) -> Result<StatusExtent> {
        let changes = {
            let known = self.lock();
            if let Some(found) = known.find(&range) {
                return Ok(found);
            }
            known.changes
        };
        let (start, answer) = ask()?;
        let mut end = start;
        let mut fresh = Known { changes, extents: Vec::with_capacity(answer.len()), start };
        for extent in answer {
            end = end.saturating_add(extent.length);
            fresh.extents.push((end, extent.flags));
        }
        // An answer that ends before the range says nothing of it: what is there has to be read.
        let unknown = StatusExtent { length: range.end - range.start, flags: 0 };
        let found = fresh.find(&range).unwrap_or(unknown);
        let mut known = self.lock();
        if known.changes == changes {
            *known = fresh;
        }
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
