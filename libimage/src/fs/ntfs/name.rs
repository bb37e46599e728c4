//! Names: UTF-16 on the disk, where half a pair of surrogates may stand alone, and the order that indexes have.

use std::cmp::Ordering;

/// Letters that the table of upper case has at most.
const LETTERS: usize = 1 << 16;

/// The units of UTF-16 that bytes hold.
pub(super) fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// UTF-8 from UTF-16. Half a pair becomes three bytes, as if it were a letter.
pub(super) fn to_utf8(units: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len() * 3);
    for unit in char::decode_utf16(units.iter().copied()) {
        match unit {
            Ok(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let unit = half.unpaired_surrogate();
                let low = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
                bytes.extend([0xe0 | (unit >> 12) as u8, low(6), low(0)]);
            }
        }
    }
    bytes
}

/// UTF-16 from UTF-8, and from what [`to_utf8`] makes of half a pair; `None` if it is none of that.
pub(super) fn from_utf8(bytes: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let sound = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
        let (text, after) = rest.split_at(sound);
        units.extend(std::str::from_utf8(text).ok()?.encode_utf16());
        match after {
            [] => return Some(units),
            [0xed, upper @ 0xa0..=0xbf, lower @ 0x80..=0xbf, after @ ..] => {
                units.push(0xd000 | u16::from(upper & 0x3f) << 6 | u16::from(lower & 0x3f));
                rest = after;
            }
            _ => return None,
        }
    }
}

/// What each letter is in upper case.
#[derive(Default)]
pub(super) struct UpperCase(Vec<u16>);

impl UpperCase {
    /// From the table of the volume; `None` if it has no possible size.
    pub(super) fn new(table: &[u8]) -> Option<UpperCase> {
        let is_possible = !table.is_empty() && table.len().is_multiple_of(2) && table.len() <= LETTERS * 2;
        is_possible.then(|| UpperCase(units(table)))
    }

    /// The largest table, in bytes.
    pub(super) const SIZE: u64 = 2 * LETTERS as u64;

    fn of(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }

    /// The order of an index: as if all were upper case, and where that is the same, by the first letter that is not.
    pub(super) fn compare(&self, one: &[u16], other: &[u16]) -> Ordering {
        let upper = one.iter().map(|unit| self.of(*unit)).cmp(other.iter().map(|unit| self.of(*unit)));
        upper.then_with(|| one.cmp(other))
    }

    /// Whether they are the same but for the case of letters.
    pub(super) fn same(&self, one: &[u16], other: &[u16]) -> bool {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.of(*one) == self.of(*other))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn halves_are_kept() {
        for units in [&[0x61, 0xfc, 0x65e5][..], &[0xd834, 0xdd1e], &[0xd834], &[0xdd1e, 0xd834, 0x61], &[]] {
            assert_eq!(from_utf8(&to_utf8(units)).unwrap(), units);
        }
        assert_eq!(to_utf8(&[0xd834]), b"\xed\xa0\xb4");
        for bytes in [&b"\xff"[..], b"a\xc3", b"\xed\xa0", b"\xc0\x80"] {
            assert_eq!(from_utf8(bytes), None);
        }
    }

    #[test]
    fn case_counts_last() {
        let mut table: Vec<u16> = (0..128).collect();
        for letter in b'a'..=b'z' {
            table[usize::from(letter)] = letter.to_ascii_uppercase().into();
        }
        let upper =
            UpperCase::new(&table.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let compare = |one: &str, other: &str| {
            let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
            upper.compare(&units(one), &units(other))
        };
        assert_eq!(compare("abc", "ABD"), Ordering::Less);
        assert_eq!(compare("abc", "ABC"), Ordering::Greater);
        assert_eq!(compare("ab", "ABC"), Ordering::Less);
        assert_eq!(compare("a_", "AB"), Ordering::Greater);
        assert_eq!(compare("ü", "ü"), Ordering::Equal);
    }
}
