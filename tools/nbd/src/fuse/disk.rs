//! A disk as one file of a file system that the kernel sees: alone, or in a directory of its own.
//!
//! The file is like a block device: its size is fixed, opening it for truncation cuts nothing off, and what goes beyond
//! its end finds no space. What `fsync` returned from, and what a program has closed, is durable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuse::options::MountOptions;
use fuse::session::{Server, name, take};
use guestd_api::fuse::{
    Attr, AttrOut, Dirent, EntryOut, FOPEN_KEEP_CACHE, FallocateIn, InHeader, LseekIn, LseekOut, MAX_WRITE,
    OUT_HEADER, OpenIn, OpenOut, ROOT, ReadIn, SetattrIn, StatfsOut, WriteIn, WriteOut, fattr, init, op,
    push_dirent,
};
use libimage::Block;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::space;

/// The node of the file, where it is not the top itself.
const FILE: u64 = 2;
/// Seconds for which the kernel may remember names and attributes.
const SECONDS: u64 = 1;
/// What `stat` tells of good sizes of requests, and what a loop device takes for the smallest hole.
const BLOCK_SIZE: u32 = 4096;
/// Longest name of a file.
const MAX_NAME: u32 = 255;
/// How many opened it may be told together; the kernel asks one at a time.
const KINDS: (u32, u32) = (0o040_000, 0o100_000);
/// What is used if the kernel has it.
const WANTED: u64 = init::ASYNC_READ
    | init::BIG_WRITES
    | init::ATOMIC_O_TRUNC
    | init::ASYNC_DIO
    | init::PARALLEL_DIROPS
    | init::NO_OPENDIR_SUPPORT
    | init::MAX_PAGES
    | init::INIT_EXT;

/// The disk and how it is shown.
pub(super) struct Disk {
    block: Arc<dyn Block>,
    /// Bytes. It does not change while the disk is shown.
    size: u64,
    read_only: bool,
    /// The file's name in the directory; none if the file is all there is.
    name: Option<Vec<u8>>,
    keep_cache: bool,
    shown: Mutex<Shown>,
    /// Something was written since the last flush.
    is_dirty: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// What `stat` tells that may be changed.
#[derive(Debug, Clone, Copy)]
struct Shown {
    mode: u32,
    uid: u32,
    gid: u32,
    /// Since 1970.
    atime: Duration,
    mtime: Duration,
    ctime: Duration,
}

#[derive(Default)]
struct Progress {
    is_ready: bool,
    is_over: bool,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Disk {
    /// Shows `block` as a file called `name` in a directory, or as a file alone.
    pub(super) fn new(
        block: Arc<dyn Block>,
        name: Option<Vec<u8>>,
        mode: u32,
        options: &MountOptions,
    ) -> Self {
        let read_only = options.read_only || block.is_read_only();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let now = now();
        let shown = Shown {
            mode: (if read_only { mode & !0o222 } else { mode }) & !options.umask,
            uid: options.uid.unwrap_or(uid),
            gid: options.gid.unwrap_or(gid),
            atime: now,
            mtime: now,
            ctime: now,
        };
        Disk {
            size: block.size(),
            block,
            read_only,
            name,
            keep_cache: options.kernel_cache,
            shown: Mutex::new(shown),
            is_dirty: AtomicBool::new(false),
            progress: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until it can be used, or never will be.
    pub(super) fn ready(&self) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(progress, |progress| !progress.is_ready && !progress.is_over));
    }

    /// Whether it was taken off; waits for that as long as that.
    pub(super) fn is_over(&self, patience: Duration) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(progress, patience, |progress| !progress.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_file(&self, node: u64) -> bool {
        node == if self.name.is_some() { FILE } else { ROOT }
    }

    fn file(&self, header: &InHeader) -> Result<(), Errno> {
        if self.is_file(header.nodeid) { Ok(()) } else { Err(Errno::ISDIR) }
    }

    fn attributes(&self, node: u64) -> Attr {
        let shown = *self.shown();
        let is_file = self.is_file(node);
        let stored = || self.block.allocated_bytes().unwrap_or(self.size);
        let (directory, file) = KINDS;
        Attr {
            ino: node,
            size: if is_file { self.size } else { 0 },
            blocks: if is_file { stored().div_ceil(512) } else { 0 },
            atime: shown.atime.as_secs(),
            mtime: shown.mtime.as_secs(),
            ctime: shown.ctime.as_secs(),
            atimensec: shown.atime.subsec_nanos(),
            mtimensec: shown.mtime.subsec_nanos(),
            ctimensec: shown.ctime.subsec_nanos(),
            // Who may read the file may look for it.
            mode: if is_file {
                file | shown.mode
            } else {
                directory | shown.mode & 0o444 | (shown.mode & 0o444) >> 2
            },
            nlink: if is_file { 1 } else { 2 },
            uid: shown.uid,
            gid: shown.gid,
            blksize: BLOCK_SIZE,
            ..Attr::default()
        }
    }

    fn attr_out(&self, node: u64, answer: &mut Vec<u8>) {
        let out = AttrOut { attr_valid: SECONDS, attr: self.attributes(node), ..AttrOut::default() };
        answer.extend_from_slice(out.as_bytes());
    }

    fn lookup(&self, rest: &mut &[u8], answer: &mut Vec<u8>) -> Result<(), Errno> {
        if self.name.as_deref() != Some(name(rest)?) {
            return Err(Errno::NOENT);
        }
        let entry = EntryOut {
            nodeid: FILE,
            entry_valid: SECONDS,
            attr_valid: SECONDS,
            attr: self.attributes(FILE),
            ..EntryOut::default()
        };
        answer.extend_from_slice(entry.as_bytes());
        Ok(())
    }

    fn set_attributes(&self, node: u64, wanted: &SetattrIn, answer: &mut Vec<u8>) -> Result<(), Errno> {
        if !self.is_file(node) || wanted.valid & fattr::SIZE != 0 && wanted.size != self.size {
            return Err(Errno::PERM);
        }
        let given = |flag: u32| wanted.valid & flag != 0;
        let now = now();
        let mut shown = self.shown();
        if given(fattr::MODE) {
            shown.mode = wanted.mode & 0o7777;
        }
        if given(fattr::UID) {
            shown.uid = wanted.uid;
        }
        if given(fattr::GID) {
            shown.gid = wanted.gid;
        }
        let time = |now_flag, seconds, nanoseconds: u32| {
            if given(now_flag) { now } else { Duration::from_secs(seconds) + nano(nanoseconds) }
        };
        if given(fattr::ATIME | fattr::ATIME_NOW) {
            shown.atime = time(fattr::ATIME_NOW, wanted.atime, wanted.atimensec);
        }
        if given(fattr::MTIME | fattr::MTIME_NOW) {
            shown.mtime = time(fattr::MTIME_NOW, wanted.mtime, wanted.mtimensec);
        }
        shown.ctime = now;
        drop(shown);
        self.attr_out(node, answer);
        Ok(())
    }

    fn open(&self, wanted: &OpenIn, answer: &mut Vec<u8>) -> Result<(), Errno> {
        const ACCESS_MODE: u32 = 3;
        if self.read_only && wanted.flags & ACCESS_MODE != 0 {
            return Err(Errno::ROFS);
        }
        let open_flags = if self.keep_cache { FOPEN_KEEP_CACHE } else { 0 };
        answer.extend_from_slice(OpenOut { open_flags, ..OpenOut::default() }.as_bytes());
        Ok(())
    }

    fn read(&self, wanted: &ReadIn, answer: &mut Vec<u8>) -> Result<(), Errno> {
        let left = self.size.saturating_sub(wanted.offset);
        let count = u64::from(wanted.size.min(MAX_WRITE)).min(left) as usize;
        answer.resize(OUT_HEADER + count, 0);
        let room = answer.get_mut(OUT_HEADER..).unwrap_or_default();
        if !room.is_empty() {
            self.block.read_at(room, wanted.offset).map_err(|error| space::errno(&error))?;
        }
        Ok(())
    }

    fn write(&self, wanted: &WriteIn, data: &[u8], answer: &mut Vec<u8>) -> Result<(), Errno> {
        self.writable()?;
        let data = data.get(..wanted.size as usize).ok_or(Errno::INVAL)?;
        let left = usize::try_from(self.size.saturating_sub(wanted.offset)).unwrap_or(usize::MAX);
        let data = data.get(..left).unwrap_or(data);
        if data.is_empty() && wanted.size != 0 {
            return Err(Errno::NOSPC);
        }
        self.is_dirty.store(true, Ordering::SeqCst);
        if !data.is_empty() {
            self.block.write_at(data, wanted.offset).map_err(|error| space::errno(&error))?;
        }
        self.changed_now();
        // No more than the kernel's size was.
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        answer.extend_from_slice(WriteOut { size, padding: 0 }.as_bytes());
        Ok(())
    }

    fn changed_now(&self) {
        let now = now();
        let mut shown = self.shown();
        (shown.mtime, shown.ctime) = (now, now);
    }

    fn writable(&self) -> Result<(), Errno> {
        if self.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// Makes durable what was written.
    pub(super) fn flush(&self) -> libimage::Result<()> {
        if !self.is_dirty.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        // What could not be made durable is to be tried again.
        self.block.flush().inspect_err(|_| self.is_dirty.store(true, Ordering::SeqCst))
    }

    fn allocate(&self, wanted: &FallocateIn) -> Result<(), Errno> {
        self.writable()?;
        self.is_dirty.store(true, Ordering::SeqCst);
        space::allocate(&*self.block, self.size, wanted)?;
        self.changed_now();
        Ok(())
    }

    fn statistics(&self, answer: &mut Vec<u8>) {
        let out = StatfsOut {
            blocks: self.size.div_ceil(u64::from(BLOCK_SIZE)),
            files: 1,
            bsize: BLOCK_SIZE,
            frsize: BLOCK_SIZE,
            namelen: MAX_NAME,
            ..StatfsOut::default()
        };
        answer.extend_from_slice(out.as_bytes());
    }

    fn list(&self, wanted: &ReadIn, answer: &mut Vec<u8>) {
        let (directory, file) = (KINDS.0 >> 12, KINDS.1 >> 12);
        let own = self.name.as_deref().unwrap_or_default();
        let all: [(u64, u32, &[u8]); 3] =
            [(ROOT, directory, b"."), (ROOT, directory, b".."), (FILE, file, own)];
        let room = OUT_HEADER + wanted.size.min(MAX_WRITE) as usize;
        for (index, (ino, kind, name)) in (1u64..).zip(all).filter(|(index, _)| *index > wanted.offset) {
            if !push_dirent(answer, room, None, Dirent { ino, off: index, namelen: 0, kind }, name) {
                break;
            }
        }
    }
}

fn nano(nanoseconds: u32) -> Duration {
    Duration::from_nanos(u64::from(nanoseconds))
}

impl Server for Disk {
    fn wanted(&self) -> u64 {
        WANTED
    }

    fn carry_out(&self, header: &InHeader, mut rest: &[u8], answer: &mut Vec<u8>) -> Result<(), Errno> {
        let rest = &mut rest;
        let failed = |error: libimage::Error| space::errno(&error);
        match header.opcode {
            op::LOOKUP => self.lookup(rest, answer)?,
            op::GETATTR => self.attr_out(header.nodeid, answer),
            op::SETATTR => self.set_attributes(header.nodeid, &take(rest)?, answer)?,
            op::OPEN => {
                self.file(header)?;
                self.open(&take(rest)?, answer)?;
            }
            op::READ => {
                self.file(header)?;
                self.read(&take(rest)?, answer)?;
            }
            op::WRITE => {
                self.file(header)?;
                self.write(&take(rest)?, rest, answer)?;
            }
            op::FLUSH | op::FSYNC => self.flush().map_err(failed)?,
            op::FALLOCATE => {
                self.file(header)?;
                self.allocate(&take(rest)?)?;
            }
            op::LSEEK => {
                self.file(header)?;
                let LseekIn { offset, whence, .. } = take(rest)?;
                let offset = space::seek(&*self.block, self.size, offset, whence)?;
                answer.extend_from_slice(LseekOut { offset }.as_bytes());
            }
            op::STATFS => self.statistics(answer),
            op::READDIR => self.list(&take(rest)?, answer),
            op::RELEASE | op::FSYNCDIR | op::FORGET | op::BATCH_FORGET | op::INTERRUPT | op::DESTROY => {}
            op::IOCTL => return Err(Errno::NOTTY),
            op::CREATE
            | op::MKNOD
            | op::MKDIR
            | op::SYMLINK
            | op::LINK
            | op::UNLINK
            | op::RMDIR
            | op::RENAME
            | op::RENAME2
            | op::TMPFILE => return Err(Errno::PERM),
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    fn ready(&self) {
        self.progress(|progress| progress.is_ready = true);
    }

    fn over(&self) {
        self.progress(|progress| progress.is_over = true);
    }
}
