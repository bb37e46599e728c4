//! What can go wrong between a client and a server.

use std::io;
use std::sync::Arc;

use crate::tls::SetupError;
use crate::wire::{Errno, rep_err};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be had from a server.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no way to the server.
    #[error("Failed to connect to '{to}'")]
    Connect {
        /// Host and port, or path.
        to: String,
        /// The system's answer.
        source: SystemError,
    },
    /// The server's name is not known.
    #[error("address resolution failed for {to}: {why}")]
    Resolve {
        /// Host and port.
        to: String,
        /// The resolver's answer.
        why: String,
    },
    /// The command that is to be the server could not be started.
    #[error("Failed to start the server '{command}'")]
    Start {
        /// Its first word.
        command: String,
        /// The system's answer.
        source: SystemError,
    },
    /// The connection broke.
    #[error("Failed to {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: SystemError,
    },
    /// The server said something that the protocol does not allow: the connection is given up.
    #[error("The server breaks the protocol: {0}")]
    Protocol(String),
    /// The server refused an option of the handshake.
    #[error("{}", .0.text())]
    Refused(Refusal),
    /// The server could not do what was asked; the connection lives on.
    #[error("Request failed on the server{}", Said(.message))]
    Server {
        /// Why.
        #[source]
        errno: ServerError,
        /// The same for people, or nothing.
        message: String,
    },
    /// Encryption could not be set up.
    #[error("Encryption cannot be set up")]
    Setup(#[source] Arc<SetupError>),
    /// What was asked makes no sense for this export; the server never heard of it.
    #[error("{0}")]
    Invalid(String),
}

/// An answer of the system, told without the number that the standard library appends.
#[derive(Debug, Clone)]
pub struct SystemError(Arc<io::Error>);

impl From<io::Error> for SystemError {
    fn from(error: io::Error) -> Self {
        SystemError(Arc::new(error))
    }
}

impl std::fmt::Display for SystemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        without_number(&self.0, f)
    }
}

impl std::error::Error for SystemError {}

fn without_number(error: &io::Error, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let text = error.to_string();
    f.write_str(text.split(" (os error").next().unwrap_or(&text))
}

/// The error number of a server, with the system's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError(pub Errno);

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        without_number(&self.0.into(), f)
    }
}

impl std::error::Error for ServerError {}

/// The answer of a server that does not want to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The option's number: see [`crate::wire::opt`].
    pub option: u32,
    /// The kind of refusal: see [`rep_err`].
    pub kind: u32,
    /// What the server says about it, perhaps nothing.
    pub message: String,
}

impl Refusal {
    /// The refusal for people: what it means, and what the server said in its own words.
    pub fn text(&self) -> String {
        let option = self.option;
        let name = option_name(option);
        let what = match self.kind {
            rep_err::UNSUP => format!("Unsupported option type {option} ({name})"),
            rep_err::POLICY => format!("Denied by server for option {option} ({name})"),
            rep_err::INVALID => format!("Invalid parameters for option {option} ({name})"),
            rep_err::PLATFORM => format!("Server lacks support for option {option} ({name})"),
            rep_err::TLS_REQD => format!("Server requires TLS for option {option} ({name})"),
            rep_err::UNKNOWN => "Requested export not available".to_owned(),
            rep_err::SHUTDOWN => format!("Server shutting down before option {option} ({name})"),
            rep_err::BLOCK_SIZE_REQD => {
                format!("Server requires INFO_BLOCK_SIZE for option {option} ({name})")
            }
            kind => format!("Unknown error code when asking for option {option} ({name}): 0x{kind:x}"),
        };
        match self.message.is_empty() {
            true => what,
            false => format!("{what}\nserver reported: {}", self.message),
        }
    }
}

/// What the document calls an option.
fn option_name(option: u32) -> &'static str {
    const NAMES: [&str; 12] = [
        "<unknown>",
        "export name",
        "abort",
        "list",
        "peek",
        "starttls",
        "info",
        "go",
        "structured reply",
        "list meta context",
        "set meta context",
        "extended headers",
    ];
    NAMES.get(option as usize).copied().unwrap_or("<unknown>")
}

/// Renders the message of a server, if there is one.
struct Said<'a>(&'a str);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

impl Error {
    pub(super) fn io(action: &'static str, source: io::Error) -> Self {
        Error::Io { action, source: source.into() }
    }

    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Error::Protocol(what.into())
    }

    /// The connection is of no use any more.
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Io { .. } | Error::Protocol(_))
    }

    /// The nearest error of this system.
    pub fn to_io(&self) -> io::Error {
        match self {
            Error::Server { errno, .. } => errno.0.into(),
            Error::Connect { source, .. } | Error::Start { source, .. } | Error::Io { source, .. } => {
                match source.0.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => source.0.kind().into(),
                }
            }
            Error::Invalid(_) => io::ErrorKind::InvalidInput.into(),
            _ => io::Error::other(self.clone()),
        }
    }
}
