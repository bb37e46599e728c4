//! Files that are read and written past the page cache (`O_DIRECT`).
//!
//! The kernel then wants positions, lengths and memory aligned. Requests that are not go through an aligned
//! buffer; a write of less than a block reads the rest of the block first, and nobody else writes meanwhile.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{AtFlags, StatxFlags, statx};

use super::file::FileStorage;
use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

/// What is asked for where the kernel does not tell: enough for every disk.
const DEFAULT_ALIGNMENT: u64 = 4096;
/// The alignments that are believed.
const PLAUSIBLE: Range<u64> = 512..65_537;
/// What is moved through the buffer at once, in bytes.
const BUFFER: u64 = 2 << 20;

/// A file that was opened with [`direct`](super::FileOptions::direct).
pub struct Direct {
    file: Arc<FileStorage>,
    alignment: u64,
    /// Taken by writers; alone by those that write back what they have read.
    writing: RwLock<()>,
}

impl Direct {
    /// Takes requests of any alignment to `file`.
    pub fn new(file: Arc<FileStorage>) -> Self {
        let alignment = alignment(&file).unwrap_or(DEFAULT_ALIGNMENT);
        Direct { file, alignment, writing: RwLock::new(()) }
    }

    fn is_aligned(&self, address: *const u8, offset: u64, length: u64) -> bool {
        (address as u64 | offset | length).is_multiple_of(self.alignment)
    }

    fn buffer(&self, length: u64) -> Aligned {
        Aligned::new(length as usize, self.alignment as usize)
    }

    /// Fills `bytes` from an aligned position; what lies beyond the end of the file becomes zero.
    fn read_blocks(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            match self.file.as_file().read_at(&mut bytes[done..], at) {
                Ok(0) => break,
                // Only the end of the file stops in the middle of a block.
                Ok(read) if !(read as u64).is_multiple_of(self.alignment) => {
                    done += read;
                    break;
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io_at("read", self.file.name(), at, error)),
            }
        }
        bytes[done..].fill(0);
        Ok(())
    }

    /// Writes `bytes` (or zeroes, where there are none) over `range`, keeping what is around it in its blocks.
    fn write_around(&self, bytes: Option<&[u8]>, range: Range<u64>) -> Result<()> {
        let _alone = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        let size = self.file.size();
        let mut at = range.start;
        while at < range.end {
            let start = at - at % self.alignment;
            let end = range.end.min(start + BUFFER);
            let full = end.next_multiple_of(self.alignment);
            let mut buffer = self.buffer(full - start);
            let blocks = buffer.bytes();
            if at > start {
                self.read_blocks(&mut blocks[..self.alignment as usize], start)?;
            }
            let last = full - self.alignment;
            if end < full && (last > start || at == start) {
                self.read_blocks(&mut blocks[(last - start) as usize..], last)?;
            }
            let part = &mut blocks[(at - start) as usize..(end - start) as usize];
            match bytes {
                Some(bytes) => {
                    part.copy_from_slice(&bytes[(at - range.start) as usize..(end - range.start) as usize])
                }
                None => part.fill(0),
            }
            self.file.write_at(blocks, start)?;
            at = end;
        }
        // Whole blocks were written: the file ends where it should.
        let end = size.max(range.end);
        if self.file.size() > end && !self.file.is_device() {
            self.file.resize(end, Preallocation::Off)?;
        }
        Ok(())
    }
}

/// The alignment that the kernel wants, where it tells.
fn alignment(file: &FileStorage) -> Option<u64> {
    /// `STATX_DIOALIGN`, Linux 6.1.
    const DIOALIGN: StatxFlags = StatxFlags::from_bits_retain(0x2000);
    let found = statx(file.as_file(), "", AtFlags::EMPTY_PATH, DIOALIGN).ok()?;
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(DIOALIGN);
    let alignment = u64::from(found.stx_dio_mem_align.max(found.stx_dio_offset_align));
    (told && alignment.is_power_of_two() && PLAUSIBLE.contains(&alignment.max(512)))
        .then_some(alignment.max(512))
}

/// Memory that begins at a multiple of the alignment.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize, alignment: usize) -> Self {
        let memory = vec![0; length + alignment];
        let start = memory.as_ptr().align_offset(alignment);
        Aligned { memory, start, length }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

impl Block for Direct {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        if self.is_aligned(buf.as_ptr(), offset, buf.len() as u64) {
            return self.read_blocks(buf, offset);
        }
        let end = offset + buf.len() as u64;
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let start = at - at % self.alignment;
            let stop = end.next_multiple_of(self.alignment).min(start + BUFFER);
            let mut buffer = self.buffer(stop - start);
            let blocks = buffer.bytes();
            self.read_blocks(blocks, start)?;
            let (now, later) = rest.split_at_mut((stop.min(end) - at) as usize);
            let skip = (at - start) as usize;
            now.copy_from_slice(&blocks[skip..skip + now.len()]);
            at = stop;
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let length = buf.len() as u64;
        let end = offset.checked_add(length).filter(|&end| end <= i64::MAX as u64 - BUFFER);
        let Some(end) = end else {
            return Err(Error::OutOfRange {
                file: self.name().to_owned(),
                offset,
                length,
                size: self.size(),
            });
        };
        if self.file.is_device() {
            check_range(self, offset, length)?;
        }
        if !(offset | length).is_multiple_of(self.alignment) {
            return self.write_around(Some(buf), offset..end);
        }
        let _others = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        if self.is_aligned(buf.as_ptr(), offset, length) {
            return self.file.write_at(buf, offset);
        }
        for (part, at) in buf.chunks(BUFFER as usize).zip((offset..).step_by(BUFFER as usize)) {
            let mut buffer = self.buffer(part.len() as u64);
            buffer.bytes().copy_from_slice(part);
            self.file.write_at(buffer.bytes(), at)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let done = {
            let _others = self.writing.read().unwrap_or_else(PoisonError::into_inner);
            self.file.write_zeroes(range.clone(), how)
        };
        match done {
            // The file system cannot, and ordinary memory is no good.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidInput => {
                self.write_around(None, range)
            }
            other => other,
        }
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.file.discard(range)
    }

    fn flush(&self) -> Result<()> {
        self.file.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.file.status(range)
    }

    fn limits(&self) -> Limits {
        Limits { alignment: self.alignment as u32, ..self.file.limits() }
    }

    fn is_read_only(&self) -> bool {
        self.file.is_read_only()
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        let _alone = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        self.file.resize(size, preallocation)
    }

    fn name(&self) -> &str {
        self.file.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.file.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::storage::FileOptions;

    #[test]
    fn any_request_does_what_it_does_elsewhere() {
        // Not in /tmp: a file system in memory may know no O_DIRECT.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("f");
        drop(std::fs::File::create(&path).unwrap());
        // Without locks: a program that another test starts holds them for a moment after they are given back.
        let options = FileOptions { direct: true, unlocked: true, ..FileOptions::default() };
        let file = Arc::new(FileStorage::open(&path, options).unwrap());
        let direct = Direct::new(file);
        let mut model = Vec::new();
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let shift = if random(2) == 0 { 0 } else { 12 };
            let (offset, length) = (random(20_000 >> shift) << shift, (1 + random(9000 >> shift)) << shift);
            let end = (offset + length) as usize;
            if random(4) == 0 {
                direct.write_zeroes(offset..offset + length, Zero::MayUnmap).unwrap();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].fill(0);
            } else {
                let bytes: Vec<u8> = (0..length).map(|_| random(256) as u8).collect();
                direct.write_at(&bytes, offset).unwrap();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].copy_from_slice(&bytes);
            }
            let at = random(model.len() as u64);
            let mut back = vec![1; random(model.len() as u64 - at + 1) as usize];
            direct.read_at(&mut back, at).unwrap();
            assert!(back == model[at as usize..at as usize + back.len()]);
        }
        drop(direct);
        assert!(std::fs::read(&path).unwrap() == model);
    }
}
