//! Raw deflate streams whose matches reach back no further than 4 KiB.
//!
//! Readers of qcow2 images inflate with a window of that size, for which general encoders are not made: with so
//! little to search, every place that a match could begin is worth looking at. (RFC 1951.)

mod huffman;
mod matches;

use huffman::{BitWriter, Code};
use matches::Finder;

/// Bytes that a match may reach back.
const WINDOW: usize = 4096;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
/// Symbols that one block encodes at most.
const BLOCK_SYMBOLS: usize = 32 << 10;
const END_OF_BLOCK: usize = 256;
const LITERALS: usize = 286;
const DISTANCES: usize = 30;

/// First length of each length code, and the bits that follow the code. (Section 3.2.5.)
const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/// In which order the lengths of the codes for code lengths are sent. (Section 3.2.7.)
const CODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How hard matches are looked for.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Places that are tried for one match.
    chain: usize,
    /// A match this long is good enough.
    nice: usize,
    /// A match this long is taken without looking whether the next byte begins a longer one.
    lazy: usize,
}

impl Effort {
    fn of(level: u32) -> Self {
        let (chain, nice, lazy) = match level {
            0 | 1 => (4, 16, 3),
            2 => (8, 16, 4),
            3 => (16, 32, 5),
            4 => (24, 32, 6),
            5 => (32, 48, 12),
            6 => (40, 64, 16),
            7 => (160, 160, 32),
            8 => (1024, 258, 128),
            _ => (4096, 258, 258),
        };
        Effort { chain, nice, lazy }
    }
}

/// The level that is used when none is asked for.
const DEFAULT_LEVEL: u32 = 6;

/// A literal byte (distance 0), or a match.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// The byte, or the length.
    value: u16,
    distance: u16,
}

/// Packs `data`; `None` if it would not fit into `limit` bytes.
pub(super) fn deflate(data: &[u8], level: Option<u32>, limit: usize) -> Option<Vec<u8>> {
    let effort = Effort::of(level.unwrap_or(DEFAULT_LEVEL));
    let mut finder = Finder::new(data, effort.chain, effort.nice);
    let mut out = BitWriter::new(limit);
    let mut symbols: Vec<Symbol> = Vec::with_capacity(BLOCK_SYMBOLS);
    let mut at = 0;
    // A match that begins at the byte before, if that byte is still undecided.
    let mut previous: Option<(usize, usize)> = None;
    while at < data.len() {
        let settled = previous.is_some_and(|(length, _)| length >= effort.lazy);
        let found = match previous {
            _ if settled => None,
            Some((length, _)) => finder.find(at, length),
            None => finder.find(at, MIN_MATCH - 1),
        };
        match (previous, found) {
            // The byte before is better off alone.
            (Some(_), Some(better)) => {
                symbols.push(literal(data, at - 1));
                previous = Some(better);
                at += 1;
            }
            (Some((length, distance)), None) => {
                symbols.push(Symbol { value: length as u16, distance: distance as u16 });
                // The match began one byte before.
                let end = at - 1 + length;
                // The search, if there was one, has entered this position.
                finder.skip(if settled { at } else { at + 1 }, end);
                at = end;
                previous = None;
            }
            (None, Some(first)) => {
                previous = Some(first);
                at += 1;
            }
            (None, None) => {
                symbols.push(literal(data, at));
                at += 1;
            }
        }
        if symbols.len() >= BLOCK_SYMBOLS && previous.is_none() && at < data.len() {
            write_block(&symbols, false, &mut out);
            symbols.clear();
            if out.is_full() {
                return None;
            }
        }
    }
    if let Some((length, distance)) = previous {
        symbols.push(Symbol { value: length as u16, distance: distance as u16 });
    }
    write_block(&symbols, true, &mut out);
    out.finish()
}

fn literal(data: &[u8], at: usize) -> Symbol {
    Symbol { value: data.get(at).copied().unwrap_or(0).into(), distance: 0 }
}

/// The code of a length, by the length itself.
const LENGTH_CODES: [u8; MAX_MATCH + 1] = {
    let mut table = [0; MAX_MATCH + 1];
    let mut code = 0;
    while code < LENGTH_BASE.len() {
        let end = if code + 1 < LENGTH_BASE.len() { LENGTH_BASE[code + 1] as usize } else { MAX_MATCH + 1 };
        let mut length = LENGTH_BASE[code] as usize;
        while length < end {
            table[length] = code as u8;
            length += 1;
        }
        code += 1;
    }
    table
};

/// Code, number of extra bits and their value.
fn length_code(length: u16) -> (usize, u32, u32) {
    let code = usize::from(LENGTH_CODES.get(usize::from(length)).copied().unwrap_or(0));
    let base = LENGTH_BASE.get(code).copied().unwrap_or(0);
    (257 + code, LENGTH_EXTRA.get(code).copied().unwrap_or(0).into(), u32::from(length - base))
}

fn distance_code(distance: u16) -> (usize, u32, u32) {
    let d = u32::from(distance) - 1;
    if d < 4 {
        return (d as usize, 0, 0);
    }
    let high = 31 - d.leading_zeros();
    let extra = high - 1;
    ((2 * high + (d >> extra & 1)) as usize, extra, d & ((1 << extra) - 1))
}

/// Writes one block with codes made for it.
fn write_block(symbols: &[Symbol], last: bool, out: &mut BitWriter) {
    let (mut literals, mut distances) = ([0u32; LITERALS], [0u32; DISTANCES]);
    let count = |counts: &mut [u32], index: usize| {
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
        }
    };
    for symbol in symbols {
        if symbol.distance == 0 {
            count(&mut literals, usize::from(symbol.value));
        } else {
            count(&mut literals, length_code(symbol.value).0);
            count(&mut distances, distance_code(symbol.distance).0);
        }
    }
    count(&mut literals, END_OF_BLOCK);
    let (literals, distances) = (Code::new(&literals, 15), Code::new(&distances, 15));
    out.put(u32::from(last), 1);
    out.put(2, 2);
    write_codes(&literals, &distances, out);
    for symbol in symbols {
        if symbol.distance == 0 {
            literals.write(usize::from(symbol.value), out);
            continue;
        }
        let (code, bits, extra) = length_code(symbol.value);
        literals.write(code, out);
        out.put(extra, bits);
        let (code, bits, extra) = distance_code(symbol.distance);
        distances.write(code, out);
        out.put(extra, bits);
    }
    literals.write(END_OF_BLOCK, out);
}

/// Sends the lengths of both codes, run by run. (Section 3.2.7.)
fn write_codes(literals: &Code, distances: &Code, out: &mut BitWriter) {
    let used = |code: &Code, least: usize| {
        code.lengths.iter().rposition(|&length| length > 0).map_or(least, |last| (last + 1).max(least))
    };
    let (literal_count, distance_count) = (used(literals, 257), used(distances, 1));
    let lengths: Vec<u8> = literals
        .lengths
        .iter()
        .take(literal_count)
        .chain(distances.lengths.iter().take(distance_count))
        .copied()
        .collect();
    // Symbol, extra bits, their value.
    let mut runs: Vec<(usize, u32, u32)> = Vec::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let length = run.first().copied().unwrap_or(0);
        let mut left = run.len() as u32;
        if length > 0 {
            runs.push((length.into(), 0, 0));
            left -= 1;
        }
        while left > 0 {
            let (symbol, bits, take) = match (length, left) {
                (0, 11..) => (18, 7, left.min(138)),
                (0, 3..) => (17, 3, left),
                (1.., 3..) => (16, 2, left.min(6)),
                _ => (length.into(), 0, 1),
            };
            let least = if symbol == 18 { 11 } else { 3 };
            runs.push((symbol, bits, if bits > 0 { take - least } else { 0 }));
            left -= take;
        }
    }
    let mut counts = [0u32; 19];
    for &(symbol, ..) in &runs {
        if let Some(count) = counts.get_mut(symbol) {
            *count += 1;
        }
    }
    let code = Code::new(&counts, 7);
    let ordered = CODE_ORDER.map(|symbol| code.lengths.get(symbol).copied().unwrap_or(0));
    let sent = ordered.iter().rposition(|&length| length > 0).map_or(4, |last| (last + 1).max(4));
    out.put((literal_count - 257) as u32, 5);
    out.put((distance_count - 1) as u32, 5);
    out.put((sent - 4) as u32, 4);
    for length in ordered.into_iter().take(sent) {
        out.put(length.into(), 3);
    }
    for (symbol, bits, value) in runs {
        code.write(symbol, out);
        out.put(value, bits);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    /// Inflates in small steps with the window that readers use.
    fn inflate(packed: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        let mut stream = Decompress::new_with_window_bits(false, 12);
        let mut filled = 0;
        while filled < length {
            let end = (filled + 1000).min(length);
            let input = &packed[stream.total_in() as usize..];
            stream.decompress(input, &mut out[filled..end], FlushDecompress::None).unwrap();
            assert!(stream.total_out() as usize > filled, "no progress at {filled}");
            filled = stream.total_out() as usize;
        }
        out
    }

    fn sample(kind: u32, length: usize) -> Vec<u8> {
        let mut state = u64::from(kind) + 1;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        match kind {
            0 => vec![0; length],
            1 => (0..length).map(|i| (i % 7) as u8).collect(),
            2 => (0..length).map(|_| b"etaoin shrdlu"[(noise() % 13) as usize]).collect(),
            3 => (0..length).map(|_| noise() as u8).collect(),
            // Repeats just within and just beyond the window.
            4 => (0..length).map(|i| (i % 4096 * 31 % 253) as u8).collect(),
            5 => (0..length).map(|i| (i % 4097 * 31 % 253) as u8).collect(),
            // Very uneven counts ask for the longest codes.
            6 => (0..length).map(|_| (noise() as u32 | 1 << 30).trailing_zeros() as u8).collect(),
            _ => (0..length).map(|i| if i % 300 < 280 { 9 } else { noise() as u8 }).collect(),
        }
    }

    #[test]
    fn everything_comes_back_through_a_small_window() {
        for kind in 0..8 {
            for length in [0, 1, 2, 3, 4, 258, 259, 4095, 4099, 65536, 300_000] {
                let data = sample(kind, length);
                for level in [None, Some(1), Some(9)] {
                    let Some(packed) = deflate(&data, level, 2 * length + 1000) else {
                        panic!("{kind} {length}")
                    };
                    assert!(inflate(&packed, length) == data, "{kind} {length} {level:?}");
                }
            }
        }
    }

    #[test]
    fn no_larger_than_the_usual_encoder() {
        use flate2::{Compress, Compression, FlushCompress};
        for kind in [1, 2, 4, 6, 7] {
            let data = sample(kind, 65536);
            let mut out = vec![0; 70_000];
            let mut usual = Compress::new_with_window_bits(Compression::new(9), false, 12);
            usual.compress(&data, &mut out, FlushCompress::Finish).unwrap();
            let ours = deflate(&data, Some(9), 70_000).unwrap().len() as u64;
            assert!(
                ours <= usual.total_out() + usual.total_out() / 50 + 8,
                "{kind}: {ours} {}",
                usual.total_out()
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_given_up() {
        let noise = sample(3, 65536);
        assert!(deflate(&noise, None, 65535).is_none());
        assert!(deflate(&sample(0, 65536), None, 200).is_some());
    }
}
