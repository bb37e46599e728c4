//! The parameters of one filter, taken out one after the other: what is left at the end was none of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AtEnd, Withheld};
use crate::error::{Error, Result};
use crate::filter::switch::Switch;
use crate::units;

/// Bytes of a passphrase in a file, at most.
const MAX_PASSPHRASE: u64 = 8 << 20;
/// What the suffix `s` means, in bytes.
const SECTOR: u64 = 512;

/// Parameters of a filter, as `key=value`.
pub(super) struct Arguments {
    pairs: Vec<(String, String)>,
    /// What these parameters want a server not to offer.
    pub(super) withheld: Withheld,
    /// What is to be done when all is over.
    pub(super) at_end: Option<AtEnd>,
}

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

/// Understands a size such as `64k`, `1G` or `2048s` (sectors of 512 bytes).
pub(in crate::filter) fn parse_size(text: &str) -> Result<u64> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return invalid(format!("size cannot be negative ({text})"));
    }
    let sectors = trimmed.strip_suffix(['s', 'S']).map(|number| number.parse::<u64>().ok());
    let size = match sectors {
        Some(number) => number.and_then(|number| number.checked_mul(SECTOR)),
        None => units::parse_size(trimmed).ok(),
    };
    size.filter(|&size| size <= i64::MAX as u64)
        .ok_or_else(|| Error::Invalid(format!("could not parse size string ({text})")))
}

fn parse_boolean(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => invalid(format!("could not decipher boolean ({text})")),
    }
}

/// Understands a whole number: decimal, or as C writes other bases (`0x10`, `010`).
pub(super) fn parse_number(key: &str, text: &str) -> Result<u64> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return invalid(format!("{key}: negative numbers are not allowed"));
    }
    let digits = trimmed.strip_prefix('+').unwrap_or(trimmed);
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = match lower.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return invalid(format!("{key}: could not parse number: \"{text}\""));
    }
    u64::from_str_radix(digits, base)
        .map_err(|_| Error::Invalid(format!("{key}: could not parse number: \"{text}\"")))
}

/// Understands a time: seconds, or with `s`, `ms`, `us` or `ns` behind it.
fn parse_time(key: &str, text: &str) -> Result<Duration> {
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return invalid(format!("{key}: negative numbers are not allowed"));
    }
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let unit = match unit.trim_start() {
        "" | "s" | "sec" => 1.0,
        "ms" => 1e-3,
        "us" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return invalid(format!("{key}: could not parse time: \"{text}\"")),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Error::Invalid(format!("{key}: could not parse time: \"{text}\"")))
}

/// Understands a probability: `10%`, `0.1` or `1:10`.
fn parse_probability(key: &str, text: &str) -> Result<f64> {
    let bad = || Error::Invalid(format!("{key}: could not parse rate '{text}'"));
    let number =
        |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(bad);
    let rate = if let Some(percent) = text.trim().strip_suffix('%') {
        number(percent)? / 100.0
    } else if let Some((part, whole)) = text.split_once([':', '/']) {
        let whole = number(whole)?;
        if whole == 0.0 {
            return Err(bad());
        }
        number(part)? / whole
    } else {
        number(text)?
    };
    if !(0.0..=1.0).contains(&rate) {
        return invalid(format!("{key}: rate out of range: '{text}' parsed as {rate}"));
    }
    Ok(rate)
}

impl Arguments {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Arguments { pairs, withheld: Withheld::default(), at_end: None }
    }

    /// All values of a key, in their order.
    pub(super) fn all(&mut self, key: &str) -> Vec<String> {
        let found: Vec<(String, String)> = self.pairs.extract_if(.., |(name, _)| name == key).collect();
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a key; the last one counts.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.all(key).pop()
    }

    /// The value of a key that may be given once only.
    pub(super) fn once(&mut self, key: &str) -> Result<Option<String>> {
        let mut all = self.all(key);
        if all.len() > 1 {
            return invalid(format!("{key} set twice on the command line"));
        }
        Ok(all.pop())
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        // Made absolute: a server goes elsewhere later.
        self.text(key).map(|path| std::path::absolute(&path).unwrap_or_else(|_| PathBuf::from(path)))
    }

    pub(super) fn size(&mut self, key: &str) -> Result<Option<u64>> {
        self.text(key).map(|text| parse_size(&text)).transpose()
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>> {
        self.text(key).map(|text| parse_boolean(&text)).transpose()
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<u32>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = u32::try_from(parse_number(key, &text)?);
        number.map(Some).map_err(|_| Error::Invalid(format!("{key}: number out of range: {text}")))
    }

    pub(super) fn time(&mut self, key: &str) -> Result<Option<Duration>> {
        self.text(key).map(|text| parse_time(key, &text)).transpose()
    }

    pub(super) fn probability(&mut self, key: &str) -> Result<Option<f64>> {
        self.text(key).map(|text| parse_probability(key, &text)).transpose()
    }

    /// On, off, or an absolute path: on while that file exists.
    pub(super) fn switch(&mut self, key: &str) -> Result<Switch> {
        Ok(match self.text(key) {
            Some(text) if text.starts_with('/') => Switch::While(PathBuf::from(text)),
            Some(text) => Switch::Fixed(parse_boolean(&text)?),
            None => Switch::Fixed(false),
        })
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        error: &str,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|&(_, value)| Some(value)).ok_or_else(|| Error::Invalid(error.replace("{}", &text)))
    }

    /// A secret: as it is, `+FILE`, or `-FD` for a descriptor that the program has got.
    pub(super) fn secret(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        if let Some(path) = text.strip_prefix('+') {
            return read_secret(Path::new(path)).map(Some);
        }
        match text.strip_prefix('-') {
            Some("") => {
                invalid(format!("{key}: put it into a file and say {key}=+FILE: nobody can be asked here"))
            }
            Some(descriptor) => {
                let number = parse_number(key, descriptor)?;
                read_secret(Path::new(&format!("/proc/self/fd/{number}"))).map(Some)
            }
            None => Ok(Some(text.into_bytes())),
        }
    }

    /// Refuses what is left.
    pub(super) fn finish(&self) -> Result<()> {
        match self.pairs.first() {
            Some((key, _)) => invalid(format!("unknown parameter '{key}'")),
            None => Ok(()),
        }
    }
}

/// The first line of a file.
fn read_secret(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |source| Error::io("read the passphrase in", path.display().to_string(), source);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_PASSPHRASE).read_to_end(&mut bytes).map_err(failed)?;
    if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        bytes.truncate(end);
    }
    Ok(bytes)
}
