//! ext2, ext3 and ext4, read only: the journal is replayed in memory, nothing is ever written.
//!
//! Paths given to this view have no symbolic links in them, and lead through directories that it listed
//! before. What an entry says it is, its inode must say too, so no link is ever followed here. Directories
//! that were read are remembered, within bounds: whoever follows paths asks for the same few again and again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, Metadata};
use rustix::io::Errno;

use crate::block::Block;
use crate::error::{Error, Result};

/// Names kept in memory, in all directories together.
const MAX_REMEMBERED: usize = 200_000;
/// Where the superblock lies.
const SUPERBLOCK: u64 = 1024;
/// As many groups as 32 TiB have with the smallest blocks.
const MAX_GROUPS: u64 = 1 << 22;
/// Reads below this are small; so much is read around them.
const SMALL: usize = 1024;
const AROUND: usize = 64 * 1024;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4095;
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

/// Reads through a [`Block`]. Descriptors are asked for one by one, so what lies around a small piece is kept.
struct Reader {
    block: Arc<dyn Block>,
    start: u64,
    kept: Vec<u8>,
}

impl Ext4Read for Reader {
    fn read(&mut self, start: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if into.len() >= SMALL {
            return Ok(self.block.read_at(into, start)?);
        }
        if let Some(bytes) = self.find(start, into.len()) {
            into.copy_from_slice(bytes);
            return Ok(());
        }
        let around = self.block.size().saturating_sub(start).min(AROUND as u64) as usize;
        self.kept.resize(around.max(into.len()), 0);
        self.start = start;
        if let Err(error) = self.block.read_at(&mut self.kept, start) {
            self.kept.clear();
            return Err(error.into());
        }
        into.copy_from_slice(&self.kept[..into.len()]);
        Ok(())
    }
}

impl Reader {
    fn find(&self, start: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(start.checked_sub(self.start)?).ok()?;
        self.kept.get(at..at.checked_add(length)?)
    }
}

/// Checks the sizes in the superblock before anything is allocated for what they claim, as the kernel does.
fn check_size(block: &dyn Block) -> Result<()> {
    let mut superblock = [0; 1024];
    block.read_at(&mut superblock, SUPERBLOCK)?;
    let u32_at =
        |at: usize| superblock.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let is_64bit = u32_at(0x60) & 0x80 != 0;
    let high = if is_64bit { u64::from(u32_at(0x150)) << 32 } else { 0 };
    let (blocks, per_group) = (high | u64::from(u32_at(4)), u64::from(u32_at(0x20)));
    let size = u128::from(blocks) << (u32_at(0x18).min(16) + 10);
    if size > u128::from(block.size()) {
        let what = format!("the file system has {size} bytes, and the device only {}", block.size());
        return Err(Error::corrupt(block.name(), what));
    }
    if per_group == 0 || blocks / per_group > MAX_GROUPS {
        return Err(Error::corrupt(block.name(), format!("its groups have {per_group} blocks each")));
    }
    Ok(())
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
        check_size(&*block)?;
        let reader = Reader { block, start: 0, kept: Vec::new() };
        let inner = Ext4::load(Box::new(reader)).map_err(failed)?;
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
        self.inode(path, Kind::Directory, Errno::NOTDIR)?;
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

    /// Size in bytes of what is at `path`.
    ///
    /// # Errors
    /// As `stat` would give.
    pub fn size(&self, path: &[u8]) -> Result<u64, PathError> {
        Ok(self.inner.symlink_metadata(as_path(path)?).map_err(path_error)?.len())
    }

    /// The inode at a path, which must be of a kind.
    fn inode(&self, path: &[u8], kind: Kind, otherwise: Errno) -> Result<Metadata, PathError> {
        let metadata = self.inner.symlink_metadata(as_path(path)?).map_err(path_error)?;
        if kind_of(metadata.file_type()) == kind { Ok(metadata) } else { Err(errno(otherwise)) }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// As `readlink` would give.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, PathError> {
        if self.inode(path, Kind::Symlink, Errno::INVAL)?.len() > MAX_TARGET {
            return Err(PathError::NotServed("a symbolic link is too long".to_owned()));
        }
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
        self.inode(path, Kind::File, Errno::ISDIR)?;
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
    ext4_view::Path::try_from(path).map_err(|_| errno(Errno::NAMETOOLONG))
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

fn errno(errno: Errno) -> PathError {
    PathError::Errno(errno.into())
}

fn path_error(error: Ext4Error) -> PathError {
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
