//! Local files and block devices.
//!
//! Only positional system calls are used, so any number of threads may share one storage. The size is
//! kept beside the file and moves only through this object: an image file is locked against others.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate};
use rustix::io::Errno;

use super::early::Early;
use super::lock::{self, Access};
use super::share;
use crate::block::{Block, Extent, HostRange, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileOptions {
    /// Open for reading only.
    pub read_only: bool,
    /// Tolerate other writers (`--force-share`); implies reading only.
    pub force_share: bool,
    /// Take no image locks.
    pub unlocked: bool,
    /// Pass the page cache by (`O_DIRECT`). Requests must then be aligned, in memory too: see [`super::Direct`].
    pub direct: bool,
}

/// A regular file or a block device.
#[derive(Debug)]
pub struct FileStorage {
    file: Arc<File>,
    path: PathBuf,
    name: String,
    size: AtomicU64,
    /// Serialises what changes the length, so that it is never set back by a slower thread.
    growth: Mutex<()>,
    /// The last answer of [`Block::status`]; forgotten at every change of allocation.
    last_extent: Mutex<Option<(Range<u64>, bool)>>,
    read_only: bool,
    device: bool,
    /// Flushing does nothing.
    unsynced: AtomicBool,
    /// Changes that are complete, and how many of them are known to be durable.
    changes: AtomicU64,
    durable: AtomicU64,
    /// Writing is followed by the disk closely.
    early: Early,
}

impl FileStorage {
    /// Opens an existing file and takes QEMU's image locks on it.
    ///
    /// # Errors
    /// When it cannot be opened, is neither a file nor a block device, or is in use elsewhere.
    pub fn open(path: impl AsRef<Path>, options: FileOptions) -> Result<Self> {
        let path = path.as_ref();
        let read_only = options.read_only || options.force_share;
        let name = path.display().to_string();
        // A pipe is refused below; its other end is not waited for.
        let mut flags = rustix::fs::OFlags::NONBLOCK;
        flags.set(rustix::fs::OFlags::DIRECT, options.direct);
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|source| Error::io("open", &name, source))?;
        let access = match (options.force_share, read_only) {
            (true, _) => Access::ReadShared,
            (false, true) => Access::Read,
            (false, false) => Access::Write,
        };
        Self::from_file(file, path, access, !options.unlocked)
    }

    /// Creates a file, or empties an existing one once nobody else uses it, for reading and writing.
    ///
    /// # Errors
    /// When it cannot be created, or is in use elsewhere; an existing file is then unchanged.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|source| Error::io("create", &name, source))?;
        let storage = Self::from_file(file, path, Access::Write, true)?;
        if !storage.device {
            storage.resize(0, Preallocation::Off)?;
        }
        Ok(storage)
    }

    /// Takes a file that was opened for reading and writing elsewhere; `path` is what it is called.
    pub(super) fn adopt(file: File, path: &Path) -> Result<Self> {
        Self::from_file(file, path, Access::Write, true)
    }

    pub(super) fn raw_descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    fn from_file(file: File, path: &Path, access: Access, locked: bool) -> Result<Self> {
        let name = path.display().to_string();
        let metadata = file.metadata().map_err(|source| Error::io("examine", &name, source))?;
        let device = metadata.file_type().is_block_device();
        if metadata.is_dir() {
            return Err(Error::Invalid(format!("'file' driver requires '{name}' to be a regular file")));
        }
        if !device && !metadata.is_file() {
            return Err(Error::unsupported(name, "only regular files and block devices can hold an image"));
        }
        if locked {
            lock::acquire(&file, &name, access)?;
        }
        let size = if device {
            rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|e| Error::io("size", &name, e.into()))?
        } else {
            metadata.len()
        };
        Ok(FileStorage {
            file: Arc::new(file),
            path: path.to_owned(),
            name,
            size: AtomicU64::new(size),
            growth: Mutex::new(()),
            last_extent: Mutex::new(None),
            read_only: access != Access::Write,
            device,
            unsynced: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            early: Early::default(),
        })
    }

    /// From now on [`Block::flush`] returns at once, and data is durable when the kernel gets to it or
    /// [`sync`](Self::sync) is called: for files that are worth nothing until they are finished.
    pub fn leave_flushes_to_kernel(&self) {
        self.unsynced.store(true, Ordering::Relaxed);
    }

    /// From now on what is written goes to the disk soon, so that a [`sync`](Self::sync) at the end has little
    /// left to wait for.
    pub fn write_out_early(&self) {
        self.early.enable();
    }

    /// True if [`Block::copy_from_file`] from `source` shares the bytes instead of moving them.
    pub fn can_share(&self, source: &HostRange) -> bool {
        !self.device && share::is_possible(&source.file, &self.file)
    }

    /// Makes everything written before this call durable, whatever was said before.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&self) -> Result<()> {
        // Counted before: what is changed meanwhile may or may not be covered.
        let changes = self.changes.load(Ordering::Acquire);
        if self.durable.load(Ordering::Acquire) >= changes {
            return Ok(());
        }
        self.file.sync_data().map_err(|source| Error::io("flush", &self.name, source))?;
        self.durable.fetch_max(changes, Ordering::AcqRel);
        Ok(())
    }

    /// A change is complete: the next flush has something to do.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is a block device.
    pub fn is_device(&self) -> bool {
        self.device
    }

    /// The open file, for those that know how to handle it.
    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// Device and inode number: the same file under two names has the same identity.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.file.metadata().ok().map(|m| (m.dev(), m.ino()))
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { file: self.name.clone() }) } else { Ok(()) }
    }

    /// Checks a write's range; returns its end.
    fn write_end(&self, offset: u64, length: u64) -> Result<u64> {
        self.writable()?;
        if self.device {
            check_range(self, offset, length)?;
        }
        let end = offset.checked_add(length).filter(|&end| end <= i64::MAX as u64);
        end.ok_or_else(|| Error::OutOfRange { file: self.name.clone(), offset, length, size: self.size() })
    }

    fn forget_extent(&self) {
        *self.last_extent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tries one `fallocate` mode; false when the file system does not know it.
    fn try_fallocate(&self, flags: FallocateFlags, range: &Range<u64>) -> Result<bool> {
        if range.is_empty() {
            return Ok(true);
        }
        loop {
            match fallocate(&self.file, flags, range.start, range.end - range.start) {
                Ok(()) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => return Ok(false),
                Err(errno) => return Err(Error::io_at("allocate", &self.name, range.start, errno.into())),
            }
        }
    }

    fn write_zero_bytes(&self, range: Range<u64>) -> Result<()> {
        let zeroes = vec![0u8; (range.end - range.start).min(1 << 20) as usize];
        let mut at = range.start;
        while at < range.end {
            let take = (range.end - at).min(zeroes.len() as u64);
            self.write_at(&zeroes[..take as usize], at)?;
            at += take;
        }
        Ok(())
    }

    /// Asks the file system where `offset` lies: the end of its run, and whether it holds data.
    fn seek_extent(&self, offset: u64, size: u64) -> (u64, bool) {
        // Where holes cannot be told apart everything counts as data: never wrong, only slower.
        let hole = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) if start > offset => return (start.min(size), false),
            Ok(_) => rustix::fs::seek(&self.file, SeekFrom::Hole(offset)),
            Err(Errno::NXIO) => return (size, false),
            Err(errno) => Err(errno),
        };
        match hole {
            Ok(end) if end > offset => (end.min(size), true),
            _ => (size, true),
        }
    }
}

impl Block for FileStorage {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        self.file
            .read_exact_at(buf, offset)
            .map_err(|source| Error::io_at("read", &self.name, offset, source))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let end = self.write_end(offset, buf.len() as u64)?;
        self.forget_extent();
        self.file
            .write_all_at(buf, offset)
            .map_err(|source| Error::io_at("write to", &self.name, offset, source))?;
        self.size.fetch_max(end, Ordering::AcqRel);
        self.changed();
        self.early.written(&self.file, offset..end);
        Ok(())
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let length = range.end - range.start;
        Ok(Some(HostRange { file: Arc::clone(&self.file), offset: range.start, length }))
    }

    fn copy_from_file(&self, source: &HostRange, offset: u64) -> Result<u64> {
        self.write_end(offset, source.length)?;
        self.forget_extent();
        let copied = share::copy(source, &self.file, offset);
        let done = copied.map_err(|source| Error::io_at("copy to", &self.name, offset, source))?;
        if done > 0 {
            self.size.fetch_max(offset + done, Ordering::AcqRel);
            self.changed();
            self.early.written(&self.file, offset..offset + done);
        }
        Ok(done)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let end = self.write_end(range.start, range.end.saturating_sub(range.start))?;
        self.forget_extent();
        if end > self.size() && how == Zero::MayUnmap {
            self.resize(end, Preallocation::Off)?;
        }
        let done = match how {
            Zero::MayUnmap => {
                self.try_fallocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, &range)?
                    || self.try_fallocate(FallocateFlags::ZERO_RANGE, &range)?
            }
            Zero::KeepAllocated => self.try_fallocate(FallocateFlags::ZERO_RANGE, &range)?,
        };
        if done {
            self.size.fetch_max(end, Ordering::AcqRel);
            self.changed();
            return Ok(());
        }
        self.write_zero_bytes(range)
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.writable()?;
        let range = range.start..range.end.min(self.size());
        if range.is_empty() {
            return Ok(());
        }
        self.forget_extent();
        self.try_fallocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, &range)?;
        self.changed();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if self.read_only || self.unsynced.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.sync()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let size = self.size();
        let known = self.last_extent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (run, data) = match known {
            Some((run, data)) if run.contains(&range.start) => (run, data),
            _ => {
                let (end, data) = self.seek_extent(range.start, size);
                let run = range.start..end;
                if self.read_only {
                    *self.last_extent.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((run.clone(), data));
                }
                (run, data)
            }
        };
        let length = run.end.min(range.end).saturating_sub(range.start);
        Ok(if data {
            Extent::data(length, range.start)
        } else {
            Extent { offset: Some(range.start), ..Extent::zero(length) }
        })
    }

    fn limits(&self) -> Limits {
        Limits { growable: !self.device, zero_init: !self.device, ..Limits::default() }
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.writable()?;
        if self.device {
            return match size <= self.size() {
                true => Ok(()),
                false => Err(Error::unsupported(&self.name, "a block device cannot be made larger")),
            };
        }
        let _one_at_a_time = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget_extent();
        let old = self.size();
        if size == old {
            // Not only for speed: ext4 writes a file that was cut off out at once when it is closed.
            return Ok(());
        }
        let grown = old..size.max(old);
        match preallocation {
            Preallocation::Off | Preallocation::Metadata => {}
            Preallocation::Falloc => {
                if !self.try_fallocate(FallocateFlags::empty(), &grown)? {
                    return Err(Error::unsupported(
                        &self.name,
                        "the file system cannot reserve space; use preallocation=full",
                    ));
                }
            }
            Preallocation::Full => {
                if let Err(error) = self.write_zero_bytes(grown) {
                    // Half-written padding is not wanted: back to the old length.
                    let _ = self.file.set_len(old);
                    self.size.store(old, Ordering::Release);
                    return Err(error);
                }
            }
        }
        self.file.set_len(size).map_err(|source| Error::io("resize", &self.name, source))?;
        self.size.store(size, Ordering::Release);
        self.changed();
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.file.metadata().ok().map(|m| m.blocks().saturating_mul(512))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grows_punches_and_tells_holes() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileStorage::create(dir.path().join("f")).unwrap();
        file.write_at(b"hello", 1 << 20).unwrap();
        assert_eq!(file.size(), (1 << 20) + 5);
        let hole = file.status(0..file.size()).unwrap();
        assert_eq!((hole.zero, hole.length), (true, 1 << 20));
        let data = file.status(hole.length..file.size()).unwrap();
        assert_eq!((data.data, data.length), (true, 5));
        file.write_zeroes(1 << 20..(1 << 20) + 2, Zero::KeepAllocated).unwrap();
        let mut tail = [1; 5];
        file.read_at(&mut tail, 1 << 20).unwrap();
        assert_eq!(&tail, b"\0\0llo");
        file.write_zeroes(0..3 << 20, Zero::MayUnmap).unwrap();
        assert_eq!((file.size(), file.allocated_bytes()), (3 << 20, Some(0)));
        assert!(file.read_at(&mut tail, (3 << 20) - 4).is_err());
    }

    #[test]
    fn a_second_writer_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let first = FileStorage::create(&path).unwrap();
        first.write_at(b"data", 0).unwrap();
        assert!(FileStorage::create(&path).is_err());
        assert!(FileStorage::open(&path, FileOptions::default()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        let shared = FileOptions { force_share: true, ..FileOptions::default() };
        assert!(FileStorage::open(&path, shared).is_ok());
    }
}
