//! A storage in memory, sparse: what was never written takes no space.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

const CHUNK: u64 = 64 * 1024;

/// Bytes in memory. It grows when written past its end.
pub struct Memory {
    name: String,
    inner: RwLock<Inner>,
}

struct Inner {
    size: u64,
    chunks: BTreeMap<u64, Box<[u8]>>,
}

impl Memory {
    /// An all-zero storage of `size` bytes.
    pub fn new(size: u64) -> Self {
        Memory { name: "memory".to_owned(), inner: RwLock::new(Inner { size, chunks: BTreeMap::new() }) }
    }

    /// A storage holding `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let memory = Memory::new(0);
        {
            let mut inner = memory.inner.write().unwrap_or_else(PoisonError::into_inner);
            inner.size = bytes.len() as u64;
            inner.write(0, bytes);
        }
        memory
    }

    fn read_inner(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_inner(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits `offset..offset + len` at chunk borders: chunk number, offset in the chunk, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let inside = (at % CHUNK) as usize;
        let take = left.min(CHUNK as usize - inside);
        let piece = (at / CHUNK, inside, take);
        at += take as u64;
        left -= take;
        Some(piece)
    })
}

impl Inner {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (chunk, inside, take) in pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(take);
            let chunk =
                self.chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK as usize].into_boxed_slice());
            chunk[inside..inside + take].copy_from_slice(now);
            rest = later;
        }
    }

    fn clear(&mut self, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let chunk = at / CHUNK;
            let end = ((chunk + 1) * CHUNK).min(range.end);
            if at.is_multiple_of(CHUNK) && end - at == CHUNK {
                self.chunks.remove(&chunk);
            } else if let Some(bytes) = self.chunks.get_mut(&chunk) {
                let start = (at % CHUNK) as usize;
                bytes[start..start + (end - at) as usize].fill(0);
            }
            at = end;
        }
    }
}

impl Block for Memory {
    fn size(&self) -> u64 {
        self.read_inner().size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let inner = self.read_inner();
        let mut rest = buf;
        let length = rest.len();
        for (chunk, inside, take) in pieces(offset, length) {
            let (now, later) = rest.split_at_mut(take);
            match inner.chunks.get(&chunk) {
                Some(bytes) => now.copy_from_slice(&bytes[inside..inside + take]),
                None => now.fill(0),
            }
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .ok_or_else(|| Error::Invalid("Write beyond the largest offset".to_owned()))?;
        let mut inner = self.write_inner();
        inner.write(offset, buf);
        inner.size = inner.size.max(end);
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        let mut inner = self.write_inner();
        let end = range.end;
        inner.clear(range);
        inner.size = inner.size.max(end);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        self.write_inner().clear(range);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let inner = self.read_inner();
        let first = range.start / CHUNK;
        let held = inner.chunks.contains_key(&first);
        let end = if held {
            // The first gap among the chunks that follow.
            let mut following = inner.chunks.range(first..).zip(first..);
            let gap = following.find(|&((&chunk, _), expected)| {
                chunk != expected || expected.saturating_mul(CHUNK) >= range.end
            });
            gap.map_or_else(|| inner.chunks.keys().next_back().map_or(first, |last| last + 1), |(_, end)| end)
        } else {
            inner.chunks.range(first..).next().map_or(u64::MAX, |(&next, _)| next)
        };
        let length = end.saturating_mul(CHUNK).min(range.end) - range.start;
        Ok(if held { Extent::data(length, range.start) } else { Extent::zero(length) })
    }

    fn limits(&self) -> Limits {
        Limits { growable: true, zero_init: true, ..Limits::default() }
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn resize(&self, size: u64, _preallocation: Preallocation) -> Result<()> {
        let mut inner = self.write_inner();
        if size < inner.size {
            let end = inner.size;
            inner.clear(size..end);
        }
        inner.size = size;
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn allocated_bytes(&self) -> Option<u64> {
        Some(self.read_inner().chunks.len() as u64 * CHUNK)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_vector_of_bytes() {
        let memory = Memory::new(10);
        memory.write_at(&[7; 200_000], 65_530).unwrap();
        assert_eq!(memory.size(), 265_530);
        memory.write_zeroes(65_540..196_610, Zero::MayUnmap).unwrap();
        let mut all = vec![1; 265_530];
        memory.read_at(&mut all, 0).unwrap();
        for (i, &byte) in all.iter().enumerate() {
            let expected = u8::from((65_530..65_540).contains(&i) || (196_610..265_530).contains(&i)) * 7;
            assert_eq!(byte, expected, "at {i}");
        }
        assert!(memory.read_at(&mut [0; 2], 265_529).is_err());
        let extent = memory.status(131_072..200_000).unwrap();
        assert_eq!((extent.zero, extent.length), (true, 65_536));
    }
}
