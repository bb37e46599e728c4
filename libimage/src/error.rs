//! The errors of this library.
//!
//! Each says what was attempted on which file, where it helps at which offset, and what can be done.
//! A source is carried, not repeated: the programs print the chain once.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("Could not {action} '{file}'{}", At(*offset))]
    Io {
        /// What was tried, as a verb: `read`, `open`.
        action: &'static str,
        /// On which file.
        file: String,
        /// At which byte, if at one.
        offset: Option<u64>,
        /// The system's answer.
        source: io::Error,
    },
    /// The file breaks the rules of its format.
    #[error("'{file}' is damaged{}: {what}", At(*offset))]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it, if known.
        offset: Option<u64>,
        /// Which rule, and what was found instead.
        what: String,
    },
    /// The file asks for something that is not implemented, or an operation does not fit it.
    #[error("'{file}': {what}")]
    Unsupported {
        /// Which file.
        file: String,
        /// What is not possible, and what to do instead where there is something.
        what: String,
    },
    /// An argument makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A request beyond the end.
    #[error("Request of {length} bytes at offset {offset} lies beyond the end of '{file}' ({size} bytes)")]
    OutOfRange {
        /// Which file.
        file: String,
        /// First byte of the request.
        offset: u64,
        /// Its length in bytes.
        length: u64,
        /// The size of what was asked, in bytes.
        size: u64,
    },
    /// A write to something opened for reading only.
    #[error("'{file}' is open for reading only")]
    ReadOnly {
        /// Which file.
        file: String,
    },
    /// Another process uses the image in a way that excludes this one.
    #[error("Failed to get {}\"{permission}\" lock\nIs another process using the image [{file}]?",
            if *.shared { "shared " } else { "" })]
    Locked {
        /// Which file.
        file: String,
        /// QEMU's name of the permission in conflict.
        permission: &'static str,
        /// The other process does not *share* it (as opposed to: we do not share what it uses).
        shared: bool,
    },
    /// Something named by the user is not there: a snapshot, a format, a partition.
    #[error("{0}")]
    NotFound(String),
    /// The work was cancelled by its caller.
    #[error("Cancelled")]
    Cancelled,
    /// What was being done when the source happened.
    #[error("{context}")]
    Context {
        /// The larger step that failed.
        context: String,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// A failed system call on a whole file.
    pub fn io(action: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Error::Io { action, file: file.into(), offset: None, source }
    }

    /// A failed system call at a byte offset.
    pub fn io_at(action: &'static str, file: impl Into<String>, offset: u64, source: io::Error) -> Self {
        Error::Io { action, file: file.into(), offset: Some(offset), source }
    }

    /// A broken rule of the format.
    pub fn corrupt(file: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Corrupt { file: file.into(), offset: None, what: what.into() }
    }

    /// A broken rule of the format, at a byte offset of the file.
    pub fn corrupt_at(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Error::Corrupt { file: file.into(), offset: Some(offset), what: what.into() }
    }

    /// Something the file or the format cannot do.
    pub fn unsupported(file: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Unsupported { file: file.into(), what: what.into() }
    }

    /// Wraps this error in a larger step.
    pub fn context(self, context: impl Into<String>) -> Self {
        Error::Context { context: context.into(), source: Box::new(self) }
    }

    /// The system's number for what went wrong: its own, or what it amounts to.
    pub fn errno(&self) -> Errno {
        let causes =
            std::iter::successors(Some(self as &(dyn std::error::Error + 'static)), |cause| cause.source());
        let system = causes.filter_map(|cause| Errno::from_io_error(cause.downcast_ref()?)).last();
        system.unwrap_or(match self {
            Error::ReadOnly { .. } => Errno::ROFS,
            Error::OutOfRange { .. } | Error::Invalid(_) => Errno::INVAL,
            Error::Unsupported { .. } => Errno::OPNOTSUPP,
            Error::Context { source, .. } => return source.errno(),
            _ => Errno::IO,
        })
    }

    /// True when the disk that holds the file is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Error::Context { source, .. } => source.is_no_space(),
            _ => false,
        }
    }
}

/// The message of an error and of all its causes, joined by colons, each said once.
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let part = plain(cause);
        if text.ends_with(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

/// One error's own message, without the number that the standard library appends to system errors: the text
/// says it.
pub fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    match error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(code) => text.trim_end_matches(&format!(" (os error {code})")).to_owned(),
        None => text,
    }
}

/// Renders an optional offset inside a message.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " at offset {offset}"),
            None => Ok(()),
        }
    }
}
