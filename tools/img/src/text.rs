//! What all commands print alike: errors and warnings under the name that the program was called by.

use std::io::IsTerminal;

use cli::progress::Percent;

pub(crate) use cli::{program, warn_guessed};

/// An error that ends the command.
pub(crate) fn error(text: &str) {
    eprintln!("{}: {text}", program());
}

/// What is wrong, for messages that need not name the file.
pub(crate) fn bare(error: libimage::Error) -> String {
    match error {
        libimage::Error::Unsupported { what, .. } => what,
        other => cli::error::full_chain(&other.into()),
    }
}

/// The system's own words for what went wrong; an image that makes no sense counts as unreadable.
pub(crate) fn system(error: &libimage::Error) -> String {
    let causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |e| e.source());
    let last = causes.filter(|e| e.is::<std::io::Error>()).last();
    last.map_or("Input/output error".to_owned(), libimage::error::plain)
}

/// Progress for a command that may take long, if it is `wanted`: the percentage that scripts know, and for
/// people at a terminal a bar.
pub(crate) fn progress(wanted: bool) -> Percent {
    let person = program() != "qemu-img" && std::io::stdout().is_terminal();
    if wanted && person { Percent::bar() } else { Percent::new(!wanted) }
}

/// Something the user should know.
pub(crate) fn warning(text: &str) {
    eprintln!("{}: warning: {text}", program());
}

/// A value as lines of JSON, in the order and with the line breaks of existing tools.
pub(crate) fn json(value: &serde_json::Value) -> String {
    libimage::spec::json::lines(value)
}
