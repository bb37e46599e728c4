//! Manners shared by all tools: how errors, progress and exit codes look.

pub mod error;
pub mod interrupt;
pub mod man;
pub mod progress;

use std::io::Write;

/// Writes to standard output. A reader that is gone is an error for [`error::is_broken_pipe`], not a panic.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
