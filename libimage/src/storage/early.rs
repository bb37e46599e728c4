//! Writing to disk while the writing goes on.
//!
//! What was written is handed to the disk as soon as a few megabytes of it lie together, so that the final
//! sync of a large new file finds most of the work done. A hint only: nothing depends on it.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Advice, fadvise};

/// Bytes that are handed over together.
const STEP: u64 = 4 << 20;
/// Places that are written to at the same time.
const MAX_RANGES: usize = 16;

/// What was written lately and not handed over yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    enabled: AtomicBool,
    recent: Mutex<Vec<Range<u64>>>,
}

impl Early {
    pub(super) fn enable(&self) {
        self.enabled.store(true, Ordering::Relaxed);
    }

    /// `range` of the file has just been written.
    pub(super) fn written(&self, file: &File, range: Range<u64>) {
        if !self.enabled.load(Ordering::Relaxed) {
            return;
        }
        let complete = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut recent, range)
        };
        if let Some(range) = complete {
            // For dirty pages this begins to write them out, and keeps them in memory. Whoever cannot do it
            // has more to do later.
            let _ = fadvise(file, range.start, NonZeroU64::new(range.end - range.start), Advice::DontNeed);
        }
    }
}

/// Takes a range in; returns one that is large enough, or the oldest one when there are too many.
fn add(recent: &mut Vec<Range<u64>>, range: Range<u64>) -> Option<Range<u64>> {
    let index = match recent.iter().position(|known| known.end == range.start) {
        Some(index) => {
            if let Some(known) = recent.get_mut(index) {
                known.end = range.end;
            }
            index
        }
        None => {
            recent.push(range);
            recent.len() - 1
        }
    };
    if recent.get(index).is_some_and(|known| known.end - known.start >= STEP) {
        return Some(recent.remove(index));
    }
    (recent.len() > MAX_RANGES).then(|| recent.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_handed_over_together() {
        let mut recent = Vec::new();
        let part = STEP / 4;
        for start in [0, part, 100 * STEP, 2 * part] {
            assert_eq!(add(&mut recent, start..start + part), None);
        }
        assert_eq!(add(&mut recent, 3 * part..4 * part), Some(0..STEP));
        for i in 0..MAX_RANGES as u64 - 1 {
            assert_eq!(add(&mut recent, 2 * i..2 * i + 1), None);
        }
        assert_eq!(add(&mut recent, 1000..1001), Some(100 * STEP..100 * STEP + part));
    }
}
