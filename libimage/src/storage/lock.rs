//! Image locking with the byte ranges that QEMU uses, so that QEMU and we refuse to corrupt each
//! other's images, in both directions.
//!
//! A permission that an opener *uses* is a shared lock on byte `100 + i`; one that it does *not share*
//! with others is a shared lock on byte `200 + i`. Conflicts are found by asking whether an exclusive
//! lock on the opposite byte would be possible. The locks belong to the open file description, so
//! they end with it, also when the process is killed.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Result};

const USED: i64 = 100;
const UNSHARED: i64 = 200;

/// QEMU's permission numbers, in bit order, with the names its messages use.
const NAMES: [&str; 4] = ["consistent read", "write", "write unchanged", "resize"];
const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const RESIZE: u8 = 1 << 3;

/// What an opener does with the file and tolerates from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads, and needs the contents to stay as they are.
    Read,
    /// Reads and tolerates anything (`--force-share`).
    ReadShared,
    /// Reads, writes and resizes, and is the only one to do so.
    Write,
}

impl Access {
    fn used(self) -> u8 {
        match self {
            Access::Read | Access::ReadShared => READ,
            Access::Write => READ | WRITE | RESIZE,
        }
    }

    fn unshared(self) -> u8 {
        match self {
            Access::ReadShared => 0,
            Access::Read | Access::Write => WRITE | RESIZE,
        }
    }
}

/// Takes the locks that `access` needs on `file`, or says which permission is in conflict.
///
/// File systems without such locks are accepted unlocked, as QEMU does by default.
///
/// # Errors
/// [`Error::Locked`] when another opener excludes this one; nothing stays locked then.
pub fn acquire(file: &File, name: &str, access: Access) -> Result<()> {
    let taken = take(file, access);
    match taken {
        Ok(()) => {}
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOLCK | Errno::EOPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(Error::io("lock", name, errno.into())),
    }
    let conflict = each(access.used())
        .find(|&i| is_taken(file, UNSHARED + i))
        .map(|i| (i, false))
        .or_else(|| each(access.unshared()).find(|&i| is_taken(file, USED + i)).map(|i| (i, true)));
    match conflict {
        None => Ok(()),
        Some((i, shared)) => {
            release(file);
            let permission = usize::try_from(i).ok().and_then(|i| NAMES.get(i).copied()).unwrap_or("unknown");
            Err(Error::Locked { file: name.to_owned(), permission, shared })
        }
    }
}

/// Gives all locks of this open file description back.
pub fn release(file: &File) {
    // Unlocking cannot fail in a way that anybody could act on: closing the file does the same.
    let _ = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range(libc_type::UNLOCK, 0, 0)));
}

fn take(file: &File, access: Access) -> Result<(), Errno> {
    let bytes = each(access.used()).map(|i| USED + i).chain(each(access.unshared()).map(|i| UNSHARED + i));
    for byte in bytes {
        if let Err(errno) = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&range(libc_type::READ, byte, 1))) {
            release(file);
            return Err(errno);
        }
    }
    Ok(())
}

/// Does somebody else hold `byte`?
fn is_taken(file: &File, byte: i64) -> bool {
    let mut probe = range(libc_type::WRITE, byte, 1);
    match fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut probe)) {
        Ok(_) => i32::from(probe.l_type) != libc_type::UNLOCK,
        Err(_) => false,
    }
}

fn each(bits: u8) -> impl Iterator<Item = i64> {
    (0..4i64).filter(move |i| bits & (1 << i) != 0)
}

fn range(kind: i32, start: i64, len: i64) -> nix::libc::flock {
    nix::libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// The lock kinds of `fcntl(2)`.
mod libc_type {
    pub(super) const READ: i32 = nix::libc::F_RDLCK;
    pub(super) const WRITE: i32 = nix::libc::F_WRLCK;
    pub(super) const UNLOCK: i32 = nix::libc::F_UNLCK;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn writers_exclude_readers_share() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        acquire(&a, "x", Access::Read).unwrap();
        acquire(&b, "x", Access::Read).unwrap();
        release(&b);
        let refused = acquire(&b, "x", Access::Write).unwrap_err();
        assert!(matches!(refused, Error::Locked { permission: "write", shared: false, .. }), "{refused}");
        release(&a);
        acquire(&b, "x", Access::Write).unwrap();
        let refused = acquire(&a, "x", Access::Read).unwrap_err();
        assert!(matches!(refused, Error::Locked { permission: "write", shared: true, .. }), "{refused}");
        acquire(&a, "x", Access::ReadShared).unwrap();
        drop(b);
        acquire(&a, "x", Access::Write).unwrap();
    }
}
