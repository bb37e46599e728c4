//! What all commands print alike: errors and warnings under the name that the program was called by.

use std::path::Path;
use std::sync::OnceLock;

/// The name of the program as it was called: `img`, or `qemu-img` through a link of that name.
pub(crate) fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let first = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&first).file_name().map(|n| n.to_string_lossy().into_owned());
        name.unwrap_or_else(|| "img".to_owned())
    })
}

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

/// Something the user should know.
pub(crate) fn warning(text: &str) {
    eprintln!("{}: warning: {text}", program());
}

/// Said when a writable image's format was only guessed.
pub(crate) fn warn_guessed(name: &str) {
    eprintln!("WARNING: Image format was not specified for '{name}' and probing guessed raw.");
    eprintln!(
        "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted."
    );
    eprintln!("         Specify the 'raw' format explicitly to remove the restrictions.");
}

/// A value as lines of JSON, in the order and with the line breaks of existing tools.
pub(crate) fn json(value: &serde_json::Value) -> String {
    libimage::spec::json::lines(value)
}
