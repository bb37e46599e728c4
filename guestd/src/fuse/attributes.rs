//! Requests about what a file is: status, owner, permissions, times, size; and about its file system.

use super::kernel;
use super::nodes::{path_of, status};
use super::request::Request;
use super::tree::{Answer, Done, Tree};
use guestd_api::fuse::{
    GETATTR_FH, GetattrIn, SetattrIn, StatfsOut, Statx, StatxIn, StatxOut, SxTime, fattr,
};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, StatxTimestamp, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Tree {
    /// The node of a request, or the file that it has open.
    fn asked(&self, request: &Request<'_>, fh: Option<u64>) -> Result<Arc<OwnedFd>, Errno> {
        match fh {
            Some(fh) => self.open_file(fh, request.header.nodeid, OFlags::PATH),
            None => self.node(request),
        }
    }

    pub(super) fn getattr(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: GetattrIn = request.take()?;
        let fh = (wanted.getattr_flags & GETATTR_FH != 0).then_some(wanted.fh);
        answer.put(&self.attributes(&*self.asked(request, fh)?)?);
        Ok(())
    }

    pub(super) fn statx(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: StatxIn = request.take()?;
        let fh = (wanted.getattr_flags & GETATTR_FH != 0).then_some(wanted.fh);
        let status = status(&*self.asked(request, fh)?, c"")?;
        let seen = self.show(self.nodes.attributes(&status));
        let time = |time: StatxTimestamp| SxTime { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec, reserved: 0 };
        let stat = Statx {
            mask: status.stx_mask,
            blksize: status.stx_blksize,
            attributes: status.stx_attributes.bits(),
            attributes_mask: status.stx_attributes_mask.bits(),
            nlink: seen.nlink,
            uid: seen.uid,
            gid: seen.gid,
            mode: (seen.mode & 0xffff) as u16,
            ino: seen.ino,
            size: seen.size,
            blocks: seen.blocks,
            atime: time(status.stx_atime),
            btime: time(status.stx_btime),
            ctime: time(status.stx_ctime),
            mtime: time(status.stx_mtime),
            rdev_major: status.stx_rdev_major,
            rdev_minor: status.stx_rdev_minor,
            dev_major: status.stx_dev_major,
            dev_minor: status.stx_dev_minor,
            ..Statx::default()
        };
        answer.put(&StatxOut { attr_valid: self.seconds(), stat, ..StatxOut::default() });
        Ok(())
    }

    pub(super) fn setattr(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: SetattrIn = request.take()?;
        let has = |flag| wanted.valid & flag != 0;
        let file = self.node(request)?;
        if has(fattr::UID | fattr::GID) {
            let uid = has(fattr::UID).then(|| Uid::from_raw(wanted.uid));
            let gid = has(fattr::GID).then(|| Gid::from_raw(wanted.gid));
            rustix::fs::chownat(&*file, c"", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if has(fattr::MODE) {
            rustix::fs::chmodat(CWD, path_of(&file), mode(wanted.mode), AtFlags::empty())?;
        }
        if has(fattr::SIZE) {
            if has(fattr::FH) {
                let open = self.open_file(wanted.fh, request.header.nodeid, OFlags::RDWR)?;
                rustix::fs::ftruncate(&*open, wanted.size)?;
            } else {
                let path = CString::new(path_of(&file)).map_err(|_| Errno::INVAL)?;
                kernel::truncate(&path, wanted.size)?;
            }
        }
        if has(fattr::KILL_SUIDGID) {
            kill_suidgid(&file)?;
        }
        if has(fattr::ATIME | fattr::MTIME) {
            let time = |set, now, seconds: u64, nanoseconds: u32| match (has(set), has(now)) {
                (false, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                (_, true) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
                _ => Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanoseconds.into() },
            };
            let times = Timestamps {
                last_access: time(fattr::ATIME, fattr::ATIME_NOW, wanted.atime, wanted.atimensec),
                last_modification: time(fattr::MTIME, fattr::MTIME_NOW, wanted.mtime, wanted.mtimensec),
            };
            rustix::fs::utimensat(CWD, path_of(&file), &times, AtFlags::empty())?;
        }
        answer.put(&self.attributes(&file)?);
        Ok(())
    }

    pub(super) fn statfs(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let found = rustix::fs::fstatfs(&*self.node(request)?)?;
        let small = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        answer.put(&StatfsOut {
            blocks: found.f_blocks,
            bfree: found.f_bfree,
            bavail: found.f_bavail,
            files: found.f_files,
            ffree: found.f_ffree,
            bsize: small(found.f_bsize),
            namelen: small(found.f_namelen),
            frsize: small(found.f_frsize),
            ..StatfsOut::default()
        });
        Ok(())
    }
}

fn mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

/// Takes away what gives a file's user or group to who runs it, as a write by somebody else does.
pub(super) fn kill_suidgid(file: &OwnedFd) -> Done {
    const SUID: u32 = 0o4000;
    const SGID: u32 = 0o2000;
    const GROUP_RUNS: u32 = 0o0010;
    let before = u32::from(status(file, c"")?.stx_mode);
    let mut after = before & !SUID;
    if before & GROUP_RUNS != 0 {
        after &= !SGID;
    }
    // Directories have these bits for another reason.
    if before == after || rustix::fs::FileType::from_raw_mode(before) != rustix::fs::FileType::RegularFile {
        return Ok(());
    }
    rustix::fs::chmodat(CWD, path_of(file), mode(after), AtFlags::empty())
}
