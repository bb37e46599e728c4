//! Cells, the pieces of memory that a hive is made of, and the bins that they lie in.
//!
//! A cell starts with its length, negative while it is in use, and is a multiple of 8 bytes long. A bin is
//! one or more pages of 4096 bytes with a header of its own.

use super::{Handle, Hive, MAX_NEW_CELL, Result};
use rustix::io::Errno;

/// Where the bins start: after the file's header.
pub(super) const BINS: usize = 0x1000;
const PAGE: usize = 4096;
const BIN_HEADER: usize = 32;
/// Where the header's checksum lies, after all that it covers.
const CHECKSUM: usize = 508;

/// What matters of the file's header.
pub(super) struct Header {
    pub(super) root: Handle,
    pub(super) bins_end: usize,
}

/// A number in the bytes.
pub(super) fn number(bytes: &[u8], at: usize) -> Result<u32> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|word| u32::from_le_bytes(*word))
        .ok_or(Errno::INVAL)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<()> {
    let end = at.checked_add(value.len()).ok_or(Errno::INVAL)?;
    bytes.get_mut(at..end).ok_or(Errno::INVAL)?.copy_from_slice(value);
    Ok(())
}

fn checksum(bytes: &[u8]) -> Result<u32> {
    let words = bytes.get(..CHECKSUM).ok_or(Errno::INVAL)?.as_chunks::<4>().0;
    let sum = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    // Two sums have a meaning of their own.
    Ok(match sum {
        u32::MAX => u32::MAX - 1,
        0 => 1,
        sum => sum,
    })
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Header> {
        if bytes.len() < BINS + PAGE {
            return Err(Errno::INVAL);
        }
        if !bytes.starts_with(b"regf") {
            return Err(Errno::OPNOTSUPP);
        }
        if number(bytes, 20)? != 1 {
            return Err(Errno::OPNOTSUPP);
        }
        if number(bytes, CHECKSUM)? != checksum(bytes)? {
            return Err(Errno::INVAL);
        }
        let root = Hive::place(number(bytes, 36)?)?;
        let bins_end = Hive::place(number(bytes, 40)?)?;
        if !bins_end.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        Ok(Header { root, bins_end })
    }

    /// Writes what changes of the header: sequence numbers, length, time and checksum.
    pub(super) fn finish(bytes: &mut [u8], bins_end: usize) -> Result<()> {
        let sequence = number(bytes, 4)?.wrapping_add(1).to_le_bytes();
        put(bytes, 4, &sequence)?;
        put(bytes, 8, &sequence)?;
        put(bytes, 12, &now().to_le_bytes())?;
        put(bytes, 40, &Hive::offset(bins_end)?.to_le_bytes())?;
        let sum = checksum(bytes)?;
        put(bytes, CHECKSUM, &sum.to_le_bytes())
    }
}

/// The time in units of 100 ns since 1601.
fn now() -> u64 {
    let since_1970 =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ticks = since_1970.as_nanos() / 100;
    u64::try_from(ticks).unwrap_or_default().saturating_add(116_444_736_000_000_000)
}

impl Hive {
    /// The bytes of a cell in use, its length included.
    pub(super) fn cell(&self, at: Handle) -> Result<&[u8]> {
        if at < BINS || !at.is_multiple_of(4) || at >= self.bins_end {
            return Err(Errno::INVAL);
        }
        let length = number(&self.bytes, at)?.cast_signed();
        if length >= 0 {
            return Err(Errno::INVAL);
        }
        let length = usize::try_from(length.unsigned_abs()).map_err(|_| Errno::INVAL)?;
        let end = at.checked_add(length).ok_or(Errno::INVAL)?;
        let cell = self.bytes.get(at..end).filter(|_| end <= self.bins_end).ok_or(Errno::INVAL)?;
        if length < 8 { Err(Errno::INVAL) } else { Ok(cell) }
    }

    /// A cell that starts with these two letters.
    pub(super) fn cell_of(&self, at: Handle, kind: [u8; 2]) -> Result<&[u8]> {
        let cell = self.cell(at)?;
        if cell.get(4..6) == Some(&kind[..]) { Ok(cell) } else { Err(Errno::INVAL) }
    }

    /// A number of 32 bits in a cell.
    pub(super) fn word(&self, at: Handle, offset: usize) -> Result<u32> {
        number(self.cell(at)?, offset)
    }

    /// A number of 16 bits in a cell.
    pub(super) fn half(&self, at: Handle, offset: usize) -> Result<u16> {
        let bytes = self.cell(at)?.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(Errno::INVAL)?;
        Ok(u16::from_le_bytes(*bytes))
    }

    /// Writes into a cell.
    pub(super) fn store(&mut self, at: Handle, offset: usize, value: &[u8]) -> Result<()> {
        let length = self.cell(at)?.len();
        if offset.checked_add(value.len()).is_none_or(|end| end > length) {
            return Err(Errno::INVAL);
        }
        put(&mut self.bytes, at.checked_add(offset).ok_or(Errno::INVAL)?, value)
    }

    /// Writes a number of 32 bits into a cell.
    pub(super) fn store_word(&mut self, at: Handle, offset: usize, value: u32) -> Result<()> {
        self.store(at, offset, &value.to_le_bytes())
    }

    /// Marks a cell as free.
    pub(super) fn free(&mut self, at: Handle) -> Result<()> {
        let length = u32::try_from(self.cell(at)?.len()).map_err(|_| Errno::INVAL)?;
        put(&mut self.bytes, at, &length.to_le_bytes())
    }

    /// A new cell of zeroes that has room for `length` bytes with its own length, and starts with `kind`.
    pub(super) fn allocate(&mut self, length: usize, kind: [u8; 2]) -> Result<Handle> {
        if length > MAX_NEW_CELL {
            return Err(Errno::RANGE);
        }
        let length = length.next_multiple_of(8);
        let at = match self.next_cell {
            Some(at) if at.checked_add(length).is_some_and(|end| end <= self.bins_end) => at,
            _ => self.new_bin(length)?,
        };
        let end = at.checked_add(length).ok_or(Errno::RANGE)?;
        self.bytes.get_mut(at..end).ok_or(Errno::RANGE)?.fill(0);
        let negative = i32::try_from(length).map_err(|_| Errno::RANGE)?.wrapping_neg();
        put(&mut self.bytes, at, &negative.to_le_bytes())?;
        if kind != [0, 0] {
            put(&mut self.bytes, at.saturating_add(4), &kind)?;
        }
        // The rest of the bin is one free cell.
        let rest = u32::try_from(self.bins_end.saturating_sub(end)).map_err(|_| Errno::RANGE)?;
        if rest > 0 {
            put(&mut self.bytes, end, &rest.to_le_bytes())?;
        }
        self.next_cell = Some(end);
        Ok(at)
    }

    /// Adds a bin that has room for a cell, and returns where that can start.
    fn new_bin(&mut self, length: usize) -> Result<usize> {
        let pages = (length.checked_add(BIN_HEADER - 1).ok_or(Errno::RANGE)? / PAGE).saturating_add(1);
        let size = pages.checked_mul(PAGE).ok_or(Errno::RANGE)?;
        let at = self.bins_end;
        let end = at.checked_add(size).ok_or(Errno::RANGE)?;
        Self::offset(end)?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(at..end).ok_or(Errno::RANGE)?.fill(0);
        put(&mut self.bytes, at, b"hbin")?;
        put(&mut self.bytes, at.saturating_add(4), &Self::offset(at)?.to_le_bytes())?;
        let size = u32::try_from(size).map_err(|_| Errno::RANGE)?;
        put(&mut self.bytes, at.saturating_add(8), &size.to_le_bytes())?;
        self.bins_end = end;
        Ok(at.saturating_add(BIN_HEADER))
    }
}
