//! A registry hive of Windows: one file that holds a tree of nodes with values.
//!
//! The file is read whole and changed in memory; [`Hive::bytes`] is what a commit writes. Nodes and values are
//! known by where their cells lie in the file. Every offset, length and count in a hive is somebody else's:
//! each access is checked, and walks end even if the hive leads in circles.
//!
//! Space is only ever taken at the end. Cells that are given up are marked free, where Windows finds them.
//!
//! Whoever answers actions about a hive, the agent or the direct reader, does so through [`actions`].
#![forbid(unsafe_code)]

pub mod actions;
mod cell;
mod change;
mod node;
mod text;

pub use text::utf16_to_string;

use cell::{BINS, Header};
use rustix::io::Errno;

/// Why something in a hive cannot be done.
pub type Result<T> = std::result::Result<T, Errno>;

/// A node or value: the place of its cell in the file.
pub type Handle = usize;

/// The most subkeys of one node, and values of one node, that are believed.
const MAX_ENTRIES: usize = 110_000;
/// The longest value that is believed.
const MAX_VALUE: usize = 16_000_000;
/// The longest cell that is made.
const MAX_NEW_CELL: usize = 1_000_000;

/// An open hive.
#[derive(Debug)]
pub struct Hive {
    bytes: Vec<u8>,
    writable: bool,
    /// End of the last bin in use.
    bins_end: usize,
    /// Where the next new cell goes, once there was one.
    next_cell: Option<usize>,
}

impl Hive {
    /// Takes a file's content.
    ///
    /// # Errors
    /// `EINVAL` or `EOPNOTSUPP` if it is no hive of a version that is known; as everywhere here, `EINVAL` or
    /// `ERANGE` for what makes no sense or cannot be believed.
    pub fn new(bytes: Vec<u8>, writable: bool) -> Result<Self> {
        let header = Header::parse(&bytes)?;
        let bins_end = header.bins_end.min(bytes.len());
        let hive = Hive { bytes, writable, bins_end, next_cell: None };
        hive.check_node(header.root)?;
        Ok(hive)
    }

    /// The node that all others are below.
    ///
    /// # Errors
    /// When the header was damaged.
    pub fn root(&self) -> Result<Handle> {
        Header::parse(&self.bytes).map(|header| header.root)
    }

    /// The file with all changes, its header made anew.
    ///
    /// # Errors
    /// `EROFS` if the hive was not opened for changes.
    pub fn bytes(&mut self) -> Result<&[u8]> {
        self.must_be_writable()?;
        Header::finish(&mut self.bytes, self.bins_end)?;
        Ok(&self.bytes)
    }

    fn must_be_writable(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(Errno::ROFS) }
    }

    /// The place in the file of an offset that stands in it.
    fn place(offset: u32) -> Result<Handle> {
        usize::try_from(offset).ok().and_then(|offset| offset.checked_add(BINS)).ok_or(Errno::INVAL)
    }

    /// The offset to be stored for a place in the file.
    fn offset(place: Handle) -> Result<u32> {
        place.checked_sub(BINS).and_then(|offset| u32::try_from(offset).ok()).ok_or(Errno::OVERFLOW)
    }
}
