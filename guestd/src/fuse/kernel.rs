//! Kernel calls that a file server needs and that have no safe wrapper.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Most bytes of a file handle.
const HANDLE_BYTES: usize = 128;

/// `struct file_handle`: what finds a file of a file system again while nobody has it open.
#[repr(C)]
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; HANDLE_BYTES],
}

/// The handle of an open file, if its file system has handles.
pub(super) fn handle_of(file: impl AsFd) -> Result<Box<Handle>, Errno> {
    let mut handle = Box::new(Handle { bytes: HANDLE_BYTES as u32, kind: 0, handle: [0; HANDLE_BYTES] });
    let mut mount = 0;
    let fd = file.as_fd().as_raw_fd();
    let pointer = (&raw mut *handle).cast::<libc::file_handle>();
    // SAFETY: `Handle` is a `struct file_handle` with room for as many bytes as its first field says; the path is
    // the empty string. The kernel writes to both places for the time of the call.
    let done =
        unsafe { libc::name_to_handle_at(fd, c"".as_ptr(), pointer, &raw mut mount, libc::AT_EMPTY_PATH) };
    check(done).map(|_| handle)
}

/// Opens what a handle stands for; `on` is anything open on the same mount.
pub(super) fn open_handle(on: impl AsFd, handle: &Handle) -> Result<OwnedFd, Errno> {
    let mut handle = handle.clone();
    let pointer = (&raw mut handle).cast::<libc::file_handle>();
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: as above; the kernel only reads.
    let fd = check(unsafe { libc::open_by_handle_at(on.as_fd().as_raw_fd(), pointer, flags) })?;
    // SAFETY: the kernel has just given this descriptor to us and nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// From now on a change of the thread's user for files takes no capabilities away from it.
pub(super) fn keep_capabilities() -> Result<(), Errno> {
    const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) }).map(drop)
}

/// Who owns what this thread makes from now on.
pub(super) fn set_owner(uid: u32, gid: u32) {
    // SAFETY: both take numbers only, and cannot fail for a privileged thread.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// Calls of files that may be passed on, with arguments of a fixed size.
pub(super) fn file_ioctl(file: BorrowedFd<'_>, command: u32, argument: &mut [u8; 64]) -> Result<i32, Errno> {
    // Flags of files, old and new; version; size of a file system's block; trimming.
    const PASSED: [u32; 7] =
        [0x8008_6601, 0x4008_6602, 0x801c_581f, 0x401c_5820, 0x8008_7601, 0x0000_0002, 0xc018_5879];
    if !PASSED.contains(&command) {
        return Err(Errno::NOTTY);
    }
    // SAFETY: the commands above read and write at most 28 bytes at their argument, which has 64.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::c_ulong::from(command) as _, argument.as_mut_ptr()) })
}

/// Sets the length of a file by its path.
pub(super) fn truncate(path: &CStr, length: u64) -> Result<(), Errno> {
    let length = i64::try_from(length).map_err(|_| Errno::FBIG)?;
    // SAFETY: the path is a string of the language C.
    check(unsafe { libc::truncate(path.as_ptr(), length) }).map(drop)
}

fn check(result: i32) -> Result<i32, Errno> {
    match result {
        -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
        result => Ok(result),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_meant_for_files_is_not_passed_on() {
        let file = std::fs::File::open("/").unwrap();
        // TIOCSTI puts letters into somebody's terminal.
        assert_eq!(file_ioctl(file.as_fd(), 0x5412, &mut [0; 64]), Err(Errno::NOTTY));
    }
}
