//! Do two disks read alike? In parallel, and yet the first difference is the one that is told.
//!
//! What both know to be zero is never read. A longer disk is equal if what it has more is zero.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::parallel::{Division, each_segment};
use super::progress::Progress;
use super::zero::is_zero;
use crate::block::{Block, Extent};
use crate::error::{Error, Result};

const SEGMENT: u64 = 4 << 20;
/// What is read of each disk at a time, in bytes: both should stay in the processor's cache.
const BUFFER: usize = 256 << 10;
/// Differences are told in these units.
const SECTOR: usize = 512;

/// Which of the two disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one named first.
    First,
    /// The other one.
    Second,
}

/// What was found first, going by its offset.
#[derive(Debug)]
pub enum Finding {
    /// The sector at this offset differs.
    Content(u64),
    /// What lies at this offset is stored in another way (only in a strict comparison).
    Status(u64),
    /// It could not be told what a disk holds.
    NoStatus(Side, Error),
    /// A disk could not be read at this offset.
    NoRead(Side, u64, Error),
}

/// How two disks are compared.
pub struct Manner<'a> {
    /// What lies where must be stored alike, too.
    pub strict: bool,
    /// Threads, at least one.
    pub workers: usize,
    /// Learns of every byte, and may cancel.
    pub progress: &'a dyn Progress,
}

/// Compares `range` of two disks; a disk that ends before counts as zero there. Returns what was found first,
/// going by its offset; `None` if there is no difference.
///
/// # Errors
/// [`Error::Cancelled`] only: whatever else goes wrong is a finding.
pub fn compare(
    first: &dyn Block,
    second: &dyn Block,
    range: Range<u64>,
    manner: &Manner,
) -> Result<Option<Finding>> {
    let job = Job { disks: [first, second], range, manner, found: Mutex::new(None) };
    let size = job.range.end.saturating_sub(job.range.start);
    let division = Division { size, segment: SEGMENT, workers: manner.workers };
    // Segments are counted from the beginning of the range.
    let start = job.range.start;
    let skip = |at| Ok(job.skip(start + at)? - start);
    each_segment(&division, &skip, &|part, buffer| {
        job.segment(start + part.start..start + part.end, buffer)
    })?;
    let found = job.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(found.map(|(_, finding)| finding))
}

struct Job<'a> {
    disks: [&'a dyn Block; 2],
    range: Range<u64>,
    manner: &'a Manner<'a>,
    /// The finding with the lowest offset so far.
    found: Mutex<Option<(u64, Finding)>>,
}

impl Job<'_> {
    fn note(&self, at: u64, finding: Finding) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.as_ref().is_none_or(|(known, _)| at < *known) {
            *found = Some((at, finding));
        }
    }

    /// Something was found at or before `at` already.
    fn is_settled(&self, at: u64) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().is_some_and(|(known, _)| *known <= at)
    }

    /// What lies at `at`: one extent for each disk that is that long, and the length both have in common.
    fn look(&self, at: u64, end: u64) -> Result<([Extent; 2], u64), Finding> {
        let [first, second] = self.disks;
        let one = |side, disk: &dyn Block| {
            if at >= disk.size() {
                return Ok(Extent::absent(end - at));
            }
            let end = end.min(disk.size());
            disk.status(at..end).map_err(|error| Finding::NoStatus(side, error))
        };
        let extents = [one(Side::First, first)?, one(Side::Second, second)?];
        let [a, b] = extents;
        Ok((extents, a.length.min(b.length).max(1)))
    }

    /// Where the next work is, from `at` on: long runs of zeroes in both disks are none.
    fn skip(&self, at: u64) -> Result<u64> {
        if self.manner.progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.is_settled(at) {
            return Ok(self.range.end);
        }
        match self.look(at, self.range.end) {
            Ok(([a, b], length)) if a.zero && b.zero && !(self.manner.strict && differ(&a, &b)) => {
                let end = at + length;
                let rest = if end == self.range.end { 0 } else { (end - self.range.start) % SEGMENT };
                let end = end - rest;
                self.manner.progress.advance(end.saturating_sub(at));
                Ok(end.max(at))
            }
            // The one who works on the segment will meet it.
            _ => Ok(at),
        }
    }

    fn segment(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let mut at = range.start;
        while at < range.end && !self.is_settled(at) {
            if self.manner.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.step(at, range.end, buffer) {
                Ok(length) => {
                    self.manner.progress.advance(length);
                    at += length;
                }
                Err((offset, finding)) => {
                    self.note(offset, finding);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compares what is stored alike at `at`; returns how many bytes that was.
    fn step(&self, at: u64, end: u64, buffer: &mut Vec<u8>) -> Result<u64, (u64, Finding)> {
        let ([a, b], length) = self.look(at, end).map_err(|finding| (at, finding))?;
        if self.manner.strict && differ(&a, &b) {
            return Err((at, Finding::Status(at)));
        }
        if a.zero && b.zero {
            return Ok(length);
        }
        buffer.resize(2 * BUFFER, 0);
        let (one, other) = buffer.split_at_mut(BUFFER);
        let read = |side: Side, bytes: &mut [u8], offset| {
            let [first, second] = self.disks;
            let disk = if side == Side::First { first } else { second };
            disk.read_at(bytes, offset).map_err(|error| (offset, Finding::NoRead(side, offset, error)))
        };
        let mut done = 0;
        while done < length {
            let offset = at + done;
            if self.is_settled(offset) {
                break;
            }
            let part = (length - done).min(BUFFER as u64) as usize;
            let (one, other) = (&mut one[..part], &mut other[..part]);
            let differs = if a.present && b.present {
                read(Side::First, one, offset)?;
                read(Side::Second, other, offset)?;
                first_difference(one, other)
            } else {
                // A disk that holds nothing there reads as zeroes.
                let side = if a.present { Side::First } else { Side::Second };
                read(side, one, offset)?;
                first_data(one)
            };
            if let Some(sector) = differs {
                let offset = offset + sector as u64;
                return Err((offset, Finding::Content(offset)));
            }
            done += part as u64;
        }
        Ok(length)
    }
}

/// True if a strict comparison tells the two apart.
fn differ(a: &Extent, b: &Extent) -> bool {
    let kind = |e: &Extent| (e.present, e.zero, e.data, e.compressed, e.offset.is_some());
    kind(a) != kind(b)
}

/// The first sector that differs, as an offset in bytes.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    if one == other {
        return None;
    }
    let index = one.chunks(SECTOR).zip(other.chunks(SECTOR)).position(|(a, b)| a != b)?;
    Some(index * SECTOR)
}

/// The first sector that is not zero, as an offset in bytes.
fn first_data(bytes: &[u8]) -> Option<usize> {
    if is_zero(bytes) {
        return None;
    }
    Some(bytes.chunks(SECTOR).position(|sector| !is_zero(sector))? * SECTOR)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::Silent;
    use crate::storage::Memory;

    fn find(a: &Memory, b: &Memory) -> Option<u64> {
        let manner = Manner { strict: false, workers: 3, progress: &Silent };
        match compare(a, b, 0..a.size().max(b.size()), &manner).unwrap() {
            None => None,
            Some(Finding::Content(at)) => Some(at),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_difference_is_told_whoever_finds_one() {
        let size = 5 * SEGMENT + 1024;
        let (a, b) = (Memory::new(size), Memory::new(size));
        for disk in [&a, &b] {
            disk.write_at(&vec![7; 3 << 20], 1 << 20).unwrap();
        }
        assert_eq!(find(&a, &b), None);
        // Data that is zero is as good as none.
        b.write_at(&[0; 5000], 2 * SEGMENT + 77).unwrap();
        assert_eq!(find(&a, &b), None);
        let mut seed = 9u64;
        let mut lowest = u64::MAX;
        for _ in 0..40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 16) % size;
            b.write_at(&[9], at).unwrap();
            lowest = lowest.min(at / 512 * 512);
            assert_eq!(find(&a, &b), Some(lowest));
            assert_eq!(find(&b, &a), Some(lowest));
        }
    }

    #[test]
    fn a_longer_disk_is_equal_if_the_rest_is_zero() {
        let (a, b) = (Memory::new(1000), Memory::new(2 * SEGMENT));
        assert_eq!(find(&a, &b), None);
        b.write_at(&[1], SEGMENT + 5).unwrap();
        assert_eq!(find(&a, &b), Some(SEGMENT));
        a.write_at(&[1], 600).unwrap();
        assert_eq!(find(&b, &a), Some(512));
    }
}
