//! The one copy engine: from any block device to any other, in parallel, leaving holes holes.
//!
//! Workers take segments of the source in order. What the source knows to be zero is never read; what
//! is read and turns out to be zero is not written. Nothing depends on the order in which segments end.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::progress::Progress;
use super::zero::leading_run;
use crate::block::{Block, Zero};
use crate::error::{Error, Result};
use crate::format::qcow2::{Compressor, Qcow2};

/// What one worker takes at a time, in bytes. A multiple of every cluster size.
const SEGMENT: u64 = 4 << 20;
/// What is read and written in one request, in bytes.
const BUFFER: usize = 2 << 20;

/// Where a copy goes, and how it writes there.
pub trait Target: Sync {
    /// Writes bytes that are not all zero. `offset` is a multiple of [`granularity`](Self::granularity).
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Makes a range read as zeroes; not called when the target reads as zeroes from the start.
    fn zero(&self, range: Range<u64>) -> Result<()>;

    /// The smallest run of zeroes worth a hole, in bytes: a power of two.
    fn granularity(&self) -> usize;

    /// It reads as zeroes wherever nothing was written yet.
    fn starts_zeroed(&self) -> bool;
}

/// A target that is written as it comes.
pub struct Plain<'a> {
    /// Where to.
    pub block: &'a dyn Block,
    /// It is freshly made: what is not written reads as zeroes.
    pub starts_zeroed: bool,
    /// The smallest run of zeroes worth a hole, in bytes; 0 writes them all.
    pub sparse: usize,
}

impl Target for Plain<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.block.write_at(bytes, offset)
    }

    fn zero(&self, range: Range<u64>) -> Result<()> {
        let how = if self.sparse == 0 { Zero::KeepAllocated } else { Zero::MayUnmap };
        self.block.write_zeroes(range, how)
    }

    fn granularity(&self) -> usize {
        self.sparse.max(512)
    }

    fn starts_zeroed(&self) -> bool {
        self.starts_zeroed && self.sparse != 0
    }
}

/// A qcow2 image whose new clusters are stored compressed.
pub struct Compressed<'a> {
    image: &'a Qcow2,
    compressor: Compressor,
    starts_zeroed: bool,
}

impl<'a> Compressed<'a> {
    /// Compresses into `image`; `starts_zeroed` if it was freshly made.
    pub fn new(image: &'a Qcow2, starts_zeroed: bool) -> Self {
        Compressed { image, compressor: image.compressor(None), starts_zeroed }
    }
}

impl Target for Compressed<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let cluster = self.compressor.cluster_size();
        for (piece, at) in bytes.chunks(cluster).zip((offset..).step_by(cluster)) {
            match self.compressor.compress(piece) {
                Some(packed) => self.image.write_compressed_cluster(at, &packed)?,
                None => self.image.write_at(piece, at)?,
            }
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> Result<()> {
        self.image.write_zeroes(range, Zero::MayUnmap)
    }

    fn granularity(&self) -> usize {
        self.compressor.cluster_size()
    }

    fn starts_zeroed(&self) -> bool {
        self.starts_zeroed
    }
}

/// Copies all of `source` to the start of `target`, with `workers` threads.
///
/// # Errors
/// The first error of any worker, or [`Error::Cancelled`]; the target is then incomplete.
pub fn copy(source: &dyn Block, target: &dyn Target, workers: usize, progress: &dyn Progress) -> Result<()> {
    let size = source.size();
    progress.step("Copying", size);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = next.fetch_add(SEGMENT, Ordering::Relaxed);
            if start >= size {
                return;
            }
            let segment = start..start.saturating_add(SEGMENT).min(size);
            let length = segment.end - segment.start;
            let done = match progress.is_cancelled() {
                true => Err(Error::Cancelled),
                false => copy_segment(source, target, segment, &mut buffer),
            };
            match done {
                Ok(()) => progress.advance(length),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.max(1) {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn copy_segment(
    source: &dyn Block,
    target: &dyn Target,
    segment: Range<u64>,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    let unit = target.granularity() as u64;
    let mut at = segment.start;
    while at < segment.end {
        let extent = source.status(at..segment.end)?;
        if extent.zero
            && (extent.length >= unit || at + extent.length == segment.end)
            && at.is_multiple_of(unit)
        {
            // Whole units only: the rest of a unit that also holds data is read with it.
            let end = at + extent.length;
            let end = if end == segment.end { end } else { end - end % unit };
            if !target.starts_zeroed() {
                target.zero(at..end)?;
            }
            at = end;
            continue;
        }
        let end = (at + extent.length).next_multiple_of(unit).max(at + unit).min(segment.end);
        let end = end.min(at + BUFFER as u64);
        let length = (end - at) as usize;
        if buffer.len() < length {
            buffer.resize(BUFFER.max(length), 0);
        }
        let bytes = &mut buffer[..length];
        source.read_at(bytes, at).map_err(|e| e.context(format!("error while reading at byte {at}")))?;
        write_runs(target, bytes, at)?;
        at = end;
    }
    Ok(())
}

fn write_runs(target: &dyn Target, bytes: &[u8], start: u64) -> Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let offset = start + done as u64;
        let (length, zero) = leading_run(&bytes[done..], target.granularity());
        let wrote = match (zero, target.starts_zeroed()) {
            (true, true) => Ok(()),
            (true, false) => target.zero(offset..offset + length as u64),
            (false, _) => target.write(&bytes[done..done + length], offset),
        };
        wrote.map_err(|e| e.context(format!("error while writing at byte {offset}")))?;
        done += length;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::Silent;
    use crate::storage::Memory;

    fn bytes(memory: &Memory) -> Vec<u8> {
        let mut all = vec![0; memory.size() as usize];
        memory.read_at(&mut all, 0).unwrap();
        all
    }

    #[test]
    fn holes_stay_holes_and_every_byte_arrives() {
        let size = (3 * SEGMENT + 777) as usize;
        let source = Memory::new(size as u64);
        let mut seed = 1u64;
        for _ in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 20) as usize % (size - 5000);
            source.write_at(&vec![seed as u8 | 1; 1 + (seed >> 50) as usize % 4999], at as u64).unwrap();
        }
        for (sparse, starts_zeroed) in [(4096, true), (4096, false), (65_536, true), (0, true)] {
            let target = Memory::new(size as u64);
            if !starts_zeroed {
                target.write_at(&vec![0xee; size], 0).unwrap();
            }
            let plain = Plain { block: &target, starts_zeroed, sparse };
            copy(&source, &plain, 3, &Silent).unwrap();
            assert!(bytes(&source) == bytes(&target), "{sparse} {starts_zeroed}");
            if sparse == 65_536 {
                assert_eq!(source.allocated_bytes(), target.allocated_bytes());
            }
        }
    }

    #[test]
    fn a_cancelled_copy_says_so() {
        struct Now;
        impl Progress for Now {
            fn step(&self, _: &str, _: u64) {}
            fn advance(&self, _: u64) {}
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let (source, target) = (Memory::new(100), Memory::new(100));
        let plain = Plain { block: &target, starts_zeroed: true, sparse: 4096 };
        assert!(matches!(copy(&source, &plain, 2, &Now), Err(Error::Cancelled)));
    }
}
