//! A member that is missing, computed from the others: together they add up to nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// Bytes that are computed at a time.
const PIECE: usize = 64 << 10;

/// What a member must have held, for reading.
pub(super) struct Rebuilt {
    others: Vec<Arc<dyn Block>>,
    size: u64,
    name: String,
}

impl Rebuilt {
    /// From all other members, of which each has at least `size` bytes.
    pub(super) fn new(others: Vec<Arc<dyn Block>>, size: u64) -> Self {
        let names: Vec<&str> = others.iter().map(|other| other.name()).collect();
        let name = names.join(" + ");
        Rebuilt { others, size, name }
    }

    fn read_only<T>(&self) -> Result<T> {
        Err(Error::ReadOnly { file: self.name.clone() })
    }
}

impl Block for Rebuilt {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let mut one = vec![0; buf.len().min(PIECE)];
        for (piece, at) in buf.chunks_mut(PIECE).zip((offset..).step_by(PIECE)) {
            let one = one.get_mut(..piece.len()).unwrap_or_default();
            piece.fill(0);
            for other in &self.others {
                other.read_at(one, at)?;
                piece.iter_mut().zip(one.iter()).for_each(|(sum, byte)| *sum ^= byte);
            }
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
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        Ok(Extent { offset: None, ..Extent::data(range.end.saturating_sub(range.start), 0) })
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
