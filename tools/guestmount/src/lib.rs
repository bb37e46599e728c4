//! Mounts guests on directories of the host, and takes them off again: what the two programs share.

pub mod arguments;

use std::io::Write;
use std::os::fd::RawFd;

use cli::background::inherited;

/// Tells by one byte that the mount can be used.
///
/// # Errors
/// When it cannot be written.
pub fn tell_ready(fd: RawFd) -> std::io::Result<()> {
    inherited(fd, true)?.write_all(b"1")
}
