//! `--output=json` for commands that have nothing to tell: one value that says whether the work is done.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Result;
use serde_json::json;

use crate::text;
use cli::error::Help;

/// There is one command line, and it asks once.
static WANTED: OnceLock<()> = OnceLock::new();

/// The result of this run shall be reported.
pub(crate) fn want() {
    let _ = WANTED.set(());
}

/// Reports how the command that was given `words` ended, if that is wanted.
///
/// # Errors
/// Those of the command, and when the report cannot be written.
pub(crate) fn finish(command: &str, words: &[OsString], result: Result<ExitCode>) -> Result<ExitCode> {
    if WANTED.get().is_none() || result.as_ref().is_err_and(|error| error.is::<Help>()) {
        return result;
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let value = match &result {
        Ok(_) => json!({ "command": command, "arguments": words, "done": true }),
        Err(error) => {
            let error = cli::error::full_chain(error);
            json!({ "command": command, "arguments": words, "done": false, "error": error })
        }
    };
    cli::print(&text::json(&value))?;
    result
}
