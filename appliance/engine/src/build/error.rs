//! What can go wrong while the appliance is made.

use std::io;
use std::path::Path;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no appliance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("Could not {action} '{path}'")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or program.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program that was run reports failure.
    #[error("'{command}' failed: {output}")]
    Command {
        /// The program and its first arguments.
        command: String,
        /// The end of what it printed.
        output: String,
    },
    /// A package is not what it should be, or is not to be had.
    #[error("Package {package}: {what}")]
    Package {
        /// Its name.
        package: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A kernel module that the appliance cannot do without is not in the kernel's package.
    #[error("Kernel {release} has no module '{module}'")]
    Module {
        /// The kernel's release.
        release: String,
        /// The module's name.
        module: String,
    },
    /// Something of our own installation is missing.
    #[error("{0}")]
    Missing(String),
    /// The user asked to stop.
    #[error("Cancelled")]
    Cancelled,
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Error::Io { action, path: path.display().to_string(), source }
    }
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut std::process::Command) -> Result<Vec<u8>> {
    let shown = || {
        let mut words = vec![command.get_program().to_string_lossy().into_owned()];
        words.extend(command.get_args().take(4).map(|a| a.to_string_lossy().into_owned()));
        words.join(" ")
    };
    let shown = shown();
    let output = command
        .stdin(std::process::Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(|source| Error::Io { action: "run", path: shown.clone(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = text.lines().rev().take(4).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(Error::Command { command: shown, output: format!("{} ({})", tail.join("; "), output.status) })
}
