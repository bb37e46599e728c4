//! Descriptors that whoever started this process has left open.

use std::os::fd::{OwnedFd, RawFd};

use anyhow::{Result, anyhow};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The descriptor of this number, as one of our own. (The number itself stays open.)
///
/// # Errors
/// When there is none.
pub(crate) fn inherited(number: RawFd) -> Result<OwnedFd> {
    let copy = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    copy.map_err(|error| anyhow!("File descriptor {number} is not open: {error}"))
}
