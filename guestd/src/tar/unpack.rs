//! Unpacks archives as `tar -x` does for root: owners, permissions and times as the archive has them.
//!
//! Small files are collected and made in batches; a file's data stays at hand until it is known to be written, so
//! that from any entry on the archive can be handed to GNU tar instead. Links that could lead out of the directory
//! are made last, when nothing can be unpacked through them any more; directories get their times last.

use super::entry::{self, Entry, Kind, Next, normal};
use super::ring::{BATCH, NewFile, Ring};
use super::{BLOCK, keeps_attributes};
use crate::passing::Passing;
use guestd_api::Failure;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Files up to this size are made in batches.
const SMALL: u64 = 128 << 10;
/// Bytes of the archive that are kept for a batch.
const KEPT: usize = 2 << 20;

/// How far it went.
pub(crate) enum Ended {
    /// To the archive's end.
    Whole,
    /// Up to an entry that is for GNU tar. It and what else was read of the archive; the rest was not read.
    Rest(Vec<u8>),
}

/// What is done when everything is unpacked, in this order, directories last and backwards.
enum Later {
    SymbolicLink(Entry),
    HardLink(Entry),
    Directory(Entry),
}

/// A directory that files are put into.
#[derive(Clone, Copy)]
struct Parent {
    /// New files get something from it: its group, or access rights.
    gives: bool,
}

/// A file of the batch.
struct Pending {
    entry: Entry,
    /// Where its headers begin in what is kept.
    start: usize,
    parent: Parent,
}

/// An unpacking under way. The thread is in the guest's root, and in the directory that is filled.
pub(crate) struct Unpacker<'c> {
    ring: Ring,
    check: &'c dyn Fn() -> Result<(), Failure>,
    device: u64,
    /// Archive bytes since all before them was done.
    kept: Vec<u8>,
    files: Vec<NewFile>,
    pending: Vec<Pending>,
    /// Names in the batch.
    names: HashSet<Vec<u8>>,
    parents: HashMap<Vec<u8>, Parent>,
    later: Vec<Later>,
    /// Names of links that are made later.
    promised: HashSet<Vec<u8>>,
    /// What went wrong without ending it, in GNU tar's words.
    pub(crate) complaints: Vec<String>,
}

/// An entry that is for GNU tar.
struct ForTar;

impl<'c> Unpacker<'c> {
    /// Unpacks into `directory`, the thread's working directory. `check` fails when it is to be given up. `None` where
    /// this kernel or file system needs GNU tar.
    pub(crate) fn new(directory: BorrowedFd<'_>, check: &'c dyn Fn() -> Result<(), Failure>) -> Option<Self> {
        if !keeps_attributes(directory) {
            return None;
        }
        Some(Unpacker {
            ring: Ring::new()?,
            check,
            device: rustix::fs::fstat(directory).ok()?.st_dev,
            kept: Vec::new(),
            files: Vec::new(),
            pending: Vec::new(),
            names: HashSet::new(),
            parents: HashMap::new(),
            later: Vec::new(),
            promised: HashSet::new(),
            complaints: Vec::new(),
        })
    }

    /// Unpacks as far as possible. Afterwards, when GNU tar has done the rest, [`Unpacker::finish`] is due.
    pub(crate) fn run(&mut self, archive: &mut dyn BufRead) -> Result<Ended, Failure> {
        let read = |error: io::Error| Failure::io("reading the archive", &error);
        let mut is_first = true;
        loop {
            (self.check)()?;
            let start = self.kept.len();
            let entry = match entry::next(archive, &mut self.kept).map_err(read)? {
                Next::Entry(entry) => entry,
                Next::Strange => return self.hand_over(start),
                Next::Nothing if is_first => return self.hand_over(start),
                Next::End | Next::Nothing => {
                    if let Some(rest) = self.settle(start)? {
                        return Ok(Ended::Rest(rest));
                    }
                    // The sender is not to find its pipe broken.
                    io::copy(archive, &mut io::sink()).map_err(read)?;
                    return Ok(Ended::Whole);
                }
            };
            is_first = false;
            let name = normal(&entry.name);
            let start = if self.needs_what_came_before(&entry, &name) {
                if let Some(rest) = self.settle(start)? {
                    return Ok(Ended::Rest(rest));
                }
                0
            } else {
                start
            };
            if let Err(ForTar) = self.unpack(entry, name, start, archive).map_err(read)? {
                return self.hand_over(start);
            }
            if self.pending.len() >= BATCH || self.kept.len() >= KEPT {
                let end = self.kept.len();
                if let Some(rest) = self.settle(end)? {
                    return Ok(Ended::Rest(rest));
                }
            }
        }
    }

    /// What has the same name, or may be what a link points to, must be there first; and nothing is kept of large
    /// files.
    fn needs_what_came_before(&self, entry: &Entry, name: &[u8]) -> bool {
        match entry.kind {
            Kind::HardLink | Kind::SymbolicLink => true,
            Kind::File if entry.size > SMALL => true,
            Kind::File | Kind::Directory => self.names.contains(name),
        }
    }

    /// GNU tar goes on with what is kept from `start` on, or from an earlier entry that failed.
    fn hand_over(&mut self, start: usize) -> Result<Ended, Failure> {
        let rest = self.settle(start)?;
        Ok(Ended::Rest(rest.unwrap_or_else(|| std::mem::take(&mut self.kept))))
    }

    /// Makes the files of the batch. If all went well only what is kept from `start` on is still kept. Otherwise
    /// the archive, as far as it was read, from the first entry on that GNU tar has to see.
    fn settle(&mut self, start: usize) -> Result<Option<Vec<u8>>, Failure> {
        let files = std::mem::take(&mut self.files);
        let pending = std::mem::take(&mut self.pending);
        self.names.clear();
        if !files.is_empty() {
            let failed = |error: io::Error| Failure::io("The kernel does not take a batch of files", &error);
            let (outcome, data) = self.ring.create(files, std::mem::take(&mut self.kept)).map_err(failed)?;
            self.kept = data;
            for (file, outcome) in pending.iter().zip(outcome) {
                if outcome.is_some() {
                    // It is in the way, or there is no room: GNU tar knows what to do or to say.
                    return Ok(Some(self.kept.split_off(file.start)));
                }
                self.give(&file.entry, file.parent);
            }
        }
        self.kept.drain(..start);
        Ok(None)
    }

    fn unpack(
        &mut self,
        entry: Entry,
        name: Vec<u8>,
        start: usize,
        archive: &mut dyn BufRead,
    ) -> io::Result<Result<(), ForTar>> {
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        if !self.promised.is_empty()
            && slashes.into_iter().any(|at| self.promised.contains(name.split_at(at).0))
        {
            return Ok(Err(ForTar));
        }
        self.promised.remove(&name);
        let Some(parent) = self.parent(&name) else { return Ok(Err(ForTar)) };
        match entry.kind {
            Kind::Directory => Ok(self.directory(entry, name)),
            Kind::SymbolicLink => Ok(self.symbolic_link(entry, name, parent)),
            Kind::HardLink => Ok(self.hard_link(entry, name)),
            Kind::File if entry.size > SMALL => self.large_file(&entry, archive),
            Kind::File => {
                let size = entry.size as usize;
                let from = self.kept.len();
                if !entry::take(archive, &mut self.kept, size.next_multiple_of(BLOCK))? {
                    return Ok(Err(ForTar));
                }
                let Ok(path) = CString::new(entry.name.clone()) else { return Ok(Err(ForTar)) };
                self.files.push(NewFile { name: path, mode: entry.mode, data: from..from + size });
                self.names.insert(name);
                self.pending.push(Pending { entry, start, parent });
                Ok(Ok(()))
            }
        }
    }

    /// The directory that `name` lies in, if it is there and ordinary.
    fn parent(&mut self, name: &[u8]) -> Option<Parent> {
        let above = name.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| name.split_at(at).0);
        if let Some(known) = self.parents.get(above) {
            return Some(*known);
        }
        let found = self.look_at(above)?;
        self.parents.insert(above.to_vec(), found);
        Some(found)
    }

    /// What a directory gives to new files. `None` if it is not one, or another file system's.
    fn look_at(&self, name: &[u8]) -> Option<Parent> {
        let path = path(if name.is_empty() { b"." } else { name });
        let found = rustix::fs::stat(path).ok()?;
        let is_directory = FileType::from_raw_mode(found.st_mode).is_dir();
        if !is_directory || found.st_dev != self.device {
            return None;
        }
        let rights = rustix::fs::getxattr(path, c"system.posix_acl_default", &mut [0u8; 0]);
        let has_rights = !matches!(rights, Err(Errno::NODATA | Errno::NOTSUP));
        Some(Parent { gives: has_rights || found.st_mode & libc::S_ISGID != 0 })
    }

    fn directory(&mut self, entry: Entry, name: Vec<u8>) -> Result<(), ForTar> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777 | 0o700);
        match rustix::fs::mkdir(path(&entry.name), mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let found = rustix::fs::lstat(path(&entry.name)).map_err(|_| ForTar)?;
                if !FileType::from_raw_mode(found.st_mode).is_dir() {
                    return Err(ForTar);
                }
            }
            Err(_) => return Err(ForTar),
        }
        if let Some(found) = self.look_at(&name) {
            self.parents.insert(name, found);
        }
        self.later.push(Later::Directory(entry));
        Ok(())
    }

    fn symbolic_link(&mut self, entry: Entry, name: Vec<u8>, parent: Parent) -> Result<(), ForTar> {
        if entry.link.starts_with(b"/") || entry::climbs(&entry.link) {
            let there = rustix::fs::lstat(path(&entry.name));
            if !matches!(there, Err(Errno::NOENT)) {
                return Err(ForTar);
            }
            self.promised.insert(name);
            self.later.push(Later::SymbolicLink(entry));
            return Ok(());
        }
        rustix::fs::symlink(path(&entry.link), path(&entry.name)).map_err(|_| ForTar)?;
        self.give(&entry, parent);
        Ok(())
    }

    fn hard_link(&mut self, entry: Entry, name: Vec<u8>) -> Result<(), ForTar> {
        if !entry::is_ordinary(&entry.link) {
            return Err(ForTar);
        }
        if self.promised.contains(&normal(&entry.link)) {
            self.promised.insert(name);
            self.later.push(Later::HardLink(entry));
            return Ok(());
        }
        rustix::fs::link(path(&entry.link), path(&entry.name)).map_err(|_| ForTar)
    }

    /// A file whose data goes straight from the archive to its place.
    fn large_file(&mut self, entry: &Entry, archive: &mut dyn BufRead) -> io::Result<Result<(), ForTar>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path(&entry.name), flags, Mode::from_raw_mode(0o600));
        let Ok(file) = opened else { return Ok(Err(ForTar)) };
        let mut file = Passing::written(File::from(file), 0);
        let mut left = entry.size;
        let mut broken = None;
        while left > 0 {
            let ready = archive.fill_buf()?;
            if ready.is_empty() {
                self.complaints.push("tar: Unexpected EOF in archive".to_owned());
                break;
            }
            let count = ready.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if broken.is_none() {
                broken = file.write_all(ready.get(..count).unwrap_or_default()).err();
            }
            archive.consume(count);
            left -= count as u64;
        }
        if let Some(error) = broken {
            self.complain(entry, "Cannot write", error);
        }
        let (user, group) = owner(entry);
        let done = rustix::fs::fchown(file.file(), user, group)
            .and_then(|()| rustix::fs::fchmod(file.file(), Mode::from_raw_mode(entry.mode)))
            .and_then(|()| rustix::fs::futimens(file.file(), &times(entry)));
        if let Err(error) = done {
            self.complain(entry, "Cannot change its attributes", error);
        }
        if left == 0 {
            let padding = (entry.size.next_multiple_of(BLOCK as u64) - entry.size) as usize;
            // Its absence shows with the next header.
            entry::take(archive, &mut Vec::new(), padding)?;
        }
        self.kept.clear();
        Ok(Ok(()))
    }

    /// Gives a file or symbolic link what it did not get when it was made.
    fn give(&mut self, entry: &Entry, parent: Parent) {
        let is_link = entry.kind == Kind::SymbolicLink;
        let mut done = Ok(());
        if parent.gives || entry.owner != (0, 0) {
            let (user, group) = owner(entry);
            done = rustix::fs::chownat(CWD, path(&entry.name), user, group, AtFlags::SYMLINK_NOFOLLOW);
            // A new owner takes the set-user-ID bit off.
            if done.is_ok() && !is_link && (parent.gives || entry.mode & 0o7000 != 0) {
                done = rustix::fs::chmod(path(&entry.name), Mode::from_raw_mode(entry.mode));
            }
        }
        if done.is_ok() {
            done = rustix::fs::utimensat(CWD, path(&entry.name), &times(entry), AtFlags::SYMLINK_NOFOLLOW);
        }
        if let Err(error) = done {
            self.complain(entry, "Cannot change its attributes", error);
        }
    }

    /// Makes the promised links, and gives directories what new files in them would have changed.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let mut directories = Vec::new();
        for later in std::mem::take(&mut self.later) {
            match later {
                Later::Directory(entry) => directories.push(entry),
                // Something else has its name since then.
                Later::SymbolicLink(entry) | Later::HardLink(entry)
                    if !self.promised.contains(&normal(&entry.name)) => {}
                Later::SymbolicLink(entry) => match rustix::fs::symlink(path(&entry.link), path(&entry.name))
                {
                    Ok(()) => self.give(&entry, Parent { gives: true }),
                    Err(error) => self.complain(&entry, "Cannot create symlink", error),
                },
                Later::HardLink(entry) => {
                    if let Err(error) = rustix::fs::link(path(&entry.link), path(&entry.name)) {
                        self.complain(&entry, "Cannot hard link", error);
                    }
                }
            }
        }
        for entry in directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let (user, group) = owner(entry);
            let done = rustix::fs::open(path(&entry.name), flags, Mode::empty()).and_then(|directory| {
                rustix::fs::fchown(&directory, user, group)?;
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(entry.mode))?;
                rustix::fs::futimens(&directory, &times(entry))
            });
            if let Err(error) = done {
                self.complain(entry, "Cannot change its attributes", error);
            }
        }
        self.complaints
    }

    fn complain(&mut self, entry: &Entry, what: &str, error: impl Into<io::Error>) {
        let why = Failure::io("", &error.into());
        let name = String::from_utf8_lossy(&entry.name);
        self.complaints.push(format!("tar: {name}: {what}{}", why.message));
    }
}

fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.owner.0)), Some(Gid::from_raw(entry.owner.1)))
}

fn times(entry: &Entry) -> Timestamps {
    let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps { last_access: untouched, last_modification: entry.modified }
}
