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

/// Rounds `value` down to a multiple of `step` (which must not be zero).
pub fn round_down(value: u64, step: u64) -> u64 {
    value - value % step
}

/// Parses a size such as `10G`, `1.5M`, `512` or `0x200`, in bytes. Suffixes are powers of 1024:
/// `b k K M G T P E`; fractions are allowed with a suffix.
///
/// # Errors
/// Refuses anything negative, anything of 2^63 bytes or more, and trailing characters.
pub fn parse_size(text: &str) -> Result<u64> {
    let invalid = || {
        Error::Invalid(format!(
            "Invalid size '{text}': use a number with a suffix b, k, M, G, T, P or E (powers of 1024)"
        ))
    };
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).map_err(|_| invalid())?;
        return if value > i64::MAX as u64 { Err(invalid()) } else { Ok(value) };
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let shift = match suffix {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return Err(invalid()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && (fraction.is_empty() || shift == 0)) {
        return Err(invalid());
    }
    let whole: u64 = whole.parse().map_err(|_| invalid())?;
    let mut value = whole.checked_mul(1 << shift).ok_or_else(invalid)?;
    if !fraction.is_empty() {
        let part: f64 = format!("0.{fraction}").parse().map_err(|_| invalid())?;
        // A fraction below one of at most 2^60: representable, and truncated as the suffix demands.
        value = value.checked_add((part * (1u64 << shift) as f64) as u64).ok_or_else(invalid)?;
    }
    if value > i64::MAX as u64 { Err(invalid()) } else { Ok(value) }
}

/// Three significant digits and a binary unit: `1.5 GiB`, `196 KiB`, `0 B`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    // 999.5 and more would print as 1e+03 with three digits.
    while value > 999.4 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = if value >= 100.0 {
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
        for bad in ["", "-1", "8E", "1.5", "1X", ".5G", "1.G", "12 G", "99999999999999999999"] {
            assert!(parse_size(bad).is_err(), "{bad}");
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
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
