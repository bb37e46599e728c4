//! Names and strings: one byte per character, or UTF-16, as the registry stores them.

use super::Result;
use rustix::io::Errno;

/// Text of a name: Latin-1 if it is compressed, else UTF-16.
pub(super) fn decode(bytes: &[u8], compressed: bool) -> Result<String> {
    if compressed { Ok(bytes.iter().map(|byte| char::from(*byte)).collect()) } else { utf16_to_string(bytes) }
}

/// A name as it is stored, and whether it is compressed.
pub(super) fn encode(name: &str) -> (Vec<u8>, bool) {
    let latin: Option<Vec<u8>> = name.chars().map(|letter| u8::try_from(letter).ok()).collect();
    match latin {
        Some(bytes) => (bytes, true),
        None => (name.encode_utf16().flat_map(u16::to_le_bytes).collect(), false),
    }
}

/// Little-endian UTF-16 as text, NUL characters included.
///
/// # Errors
/// `EINVAL` for half a unit, `EILSEQ` for half a pair.
pub fn utf16_to_string(bytes: &[u8]) -> Result<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Errno::INVAL);
    }
    char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)))
        .collect::<std::result::Result<String, _>>()
        .map_err(|_| Errno::ILSEQ)
}

/// Names are compared without regard to case.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
