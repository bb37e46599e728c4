//! Which parts of a disk have been written: the contents of a dirty bitmap.
//!
//! One bit stands for one granule of the disk. Only what is neither all clear nor all set takes memory.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, Result};

/// Bytes of bits that are kept together; no cluster is smaller.
const CHUNK: usize = 512;
const CHUNK_BITS: u64 = CHUNK as u64 * 8;

/// The bits of a chunk; `None` when all are set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk(Option<Box<[u8; CHUNK]>>);

impl Chunk {
    const ONES: Chunk = Chunk(None);

    fn zeroes() -> Self {
        Chunk(Some(Box::new([0; CHUNK])))
    }

    fn byte(&self, index: usize) -> u8 {
        self.0.as_ref().map_or(0xff, |bytes| bytes.get(index).copied().unwrap_or(0))
    }

    fn bytes(&mut self) -> &mut [u8; CHUNK] {
        self.0.get_or_insert_with(|| Box::new([0xff; CHUNK]))
    }
}

/// Which parts of a disk are dirty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyBits {
    /// Bytes of the disk.
    size: u64,
    granularity_bits: u32,
    chunks: BTreeMap<u64, Chunk>,
}

impl DirtyBits {
    /// Nothing is dirty on a disk of `size` bytes; a bit stands for `1 << granularity_bits` of them.
    pub(super) fn new(size: u64, granularity_bits: u32) -> Self {
        DirtyBits { size, granularity_bits: granularity_bits.min(63), chunks: BTreeMap::new() }
    }

    /// Bytes of the disk that one bit stands for.
    pub fn granularity(&self) -> u64 {
        1 << self.granularity_bits
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn bits(&self) -> u64 {
        self.size.div_ceil(self.granularity())
    }

    /// Bytes that the bits fill when they are stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.bits().div_ceil(8)
    }

    /// Makes all granules dirty that `range` of the disk touches.
    pub fn set(&mut self, range: Range<u64>) {
        if range.start >= range.end.min(self.size) {
            return;
        }
        let first = range.start >> self.granularity_bits;
        let end = ((range.end.min(self.size) - 1) >> self.granularity_bits) + 1;
        self.set_bits(first..end);
    }

    fn set_bits(&mut self, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let index = at / CHUNK_BITS;
            let end = ((index + 1) * CHUNK_BITS).min(range.end);
            if end - at == CHUNK_BITS {
                self.chunks.insert(index, Chunk::ONES);
            } else {
                let chunk = self.chunks.entry(index).or_insert_with(Chunk::zeroes);
                if *chunk != Chunk::ONES {
                    set_in(chunk.bytes(), (at % CHUNK_BITS) as usize, (end - at) as usize);
                }
            }
            at = end;
        }
    }

    /// Makes everything clean.
    pub fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Makes dirty what is dirty in `other`, which may have another granularity.
    ///
    /// # Errors
    /// When that is of a disk of another size.
    pub fn merge(&mut self, other: &DirtyBits) -> Result<()> {
        if self.size != other.size {
            return Err(Error::Invalid(format!(
                "Bitmaps are of different sizes (destination size is {}, source size is {}) and can't be merged",
                self.size, other.size
            )));
        }
        let mut at = 0;
        while let Some(range) = other.next_dirty(at) {
            at = range.end;
            self.set(range);
        }
        Ok(())
    }

    /// The first dirty range of the disk at or behind `from`.
    pub fn next_dirty(&self, from: u64) -> Option<Range<u64>> {
        let bits = self.bits();
        let start = self.find(from >> self.granularity_bits, true).filter(|&bit| bit < bits)?;
        let end = self.find(start, false).unwrap_or(bits).min(bits);
        let start = (start << self.granularity_bits).max(from);
        Some(start..(end << self.granularity_bits).min(self.size)).filter(|range| !range.is_empty())
    }

    /// Bytes of the disk that are dirty.
    pub fn dirty_bytes(&self) -> u64 {
        let (mut at, mut sum) = (0, 0);
        while let Some(range) = self.next_dirty(at) {
            sum += range.end - range.start;
            at = range.end;
        }
        sum
    }

    /// The first bit from `from` on that is set, or clear. `None`: all that follow are not.
    fn find(&self, from: u64, set: bool) -> Option<u64> {
        let mut at = from;
        if !set {
            // A chunk that is not there is clear.
            while let Some(chunk) = self.chunks.get(&(at / CHUNK_BITS)) {
                match find_in(chunk, (at % CHUNK_BITS) as usize, false) {
                    Some(bit) => return Some(at / CHUNK_BITS * CHUNK_BITS + bit as u64),
                    None => at = (at / CHUNK_BITS + 1) * CHUNK_BITS,
                }
            }
            return Some(at);
        }
        for (&index, chunk) in self.chunks.range(at / CHUNK_BITS..) {
            at = at.max(index * CHUNK_BITS);
            if let Some(bit) = find_in(chunk, (at - index * CHUNK_BITS) as usize, true) {
                return Some(index * CHUNK_BITS + bit as u64);
            }
        }
        None
    }

    /// Gives the disk another size. What is new is clean.
    pub(super) fn resize(&mut self, size: u64) {
        self.size = size;
        self.trim();
    }

    /// Clears bits beyond the end.
    fn trim(&mut self) {
        let bits = self.bits();
        let last = bits / CHUNK_BITS;
        self.chunks.split_off(&(last + 1));
        let kept = (bits % CHUNK_BITS) as usize;
        if let Some(chunk) = self.chunks.get_mut(&last) {
            let bytes = chunk.bytes();
            for (index, byte) in bytes.iter_mut().enumerate() {
                let keep = kept.saturating_sub(index * 8).min(8);
                *byte &= ((1u16 << keep) - 1) as u8;
            }
        }
    }

    /// Takes over stored bits; `at` is their position in the stored form, a multiple of 512.
    pub(super) fn load(&mut self, at: u64, bytes: &[u8]) {
        for (index, part) in (at / CHUNK as u64..).zip(bytes.chunks(CHUNK)) {
            let mut chunk = Box::new([0; CHUNK]);
            if let Some(target) = chunk.get_mut(..part.len()) {
                target.copy_from_slice(part);
            }
            if chunk.iter().all(|&byte| byte == 0xff) {
                self.chunks.insert(index, Chunk::ONES);
            } else if chunk.iter().any(|&byte| byte != 0) {
                self.chunks.insert(index, Chunk(Some(chunk)));
            }
        }
        self.trim();
    }

    /// Takes over stored bits that are all set.
    pub(super) fn load_ones(&mut self, at: u64, length: u64) {
        self.set_bits(at * 8..at.saturating_add(length).saturating_mul(8).min(self.bits()));
    }

    /// The stored form of a part, or `None` if all of it is clear. `at` and `length` are multiples of 512.
    pub(super) fn store(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        let first = at / CHUNK as u64;
        let mut bytes = None;
        for (&index, chunk) in self.chunks.range(first..first + length / CHUNK as u64) {
            let bytes = bytes.get_or_insert_with(|| vec![0; length as usize]);
            let start = (index - first) as usize * CHUNK;
            for (i, byte) in bytes.iter_mut().skip(start).take(CHUNK).enumerate() {
                *byte = chunk.byte(i);
            }
        }
        bytes.filter(|bytes| bytes.iter().any(|&byte| byte != 0))
    }
}

fn set_in(bytes: &mut [u8; CHUNK], first: usize, count: usize) {
    for bit in first..first + count {
        if bit % 8 == 0 && bit + 8 <= first + count {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte = 0xff;
            }
        } else if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
}

fn find_in(chunk: &Chunk, from: usize, set: bool) -> Option<usize> {
    let mut bit = from;
    while bit < CHUNK * 8 {
        let byte = if set { chunk.byte(bit / 8) } else { !chunk.byte(bit / 8) };
        let rest = byte >> (bit % 8);
        if rest != 0 {
            return Some(bit + rest.trailing_zeros() as usize);
        }
        bit = (bit / 8 + 1) * 8;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Against the plainest thing that could be called a bitmap.
    #[test]
    fn the_same_as_a_vector_of_booleans() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for bits in [9, 12, 16] {
            let mut size = 9000 << bits;
            let mut dirty = DirtyBits::new(size - 512, bits);
            let mut model = vec![false; 9000];
            for step in 0..60 {
                let start = random(size);
                let end = (start + random(if step % 5 == 0 { size } else { 100 << bits })).min(size - 512);
                dirty.set(start..end);
                if start < end {
                    for bit in start >> bits..=(end - 1) >> bits {
                        model[bit as usize] = true;
                    }
                }
                if step == 40 {
                    size = 5000 << bits;
                    dirty.resize(size - 512);
                    model.resize(5000, false);
                }
                let mut found = vec![false; model.len()];
                let mut at = 0;
                while let Some(range) = dirty.next_dirty(at) {
                    (range.start >> bits..=(range.end - 1) >> bits)
                        .for_each(|bit| found[bit as usize] = true);
                    at = range.end;
                }
                assert!(found == model, "granularity 2^{bits}, step {step}");
                let mut again = DirtyBits::new(dirty.size(), bits);
                for at in (0..dirty.stored_bytes()).step_by(1024) {
                    if let Some(bytes) = dirty.store(at, 1024) {
                        again.load(at, &bytes);
                    }
                }
                assert_eq!(again.dirty_bytes(), dirty.dirty_bytes());
                let mut coarse = DirtyBits::new(dirty.size(), bits + 1);
                coarse.merge(&dirty).unwrap();
                assert!(coarse.dirty_bytes() >= dirty.dirty_bytes());
                if step % 20 == 19 {
                    dirty.clear();
                    model.fill(false);
                }
            }
        }
        let mut small = DirtyBits::new(512, 9);
        assert!(small.merge(&DirtyBits::new(1024, 9)).is_err());
        small.load_ones(0, 1024);
        assert_eq!(small.dirty_bytes(), 512);
    }
}
