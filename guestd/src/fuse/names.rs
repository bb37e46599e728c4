//! Requests about names: what they lead to, new ones, and those that go.

use super::nodes::path_of;
use super::request::Request;
use super::tree::{Answer, Done, Tree, act_for};
use guestd_api::fuse::{
    BatchForgetIn, CreateIn, EntryOut, FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, ForgetIn, ForgetOne, LinkIn, MkdirIn,
    MknodIn, OpenOut, Rename2In, RenameIn, op,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A file as a place.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a new file may be made with.
fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

impl Tree {
    pub(super) fn lookup(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        match self.tell(&directory, request.name()?, answer) {
            Err(Errno::NOENT) if self.nodes.names_last(request.header.nodeid) => {
                // That there is nothing is remembered too.
                answer.put(&EntryOut { entry_valid: self.seconds(), ..EntryOut::default() });
                Ok(())
            }
            done => done,
        }
    }

    /// Tells of what is under a name.
    fn tell(&self, directory: &OwnedFd, name: &CStr, answer: &mut Answer) -> Done {
        let file = rustix::fs::openat(directory, name, PLACE, Mode::empty())?;
        answer.put(&self.entry(&self.nodes.tell(file)?));
        Ok(())
    }

    pub(super) fn forget(&self, request: &mut Request<'_>) -> Done {
        if request.header.opcode == op::FORGET {
            let times = request.take::<ForgetIn>()?.nlookup;
            self.nodes.forget(std::iter::once((request.header.nodeid, times)));
            return Ok(());
        }
        let count = request.take::<BatchForgetIn>()?.count;
        let each = (0..count).map_while(|_| request.take::<ForgetOne>().ok());
        self.nodes.forget(each.map(|one| (one.nodeid, one.nlookup)));
        Ok(())
    }

    pub(super) fn readlink(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let target = rustix::fs::readlinkat(&*self.node(request)?, c"", Vec::new())?;
        answer.put(target.as_bytes());
        Ok(())
    }

    pub(super) fn symlink(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let (name, target) = (request.name()?, request.text()?);
        act_for(&request.header, 0);
        rustix::fs::symlinkat(target, &*directory, name)?;
        self.tell(&directory, name, answer)
    }

    pub(super) fn mknod(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let wanted: MknodIn = request.take()?;
        let name = request.name()?;
        act_for(&request.header, wanted.umask);
        let kind = FileType::from_raw_mode(wanted.mode);
        let device =
            rustix::fs::makedev(wanted.rdev >> 8 & 0xfff, wanted.rdev & 0xff | wanted.rdev >> 12 & 0xf_ff00);
        rustix::fs::mknodat(&*directory, name, kind, permissions(wanted.mode), device)?;
        self.tell(&directory, name, answer)
    }

    pub(super) fn mkdir(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let wanted: MkdirIn = request.take()?;
        let name = request.name()?;
        act_for(&request.header, wanted.umask);
        rustix::fs::mkdirat(&*directory, name, permissions(wanted.mode))?;
        self.tell(&directory, name, answer)
    }

    pub(super) fn unlink(&self, request: &mut Request<'_>, directory: bool) -> Done {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&*self.node(request)?, request.name()?, flags)
    }

    pub(super) fn rename(&self, request: &mut Request<'_>, has_flags: bool) -> Done {
        let from = self.node(request)?;
        let (to, flags) = if has_flags {
            let wanted: Rename2In = request.take()?;
            (wanted.newdir, RenameFlags::from_bits_retain(wanted.flags))
        } else {
            (request.take::<RenameIn>()?.newdir, RenameFlags::empty())
        };
        let to = self.nodes.file(to)?;
        let (old, new) = (request.name()?, request.name()?);
        // What RENAME_WHITEOUT leaves behind belongs to somebody.
        act_for(&request.header, 0);
        rustix::fs::renameat_with(&*from, old, &*to, new, flags)
    }

    pub(super) fn link(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let file = self.nodes.file(request.take::<LinkIn>()?.oldnodeid)?;
        let name = request.name()?;
        rustix::fs::linkat(CWD, path_of(&file), &*directory, name, AtFlags::SYMLINK_FOLLOW)?;
        self.tell(&directory, name, answer)
    }

    pub(super) fn create(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let wanted: CreateIn = request.take()?;
        let name = request.name()?;
        act_for(&request.header, wanted.umask);
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | opening(wanted.flags);
        self.made(rustix::fs::openat(&*directory, name, flags, permissions(wanted.mode))?, answer)
    }

    pub(super) fn tmpfile(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let directory = self.node(request)?;
        let wanted: CreateIn = request.take()?;
        act_for(&request.header, wanted.umask);
        let path = path_of(&directory);
        let flags = OFlags::TMPFILE | opening(wanted.flags) & !OFlags::TRUNC;
        self.made(rustix::fs::open(path, flags, permissions(wanted.mode))?, answer)
    }

    /// Tells of a file that was made and is open.
    fn made(&self, file: OwnedFd, answer: &mut Answer) -> Done {
        let file = Arc::new(file);
        let found = self.nodes.tell_shared(Arc::clone(&file))?;
        answer.put(&self.entry(&found));
        let fh = self.opened(file, found.node);
        answer.put(&OpenOut { fh, open_flags: FOPEN_KEEP_CACHE | FOPEN_NOFLUSH, padding: 0 });
        Ok(())
    }
}

/// How a file is opened for the host: it appends by itself, and it reads what it changes only in parts.
pub(super) fn opening(flags: u32) -> OFlags {
    let wanted = OFlags::from_bits_retain(flags);
    let access = match wanted & OFlags::RWMODE {
        OFlags::RDONLY => OFlags::RDONLY,
        _ => OFlags::RDWR,
    };
    let kept = OFlags::TRUNC | OFlags::EXCL | OFlags::NOATIME;
    access | wanted & kept | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK
}
