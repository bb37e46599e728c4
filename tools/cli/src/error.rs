//! Prints errors the way users and scripts expect: one line, causes after colons, no system jargon.

use std::io;

/// The message of `error` and of all its causes, joined by colons, each said once.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = plain(cause);
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// The message of `error` and of all its causes, also those that repeat each other: what scripts of qemu-img
/// know.
pub fn full_chain(error: &anyhow::Error) -> String {
    error.chain().map(plain).collect::<Vec<_>>().join(": ")
}

/// One cause, without the number that the standard library appends to system errors.
fn plain(cause: &(dyn std::error::Error + 'static)) -> String {
    let text = cause.to_string();
    match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(code) => text.trim_end_matches(&format!(" (os error {code})")).to_owned(),
        None => text,
    }
}

/// True when the only problem is that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
