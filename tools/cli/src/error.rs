//! Prints errors the way users and scripts expect: one line, causes after colons, no system jargon.

use std::fmt;
use std::io;
use std::process::ExitCode;

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

/// Help is asked for: not an error, but the end of all other work.
#[derive(Debug)]
pub struct Help(pub String);

impl std::error::Error for Help {}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a program ends whose work had this result, if it is no failure: help is printed, and nobody who listens is no
/// reason to complain.
///
/// # Errors
/// What has to be told, and ends the program with a failure.
pub fn settled(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<Help>() {
            Some(help) => {
                let _ = crate::print(&help.to_string());
                Ok(ExitCode::SUCCESS)
            }
            None => Err(error),
        },
        ok => ok,
    }
}
