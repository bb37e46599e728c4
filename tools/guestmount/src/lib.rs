//! Mounts guests on directories of the host, and takes them off again: what the two programs share.

pub mod arguments;
pub mod background;
pub mod signals;

use std::io::Write;
use std::os::fd::RawFd;

/// A descriptor that whoever started this process has left open, as a file of its own.
///
/// # Errors
/// When it is not open, or nothing that can be opened again.
pub fn inherited(fd: RawFd, write: bool) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(!write).write(write).open(format!("/proc/self/fd/{fd}"))
}

/// Tells by one byte that the mount can be used.
///
/// # Errors
/// When it cannot be written.
pub fn tell_ready(fd: RawFd) -> std::io::Result<()> {
    inherited(fd, true)?.write_all(b"1")
}
