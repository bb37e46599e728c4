//! Devices that hold pieces in turns, as RAID 0 has them, for reading.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, HostRange, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// The contents of several block devices of which each has every n-th piece.
pub struct Stripe {
    parts: Vec<Arc<dyn Block>>,
    chunk: u64,
    size: u64,
    name: String,
}

/// A run of bytes within one piece.
struct Piece<'a> {
    part: &'a Arc<dyn Block>,
    offset: u64,
    length: u64,
}

impl Stripe {
    /// Pieces of `chunk` bytes, of each device in turn. Of each device, only whole pieces count, and as many as
    /// the smallest has.
    ///
    /// # Errors
    /// When there are no devices, pieces of no size, or more bytes than can be addressed.
    pub fn new(parts: Vec<Arc<dyn Block>>, chunk: u64) -> Result<Self> {
        let smallest = parts.iter().map(|part| part.size()).min().unwrap_or_default();
        let pieces = smallest.checked_div(chunk).filter(|_| !parts.is_empty());
        let size = pieces.and_then(|count| (count * chunk).checked_mul(parts.len() as u64));
        let size = size.ok_or_else(|| Error::Invalid("Stripes of such a size cannot be".to_owned()))?;
        let mut names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
        names.dedup();
        let name = names.join(" + ");
        Ok(Stripe { parts, chunk, size, name })
    }

    /// Where the bytes from `offset` on are, as far as one piece has them.
    fn piece(&self, offset: u64) -> Result<Piece<'_>> {
        let count = self.parts.len() as u64;
        let (number, within) = (offset / self.chunk, offset % self.chunk);
        match self.parts.get((number % count) as usize) {
            Some(part) => {
                let offset = number / count * self.chunk + within;
                Ok(Piece { part, offset, length: self.chunk - within })
            }
            None => Err(Error::Invalid("A stripe has no device".to_owned())),
        }
    }

    fn read_only<T>(&self) -> Result<T> {
        Err(Error::ReadOnly { file: self.name.clone() })
    }
}

impl Block for Stripe {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let piece = self.piece(at)?;
            let take = piece.length.min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(take as usize);
            piece.part.read_at(now, piece.offset)?;
            (at, rest) = (at + take, later);
        }
        Ok(())
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> Result<()> {
        self.read_only()
    }

    fn write_zeroes(&self, _range: Range<u64>, _how: Zero) -> Result<()> {
        self.read_only()
    }

    fn discard(&self, _range: Range<u64>) -> Result<()> {
        self.read_only()
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        let piece = self.piece(range.start)?;
        piece.part.status(piece.offset..piece.offset + piece.length.min(length))
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        let piece = self.piece(range.start)?;
        piece.part.host_range(piece.offset..piece.offset + piece.length.min(length))
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    fn memory(bytes: &[u8]) -> Arc<dyn Block> {
        Arc::new(Memory::from_bytes(bytes))
    }

    #[test]
    fn pieces_come_in_turns() {
        let stripe = Stripe::new(vec![memory(b"abefij"), memory(b"cdghklm"), memory(b"")], 2);
        assert_eq!(stripe.unwrap().size(), 0);
        let stripe = Stripe::new(vec![memory(b"abefij"), memory(b"cdghklm")], 2).unwrap();
        let mut bytes = [0; 9];
        stripe.read_at(&mut bytes, 1).unwrap();
        assert_eq!(&bytes, b"bcdefghij");
        assert_eq!(stripe.size(), 12);
        assert_eq!(stripe.status(1..12).unwrap().length, 1);
        assert!(stripe.read_at(&mut bytes, 4).is_err());
    }

    #[test]
    fn impossible_ones_are_refused() {
        assert!(Stripe::new(Vec::new(), 2).is_err());
        assert!(Stripe::new(vec![memory(b"a")], 0).is_err());
    }
}
