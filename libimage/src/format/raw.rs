//! Raw images: the bytes themselves.
//!
//! The size is that of the storage, rounded up to whole 512-byte sectors; the missing tail reads as
//! zeroes and comes into being when it is written.

use std::ops::Range;
use std::sync::Arc;

use super::Format;
use super::probe::{self, Guess, PROBE_BYTES};
use crate::block::{Block, Extent, HostRange, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

const SECTOR: u64 = 512;

/// A raw image over a storage.
pub struct Raw {
    storage: Arc<dyn Block>,
    guarded: bool,
}

impl Raw {
    /// A raw image that the user called raw.
    pub fn new(storage: Arc<dyn Block>) -> Self {
        Raw { storage, guarded: false }
    }

    /// A raw image whose format was guessed: writes to the first sector that would turn the guess into
    /// another format are refused, because a guest could otherwise make the host open any file.
    pub fn guessed(storage: Arc<dyn Block>) -> Self {
        Raw { storage, guarded: true }
    }

    /// Makes `storage` a raw image of `size` bytes.
    ///
    /// # Errors
    /// When the space cannot be had, or `preallocation` is one that raw images do not know.
    pub fn create(storage: &dyn Block, size: u64, preallocation: Preallocation) -> Result<()> {
        if preallocation == Preallocation::Metadata {
            return Err(Error::Invalid("Unsupported preallocation mode: metadata".to_owned()));
        }
        let size = whole_sectors(size)?;
        storage.resize(size, preallocation)?;
        if preallocation == Preallocation::Off && size > 0 {
            // One allocated block lets those who open with O_DIRECT find out the alignment.
            storage.write_at(&vec![0; size.min(4096) as usize], 0)?;
        }
        storage.flush()
    }

    fn guard(&self, offset: u64, buf: &[u8]) -> Result<()> {
        if !self.guarded || offset >= PROBE_BYTES as u64 {
            return Ok(());
        }
        let mut head = vec![0; PROBE_BYTES.min(self.storage.size() as usize)];
        self.storage.read_at(&mut head, 0)?;
        let start = offset as usize;
        let end = (start + buf.len()).min(PROBE_BYTES);
        head.resize(head.len().max(end), 0);
        head[start..end].copy_from_slice(&buf[..end - start]);
        if probe::guess(&head) == Guess::Known(Format::Raw) {
            return Ok(());
        }
        Err(Error::unsupported(
            self.name(),
            "this write would make the image look like another format; name the format (-f raw) to allow it",
        ))
    }
}

fn whole_sectors(size: u64) -> Result<u64> {
    crate::units::round_up(size, SECTOR)
        .filter(|&size| size <= i64::MAX as u64)
        .ok_or_else(|| Error::Invalid(format!("Image size {size} is too large")))
}

impl Block for Raw {
    fn size(&self) -> u64 {
        self.storage.size().div_ceil(SECTOR).saturating_mul(SECTOR)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let stored = self.storage.size().saturating_sub(offset).min(buf.len() as u64) as usize;
        let (stored, beyond) = buf.split_at_mut(stored);
        beyond.fill(0);
        if stored.is_empty() { Ok(()) } else { self.storage.read_at(stored, offset) }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        self.guard(offset, buf)?;
        self.storage.write_at(buf, offset)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let end = range.end.min(self.storage.size());
        if range.start < end { self.storage.host_range(range.start..end) } else { Ok(None) }
    }

    fn copy_from_file(&self, source: &HostRange, offset: u64) -> Result<u64> {
        check_range(self, offset, source.length)?;
        // What goes into the first sector has to be looked at.
        match self.guarded && offset < PROBE_BYTES as u64 {
            true => Ok(0),
            false => self.storage.copy_from_file(source, offset),
        }
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        self.storage.write_zeroes(range, how)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        self.storage.discard(range)
    }

    fn flush(&self) -> Result<()> {
        self.storage.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let stored = self.storage.size();
        if range.start >= stored {
            return Ok(Extent::zero(range.end - range.start));
        }
        let extent = self.storage.status(range.start..range.end.min(stored))?;
        // The last sector is all there, as far as anybody can tell.
        let length =
            if range.start + extent.length == stored { range.end - range.start } else { extent.length };
        // Every byte of a raw image is decided by it: a hole in the file is a zero that is present.
        let present = extent.present || extent.data || extent.zero;
        Ok(Extent { present, depth: 0, length, ..extent })
    }

    fn limits(&self) -> Limits {
        Limits { growable: false, preferred: 1 << 20, ..self.storage.limits() }
    }

    fn is_read_only(&self) -> bool {
        self.storage.is_read_only()
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        if preallocation == Preallocation::Metadata {
            return Err(Error::Invalid("Unsupported preallocation mode: metadata".to_owned()));
        }
        self.storage.resize(whole_sectors(size)?, preallocation)
    }

    fn name(&self) -> &str {
        self.storage.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.storage.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn an_odd_tail_reads_as_zeroes_and_can_be_written() {
        let raw = Raw::new(Arc::new(Memory::from_bytes(&[5; 700])));
        assert_eq!(raw.size(), 1024);
        let mut buf = [1; 1024];
        raw.read_at(&mut buf, 0).unwrap();
        assert!(buf[..700].iter().all(|&b| b == 5) && buf[700..].iter().all(|&b| b == 0));
        raw.write_at(&[6; 100], 924).unwrap();
        raw.read_at(&mut buf, 0).unwrap();
        assert!(buf[700..924].iter().all(|&b| b == 0) && buf[924..].iter().all(|&b| b == 6));
        assert!(raw.write_at(&[0], 1024).is_err());
    }

    #[test]
    fn a_guessed_image_cannot_become_another_format() {
        let raw = Raw::guessed(Arc::new(Memory::new(4096)));
        raw.write_at(b"QFI", 0).unwrap();
        assert!(raw.write_at(b"\xfb\0\0\0\x03", 3).is_err());
        let mut head = [1; 8];
        raw.read_at(&mut head, 0).unwrap();
        assert_eq!(&head, b"QFI\0\0\0\0\0");
        raw.write_at(&[9; 512], 0).unwrap();
    }
}
