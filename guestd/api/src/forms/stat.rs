//! What `stat` says, in its older form, and of what is not there.

use crate::structs::{Stat, Statns};

/// What stands for a name that does not exist in a list.
#[must_use]
pub fn no_file() -> Statns {
    Statns {
        st_dev: 0,
        st_ino: -1,
        st_mode: 0,
        st_nlink: 0,
        st_uid: 0,
        st_gid: 0,
        st_rdev: 0,
        st_size: 0,
        st_blksize: 0,
        st_blocks: 0,
        st_atime_sec: 0,
        st_atime_nsec: 0,
        st_mtime_sec: 0,
        st_mtime_nsec: 0,
        st_ctime_sec: 0,
        st_ctime_nsec: 0,
        st_spare1: 0,
        st_spare2: 0,
        st_spare3: 0,
        st_spare4: 0,
        st_spare5: 0,
        st_spare6: 0,
    }
}

/// The form without nanoseconds.
#[must_use]
pub fn in_seconds(s: &Statns) -> Stat {
    Stat {
        dev: s.st_dev,
        ino: s.st_ino,
        mode: s.st_mode,
        nlink: s.st_nlink,
        uid: s.st_uid,
        gid: s.st_gid,
        rdev: s.st_rdev,
        size: s.st_size,
        blksize: s.st_blksize,
        blocks: s.st_blocks,
        atime: s.st_atime_sec,
        mtime: s.st_mtime_sec,
        ctime: s.st_ctime_sec,
    }
}
