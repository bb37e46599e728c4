//! Bytes in another order: each word of two, four or eight bytes is turned round.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::blocks::pieces;
use super::forward::forward;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// Bytes that are turned round at once, for writing.
const PIECE: u64 = 1 << 20;

/// A device whose words are turned round. Requests are of whole words.
pub struct Swab {
    below: Arc<dyn Block>,
    /// Bytes of a word.
    word: u64,
    size: u64,
}

impl Swab {
    /// Shows `below` up to its last whole word of `bits` bits: 8, 16, 32 or 64.
    ///
    /// # Errors
    /// When there are no such words.
    pub fn new(below: Arc<dyn Block>, bits: u32) -> Result<Self> {
        if ![8, 16, 32, 64].contains(&bits) {
            return Err(Error::Invalid("invalid swab-bits, must be 8, 16, 32 or 64".to_owned()));
        }
        let word = u64::from(bits / 8);
        Ok(Swab { size: below.size() - below.size() % word, word, below })
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if range.start.is_multiple_of(self.word) && range.end.is_multiple_of(self.word) {
            return Ok(());
        }
        let source = io::Error::from(Errno::INVAL);
        Err(Error::io_at("do a request that is not of whole words to", self.name(), range.start, source))
    }

    fn turn(&self, bytes: &mut [u8]) {
        // One at a time is slow: the compiler makes wide instructions of words whose length it knows.
        match self.word {
            2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse()),
            4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse()),
            8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|word| word.reverse()),
            _ => {}
        }
    }
}

impl Block for Swab {
    forward!(flush, is_read_only, name, allocated_bytes);

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.check(&(offset..offset.saturating_add(buf.len() as u64)))?;
        self.below.read_at(buf, offset)?;
        self.turn(buf);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.check(&range)?;
        for piece in pieces(range, PIECE) {
            let inside = (piece.start - offset) as usize;
            let mut part = buf.get(inside..inside + piece.length).unwrap_or_default().to_vec();
            self.turn(&mut part);
            self.below.write_at(&part, piece.start)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.check(&range)?;
        self.below.write_zeroes(range, how)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        self.below.discard(range)
    }

    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.check(&range)?;
        self.below.prefetch(range)
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let extent = self.below.status(range)?;
        // An extent that ends within a word: its bytes are mixed with those behind it.
        let whole = extent.length - extent.length % self.word;
        let offset = None;
        Ok(match whole {
            0 => Extent { offset, ..Extent::data(extent.length, 0) },
            whole => Extent { offset, ..extent.with_length(whole) },
        })
    }

    fn limits(&self) -> Limits {
        let below = self.below.limits();
        let alignment = below.alignment.max(u32::try_from(self.word).unwrap_or(1));
        Limits { alignment, growable: false, ..below }
    }
}

#[cfg(test)]
#[path = "swab_test.rs"]
mod tests;
