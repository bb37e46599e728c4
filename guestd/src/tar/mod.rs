//! Archives of many small files, in and out, without a change of process for each system call.
//!
//! Where the appliance's kernel is a process itself (User-Mode Linux), a system call costs as much as the work of
//! creating a small file, and GNU tar makes six of them per file. What nearly all archives consist of is done here,
//! in batches handed to the kernel at once (module `ring`). Whatever is out of the ordinary, damaged or in
//! the way is left to GNU tar, which [`unpack`] hands the rest of the archive to at the border between two entries;
//! so its rules and its words are the ones that count.

mod entry;
pub(crate) mod pack;
mod ring;
pub(crate) mod unpack;

use guestd_api::forms::tar::BLOCK;

/// File systems that keep owners, permissions and times as they are given.
fn keeps_attributes(directory: impl std::os::fd::AsFd) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const TMPFS: u64 = 0x0102_1994;
    let Ok(found) = rustix::fs::fstatfs(directory) else { return false };
    u64::try_from(found.f_type).is_ok_and(|kind| [EXT, XFS, BTRFS, F2FS, TMPFS].contains(&kind))
}
