//! Prints errors the way users and scripts expect: one line, causes after colons, no system jargon.

use std::io;

/// The message of `error` and of all its causes, joined by colons, each said once.
pub fn chain(error: &anyhow::Error) -> String {
    libimage::error::describe(error.as_ref())
}

/// The message of `error` and of all its causes, also those that repeat each other: what scripts of qemu-img
/// know.
pub fn full_chain(error: &anyhow::Error) -> String {
    error.chain().map(libimage::error::plain).collect::<Vec<_>>().join(": ")
}

/// True when the only problem is that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
