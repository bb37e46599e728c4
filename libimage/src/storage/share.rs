//! Letting the kernel copy between files: on file systems with reflinks both then share the same blocks
//! until one of them is written, elsewhere the bytes at least stay inside the kernel.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;

use crate::block::HostRange;

/// Bytes that one system call is asked for; it takes a little less than 2 GiB at most.
const STEP: u64 = 1 << 30;

/// True if the two files lie where blocks can be shared between them.
pub(super) fn is_possible(source: &File, target: &File) -> bool {
    let device = |file: &File| file.metadata().ok().filter(std::fs::Metadata::is_file).map(|m| m.dev());
    if device(source).is_none() || device(source) != device(target) {
        return false;
    }
    // A file onto itself changes nothing: it succeeds when it is empty, and is refused as making no sense
    // (only) where cloning is known.
    matches!(ioctl_ficlone(target, target), Ok(()) | Err(Errno::INVAL))
}

/// Copies or shares `source` at `offset` of `target`. Returns how many bytes are done: 0 if the kernel
/// cannot, less than all if it stopped for a reason that is not an error.
pub(super) fn copy(source: &HostRange, target: &File, offset: u64) -> io::Result<u64> {
    let (mut from, mut to) = (source.offset, offset);
    let mut done = 0;
    while done < source.length {
        let step = usize::try_from((source.length - done).min(STEP)).unwrap_or(usize::MAX);
        match copy_file_range(&source.file, Some(&mut from), target, Some(&mut to), step) {
            // The source ends before it should: the caller will meet that when it reads.
            Ok(0) => break,
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            Err(
                Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF | Errno::TXTBSY,
            ) => {
                break;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}
