//! Many small file operations in few system calls, with io_uring.
//!
//! The kernel reads and writes the memory of operations until it has reported their ends. So everything they point
//! to belongs to the ring meanwhile, and comes back when all of them have ended.

#![allow(unsafe_code, reason = "the kernel is given addresses that it uses later")]

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::ops::Range;

/// Files of one batch.
pub(super) const BATCH: usize = 128;

/// Relative paths are those of the calling thread.
const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// The way to the kernel.
pub(super) struct Ring {
    ring: IoUring,
    batch: Batch,
}

/// What the kernel is told about.
#[derive(Default)]
struct Batch {
    names: Vec<CString>,
    data: Vec<u8>,
    found: Vec<libc::statx>,
}

/// A file to be made.
pub(super) struct NewFile {
    pub(super) name: CString,
    pub(super) mode: u32,
    /// Its contents, in the data that goes with the batch.
    pub(super) data: Range<usize>,
}

/// A file to be read.
pub(super) struct ReadFile {
    pub(super) name: CString,
    /// Bytes that are wanted.
    pub(super) size: usize,
}

/// How an operation ended: what it returned, or the error.
type Ended = Result<u32, Errno>;

/// What a file is.
type Status = Result<libc::statx, Errno>;

const NOT_RUN: Ended = Err(Errno::CANCELED);

impl Ring {
    /// A ring, if this kernel has them.
    pub(super) fn new() -> Option<Ring> {
        let ring = IoUring::new(2 * BATCH as u32).ok()?;
        Some(Ring { ring, batch: Batch::default() })
    }

    /// Makes files that must be new, each with its contents, which lie in `data`. What went wrong with each, if
    /// anything did; and the data again.
    ///
    /// # Errors
    /// When the kernel does not take operations. Files may then have been made.
    pub(super) fn create(
        &mut self,
        files: Vec<NewFile>,
        data: Vec<u8>,
    ) -> io::Result<(Vec<Option<Errno>>, Vec<u8>)> {
        self.batch.data = data;
        let mut wanted = Vec::with_capacity(files.len());
        for NewFile { name, mode, data } in files {
            self.batch.names.push(name);
            wanted.push((mode, data));
        }
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let open = self.batch.names.iter().zip(&wanted).map(|(name, (mode, _))| {
            opcode::OpenAt::new(HERE, name.as_ptr()).flags(flags).mode(*mode).build()
        });
        let opened = run(&mut self.ring, open.collect())?;

        let mut operations = Vec::new();
        for ((_, range), file) in wanted.iter().zip(&opened) {
            let Some(file) = descriptor(file) else { continue };
            if let Some(data) = self.batch.data.get(range.clone()).filter(|data| !data.is_empty()) {
                let length = u32::try_from(data.len()).map_err(io::Error::other)?;
                // Closed in any case, after that.
                let write = opcode::Write::new(file, data.as_ptr(), length).build();
                operations.push(write.flags(Flags::IO_HARDLINK));
            }
            operations.push(opcode::Close::new(file).build());
        }
        let mut ended = run(&mut self.ring, operations)?.into_iter();
        let outcome = opened.iter().zip(&wanted).map(|(opened, (_, range))| match opened {
            Err(error) => Some(*error),
            Ok(_) => {
                let written = if range.is_empty() { Ok(0) } else { ended.next().unwrap_or(NOT_RUN) };
                let closed = ended.next().unwrap_or(NOT_RUN);
                match (written, closed) {
                    (Ok(count), Ok(_)) if count as usize == range.len() => None,
                    (Ok(_), Ok(_)) => Some(Errno::NOSPC),
                    (Err(error), _) | (_, Err(error)) => Some(error),
                }
            }
        });
        let outcome = outcome.collect();
        self.batch.names.clear();
        Ok((outcome, std::mem::take(&mut self.batch.data)))
    }

    /// What the files of these names are, symbolic links not followed; and the names again.
    ///
    /// # Errors
    /// When the kernel does not take operations.
    pub(super) fn status(&mut self, names: Vec<CString>) -> io::Result<(Vec<Status>, Vec<CString>)> {
        self.batch.names = names;
        // SAFETY: a statx is numbers only, for which zero is a value.
        self.batch.found.resize_with(self.batch.names.len(), || unsafe { std::mem::zeroed() });
        let operations = self.batch.names.iter().zip(&mut self.batch.found).map(|(name, found)| {
            opcode::Statx::new(HERE, name.as_ptr(), std::ptr::from_mut(found).cast())
                .flags(libc::AT_SYMLINK_NOFOLLOW)
                .mask(libc::STATX_BASIC_STATS)
                .build()
        });
        let ended = run(&mut self.ring, operations.collect())?;
        let found = self.batch.found.drain(..).zip(ended).map(|(found, ended)| ended.map(|_| found));
        Ok((found.collect(), std::mem::take(&mut self.batch.names)))
    }

    /// Reads the beginnings of files into `data`, one after the other: `size` bytes for each, however many of
    /// them there turn out to be. Says how many for each.
    ///
    /// # Errors
    /// When the kernel does not take operations.
    pub(super) fn read(
        &mut self,
        files: Vec<ReadFile>,
        mut data: Vec<u8>,
    ) -> io::Result<(Vec<Ended>, Vec<u8>)> {
        let sizes: Vec<usize> = files.iter().map(|file| file.size).collect();
        self.batch.names.extend(files.into_iter().map(|file| file.name));
        data.clear();
        data.resize(sizes.iter().sum(), 0);
        self.batch.data = data;
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let open =
            self.batch.names.iter().map(|name| opcode::OpenAt::new(HERE, name.as_ptr()).flags(flags).build());
        let opened = run(&mut self.ring, open.collect())?;

        let mut operations = Vec::new();
        let mut room = self.batch.data.as_mut_slice();
        for (&size, file) in sizes.iter().zip(&opened) {
            let (mine, rest) = room.split_at_mut_checked(size).unwrap_or_default();
            room = rest;
            let Some(file) = descriptor(file) else { continue };
            let length = u32::try_from(mine.len()).map_err(io::Error::other)?;
            let read = opcode::Read::new(file, mine.as_mut_ptr(), length).build();
            operations.push(read.flags(Flags::IO_HARDLINK));
            operations.push(opcode::Close::new(file).build());
        }
        let mut ended = run(&mut self.ring, operations)?.into_iter();
        let outcome = opened.iter().map(|opened| {
            (*opened)?;
            let (read, closed) = (ended.next().unwrap_or(NOT_RUN), ended.next().unwrap_or(NOT_RUN));
            closed.and(read)
        });
        let outcome = outcome.collect();
        self.batch.names.clear();
        Ok((outcome, std::mem::take(&mut self.batch.data)))
    }
}

fn descriptor(opened: &Ended) -> Option<types::Fd> {
    opened.ok().and_then(|file| i32::try_from(file).ok()).map(types::Fd)
}

/// Hands operations to the kernel and waits for all of them. Their ends, in the order of the operations.
fn run(ring: &mut IoUring, operations: Vec<Entry>) -> io::Result<Vec<Ended>> {
    let mut ended = vec![NOT_RUN; operations.len()];
    let (mut queued, mut done) = (0, 0);
    for (number, operation) in operations.iter().enumerate() {
        let operation = operation.clone().user_data(number as u64);
        // SAFETY: what the operations point to lies in the ring's batch, which nobody touches before all of
        // them have ended: this function returns only then.
        unsafe { ring.submission().push(&operation) }.map_err(io::Error::other)?;
        queued += 1;
    }
    while done < queued {
        if let Err(error) = ring.submit_and_wait(queued - done)
            && !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
        {
            if done == 0 {
                // Refused as a whole: the kernel holds nothing.
                return Err(error);
            }
            // Some may still be under way, so nothing that they use may ever be given back.
            std::process::abort();
        }
        for end in ring.completion() {
            done += 1;
            if let Some(slot) = usize::try_from(end.user_data()).ok().and_then(|number| ended.get_mut(number))
            {
                *slot = u32::try_from(end.result())
                    .map_err(|_| Errno::from_raw_os_error(end.result().saturating_neg()));
            }
        }
    }
    Ok(ended)
}
