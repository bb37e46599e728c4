//! Several block devices one after the other, for reading.

use std::sync::Arc;

use super::spread::{Layout, Piece, Spread};
use crate::block::Block;
use crate::error::{Error, Result};

/// The contents of several block devices in a row.
pub type Concat = Spread<Row>;

/// Devices one after the other, each with where it starts.
pub struct Row {
    parts: Vec<(u64, Arc<dyn Block>)>,
    size: u64,
}

impl Concat {
    /// The devices in the order given.
    ///
    /// # Errors
    /// When their sizes add up to more than can be addressed.
    pub fn new(blocks: Vec<Arc<dyn Block>>) -> Result<Self> {
        let name = blocks.iter().map(|b| b.name()).collect::<Vec<_>>().join(" + ");
        let mut size = 0u64;
        let mut parts = Vec::new();
        for block in blocks {
            let start = size;
            size = size
                .checked_add(block.size())
                .ok_or_else(|| Error::Invalid("The images are too large together".to_owned()))?;
            parts.push((start, block));
        }
        Ok(Spread::over(Row { parts, size }, name))
    }
}

impl Layout for Row {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>> {
        let index = self.parts.partition_point(|(start, _)| *start <= offset);
        // Empty parts share their start with the one after them, which is the one found here.
        let part = index.checked_sub(1).and_then(|index| self.parts.get(index));
        Ok(part.map(|(start, block)| {
            let inside = offset - start;
            Piece { block, offset: inside, length: block.size().saturating_sub(inside) }
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn reads_run_across_the_borders() {
        let parts: [&[u8]; 4] = [b"abc", b"", b"defg", b"h"];
        let blocks = parts.iter().map(|p| Arc::new(Memory::from_bytes(p)) as Arc<dyn Block>).collect();
        let all = Concat::new(blocks).unwrap();
        let mut buf = [0; 6];
        all.read_at(&mut buf, 1).unwrap();
        assert_eq!(&buf, b"bcdefg");
        assert_eq!(all.size(), 8);
        assert_eq!(all.status(1..8).unwrap().length, 2);
        assert!(all.read_at(&mut buf, 3).is_err());
    }
}
