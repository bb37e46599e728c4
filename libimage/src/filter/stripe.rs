//! Devices that hold pieces in turns, as RAID 0 has them, for reading.

use std::sync::Arc;

use super::spread::{Layout, Piece, Spread};
use crate::block::Block;
use crate::error::{Error, Result};

/// The contents of several block devices of which each has every n-th piece.
pub type Stripe = Spread<Turns>;

/// Devices that have pieces of one size in turns.
pub struct Turns {
    parts: Vec<Arc<dyn Block>>,
    chunk: u64,
    size: u64,
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
        Ok(Spread::over(Turns { parts, chunk, size }, name))
    }
}

impl Layout for Turns {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>> {
        let count = self.parts.len() as u64;
        let (number, within) = (offset / self.chunk, offset % self.chunk);
        let block = self.parts.get((number % count) as usize);
        let offset = number / count * self.chunk + within;
        Ok(block.map(|block| Piece { block, offset, length: self.chunk - within }))
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
