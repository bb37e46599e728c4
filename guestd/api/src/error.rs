//! Why an action did not work.
//!
//! [`Failure`] is what the guest says: it crosses the wire. [`Error`] is what a caller of [`crate::Actions`]
//! sees: the guest's failure with the name of the action, or everything that can happen on the way.

use crate::GuestString;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An action's failure as the one who carried it out reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Linux' number of the error, 0 where no system call failed.
    pub errno: i32,
    /// What went wrong, without the name of the action.
    pub message: GuestString,
}

impl Failure {
    /// A failure that is not a system call's.
    pub fn new(message: impl Into<GuestString>) -> Self {
        Failure { errno: 0, message: message.into() }
    }

    /// A failed system call: `subject: text of the error`.
    pub fn io(subject: impl AsRef<[u8]>, source: &io::Error) -> Self {
        let mut message = subject.as_ref().to_vec();
        message.extend_from_slice(b": ");
        message.extend_from_slice(error_text(source).as_bytes());
        Failure { errno: source.raw_os_error().unwrap_or(0), message: message.into() }
    }

    /// The same failure with its subject before it: `subject: message`.
    #[must_use]
    pub fn about(self, subject: impl AsRef<[u8]>) -> Self {
        let message = [subject.as_ref(), b": ", self.message.as_bytes()].concat();
        Failure { errno: self.errno, message: message.into() }
    }

    /// The same failure with an error number.
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// The text of a system error as C programs print it, without Rust's "(os error N)".
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text.get(..end).unwrap_or(&text).to_owned(),
        _ => text,
    }
}

/// Why a call of an action failed, as its caller sees it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The guest carried the action out and it failed.
    #[error("{action}: {}", failure.message)]
    Action {
        /// The action, as declared.
        action: &'static str,
        /// What the guest says.
        failure: Failure,
    },
    /// The caller's own side refused it; what it says names no action.
    #[error("{}", .0.message)]
    Host(Failure),
    /// The caller cancelled it.
    #[error("{action}: Operation cancelled by user")]
    Cancelled {
        /// The action, as declared.
        action: &'static str,
    },
    /// The local stream that feeds the action failed.
    #[error("{action}: Could not read the data to send")]
    Input {
        /// The action, as declared.
        action: &'static str,
        /// The stream's answer.
        source: io::Error,
    },
    /// The local stream that receives from the action failed.
    #[error("{action}: Could not write the data received")]
    Output {
        /// The action, as declared.
        action: &'static str,
        /// The stream's answer.
        source: io::Error,
    },
    /// The other end is gone.
    #[error("The appliance stopped answering: {0}")]
    Disconnected(String),
    /// The other end said something that makes no sense; it is not used any more.
    #[error("The appliance broke the protocol: {0}")]
    Protocol(String),
    /// This way to the guest cannot do it, another might.
    #[error("{action}: {why}")]
    Unavailable {
        /// The action, as declared.
        action: &'static str,
        /// What is missing.
        why: String,
    },
}

impl Error {
    /// Linux' number of the error if the guest reported one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Action { failure, .. } | Error::Host(failure) if failure.errno != 0 => Some(failure.errno),
            _ => None,
        }
    }
}
