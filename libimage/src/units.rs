//! Sizes as people write them.

use crate::error::{Error, Result};

/// Bytes in a kibibyte.
pub const KIB: u64 = 1 << 10;
/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
/// Bytes in a gibibyte.
pub const GIB: u64 = 1 << 30;

/// Rounds `value` up to a multiple of `step`, or `None` on overflow or a zero step.
pub fn round_up(value: u64, step: u64) -> Option<u64> {
    value.checked_next_multiple_of(step)
}

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeProblem {
    /// It is not a number with at most one suffix, or a fraction of a byte.
    Malformed,
    /// It is negative, or 2^64 or more.
    OutOfRange,
}

/// Parses a size such as `10G`, `1.5M`, `512` or `0x200`, in bytes. Suffixes are powers of 1024:
/// `b k K M G T P E`; fractions are allowed with a suffix, and rounded to the nearest byte.
///
/// # Errors
/// Refuses anything negative, anything of 2^63 bytes or more, and trailing characters.
pub fn parse_size(text: &str) -> Result<u64> {
    scan_size(text).ok().filter(|&size| size <= i64::MAX as u64).ok_or_else(|| {
        Error::Invalid(format!(
            "Invalid size '{text}': use a number with a suffix b, k, M, G, T, P or E (powers of 1024)"
        ))
    })
}

/// Parses a size like [`parse_size`], up to 2^64 - 1, and tells apart what can be wrong with it the way
/// QEMU does.
///
/// # Errors
/// See [`SizeProblem`].
pub fn scan_size(text: &str) -> Result<u64, SizeProblem> {
    use SizeProblem::{Malformed, OutOfRange};
    let text = text.trim_ascii_start();
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Malformed);
        }
        return match u64::from_str_radix(hex, 16) {
            Ok(value) if !negative => Ok(value),
            _ => Err(OutOfRange),
        };
    }
    let split = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(split);
    let shift = match suffix {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return Err(Malformed),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(Malformed);
    }
    // Digits only: what fails is too large. QEMU looks no further then, not at the suffix either.
    let too_large = if suffix.is_empty() { OutOfRange } else { Malformed };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large)? };
    let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().unwrap_or(0.0) };
    if negative {
        return Err(too_large);
    }
    if shift == 0 && part > 0.0 {
        return Err(Malformed);
    }
    // A fraction below one of at most 2^60: representable.
    let part = (part * (1u64 << shift) as f64).round() as u64;
    whole.checked_mul(1 << shift).and_then(|value| value.checked_add(part)).ok_or(OutOfRange)
}

/// Three significant digits and a binary unit: `1.5 GiB`, `196 KiB`, `0 B`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = if value >= 999.5 {
        // Three digits, as C's %.3g has it.
        "1e+03".to_owned()
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 1.0 || value == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", UNITS[unit])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_written() {
        assert_eq!(parse_size("512").unwrap(), 512);
        assert_eq!(parse_size("1.5G").unwrap(), 3 << 29);
        assert_eq!(parse_size("0x200").unwrap(), 512);
        assert_eq!(parse_size("7E").unwrap(), 7 << 60);
        for (text, size) in [(".5G", 1 << 29), ("1.G", 1 << 30), ("1.0", 1), ("+5k", 5120), ("0.1M", 104_858)]
        {
            assert_eq!(parse_size(text).unwrap(), size, "{text}");
        }
        for bad in
            ["", "-1", "8E", "1.5", "1X", "12 G", "99999999999999999999", "0x10k", "1e3", ".", "1.2.3k"]
        {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(scan_size("8E").unwrap(), 1 << 63);
        for (text, problem) in [
            ("-1", SizeProblem::OutOfRange),
            ("-0", SizeProblem::OutOfRange),
            ("-5k", SizeProblem::Malformed),
            ("16E", SizeProblem::OutOfRange),
            ("99999999999999999999", SizeProblem::OutOfRange),
            ("x", SizeProblem::Malformed),
        ] {
            assert_eq!(scan_size(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn sizes_as_shown() {
        // Taken from what qemu-img prints for images of these sizes.
        for (bytes, text) in [
            (0, "0 B"),
            (512, "512 B"),
            (200_704, "196 KiB"),
            (1 << 30, "1 GiB"),
            (3 << 29, "1.5 GiB"),
            (1000 << 20, "0.977 GiB"),
            (1184890, "1.13 MiB"),
            (1_023_488, "1e+03 KiB"),
            (1_022_976, "999 KiB"),
            (1_024_000, "0.977 MiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
