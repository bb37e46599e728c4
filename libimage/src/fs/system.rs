//! What every reader of a file system offers: nodes that are looked up, listed and read.
//!
//! A reader answers exactly what the kernel's mount of the same file system would, or says that it cannot.
//! Paths, symbolic links and mounts are the business of those who use it. Everything takes `&self` and may
//! be called from several threads.

use std::io;
use std::ops::ControlFlow;

use rustix::io::Errno;

/// A file system that is read from its device or devices; nothing is ever written.
pub trait FileSystem: Send + Sync {
    /// Its type, with the kernel's name: `ext4`, `xfs`, `btrfs`, `vfat`...
    fn kind(&self) -> &'static str;

    /// The file that it lies in, for messages.
    fn name(&self) -> &str;

    /// The directory at its top.
    fn root(&self) -> Node;

    /// What `stat` says.
    ///
    /// # Errors
    /// [`FsError`], as for all methods.
    fn attributes(&self, node: Node) -> Result<Attributes>;

    /// What `name` is in a directory; `None` if nothing. `.` and `..` are not asked for.
    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>>;

    /// Calls `entry` for everything in a directory but `.` and `..`, in the order in which the kernel lists them,
    /// until it breaks.
    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()>;

    /// The target of a symbolic link.
    fn read_link(&self, node: Node) -> Result<Vec<u8>>;

    /// Fills `into` from the byte `offset` of a regular file on; less only at its end. Returns how many bytes.
    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize>;

    /// The first piece of data in a regular file at or after the byte `offset`, as `SEEK_DATA` and `SEEK_HOLE` tell:
    /// where it begins and ends. `None` if there is only a hole up to the end.
    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let size = self.attributes(node)?.size;
        Ok((offset < size).then_some((offset, size)))
    }

    /// The names of its extended attributes, with their prefixes (`user.`, `security.`, `system.posix_acl_access`...).
    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        let _ = node;
        Ok(Vec::new())
    }

    /// An extended attribute, in the form in which `getxattr` returns it; `None` if it has none of that name.
    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let _ = (node, name);
        Ok(None)
    }

    /// What `statfs` says.
    fn statistics(&self) -> Result<Statistics>;
}

/// What identifies a file, directory or anything else of a file system. Only its reader knows what the numbers
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Which of several trees with numbers of their own: a subvolume of btrfs. 0 elsewhere.
    pub tree: u64,
    /// The inode's number, or whatever else finds it.
    pub number: u64,
}

impl Node {
    /// A node of a file system with one tree.
    pub fn new(number: u64) -> Self {
        Node { tree: 0, number }
    }
}

/// What kind of thing a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// From the upper bits of a mode.
    pub fn of_mode(mode: u32) -> Option<Kind> {
        Some(match mode >> 12 & 0xf {
            0o01 => Kind::Fifo,
            0o02 => Kind::CharDevice,
            0o04 => Kind::Directory,
            0o06 => Kind::BlockDevice,
            0o10 => Kind::File,
            0o12 => Kind::Symlink,
            0o14 => Kind::Socket,
            _ => return None,
        })
    }

    /// From the number in an entry of a directory: `FT_REG_FILE` and so on, the same for many file systems.
    pub(in crate::fs) fn of_entry(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::File,
            2 => Kind::Directory,
            3 => Kind::CharDevice,
            4 => Kind::BlockDevice,
            5 => Kind::Fifo,
            6 => Kind::Socket,
            7 => Kind::Symlink,
            _ => return None,
        })
    }

    /// Refuses to read what is no regular file, with the kernel's words.
    pub(in crate::fs) fn must_be_file(self) -> Result<()> {
        match self {
            Kind::File => Ok(()),
            Kind::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// The upper bits of a mode.
    pub fn mode(self) -> u32 {
        let bits = match self {
            Kind::Fifo => 0o01,
            Kind::CharDevice => 0o02,
            Kind::Directory => 0o04,
            Kind::BlockDevice => 0o06,
            Kind::File => 0o10,
            Kind::Symlink => 0o12,
            Kind::Socket => 0o14,
        };
        bits << 12
    }
}

/// The part of `into` that the bytes of a file from `offset` up to its end fill.
pub(in crate::fs) fn up_to_end(into: &mut [u8], offset: u64, size: u64) -> &mut [u8] {
    let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let count = into.len().min(left);
    into.get_mut(..count).unwrap_or_default()
}

/// The answer of [`FileSystem::data_after`] for a file whose blocks lie in runs: `run` tells whether those from a
/// block on hold data, and how many they are.
pub(in crate::fs) fn data_in_runs(
    offset: u64,
    size: u64,
    block: u64,
    mut run: impl FnMut(u64) -> Result<(bool, u64)>,
) -> Result<Option<(u64, u64)>> {
    let (mut logical, end) = (offset / block, size.div_ceil(block));
    let mut start = None;
    while logical < end {
        let (is_data, count) = run(logical)?;
        match (is_data, start) {
            (true, None) => start = Some(logical),
            (false, Some(_)) => break,
            _ => {}
        }
        logical = logical.saturating_add(count);
    }
    let bytes = |logical: u64| logical.saturating_mul(block).min(size);
    Ok(start.map(|start| (bytes(start).max(offset), bytes(logical))).filter(|(start, end)| start < end))
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds, below a milliard.
    pub nanoseconds: u32,
}

/// What `stat` says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: Kind,
    /// Permissions: the lower 12 bits of the mode.
    pub permissions: u32,
    /// The number that `st_ino` has.
    pub inode: u64,
    /// Its names.
    pub links: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Size in bytes.
    pub size: u64,
    /// Space, in units of 512 bytes.
    pub blocks: u64,
    /// The preferred size of requests, in bytes.
    pub block_size: u32,
    /// Which device a device node is for: major and minor number.
    pub device: (u32, u32),
    /// Last read.
    pub accessed: Time,
    /// Contents changed.
    pub modified: Time,
    /// Contents or attributes changed.
    pub changed: Time,
    /// Made, where that is kept.
    pub created: Option<Time>,
}

/// Something in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name there.
    pub name: &'a [u8],
    /// What it is.
    pub node: Node,
    /// What kind of thing, where the directory says so.
    pub kind: Option<Kind>,
}

/// What `statfs` says of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks for data.
    pub blocks: u64,
    /// Those that are free.
    pub free: u64,
    /// Those that are free for everybody.
    pub available: u64,
    /// Nodes that there can be.
    pub files: u64,
    /// Those that are free.
    pub files_free: u64,
    /// The longest name, in bytes.
    pub name_length: u64,
}

/// Why a file system gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// As the kernel would say it: no such thing, or not that kind of thing.
    #[error("{}", io::Error::from(*.0))]
    Errno(Errno),
    /// The reader does not know enough (a feature, an encrypted directory): somebody else must be asked.
    #[error("{0}")]
    Unsupported(String),
    /// What is on the device breaks the rules, or cannot be read.
    #[error(transparent)]
    Image(#[from] crate::error::Error),
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        FsError::Errno(errno)
    }
}

/// A result whose error is [`FsError`].
pub type Result<T, E = FsError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_the_kernels() {
        for mode in [0o010_000, 0o020_000, 0o040_000, 0o060_000, 0o100_000, 0o120_000, 0o140_000] {
            assert_eq!(Kind::of_mode(mode | 0o7777).map(Kind::mode), Some(mode));
        }
        assert_eq!(Kind::of_mode(0o7777), None);
    }
}
