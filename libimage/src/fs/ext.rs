//! ext2, ext3 and ext4, read only: the journal is replayed in memory, nothing is ever written.
//!
//! Paths given to this view have no symbolic links in them. Directories that were read are remembered,
//! within bounds: whoever follows paths asks for the same few again and again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, Metadata};

use crate::block::Block;
use crate::error::{Error, Result};

/// Names kept in memory, in all directories together.
const MAX_REMEMBERED: usize = 200_000;
/// Bytes given to a reader at a time.
const PIECE: usize = 256 * 1024;

/// A mounted view of an ext file system.
pub struct Ext {
    inner: Ext4,
    name: String,
    remembered: RefCell<Remembered>,
}

/// The names in a directory, without `.` and `..`, and what they are.
pub type Listing = HashMap<Vec<u8>, Kind>;

/// Directories by their paths.
#[derive(Default)]
struct Remembered {
    directories: HashMap<Vec<u8>, Rc<Listing>>,
    names: usize,
}

/// Why a path could not be served.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// As the kernel would say it.
    #[error(transparent)]
    Errno(#[from] std::io::Error),
    /// The reader does not know enough: somebody else must be asked.
    #[error("{0}")]
    NotServed(String),
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket or a pipe.
    Special,
}

/// Reads through a [`Block`].
struct Reader(Arc<dyn Block>);

impl Ext4Read for Reader {
    fn read(&mut self, start: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_at(into, start)?)
    }
}

impl Ext {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it uses a feature that this reader does not know.
    pub fn open(block: Arc<dyn Block>) -> Result<Self> {
        let name = block.name().to_owned();
        let failed = |e: Ext4Error| match e {
            Ext4Error::Incompatible(what) => {
                Error::unsupported(&name, format!("the file system cannot be read directly: {what}"))
            }
            other => Error::corrupt(&name, other.to_string()),
        };
        let inner = Ext4::load(Box::new(Reader(block))).map_err(failed)?;
        Ok(Ext { inner, name, remembered: RefCell::default() })
    }

    /// The file that it lies in, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in a directory.
    ///
    /// # Errors
    /// As `opendir` would give.
    pub fn list(&self, path: &[u8]) -> Result<Rc<Listing>, PathError> {
        if let Some(known) = self.remembered.borrow().directories.get(path) {
            return Ok(Rc::clone(known));
        }
        let mut listing = Listing::new();
        for entry in self.inner.read_dir(as_path(path)?).map_err(path_error)? {
            let entry = entry.map_err(path_error)?;
            let name = entry.file_name();
            if name != "." && name != ".." {
                listing.insert(name.as_ref().to_vec(), kind_of(entry.file_type().map_err(path_error)?));
            }
        }
        let listing = Rc::new(listing);
        let mut remembered = self.remembered.borrow_mut();
        if remembered.names.saturating_add(listing.len()) > MAX_REMEMBERED {
            *remembered = Remembered::default();
        }
        remembered.names = remembered.names.saturating_add(listing.len());
        remembered.directories.insert(path.to_vec(), Rc::clone(&listing));
        Ok(listing)
    }

    /// Size in bytes of what `path` leads to, links followed.
    ///
    /// # Errors
    /// As `stat` would give.
    pub fn size(&self, path: &[u8]) -> Result<u64, PathError> {
        let metadata: Metadata = self.inner.metadata(as_path(path)?).map_err(path_error)?;
        Ok(metadata.len())
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// As `readlink` would give.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, PathError> {
        let target = self.inner.read_link(as_path(path)?).map_err(path_error)?;
        Ok(<ext4_view::PathBuf as AsRef<[u8]>>::as_ref(&target).to_vec())
    }

    /// Reads a whole file into `sink`, piece by piece.
    ///
    /// # Errors
    /// As `open` and `read` would give, and whatever `sink` says.
    pub fn read_file(
        &self,
        path: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), PathError> {
        let mut file = self.inner.open(as_path(path)?).map_err(path_error)?;
        let mut buffer = vec![0; PIECE];
        loop {
            // The view gives a block at a time.
            let mut length = 0;
            while length < buffer.len() {
                match file.read_bytes(&mut buffer[length..]).map_err(path_error)? {
                    0 => break,
                    more => length += more,
                }
            }
            if length == 0 {
                return Ok(());
            }
            sink(&buffer[..length])?;
        }
    }
}

fn as_path(path: &[u8]) -> Result<ext4_view::Path<'_>, PathError> {
    ext4_view::Path::try_from(path).map_err(|_| errno(rustix::io::Errno::NAMETOOLONG))
}

fn kind_of(kind: ext4_view::FileType) -> Kind {
    if kind.is_regular_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Special
    }
}

fn errno(errno: rustix::io::Errno) -> PathError {
    PathError::Errno(errno.into())
}

fn path_error(error: Ext4Error) -> PathError {
    use rustix::io::Errno;
    match error {
        Ext4Error::NotFound => errno(Errno::NOENT),
        Ext4Error::NotADirectory => errno(Errno::NOTDIR),
        Ext4Error::IsADirectory => errno(Errno::ISDIR),
        Ext4Error::TooManySymlinks => errno(Errno::LOOP),
        Ext4Error::NotASymlink | Ext4Error::MalformedPath | Ext4Error::NotAbsolute => errno(Errno::INVAL),
        Ext4Error::IsASpecialFile => PathError::NotServed("it is a special file".to_owned()),
        Ext4Error::Encrypted => PathError::NotServed("the directory is encrypted".to_owned()),
        Ext4Error::Corrupt(what) => PathError::NotServed(format!("the file system is damaged: {what}")),
        other => PathError::NotServed(other.to_string()),
    }
}
