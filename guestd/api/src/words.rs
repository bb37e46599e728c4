//! From the words of a command line to the arguments of an action.
//!
//! The rules are those that scripts for guestfish rely on: numbers in C's notation with size suffixes, a
//! dozen spellings of a boolean, lists in one word with their own quoting, options as `name:value` after the
//! required arguments in any order but once each.

use crate::GuestString;

/// Why words do not make a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// Too few or too many words.
    #[error("incorrect number of arguments")]
    Count,
    /// A word that is no number.
    #[error("{name}: '{word}': invalid integer parameter")]
    Integer {
        /// The argument.
        name: String,
        /// What stood there.
        word: GuestString,
    },
    /// A number that does not fit.
    #[error("{name}: integer out of range")]
    Range {
        /// The argument.
        name: String,
    },
    /// A word that is neither true nor false.
    #[error("'{0}': invalid boolean value, use 'true' or 'false'")]
    Bool(GuestString),
    /// A list whose quotes do not match.
    #[error("{name}: unmatched quote in the list '{word}'")]
    Quote {
        /// The argument.
        name: String,
        /// What stood there.
        word: GuestString,
    },
    /// An option that the action does not have, or a word without a colon in the place of one.
    #[error("unknown optional argument \"{0}\"")]
    UnknownOption(GuestString),
    /// An option given twice.
    #[error("optional argument \"{0}\" given more than once")]
    Twice(String),
    /// A key that could not be asked for.
    #[error("{name}: {why}")]
    Key {
        /// The argument.
        name: String,
        /// Why not.
        why: String,
    },
}

/// Asks for a secret that never stands on a command line; gets the argument's name.
pub type AskKey<'a> = dyn FnMut(&str) -> Result<GuestString, String> + 'a;

/// The words that are still to be taken, and the host files met on the way.
pub struct Words<'a> {
    rest: std::slice::Iter<'a, GuestString>,
    ask_key: &'a mut AskKey<'a>,
    pub(crate) input: Option<GuestString>,
    pub(crate) output: Option<GuestString>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [GuestString], ask_key: &'a mut AskKey<'a>) -> Self {
        Words { rest: words.iter(), ask_key, input: None, output: None }
    }

    /// The next required word.
    pub(crate) fn word(&mut self) -> Result<&'a GuestString, ArgError> {
        self.rest.next().ok_or(ArgError::Count)
    }

    /// The next option, split at its colon.
    pub(crate) fn option(&mut self) -> Result<Option<(String, GuestString)>, ArgError> {
        let Some(word) = self.rest.next() else { return Ok(None) };
        let bytes = word.as_bytes();
        let colon = bytes.iter().position(|b| *b == b':');
        let (name, value) = colon
            .and_then(|at| Some((bytes.get(..at)?, bytes.get(at.checked_add(1)?..)?)))
            .ok_or_else(|| ArgError::UnknownOption(word.clone()))?;
        Ok(Some((String::from_utf8_lossy(name).replace('-', "_"), value.into())))
    }

    pub(crate) fn key(&mut self, name: &str) -> Result<GuestString, ArgError> {
        (self.ask_key)(name).map_err(|why| ArgError::Key { name: name.into(), why })
    }

    pub(crate) fn finish(&mut self) -> Result<(), ArgError> {
        if self.rest.next().is_some() { Err(ArgError::Count) } else { Ok(()) }
    }
}

/// A number as `strtoll` with base 0 reads it, with an optional size suffix.
///
/// `0x` is hexadecimal, a leading `0` octal. `k K M G T P E` multiply by powers of 1024, followed by `B` or
/// `D` by powers of 1000, by `iB` of 1024 again. A suffix alone counts from 1.
pub fn integer(name: &str, word: &GuestString) -> Result<i64, ArgError> {
    let bad = || ArgError::Integer { name: name.into(), word: word.clone() };
    let range = || ArgError::Range { name: name.into() };
    let text = word.to_str().ok_or_else(bad)?.trim_start();
    let (negative, text) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (radix, text) = match hex {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, rest),
        _ if text.starts_with('0') => (8, text),
        _ => (10, text),
    };
    let end = text.find(|c: char| !c.is_digit(radix)).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let number: i128 = match (digits, suffix) {
        ("", "") => return Err(bad()),
        ("", _) => 1,
        _ => i128::from_str_radix(digits, radix).map_err(|_| range())?,
    };
    let number = number.checked_mul(i128::from(multiplier(suffix).ok_or_else(bad)?)).ok_or_else(range)?;
    i64::try_from(if negative { -number } else { number }).map_err(|_| range())
}

/// What a size suffix multiplies by; `Z` and `Y` exist but no 64-bit number can carry them.
fn multiplier(suffix: &str) -> Option<u64> {
    let mut letters = suffix.chars();
    let power = match letters.next() {
        None => return Some(1),
        Some('k' | 'K') => 1,
        Some('M') => 2,
        Some('G') => 3,
        Some('T') => 4,
        Some('P') => 5,
        Some('E') => 6,
        Some(_) => return None,
    };
    match letters.as_str() {
        "" | "iB" => 1024u64.checked_pow(power),
        "B" | "D" => 1000u64.checked_pow(power),
        _ => None,
    }
}

/// A number of 32 bits, read as [`integer`] does.
pub fn integer32(name: &str, word: &GuestString) -> Result<i32, ArgError> {
    i32::try_from(integer(name, word)?).map_err(|_| ArgError::Range { name: name.into() })
}

/// True or false, in any of the usual spellings and any case.
pub fn boolean(word: &GuestString) -> Result<bool, ArgError> {
    match word.to_string_lossy().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err(ArgError::Bool(word.clone())),
    }
}

/// A list in one word: elements between blanks, single quotes keep blanks together.
pub fn list(name: &str, word: &GuestString) -> Result<Vec<GuestString>, ArgError> {
    let mut elements = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    let mut quoted = false;
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            b' ' | b'\t' if !quoted => elements.extend(current.take().map(GuestString::from)),
            _ => current.get_or_insert_default().push(byte),
        }
    }
    if quoted {
        return Err(ArgError::Quote { name: name.into(), word: word.clone() });
    }
    elements.extend(current.map(GuestString::from));
    Ok(elements)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn int(word: &str) -> Option<i64> {
        integer("n", &word.into()).ok()
    }

    #[test]
    fn numbers_follow_c() {
        let cases =
            [("777", 777), ("0777", 0o777), ("0x1F", 31), ("-5", -5), ("+11", 11), ("0", 0), ("1k", 1024)];
        for (word, number) in cases {
            assert_eq!(int(word), Some(number), "{word}");
        }
        assert_eq!(
            (int("1KB"), int("1KiB"), int("2G"), int("M")),
            (Some(1000), Some(1024), Some(2 << 30), Some(1 << 20))
        );
        for word in ["", "x", "12x", "08", "1kk", "9223372036854775808", "16E", "1Y", "0x"] {
            assert_eq!(int(word), None, "{word}");
        }
        assert_eq!(int("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer32("mode", &"4G".into()), Err(ArgError::Range { name: "mode".into() }));
    }

    #[test]
    fn lists_have_their_own_quotes() {
        let parsed = |word: &str| list("l", &word.into());
        assert_eq!(parsed("a 'b c'  d").unwrap(), ["a", "b c", "d"]);
        assert_eq!(parsed("").unwrap(), [""; 0]);
        assert_eq!(parsed("''").unwrap(), [""]);
        assert!(parsed("a 'b").is_err());
    }
}
