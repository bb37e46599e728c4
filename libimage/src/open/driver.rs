//! The drivers that a node can have: protocols, which have bytes, and formats, which make a disk of them.

use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt;

use crate::error::{Error, Result};
use crate::format::{Format, names};
use crate::spec::protocol;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A regular file.
    File,
    /// A block device of this machine.
    HostDevice,
    /// Nothing: reads as zeroes and forgets what is written.
    Null(&'static str),
    /// An export of an NBD server.
    Nbd,
    /// An image format.
    Format(Format),
}

impl Driver {
    /// The driver's name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Driver::File => "file",
            Driver::HostDevice => "host_device",
            Driver::Null(name) => name,
            Driver::Nbd => "nbd",
            Driver::Format(format) => format.name(),
        }
    }

    /// The driver called `name`.
    ///
    /// # Errors
    /// For names that are not known.
    pub fn by_name(name: &str) -> Result<Self> {
        Ok(match name {
            "file" => Driver::File,
            "host_device" => Driver::HostDevice,
            "null-co" => Driver::Null("null-co"),
            "null-aio" => Driver::Null("null-aio"),
            "nbd" => Driver::Nbd,
            other => Driver::Format(
                Format::by_name(other).map_err(|_| Error::NotFound(format!("Unknown driver '{other}'")))?,
            ),
        })
    }

    /// The format that it is, if it is one.
    pub fn format(self) -> Option<Format> {
        match self {
            Driver::Format(format) => Some(format),
            _ => None,
        }
    }

    /// It has bytes of its own, and no `file` child.
    pub fn is_protocol(self) -> bool {
        self.format().is_none()
    }

    /// Its images can name another one that supplies what they do not hold.
    pub(super) fn supports_backing(self) -> bool {
        self == Driver::Format(Format::Qcow2)
    }

    /// The name is that of a server's export.
    pub(super) fn is_server(name: &OsStr) -> bool {
        matches!(Driver::of_name(name, true), Ok(Driver::Nbd))
    }

    /// The protocol that a name stands for; `with_prefix` if it may say so itself.
    pub(super) fn of_name(name: &OsStr, with_prefix: bool) -> Result<Self> {
        let local = || match std::fs::metadata(name).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_block_device() => Driver::HostDevice,
            _ => Driver::File,
        };
        match protocol(name).filter(|_| with_prefix) {
            None => Ok(local()),
            Some(b"file") => Ok(Driver::File),
            Some(b"host_device") => Ok(Driver::HostDevice),
            Some(b"null-co") => Ok(Driver::Null("null-co")),
            Some(b"null-aio") => Ok(Driver::Null("null-aio")),
            Some(
                b"nbd" | b"nbds" | b"nbd+tcp" | b"nbds+tcp" | b"nbd+unix" | b"nbds+unix" | b"nbd+vsock"
                | b"nbds+vsock",
            ) => Ok(Driver::Nbd),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                Err(Error::NotFound(match names::is_protocol(&other) {
                    true => format!(
                        "It is not a local file, and protocol '{other}' is not supported (a file whose name has a colon is written ./NAME)"
                    ),
                    false => format!("Unknown protocol '{other}'"),
                }))
            }
        }
    }
}
