//! What a server serves, as it sees it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Transit;
use crate::wire::{BlockSizes, Flags};

/// Bytes that clients may read and, perhaps, write. All calls may come from several threads at once, and only
/// for ranges that lie within [`Export::size`].
pub trait Export: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// What it can do. [`Flags::DF`] and what else depends on the connection is added by the server.
    fn flags(&self) -> Flags;

    /// What it is, for people.
    fn description(&self) -> Option<String> {
        None
    }

    /// Which requests it takes.
    fn block_sizes(&self) -> BlockSizes {
        BlockSizes::default()
    }

    /// Requests may take long without keeping a processor busy: each should have a thread from the beginning.
    fn may_wait(&self) -> bool {
        false
    }

    /// Several writes at once are faster than one after the other: they go past the page cache.
    fn writes_side_by_side(&self) -> bool {
        self.may_wait()
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// They go to the client, with [`Errno::of_io`](crate::wire::Errno::of_io) as number.
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn write(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes `range` read as zeroes.
    ///
    /// # Errors
    /// As [`Export::read`]; ENOTSUP if only a fast way would do and there is none.
    fn write_zeroes(&self, range: Range<u64>, how: Zeroes) -> io::Result<()>;

    /// `range` is not needed any more.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn trim(&self, range: Range<u64>) -> io::Result<()>;

    /// `range` will be read soon.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn cache(&self, range: Range<u64>) -> io::Result<()>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn flush(&self) -> io::Result<()>;

    /// Changes the size.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn resize(&self, size: u64) -> io::Result<()> {
        let _ = size;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The names of its metadata contexts. The id that a client gets is the position.
    fn contexts(&self) -> Vec<String>;

    /// What `context`, by its position, says of the beginning of `range`: never nothing, never more than the range.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn status(&self, context: usize, range: Range<u64>) -> io::Result<Span>;

    /// Whether the beginning of `range` reads as zeroes for certain, and for how long that answer holds.
    ///
    /// # Errors
    /// As [`Export::read`].
    fn zeroes(&self, range: Range<u64>) -> io::Result<(bool, u64)>;

    /// Says which bytes of files are on their way, if [`Export::stored`] tells of bytes whose place may be given to others.
    fn transit(&self) -> Option<&Arc<Transit>> {
        None
    }

    /// The beginning of `range` as bytes of a local file, which can go out without passing through memory. They stay
    /// there and what they are unless they are written over, as long as [`Transit::hold`] is not clear.
    fn stored(&self, range: Range<u64>) -> Option<Stored> {
        let _ = range;
        None
    }
}

/// Bytes of a local file.
pub struct Stored {
    /// Open for reading.
    pub file: Arc<File>,
    /// The first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// How zeroes shall be written.
#[derive(Debug, Clone, Copy)]
pub struct Zeroes {
    /// They may be a hole.
    pub may_unmap: bool,
    /// Only if that is faster than writing them.
    pub fast: bool,
}

/// A run of bytes of which a metadata context says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Bytes.
    pub length: u64,
    /// What is said: depends on the context.
    pub flags: u64,
}

/// All that a server serves.
pub trait Exports: Send + Sync {
    /// Names and descriptions, if clients may see them.
    fn list(&self) -> Vec<(String, Option<String>)>;

    /// The export called `name`, for a new client. Nothing should be opened before that.
    ///
    /// # Errors
    /// When there is none, or it cannot be had.
    fn open(&self, name: &str) -> Result<Arc<dyn Export>, Refusal>;
}

/// Why a client does not get an export.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none of that name.
    #[error("export '{0}' not present")]
    Unknown(String),
    /// It is there, but it cannot be served.
    #[error("{0}")]
    Failed(String),
}

/// What is said of `base:allocation`: nothing is stored.
pub const STATE_HOLE: u64 = 1;
/// What is said of `base:allocation`: it reads as zeroes.
pub const STATE_ZERO: u64 = 2;
