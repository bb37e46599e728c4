//! Putting an image upon another backing file without changing what it shows.
//!
//! Where the image holds nothing itself, and the old and the new backing file differ, it is given what the old one
//! has. The header is not touched here: until it is, the image shows the old backing file, and what was copied is
//! the same as there.

use std::ops::Range;
use std::sync::Arc;

use super::parallel::{Division, each_segment};
use super::progress::Progress;
use super::zero::is_zero;
use crate::block::{Block, Zero};
use crate::error::{Error, Result};
use crate::format::qcow2::Qcow2;
use crate::storage::Null;

/// What one thread takes at a time, in bytes. A multiple of every cluster size.
const SEGMENT: u64 = 4 << 20;
/// Subclusters of a cluster.
const SUBCLUSTERS: u64 = 32;

/// What is to be done.
pub struct Rebase<'a> {
    /// The image.
    pub top: &'a Qcow2,
    /// What it shows where it holds nothing.
    pub old: Option<&'a dyn Block>,
    /// What it shall show there.
    pub new: Option<&'a dyn Block>,
    /// Old and new are the same from so many backing files down on.
    pub same_below: Option<u32>,
    /// Compress what is copied.
    pub compress: bool,
}

/// Gives the image what it would lose, durably.
///
/// # Errors
/// When anything cannot be read or written, or the work was cancelled. The image shows the same disk in any case.
pub fn rebase(job: &Rebase<'_>, workers: usize, progress: &dyn Progress) -> Result<()> {
    let size = job.top.size();
    progress.step("Comparing", size);
    if job.old.is_none() {
        // Zeroes must become the image's own; they are written only where something could show through.
        job.top.set_backing(Some(Arc::new(Null::new("null-co", size, true, true)?)));
    }
    let cluster = job.top.cluster_size();
    // With subclusters a part of a cluster may be the image's own.
    let unit = if job.top.info()?.extended_l2 { cluster / SUBCLUSTERS } else { cluster };
    let division = Division { size, segment: SEGMENT, workers: workers.max(1) };
    each_segment(&division, &Ok, &|segment, buffer| {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let length = segment.end - segment.start;
        job.segment(segment, unit, buffer)?;
        progress.advance(length);
        Ok(())
    })?;
    job.top.flush()
}

/// What a piece of the image needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Zeroes,
    Data,
}

impl Rebase<'_> {
    fn segment(&self, segment: Range<u64>, unit: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let mut at = segment.start;
        while at < segment.end {
            let extent = self.top.status(at..segment.end)?;
            let end = at + extent.length.clamp(1, segment.end - at);
            let own = extent.depth == 0 && extent.present;
            let same = self.same_below.is_some_and(|depth| extent.depth >= depth);
            if own || same {
                at = end;
                continue;
            }
            // Whole units, so that nothing has to be filled up from the old backing file.
            let start = at - at % unit;
            let end = end.next_multiple_of(unit).min(segment.end);
            self.range(start..end, unit, buffer)?;
            at = end;
        }
        Ok(())
    }

    /// Copies the pieces of a range in which old and new differ.
    fn range(&self, range: Range<u64>, unit: u64, buffer: &mut Vec<u8>) -> Result<()> {
        if reads_as_zero(self.old, &range)? && reads_as_zero(self.new, &range)? {
            return Ok(());
        }
        let length = (range.end - range.start) as usize;
        if buffer.len() < 2 * length {
            buffer.resize(2 * length, 0);
        }
        let (old, rest) = buffer.split_at_mut(length);
        let new = &mut rest[..length];
        read(self.old, old, range.start)?;
        read(self.new, new, range.start)?;
        let unit = unit as usize;
        let needs: Vec<Need> =
            old.chunks(unit).zip(new.chunks(unit)).map(|(old, new)| need(old, new)).collect();
        let mut at = 0;
        for group in needs.chunk_by(|a, b| a == b) {
            let end = (at + group.len() * unit).min(length);
            let bytes = old.get(at..end).unwrap_or_default();
            let offset = range.start + at as u64;
            match group.first() {
                Some(Need::Zeroes) => self.zero(bytes, offset)?,
                Some(Need::Data) => self.write(bytes, offset, unit)?,
                _ => {}
            }
            at = end;
        }
        Ok(())
    }

    /// Makes zeroes the image's own. Where it reads as zeroes already it may see nothing to do, and where its version
    /// has no mark for them either: what is still missing is written.
    fn zero(&self, zeroes: &[u8], offset: u64) -> Result<()> {
        let end = offset + zeroes.len() as u64;
        self.top.write_zeroes(offset..end, Zero::MayUnmap)?;
        let mut at = offset;
        while at < end {
            let extent = self.top.status(at..end)?;
            let length = extent.length.clamp(1, end - at);
            if extent.depth > 0 || !extent.present {
                self.top.write_at(zeroes.get(..length as usize).unwrap_or_default(), at)?;
            }
            at += length;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64, unit: usize) -> Result<()> {
        // Only whole clusters can be compressed.
        if !self.compress || unit as u64 != self.top.cluster_size() {
            return self.top.write_at(bytes, offset);
        }
        for (cluster, at) in bytes.chunks(unit).zip((offset..).step_by(unit)) {
            self.top.write_compressed_data(at, cluster)?;
        }
        Ok(())
    }
}

fn need(old: &[u8], new: &[u8]) -> Need {
    match old == new {
        true => Need::Nothing,
        false if is_zero(old) => Need::Zeroes,
        false => Need::Data,
    }
}

/// Reads from a disk that may be shorter, or not there at all: zeroes then.
fn read(block: Option<&dyn Block>, bytes: &mut [u8], offset: u64) -> Result<()> {
    let there = block.map_or(0, |block| block.size().saturating_sub(offset).min(bytes.len() as u64));
    let (there, beyond) = bytes.split_at_mut(there as usize);
    beyond.fill(0);
    match block {
        Some(block) if !there.is_empty() => block.read_at(there, offset),
        _ => Ok(()),
    }
}

fn reads_as_zero(block: Option<&dyn Block>, range: &Range<u64>) -> Result<bool> {
    let Some(block) = block else { return Ok(true) };
    let end = range.end.min(block.size());
    let mut at = range.start;
    while at < end {
        let extent = block.status(at..end)?;
        if !extent.zero || extent.length == 0 {
            return Ok(false);
        }
        at += extent.length;
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::format::qcow2::{CreateOptions, OpenOptions};
    use crate::job::Silent;
    use crate::storage::Memory;

    #[test]
    fn the_disk_stays_the_same_and_little_is_copied() {
        let size = 10 << 20;
        let (old, new) = (Arc::new(Memory::new(size)), Arc::new(Memory::new(size - 12_345)));
        old.write_at(&vec![1; 3 << 20], 0).unwrap();
        new.write_at(&vec![1; 2 << 20], 0).unwrap();
        new.write_at(&[9; 5000], 7 << 20).unwrap();
        old.write_at(&[5], size - 1).unwrap();
        let file: Arc<dyn Block> = Arc::new(Memory::new(0));
        let options = CreateOptions {
            size,
            backing_file: Some("old".to_owned()),
            backing_format: Some("raw".to_owned()),
            ..CreateOptions::default()
        };
        Qcow2::create(Arc::clone(&file), &options).unwrap();
        let top = Qcow2::open(file, OpenOptions::default()).unwrap();
        top.set_backing(Some(old.clone()));
        top.write_at(&[3; 70_000], 100_000).unwrap();
        let mut before = vec![0; size as usize];
        top.read_at(&mut before, 0).unwrap();
        let job = Rebase { top: &top, old: Some(&*old), new: Some(&*new), same_below: None, compress: false };
        rebase(&job, 2, &Silent).unwrap();
        top.set_backing(Some(new));
        let mut after = vec![0; size as usize];
        top.read_at(&mut after, 0).unwrap();
        assert!(before == after);
        // A mebibyte of ones, the last cluster, and what the image had.
        let own: u64 = {
            let mut sum = 0;
            let mut at = 0;
            while at < size {
                let extent = top.status(at..size).unwrap();
                if extent.depth == 0 && extent.data {
                    sum += extent.length;
                }
                at += extent.length;
            }
            sum
        };
        assert_eq!(own, (1 << 20) + 65_536 + 2 * 65_536);
    }

    #[test]
    fn zeroes_of_nobody_become_the_images_own() {
        for version in [2, 3] {
            zeroes_stay(version);
        }
    }

    fn zeroes_stay(version: u32) {
        let size = 1 << 20;
        let new = Arc::new(Memory::new(size));
        new.write_at(&vec![1; size as usize], 0).unwrap();
        let file: Arc<dyn Block> = Arc::new(Memory::new(0));
        let options = CreateOptions { size, version, ..CreateOptions::default() };
        Qcow2::create(Arc::clone(&file), &options).unwrap();
        let top = Qcow2::open(file, OpenOptions::default()).unwrap();
        top.write_at(&[3; 70_000], 100_000).unwrap();
        let job = Rebase { top: &top, old: None, new: Some(&*new), same_below: None, compress: false };
        rebase(&job, 2, &Silent).unwrap();
        top.set_backing(Some(new));
        let mut after = vec![9; size as usize];
        top.read_at(&mut after, 0).unwrap();
        let own = 100_000..170_000;
        assert!(after.iter().enumerate().all(|(i, &byte)| byte == if own.contains(&i) { 3 } else { 0 }));
    }
}
