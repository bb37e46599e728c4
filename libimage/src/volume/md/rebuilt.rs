//! A member that is missing, computed from the others: together they add up to nothing.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, Limits, check_range, read_only};
use crate::error::Result;

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

    read_only!();

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        Ok(Extent { offset: None, ..Extent::data(range.end.saturating_sub(range.start), 0) })
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn name(&self) -> &str {
        &self.name
    }
}
