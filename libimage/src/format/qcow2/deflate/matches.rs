//! Finding the longest earlier occurrence of what follows.
//!
//! Every position is entered under a hash of its first three bytes; those with the same hash are chained,
//! the latest first. Positions count from one: zero is the end of a chain.

use super::{MAX_MATCH, MIN_MATCH, WINDOW};

const HASH_BITS: u32 = 15;

pub(super) struct Finder<'a> {
    data: &'a [u8],
    heads: Vec<u32>,
    /// The position before with the same hash, for the last positions.
    chains: Vec<u32>,
    chain: usize,
    nice: usize,
}

impl<'a> Finder<'a> {
    pub(super) fn new(data: &'a [u8], chain: usize, nice: usize) -> Self {
        Finder { data, heads: vec![0; 1 << HASH_BITS], chains: vec![0; WINDOW], chain, nice }
    }

    /// The hash of the three bytes at `at`.
    fn hash(&self, at: usize) -> Option<usize> {
        let [a, b, c] = *self.data.get(at..)?.first_chunk::<3>()?;
        let word = u32::from_le_bytes([a, b, c, 0]);
        Some((word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
    }

    /// Enters a position; returns the one before with the same hash.
    fn enter(&mut self, at: usize) -> u32 {
        let Some(hash) = self.hash(at) else { return 0 };
        let Some(head) = self.heads.get_mut(hash) else { return 0 };
        let before = std::mem::replace(head, at as u32 + 1);
        if let Some(link) = self.chains.get_mut(at % WINDOW) {
            *link = before;
        }
        before
    }

    /// Enters the positions from `from` to before `to` without looking for anything.
    pub(super) fn skip(&mut self, from: usize, to: usize) {
        for at in from..to {
            self.enter(at);
        }
    }

    /// Enters `at` and finds the longest match for what is there, if one is longer than `best`: its length
    /// and distance.
    pub(super) fn find(&mut self, at: usize, best: usize) -> Option<(usize, usize)> {
        let mut candidate = self.enter(at);
        let rest = self.data.get(at..)?;
        let most = rest.len().min(MAX_MATCH);
        if most < MIN_MATCH || best >= most {
            return None;
        }
        let nice = self.nice.min(most);
        let mut length = best;
        // A longer match agrees in the last bytes that it needs, which rarely happens by chance.
        let mut last = LastBytes::new(rest, length);
        let mut found = None;
        let oldest = (at + 1).saturating_sub(WINDOW) as u32;
        for _ in 0..self.chain {
            if candidate <= oldest.saturating_sub(1) || candidate == 0 {
                break;
            }
            let start = candidate as usize - 1;
            let distance = at - start;
            if distance > WINDOW {
                break;
            }
            let earlier = self.data.get(start..)?;
            if last.agree(earlier) {
                let common = common_length(earlier, rest, most);
                if common > length && common >= MIN_MATCH {
                    length = common;
                    found = Some((common, distance));
                    if common >= nice {
                        break;
                    }
                    last = LastBytes::new(rest, length);
                }
            }
            candidate = self.chains.get(start % WINDOW).copied().unwrap_or(0);
            // An entry that was written over belongs to a later position.
            if candidate as usize > start {
                break;
            }
        }
        found
    }
}

/// Up to four bytes that end where a match longer than `length` ends at least.
struct LastBytes {
    start: usize,
    mask: u32,
    word: u32,
}

impl LastBytes {
    fn new(rest: &[u8], length: usize) -> Self {
        let (start, mask) = if length < 3 { (0, 0x00ff_ffff) } else { (length - 3, u32::MAX) };
        LastBytes { start, mask, word: word(rest, start) & mask }
    }

    fn agree(&self, earlier: &[u8]) -> bool {
        word(earlier, self.start) & self.mask == self.word
    }
}

/// Four bytes from `at` on; zeroes behind the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>()) {
        Some(four) => u32::from_le_bytes(*four),
        None => {
            (0..4).fold(0, |word, i| word | u32::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i))
        }
    }
}

/// How many of the first `most` bytes agree.
fn common_length(a: &[u8], b: &[u8], most: usize) -> usize {
    let (a, b) = (a.get(..most).unwrap_or(a), b.get(..most).unwrap_or(b));
    let (words_a, rest_a) = a.as_chunks::<8>();
    let (words_b, rest_b) = b.as_chunks::<8>();
    for (index, (x, y)) in words_a.iter().zip(words_b).enumerate() {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return index * 8 + (difference.trailing_zeros() / 8) as usize;
        }
    }
    let whole = words_a.len().min(words_b.len()) * 8;
    whole + rest_a.iter().zip(rest_b).take_while(|(x, y)| x == y).count()
}
