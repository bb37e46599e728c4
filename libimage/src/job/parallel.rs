//! Dividing a disk among threads: each takes the next segment that needs work, until there is none.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Result};

/// How a disk is divided.
pub(super) struct Division {
    /// Bytes of the disk.
    pub(super) size: u64,
    /// Bytes of a segment, except the last one.
    pub(super) segment: u64,
    /// Threads, at least one.
    pub(super) workers: usize,
}

/// Deals with one segment; the buffer is the worker's own.
pub(super) type Work<'a> = dyn Fn(Range<u64>, &mut Vec<u8>) -> Result<()> + Sync + 'a;

/// Calls `work` for all segments, in order of their beginning but from several threads, each with a buffer
/// that it keeps. `skip` is asked before each segment where the next work is, from a position on: what lies
/// between needs none. No segment is begun after one has failed.
///
/// # Errors
/// The first error of any worker.
pub(super) fn each_segment(
    division: &Division,
    skip: &(dyn Fn(u64) -> Result<u64> + Sync),
    work: &Work<'_>,
) -> Result<()> {
    let &Division { size, segment, workers } = division;
    let next = Mutex::new(0u64);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let take = || -> Result<Option<Range<u64>>> {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if *next >= size || stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let found = skip(*next)?.max(*next);
        if found >= size {
            *next = size;
            return Ok(None);
        }
        let start = found - found % segment;
        *next = start.saturating_add(segment);
        Ok(Some(start..next.min(size)))
    };
    let run = || {
        let mut buffer = Vec::new();
        loop {
            let done = match take() {
                Ok(None) => return,
                Ok(Some(range)) => work(range, &mut buffer),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                stop.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    let workers = workers.max(1).min(usize::try_from(size.div_ceil(segment.max(1))).unwrap_or(usize::MAX));
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(run);
        }
        run();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Threads for work that keeps a processor busy.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_once_but_those_skipped() {
        let seen = Mutex::new(Vec::new());
        let division = Division { size: 1000, segment: 100, workers: 3 };
        // Nothing to do in 150..450: the segments 200 and 300 are left out.
        let skip = |at| Ok(if (150..450).contains(&at) { 450 } else { at });
        let work = |range: Range<u64>, _: &mut Vec<u8>| {
            seen.lock().unwrap().push(range.start);
            Ok(())
        };
        each_segment(&division, &skip, &work).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [0, 100, 400, 500, 600, 700, 800, 900]);
    }

    #[test]
    fn one_failure_ends_it() {
        let division = Division { size: 1 << 40, segment: 1, workers: 2 };
        let work = |range: Range<u64>, _: &mut Vec<u8>| match range.start {
            0..50 => Ok(()),
            _ => Err(Error::Cancelled),
        };
        assert!(matches!(each_segment(&division, &Ok, &work), Err(Error::Cancelled)));
    }
}
