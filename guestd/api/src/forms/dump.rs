//! Bytes shown to people: in hexadecimal, and the strings among them.

use crate::wire::MAX_REPLY;
use crate::{Failure, GuestString};
use std::fmt::Write as _;

const EINVAL: i32 = 22;
const EFBIG: i32 = 27;

/// The lines of a dump: offset, sixteen bytes, the same as characters. A line that repeats is shown once and
/// then as `*`.
#[derive(Debug, Default)]
pub struct HexDump {
    text: String,
    offset: u64,
    last: Vec<u8>,
    repeating: bool,
}

impl HexDump {
    /// Adds bytes, a multiple of sixteen unless they are the last ones.
    ///
    /// # Errors
    /// When the text becomes too long for an answer.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for line in bytes.chunks(16) {
            if line.len() == 16 && line == self.last {
                if !self.repeating {
                    self.text.push_str("*\n");
                }
                self.repeating = true;
            } else {
                self.repeating = false;
                self.line(line);
                self.last = line.to_vec();
            }
            self.offset = self.offset.saturating_add(line.len() as u64);
        }
        if self.text.len() > MAX_REPLY / 2 {
            return Err(Failure::new("file is too large for this action, use download").with_errno(EFBIG));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        let _ = write!(self.text, "{:08x}  ", self.offset);
        for at in 0..16 {
            let _ = match line.get(at) {
                Some(byte) => write!(self.text, "{byte:02x} "),
                None => write!(self.text, "   "),
            };
            if at == 7 {
                self.text.push(' ');
            }
        }
        let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        self.text.push_str(" |");
        self.text.extend(line.iter().map(shown));
        self.text.push_str("|\n");
    }

    /// The text, with the length as its last line unless there was nothing.
    pub fn finish(mut self) -> String {
        if self.offset > 0 {
            let _ = writeln!(self.text, "{:08x}", self.offset);
        }
        self.text
    }
}

/// How characters of a string are stored.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    /// Bytes per character.
    width: usize,
    big_endian: bool,
    /// Bytes above 127 are characters too.
    eight_bits: bool,
}

impl Encoding {
    /// From the letter that the program `strings` has for it.
    ///
    /// # Errors
    /// When there is no such letter.
    pub fn parse(letter: &GuestString) -> Result<Self, Failure> {
        let (width, big_endian, eight_bits) = match letter.as_bytes() {
            b"s" => (1, false, false),
            b"S" => (1, false, true),
            b"b" => (2, true, false),
            b"l" => (2, false, false),
            b"B" => (4, true, false),
            b"L" => (4, false, false),
            _ => {
                return Err(Failure::new(format!("{letter}: invalid encoding")).with_errno(EINVAL));
            }
        };
        Ok(Encoding { width, big_endian, eight_bits })
    }

    /// The printable character at the start of the bytes.
    fn character(self, bytes: &[u8]) -> Option<u8> {
        let bytes = bytes.get(..self.width)?;
        let (low, high) = if self.big_endian {
            bytes.split_last().map(|(low, high)| (*low, high))?
        } else {
            bytes.split_first().map(|(low, high)| (*low, high))?
        };
        let printable = matches!(low, b'\t' | b' '..=b'~') || (self.eight_bits && low >= 0x80);
        (printable && high.iter().all(|byte| *byte == 0)).then_some(low)
    }
}

/// The runs of at least four printable characters.
pub fn strings_in(bytes: &[u8], encoding: Encoding) -> Vec<GuestString> {
    let mut found = Vec::new();
    let mut run = Vec::new();
    let mut rest = bytes;
    loop {
        match encoding.character(rest) {
            Some(character) => {
                run.push(character);
                rest = rest.get(encoding.width..).unwrap_or_default();
            }
            None => {
                if run.len() >= 4 {
                    found.push(GuestString::from(std::mem::take(&mut run)));
                }
                run.clear();
                // A wide string may start at any byte.
                match rest.split_first() {
                    Some((_, after)) => rest = after,
                    None => return found,
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn strings(letter: &str, bytes: &[u8]) -> Vec<GuestString> {
        strings_in(bytes, Encoding::parse(&letter.into()).unwrap())
    }

    #[test]
    fn strings_of_every_encoding() {
        assert_eq!(strings("s", b"abc\0abcd\x01a\tb \xffxyz!"), ["abcd", "a\tb ", "xyz!"]);
        assert_eq!(strings("S", b"ab\xe9\xff\0"), [GuestString::from(&b"ab\xe9\xff"[..])]);
        assert_eq!(strings("l", b"xa\0b\0c\0d\0\0\0"), ["abcd"]);
        assert_eq!(strings("b", b"\0a\0b\0c\0d"), ["abcd"]);
        assert_eq!(strings("L", b"a\0\0\0b\0\0\0c\0\0\0d\0\0\0"), ["abcd"]);
        assert!(Encoding::parse(&"x".into()).is_err() && strings("s", b"abc").is_empty());
    }
}
