//! Prefix codes made for the counts of their symbols, and the bits that they are written as.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A prefix code: for each symbol the length of its code, 0 for symbols that do not occur, and the code with its
/// first bit lowest, as it is sent.
pub(super) struct Code {
    pub(super) lengths: Vec<u8>,
    codes: Vec<u16>,
}

impl Code {
    /// A code for symbols that occur so often, no code longer than `limit` bits.
    pub(super) fn new(counts: &[u32], limit: u32) -> Self {
        let lengths = limited(counts, limit);
        let mut next = [0u16; 17];
        let mut of_length = [0u16; 17];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            of_length[usize::from(length)] += 1;
        }
        let mut code = 0;
        for bits in 1..16 {
            code = (code + of_length[bits - 1]) << 1;
            next[bits] = code;
        }
        let codes = lengths
            .iter()
            .map(|&length| {
                if length == 0 {
                    return 0;
                }
                let next = &mut next[usize::from(length)];
                *next += 1;
                (*next - 1).reverse_bits() >> (16 - length)
            })
            .collect();
        Code { lengths, codes }
    }

    pub(super) fn write(&self, symbol: usize, out: &mut BitWriter) {
        if let (Some(&code), Some(&length)) = (self.codes.get(symbol), self.lengths.get(symbol)) {
            out.put(code.into(), length.into());
        }
    }
}

/// Code lengths of a Huffman code, shortened to `limit`.
fn limited(counts: &[u32], limit: u32) -> Vec<u8> {
    let mut lengths = vec![0u8; counts.len()];
    let used: Vec<usize> = (0..counts.len()).filter(|&i| counts.get(i).is_some_and(|&c| c > 0)).collect();
    if let [only] = used[..] {
        // A single symbol still takes a bit.
        lengths[only] = 1;
        return lengths;
    }
    // Nodes in the order of their making: leaves first, so that a parent comes after its children.
    let mut parents = vec![usize::MAX; used.len() * 2];
    let leaves = used.iter().enumerate();
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> = leaves
        .map(|(node, &symbol)| Reverse((counts.get(symbol).copied().unwrap_or(0).into(), node)))
        .collect();
    let mut made = used.len();
    while let (Some(Reverse((a, left))), Some(Reverse((b, right)))) = (heap.pop(), heap.pop()) {
        parents[left] = made;
        parents[right] = made;
        heap.push(Reverse((a + b, made)));
        made += 1;
        if heap.len() == 1 {
            break;
        }
    }
    let mut depths = vec![0u32; made];
    for node in (0..made).rev().skip(1) {
        depths[node] = depths.get(parents[node]).copied().unwrap_or(0) + 1;
    }
    let mut of_length = vec![0u32; limit as usize + 1];
    for depth in depths.iter().take(used.len()) {
        of_length[(*depth).min(limit) as usize] += 1;
    }
    shorten(&mut of_length);
    // The rarest symbols get the longest codes.
    let mut by_count = used;
    by_count.sort_unstable_by_key(|&symbol| counts.get(symbol).copied().unwrap_or(0));
    let mut symbols = by_count.into_iter();
    for length in (1..=limit as usize).rev() {
        for symbol in symbols.by_ref().take(of_length[length] as usize) {
            lengths[symbol] = length as u8;
        }
    }
    lengths
}

/// Moves codes until they fit: cutting long ones off has made too many short ones.
fn shorten(of_length: &mut [u32]) {
    let limit = of_length.len() - 1;
    let space = 1u64 << limit;
    let taken = |counts: &[u32]| -> u64 {
        (1..=limit).map(|length| u64::from(counts[length]) << (limit - length)).sum()
    };
    let mut excess = taken(of_length).saturating_sub(space);
    while excess > 0 {
        // A code one bit longer beside one from the lowest level: one unit of space less is taken.
        let Some(length) = (1..limit).rev().find(|&length| of_length[length] > 0) else { return };
        of_length[length] -= 1;
        of_length[length + 1] += 2;
        of_length[limit] -= 1;
        excess -= 1;
    }
}

/// Bits, packed into bytes with the lowest first.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are no whole word yet.
    pending: u64,
    count: u32,
    limit: usize,
}

impl BitWriter {
    /// Room for `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        BitWriter { bytes: Vec::with_capacity(limit.min(1 << 16)), pending: 0, count: 0, limit }
    }

    /// Adds the lowest `bits` (at most 32) of `value`, which has no others.
    pub(super) fn put(&mut self, value: u32, bits: u32) {
        self.pending |= u64::from(value) << self.count;
        self.count += bits;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > self.limit
    }

    /// All bytes; `None` if they are too many.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        let rest = self.pending.to_le_bytes();
        self.bytes.extend(rest.iter().take(self.count.div_ceil(8) as usize));
        (self.bytes.len() <= self.limit).then_some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_complete_and_short_enough() {
        let mut state = 7u64;
        for limit in [7, 15] {
            for round in 0..200 {
                let symbols = if limit == 7 { 19 } else { 286 };
                let counts: Vec<u32> = (0..symbols)
                    .map(|i| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        match round % 4 {
                            // Growing like Fibonacci's numbers: as deep as a tree can be.
                            0 => 1u32.checked_shl(i).unwrap_or(0),
                            1 => (state >> 60) as u32,
                            2 => u32::from(state >> 62 == 0) * (state >> 40) as u32,
                            _ => (state >> 33) as u32 >> (i % 28),
                        }
                    })
                    .collect();
                let used = counts.iter().filter(|&&count| count > 0).count();
                let lengths = limited(&counts, limit);
                assert!(lengths.iter().all(|&length| u32::from(length) <= limit));
                assert!(lengths.iter().zip(&counts).all(|(&length, &count)| (length > 0) == (count > 0)));
                let sum: u64 = lengths.iter().filter(|&&l| l > 0).map(|&l| 1u64 << (15 - l)).sum();
                if used > 1 {
                    assert_eq!(sum, 1 << 15, "{limit} {round}");
                }
            }
        }
    }
}
