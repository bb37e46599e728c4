//! The one copy engine: from any block device to any other, in parallel, leaving holes holes.
//!
//! Workers take segments of the source in order. What the source knows to be zero is never read; what
//! is read and turns out to be zero is not written; what the kernel can share between two files is neither
//! read nor written. Nothing depends on the order in which segments end.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::compare;
use super::parallel::{Division, each_segment};
use super::progress::{Progress, Silent};
pub use super::target::{Compressed, Plain, Target};
use super::zero::leading_run;
use crate::block::{Block, Extent, HostRange};
use crate::error::{Error, Result};

/// What one worker takes at a time, in bytes. A multiple of every cluster size.
const SEGMENT: u64 = 4 << 20;
/// The same where bytes are shared instead of copied, which takes no time to speak of.
const SHARED_SEGMENT: u64 = 256 << 20;
/// What is read and written in one request, in bytes: it should still be in the processor's cache when it is
/// written.
const BUFFER: usize = 512 << 10;
/// Progress is told after so many bytes.
const REPORT: u64 = 2 << 20;
/// A copy that can be continued makes durable what it has after so many bytes.
const CHECKPOINT: u64 = 256 << 20;
/// Files share whole blocks; most have this size.
const BLOCK: u64 = 4096;

/// What the kernel may do with bytes of a file that the target could take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Nothing: they pass through memory, and zeroes among them are found.
    No,
    /// Share whole blocks; the rest passes through memory.
    Share,
    /// Copy or share everything.
    Copy,
}

/// How a copy goes about its work.
pub struct Manner<'a> {
    /// Threads, at least one.
    pub workers: usize,
    /// The most bytes that are read or written in one request.
    pub request: usize,
    /// Write no more than this.
    pub bytes_per_second: Option<u64>,
    /// What cannot be read is told to this, with its offset, and taken for zeroes.
    pub salvage: Option<&'a (dyn Fn(u64, Error) + Sync)>,
    /// Continues an earlier copy: what the target holds is compared first, and only what differs is written.
    pub resume: Option<Resume<'a>>,
    /// Says for bytes of a file what the kernel may do with them; they are asked about once per file.
    pub offload: Option<&'a (dyn Fn(&HostRange) -> Offload + Sync)>,
}

/// A copy that can be continued.
#[derive(Clone, Copy)]
pub struct Resume<'a> {
    /// The target, for reading.
    pub target: &'a dyn Block,
    /// There may be something in it.
    pub begun: bool,
}

impl Manner<'_> {
    /// At full speed, with `workers` threads.
    pub fn plain(workers: usize) -> Self {
        Manner {
            workers,
            request: BUFFER,
            bytes_per_second: None,
            salvage: None,
            resume: None,
            offload: None,
        }
    }
}

/// Copies all of `source` to the start of `target`.
///
/// # Errors
/// The first error of any worker, or [`Error::Cancelled`]; the target is then incomplete.
pub fn copy(source: &dyn Block, target: &dyn Target, manner: &Manner, progress: &dyn Progress) -> Result<()> {
    let size = source.size();
    let mut job = Job {
        source,
        target,
        manner,
        progress,
        only_data: false,
        started: Instant::now(),
        written: AtomicU64::new(0),
        since_checkpoint: AtomicU64::new(0),
    };
    if progress.is_watched() {
        job.only_data = true;
        progress.step("Copying", job.data_bytes()?);
    } else {
        progress.step("Copying", size);
    }
    // Threads that share extents only wait for each other: the file system changes one at a time.
    let (segment, workers) =
        if job.begins_shared()? { (SHARED_SEGMENT, 1) } else { (SEGMENT, manner.workers) };
    let division = Division { size, segment, workers };
    each_segment(&division, &|at| job.skip(at, segment), &|segment, buffer| job.segment(segment, buffer))
}

/// What was said about the file that was met last.
type Decided = (Arc<File>, Offload);

struct Job<'a> {
    source: &'a dyn Block,
    target: &'a dyn Target,
    manner: &'a Manner<'a>,
    progress: &'a dyn Progress,
    /// Progress does not count what is left out.
    only_data: bool,
    started: Instant,
    written: AtomicU64,
    since_checkpoint: AtomicU64,
}

impl Job<'_> {
    /// Nothing has to be done for this: the target has it already, or shows it by itself.
    fn is_done(&self, extent: &Extent) -> bool {
        (self.target.over_backing() && extent.depth > 0) || (self.target.starts_zeroed() && extent.zero)
    }

    /// Bytes that have to be read and written.
    fn data_bytes(&self) -> Result<u64> {
        let size = self.source.size();
        let (mut at, mut bytes) = (0, 0);
        while at < size {
            let extent = self.source.status(at..size)?;
            let zero = extent.zero && self.target.granularity() > 512;
            let left_out = self.target.over_backing() && extent.depth > 0;
            bytes += if zero || left_out { 0 } else { extent.length };
            at += extent.length;
        }
        Ok(bytes)
    }

    /// `bytes` are done without having been read.
    fn passed_over(&self, bytes: u64) {
        if !self.only_data {
            self.progress.advance(bytes);
        }
    }

    /// True if the target holds these bytes already.
    fn is_there(&self, segment: &Range<u64>) -> Result<bool> {
        let Some(Resume { target, begun: true }) = self.manner.resume else { return Ok(false) };
        let manner = compare::Manner { strict: false, workers: 1, progress: &Silent };
        match compare::compare(self.source, target, segment.clone(), &manner)? {
            None => Ok(true),
            // What cannot be read is met again, and told, when it is copied.
            Some(_) => Ok(false),
        }
    }

    /// Makes durable what is there from time to time, if somebody may want to continue from it.
    fn checkpoint(&self, bytes: u64) -> Result<()> {
        let Some(resume) = self.manner.resume else { return Ok(()) };
        let before = self.since_checkpoint.fetch_add(bytes, Ordering::Relaxed);
        if before / CHECKPOINT == (before + bytes) / CHECKPOINT {
            return Ok(());
        }
        resume.target.flush()
    }

    /// Where the next work is, from `at` on.
    fn skip(&self, at: u64, segment: u64) -> Result<u64> {
        let size = self.source.size();
        let extent = self.source.status(at..size)?;
        if !self.is_done(&extent) || extent.length < segment {
            return Ok(at);
        }
        if self.progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        // Whole segments only: what shares a unit with data is looked at together with it.
        let end = at + extent.length;
        let end = if end == size { end } else { end - end % segment };
        self.passed_over(end.saturating_sub(at));
        Ok(end.max(at))
    }

    /// True if what the source stores at its beginning can be shared with the target, and none of it has to be
    /// decompressed.
    fn begins_shared(&self) -> Result<bool> {
        let Some(decide) = self.manner.offload else { return Ok(false) };
        let size = self.source.size();
        let (mut at, mut shared) = (0, None);
        for _ in 0..64 {
            if at >= size || shared == Some(false) {
                break;
            }
            let extent = self.source.status(at..size)?;
            if extent.compressed {
                return Ok(false);
            }
            if extent.data && !extent.zero && shared.is_none() {
                let found = self.source.host_range(at..at + extent.length)?;
                shared = Some(found.is_some_and(|host| decide(&host) == Offload::Share));
            }
            at += extent.length;
        }
        Ok(shared.unwrap_or(false))
    }

    fn segment(&self, segment: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        if self.is_there(&segment)? {
            self.passed_over(segment.end - segment.start);
            return Ok(());
        }
        let target = self.target;
        let unit = target.granularity() as u64;
        let length = segment.end - segment.start;
        let mut decided = None;
        let mut at = segment.start;
        while at < segment.end {
            if self.progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let extent = self.source.status(at..segment.end)?;
            let left_out = target.over_backing() && extent.depth > 0;
            let start = at;
            if (extent.zero || left_out)
                && (extent.length >= unit || at + extent.length == segment.end)
                && at.is_multiple_of(unit)
            {
                // Whole units only: the rest of a unit that also holds data is read with it.
                let end = at + extent.length;
                at = if end == segment.end { end } else { end - end % unit };
                if !self.is_done(&extent) {
                    self.keep_rate(0)?;
                    target.zero(start..at)?;
                }
                self.passed_over(at - start);
                continue;
            }
            // A unit that is stored in part is taken whole: its holes are copied as such.
            let end = (at + extent.length).next_multiple_of(unit).max(at + unit).min(segment.end);
            if self.manner.offload.is_some() && !extent.compressed {
                at += self.offload(at..end, unit, &mut decided)?;
                if at > start {
                    self.progress.advance(at - start);
                    continue;
                }
            }
            let end = end.min(at + REPORT);
            while at < end {
                let request = self.manner.request;
                let length = (end - at).min((request as u64).max(unit.min(SEGMENT))) as usize;
                if buffer.len() < length {
                    buffer.resize(request.max(length), 0);
                }
                let bytes = &mut buffer[..length];
                self.read(bytes, at)?;
                self.keep_rate(length as u64)?;
                write_runs(target, bytes, at)?;
                at += length as u64;
            }
            // What was read around the data was not counted beforehand.
            let data = if self.only_data && extent.zero { 0 } else { extent.length };
            self.progress.advance(if self.only_data { data.min(at - start) } else { at - start });
        }
        self.checkpoint(length)
    }

    /// Lets the kernel deal with the beginning of `range`; returns how much of it is done.
    fn offload(&self, range: Range<u64>, unit: u64, decided: &mut Option<Decided>) -> Result<u64> {
        let Some(decide) = self.manner.offload else { return Ok(0) };
        let wrong = |e: Error| e.context(format!("error while reading at byte {}", range.start));
        let Some(mut host) = self.source.host_range(range.clone()).map_err(wrong)? else { return Ok(0) };
        let how = match decided {
            Some((file, how)) if Arc::ptr_eq(file, &host.file) => *how,
            _ => {
                let how = decide(&host);
                *decided = Some((Arc::clone(&host.file), how));
                how
            }
        };
        let step = unit.max(BLOCK);
        host.length -= host.length % if how == Offload::Share { step } else { unit };
        let aligned = host.offset.is_multiple_of(BLOCK) && range.start.is_multiple_of(BLOCK);
        if how == Offload::No || host.length == 0 || (how == Offload::Share && !aligned) {
            return Ok(0);
        }
        if how == Offload::Copy {
            // In steps that can be interrupted.
            host.length = host.length.min(SEGMENT);
        }
        self.keep_rate(host.length)?;
        let taken = self.target.take_over(&host, range.start);
        let done = taken.map_err(|e| e.context(format!("error while writing at byte {}", range.start)))?;
        Ok(done - done % unit)
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

pub(super) fn write_runs(target: &dyn Target, bytes: &[u8], start: u64) -> Result<()> {
    if !target.detects_zeroes() {
        let wrote = target.write(bytes, start);
        return wrote.map_err(|e| e.context(format!("error while writing at byte {start}")));
    }
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
