//! The one copy engine: from any block device to any other, in parallel, leaving holes holes.
//!
//! Workers take segments of the source in order. What the source knows to be zero is never read; what
//! is read and turns out to be zero is not written. Nothing depends on the order in which segments end.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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

    /// It shows a backing file where nothing was written yet, so that only what the source's own layer holds
    /// is copied.
    fn over_backing(&self) -> bool;
}

/// How a copy goes about its work.
pub struct Manner<'a> {
    /// Threads, at least one.
    pub workers: usize,
    /// Write no more than this.
    pub bytes_per_second: Option<u64>,
    /// What cannot be read is told to this, with its offset, and taken for zeroes.
    pub salvage: Option<&'a (dyn Fn(u64, Error) + Sync)>,
}

impl Manner<'_> {
    /// At full speed, with `workers` threads.
    pub fn plain(workers: usize) -> Self {
        Manner { workers, bytes_per_second: None, salvage: None }
    }
}

/// A target that is written as it comes.
pub struct Plain<'a> {
    /// Where to.
    pub block: &'a dyn Block,
    /// It is freshly made: what is not written reads as zeroes.
    pub starts_zeroed: bool,
    /// The smallest run of zeroes worth a hole, in bytes; 0 writes them all.
    pub sparse: usize,
    /// It shows a backing file where nothing was written yet.
    pub over_backing: bool,
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

    fn over_backing(&self) -> bool {
        self.over_backing
    }
}

/// A qcow2 image whose new clusters are stored compressed.
pub struct Compressed<'a> {
    image: &'a Qcow2,
    compressor: Compressor,
    starts_zeroed: bool,
    over_backing: bool,
}

impl<'a> Compressed<'a> {
    /// Compresses into `image`; `starts_zeroed` if it was freshly made, `over_backing` if it shows a backing
    /// file where nothing was written yet.
    pub fn new(image: &'a Qcow2, starts_zeroed: bool, over_backing: bool) -> Self {
        Compressed { image, compressor: image.compressor(None), starts_zeroed, over_backing }
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

    fn over_backing(&self) -> bool {
        self.over_backing
    }
}

/// Copies all of `source` to the start of `target`.
///
/// # Errors
/// The first error of any worker, or [`Error::Cancelled`]; the target is then incomplete.
pub fn copy(source: &dyn Block, target: &dyn Target, manner: &Manner, progress: &dyn Progress) -> Result<()> {
    let size = source.size();
    progress.step("Copying", size);
    let job = Job { source, target, manner, progress, started: Instant::now(), written: AtomicU64::new(0) };
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
            match job.segment(segment, &mut buffer) {
                Ok(()) => progress.advance(length),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    let workers = manner.workers.max(1).min(size.div_ceil(SEGMENT).max(1) as usize);
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

struct Job<'a> {
    source: &'a dyn Block,
    target: &'a dyn Target,
    manner: &'a Manner<'a>,
    progress: &'a dyn Progress,
    started: Instant,
    written: AtomicU64,
}

impl Job<'_> {
    fn segment(&self, segment: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let target = self.target;
        let unit = target.granularity() as u64;
        let mut at = segment.start;
        while at < segment.end {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let extent = self.source.status(at..segment.end)?;
            let left_out = target.over_backing() && extent.depth > 0;
            if (extent.zero || left_out)
                && (extent.length >= unit || at + extent.length == segment.end)
                && at.is_multiple_of(unit)
            {
                // Whole units only: the rest of a unit that also holds data is read with it.
                let end = at + extent.length;
                let end = if end == segment.end { end } else { end - end % unit };
                if !left_out && !target.starts_zeroed() {
                    self.keep_rate(0)?;
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
            self.read(bytes, at)?;
            self.keep_rate(length as u64)?;
            write_runs(target, bytes, at)?;
            at = end;
        }
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        let Err(error) = self.source.read_at(bytes, at) else { return Ok(()) };
        let Some(tell) = self.manner.salvage else {
            return Err(error.context(format!("error while reading at byte {at}")));
        };
        // Sector by sector, so that no more is lost than cannot be read.
        for (sector, offset) in bytes.chunks_mut(512).zip((at..).step_by(512)) {
            if let Err(error) = self.source.read_at(sector, offset) {
                sector.fill(0);
                tell(offset, error);
            }
        }
        Ok(())
    }

    /// Waits until `length` more bytes may be written.
    fn keep_rate(&self, length: u64) -> Result<()> {
        let Some(rate) = self.manner.bytes_per_second else { return Ok(()) };
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        let due = self.started + Duration::from_secs_f64(before as f64 / rate.max(1) as f64);
        // In short steps: a cancelled job should not sleep on.
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            thread::sleep(wait.min(Duration::from_millis(50)));
        }
        Ok(())
    }
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
            let plain = Plain { block: &target, starts_zeroed, sparse, over_backing: false };
            copy(&source, &plain, &Manner::plain(3), &Silent).unwrap();
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
        let plain = Plain { block: &target, starts_zeroed: true, sparse: 4096, over_backing: false };
        assert!(matches!(copy(&source, &plain, &Manner::plain(2), &Now), Err(Error::Cancelled)));
    }
}
