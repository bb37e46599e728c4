//! Values of options: switches, numbers, sizes and choices, refused in QEMU's words.

use crate::error::{Error, Result};
use crate::spec::Dict;
use crate::units::{SizeProblem, scan_size};

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

/// Takes a switch out of the options.
pub(super) fn switch(options: &mut Dict, name: &str) -> Result<Option<bool>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    match value.shown().as_str() {
        "on" | "yes" | "true" | "y" => Ok(Some(true)),
        "off" | "no" | "false" | "n" => Ok(Some(false)),
        _ => invalid(format!("Parameter '{name}' expects 'on' or 'off'")),
    }
}

/// Takes a size out of the options, in bytes.
pub(super) fn size(options: &mut Dict, name: &str) -> Result<Option<u64>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    let text = value.shown();
    match scan_size(&text) {
        Ok(size) => Ok(Some(size)),
        Err(SizeProblem::OutOfRange) => {
            invalid(format!("Value '{text}' is out of range for parameter '{name}'"))
        }
        Err(SizeProblem::Malformed) => invalid(format!(
            "Parameter '{name}' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
        )),
    }
}

/// Takes a number out of the options. A negative one wraps around, as in C.
pub(super) fn number(options: &mut Dict, name: &str) -> Result<Option<u64>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    let text = value.shown();
    let parsed = match text.strip_prefix('-') {
        Some(digits) => digits.parse::<u64>().map(u64::wrapping_neg),
        None => text.parse(),
    };
    match parsed {
        Ok(number) => Ok(Some(number)),
        Err(_) => invalid(format!("Parameter '{name}' expects a number")),
    }
}

/// Takes a choice out of the options.
pub(super) fn choice(options: &mut Dict, name: &str, known: &[&'static str]) -> Result<Option<&'static str>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    let text = value.shown();
    match known.iter().find(|known| **known == text) {
        Some(found) => Ok(Some(found)),
        None => invalid(format!("invalid parameter value: {text}")),
    }
}
