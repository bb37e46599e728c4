//! The errors that a server can send, and what they are called on this system.

use std::fmt;
use std::io;

use rustix::io::Errno as System;

/// An error number of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(u32);

impl Errno {
    /// Not permitted: a write to an export that is read-only.
    pub const EPERM: Self = Errno(1);
    /// Input or output failed.
    pub const EIO: Self = Errno(5);
    /// Out of memory.
    pub const ENOMEM: Self = Errno(12);
    /// The request makes no sense.
    pub const EINVAL: Self = Errno(22);
    /// No space, or beyond the end of the export.
    pub const ENOSPC: Self = Errno(28);
    /// Too large to be answered as asked.
    pub const EOVERFLOW: Self = Errno(75);
    /// Not supported, or not fast (for `FAST_ZERO`).
    pub const ENOTSUP: Self = Errno(95);
    /// The server is about to stop.
    pub const ESHUTDOWN: Self = Errno(108);

    /// The number on the wire.
    pub fn number(self) -> u32 {
        self.0
    }

    /// What a server sent: numbers that the protocol does not know count as EINVAL, as it demands.
    pub fn received(number: u32) -> Self {
        let known = [
            Self::EPERM,
            Self::EIO,
            Self::ENOMEM,
            Self::EINVAL,
            Self::ENOSPC,
            Self::EOVERFLOW,
            Self::ENOTSUP,
            Self::ESHUTDOWN,
        ];
        known.into_iter().find(|errno| errno.0 == number).unwrap_or(Self::EINVAL)
    }

    /// The error that comes nearest to one of this system.
    pub fn of_io(error: &io::Error) -> Self {
        let Some(number) = error.raw_os_error() else {
            return match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::EPERM,
                io::ErrorKind::OutOfMemory => Self::ENOMEM,
                io::ErrorKind::InvalidInput => Self::EINVAL,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::ENOSPC,
                io::ErrorKind::Unsupported => Self::ENOTSUP,
                _ => Self::EIO,
            };
        };
        let system = System::from_raw_os_error(number);
        let map = [
            (System::PERM, Self::EPERM),
            (System::ROFS, Self::EPERM),
            (System::NOMEM, Self::ENOMEM),
            (System::INVAL, Self::EINVAL),
            (System::NOSPC, Self::ENOSPC),
            (System::DQUOT, Self::ENOSPC),
            (System::FBIG, Self::ENOSPC),
            (System::OVERFLOW, Self::EOVERFLOW),
            (System::NOTSUP, Self::ENOTSUP),
            (System::OPNOTSUPP, Self::ENOTSUP),
            (System::NOSYS, Self::ENOTSUP),
            (System::SHUTDOWN, Self::ESHUTDOWN),
        ];
        map.into_iter().find(|(from, _)| *from == system).map_or(Self::EIO, |(_, to)| to)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        // The protocol's numbers are Linux's.
        io::Error::from_raw_os_error(i32::try_from(errno.0).unwrap_or(5))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::EPERM => "EPERM",
            Self::EIO => "EIO",
            Self::ENOMEM => "ENOMEM",
            Self::EINVAL => "EINVAL",
            Self::ENOSPC => "ENOSPC",
            Self::EOVERFLOW => "EOVERFLOW",
            Self::ENOTSUP => "ENOTSUP",
            _ => "ESHUTDOWN",
        };
        f.write_str(name)
    }
}

impl std::error::Error for Errno {}
