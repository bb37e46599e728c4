//! Manners shared by all tools: how errors, progress and exit codes look.

pub mod background;
pub mod error;
pub mod getopt;
pub mod interrupt;
pub mod man;
pub mod progress;
pub mod signals;

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// Programs whose place ours take when they are run under these names.
const PEERS: [&str; 6] = ["qemu-img", "qemu-nbd", "nbdcopy", "nbdinfo", "nbddump", "nbdfuse"];

/// The name that the program was called by, without its directory.
pub fn program() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let first = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&first).file_name().map(|n| n.to_string_lossy().into_owned());
        name.unwrap_or_else(|| "diskwright".to_owned())
    })
}

/// It was called by the name of another program, and should behave like that one.
pub fn plays_peer() -> bool {
    PEERS.contains(&program())
}

/// Said when a writable image's format was only guessed.
pub fn warn_guessed(name: &str) {
    eprintln!("WARNING: Image format was not specified for '{name}' and probing guessed raw.");
    eprintln!(
        "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted."
    );
    eprintln!("         Specify the 'raw' format explicitly to remove the restrictions.");
}

/// Writes to standard output. A reader that is gone is an error for [`error::is_broken_pipe`], not a panic.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
