//! The first request, in which both ends agree on what they do; and calls that are a file's own.

use super::kernel;
use super::request::Request;
use super::tree::{Answer, Done, Tree};
use guestd_api::fuse::{InitIn, InitOut, IoctlIn, IoctlOut, MAJOR, init};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::AsFd;

/// What is used if the host's kernel has it: it checks permissions and ACLs, keeps what it was told, gathers what is
/// written, and leaves the rights of new files and the fate of set-user-ID bits to the guest's file system.
const WANTED: u64 = init::ASYNC_READ
    | init::ATOMIC_O_TRUNC
    | init::BIG_WRITES
    | init::DONT_MASK
    | init::HAS_IOCTL_DIR
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::ASYNC_DIO
    | init::WRITEBACK_CACHE
    | init::PARALLEL_DIROPS
    | init::POSIX_ACL
    | init::MAX_PAGES
    | init::CACHE_SYMLINKS
    | init::NO_OPENDIR_SUPPORT
    | init::HANDLE_KILLPRIV_V2
    | init::SETXATTR_EXT
    | init::INIT_EXT;
impl Tree {
    pub(super) fn init(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let offered = InitIn::of(request.rest());
        if offered.major != MAJOR {
            return Err(Errno::PROTO);
        }
        let agreed = InitOut::to(&offered, WANTED);
        self.agree(offered.all_flags() & WANTED);
        answer.put(&agreed);
        Ok(())
    }

    pub(super) fn ioctl(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: IoctlIn = request.take()?;
        let mut argument = [0; 64];
        let given = request.bytes(wanted.in_size)?;
        argument.get_mut(..given.len()).ok_or(Errno::NOTTY)?.copy_from_slice(given);
        let file = self.open_file(wanted.fh, request.header.nodeid, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let result = kernel::file_ioctl(file.as_fd(), wanted.cmd, &mut argument)?;
        answer.put(&IoctlOut { result, ..IoctlOut::default() });
        answer.put(argument.get(..wanted.out_size as usize).ok_or(Errno::NOTTY)?);
        Ok(())
    }
}
