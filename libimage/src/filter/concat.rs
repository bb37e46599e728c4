//! Several block devices one after the other, for reading.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, HostRange, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// The contents of several block devices in a row.
pub struct Concat {
    parts: Vec<(u64, Arc<dyn Block>)>,
    size: u64,
    name: String,
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
        Ok(Concat { parts, size, name })
    }

    /// The part that holds `offset`, where it starts and ends.
    fn part(&self, offset: u64) -> Result<(&Arc<dyn Block>, u64, u64)> {
        let index = self.parts.partition_point(|(start, _)| *start <= offset);
        // Empty parts share their start with the one after them, which is the one found here.
        let found = index.checked_sub(1).and_then(|i| self.parts.get(i));
        let (start, block) = found.ok_or_else(|| Error::OutOfRange {
            file: self.name.clone(),
            offset,
            length: 0,
            size: self.size,
        })?;
        Ok((block, *start, start + block.size()))
    }

    fn read_only<T>(&self) -> Result<T> {
        Err(Error::ReadOnly { file: self.name.clone() })
    }
}

impl Block for Concat {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let (block, start, end) = self.part(at)?;
            let take = (end - at).min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(take as usize);
            block.read_at(now, at - start)?;
            at += take;
            rest = later;
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
        let (block, start, end) = self.part(range.start)?;
        let extent = block.status(range.start - start..range.end.min(end) - start)?;
        Ok(extent)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let (block, start, end) = self.part(range.start)?;
        block.host_range(range.start - start..range.end.min(end) - start)
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
