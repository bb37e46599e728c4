//! Where the pieces of arrays with copies or parity are.

use std::sync::Arc;

use crate::block::Block;
use crate::error::Result;
use crate::filter::spread::{Layout, Piece};

/// Members that hold pieces in rows.
pub(super) struct Rows {
    /// By place; `None` where one is missing.
    pub(super) members: Vec<Option<Arc<dyn Block>>>,
    /// Bytes of a piece; not zero.
    pub(super) chunk: u64,
    /// Bytes in all: whole pieces, and no more than the members have.
    pub(super) size: u64,
    pub(super) plan: Plan,
}

/// What is in a row beside data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// So many copies of each piece next to each other, perhaps around a corner.
    Copies(u64),
    /// One piece of parity.
    Parity(Parity),
}

/// Which member of a row has the parity, and in which order the others have data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parity {
    /// From the last member to the first; data from the first member on.
    LeftAsymmetric,
    /// From the first member to the last; data from the first member on.
    RightAsymmetric,
    /// From the last member to the first; data from the one after the parity on.
    LeftSymmetric,
    /// From the first member to the last; data from the one after the parity on.
    RightSymmetric,
    /// Always the first.
    First,
    /// Always the last.
    Last,
}

impl Parity {
    /// The arrangement of a number, which md has for the levels 4 and 5.
    pub(super) fn of(level: i32, layout: u32) -> Option<Parity> {
        Some(match (level, layout) {
            (4, _) => Parity::Last,
            (_, 0) => Parity::LeftAsymmetric,
            (_, 1) => Parity::RightAsymmetric,
            (_, 2) => Parity::LeftSymmetric,
            (_, 3) => Parity::RightSymmetric,
            (_, 4) => Parity::First,
            (_, 5) => Parity::Last,
            _ => return None,
        })
    }

    /// Which of `count` members has the piece of data with the number `index` of a row.
    fn member(self, row: u64, index: u64, count: u64) -> u64 {
        let data = count - 1;
        let parity = match self {
            Parity::LeftAsymmetric | Parity::LeftSymmetric => data - row % count,
            Parity::RightAsymmetric | Parity::RightSymmetric => row % count,
            Parity::First => 0,
            Parity::Last => data,
        };
        match self {
            Parity::LeftSymmetric | Parity::RightSymmetric => (parity + 1 + index) % count,
            _ => index + u64::from(index >= parity),
        }
    }
}

impl Rows {
    /// The member and the row that have a piece, or one of its copies.
    fn place(&self, number: u64) -> Option<(&Arc<dyn Block>, u64)> {
        let count = self.members.len() as u64;
        let member = |index: u64| self.members.get(usize::try_from(index).ok()?)?.as_ref();
        match self.plan {
            Plan::Copies(copies) => (0..copies).find_map(|copy| {
                let slot = number.checked_mul(copies)?.checked_add(copy)?;
                Some((member(slot % count)?, slot / count))
            }),
            Plan::Parity(parity) => {
                let data = count.checked_sub(1).filter(|data| *data > 0)?;
                let row = number / data;
                Some((member(parity.member(row, number % data, count))?, row))
            }
        }
    }

    /// Whether every piece is on a member that is there.
    pub(super) fn is_readable(&self) -> bool {
        // After so many pieces they lie again as they did.
        let count = self.members.len() as u64;
        (0..count * count).all(|number| self.place(number).is_some())
    }
}

impl Layout for Rows {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>> {
        let (number, within) = (offset / self.chunk, offset % self.chunk);
        let place = self.place(number).and_then(|(block, row)| Some((block, row.checked_mul(self.chunk)?)));
        Ok(place.map(|(block, row)| Piece { block, offset: row + within, length: self.chunk - within }))
    }
}
