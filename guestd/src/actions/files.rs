//! What a path is, and changing owner, mode and existence of files.

use crate::worker::{GuestPath, Worker};
use guestd_api::actions::files::{
    IsBlockdevOptions, IsChardevOptions, IsDirOptions, IsFifoOptions, IsFileOptions, IsSocketOptions,
    MktempOptions, Server,
};
use guestd_api::{Failure, GuestString};
use rustix::fs::{AtFlags, CWD, FileType as NodeKind, Mode, OFlags, Timespec, Timestamps};
use std::ffi::{OsStr, OsString};
use std::fs::{FileType, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Worker {
    /// Asks for the type of a path; what does not exist is of no type.
    fn is(
        &self,
        path: &GuestPath,
        follow: Option<bool>,
        kind: impl Fn(FileType) -> bool,
    ) -> Result<bool, Failure> {
        let _guest = self.guest()?;
        let metadata =
            if follow.unwrap_or(false) { path.path().metadata() } else { path.path().symlink_metadata() };
        match metadata {
            Ok(metadata) => Ok(kind(metadata.file_type())),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(path.failure(error)),
        }
    }
}

/// Nothing of that name, or a part of the path is no directory.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An owner's number; -1 means: leave it.
fn owner(number: i32) -> Option<u32> {
    (number != -1).then_some(number.cast_unsigned())
}

/// Says what a directory that could not be gone into is called.
fn not_entered(directory: &Path, error: &io::Error) -> Failure {
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    Failure::io([b"chdir: ", name.as_bytes()].concat(), error)
}

/// A name in a directory that is the same but for the case of ASCII letters; one that is the very same wins.
fn true_name(directory: &Path, name: &[u8]) -> io::Result<Option<OsString>> {
    let exact = OsStr::from_bytes(name);
    if !directory.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    if directory.join(exact).symlink_metadata().is_ok() {
        return Ok(Some(exact.to_owned()));
    }
    for entry in std::fs::read_dir(directory)? {
        let found = entry?.file_name();
        if found.as_bytes().eq_ignore_ascii_case(name) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl Worker {
    /// Makes a node with permissions, of which the umask is taken off.
    fn make_node(
        &self,
        kind: NodeKind,
        mode: i32,
        (major, minor): (i32, i32),
        path: &GuestPath,
    ) -> Result<(), Failure> {
        let mode = mode.cast_unsigned();
        let (Ok(major), Ok(minor)) = (u32::try_from(major), u32::try_from(minor)) else {
            return Err(Failure::new("the numbers of a device cannot be negative").with_errno(libc::EINVAL));
        };
        if mode & !0o7777 != 0 {
            let why = "mode must specify only file permission bits";
            return Err(Failure::new(format!("{mode:o}: {why}")).with_errno(libc::EINVAL));
        }
        let _guest = self.guest()?;
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, path.path(), kind, Mode::from_raw_mode(mode), device)
            .map_err(|e| path.failure(e))
    }
}

impl Server for Worker {
    fn chmod(&self, mode: i32, path: GuestPath) -> Result<(), Failure> {
        let mode = u32::try_from(mode).map_err(|_| Failure::new("chmod: negative mode"))?;
        let _guest = self.guest()?;
        std::fs::set_permissions(path.path(), Permissions::from_mode(mode & 0o7777))
            .map_err(|e| path.failure(e))
    }

    fn chown(&self, user: i32, group: i32, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::os::unix::fs::chown(path.path(), owner(user), owner(group)).map_err(|e| path.failure(e))
    }

    fn lchown(&self, user: i32, group: i32, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::os::unix::fs::lchown(path.path(), owner(user), owner(group)).map_err(|e| path.failure(e))
    }

    fn umask(&self, mask: i32) -> Result<i32, Failure> {
        match u32::try_from(mask) {
            Ok(mask) if mask <= 0o777 => {
                let before = self.agent.umask.swap(mask, Ordering::SeqCst);
                Ok(i32::try_from(before).unwrap_or_default())
            }
            _ => {
                Err(Failure::new(format!("0{mask:o}: mask negative or out of range"))
                    .with_errno(libc::EINVAL))
            }
        }
    }

    fn get_umask(&self) -> Result<i32, Failure> {
        Ok(i32::try_from(self.agent.umask.load(Ordering::SeqCst)).unwrap_or_default())
    }

    fn exists(&self, path: GuestPath) -> Result<bool, Failure> {
        let _guest = self.guest()?;
        match path.path().metadata() {
            Ok(_) => Ok(true),
            // A loop of links leads to nothing.
            Err(error) if is_missing(&error) || error.raw_os_error() == Some(libc::ELOOP) => Ok(false),
            Err(error) => Err(path.failure(error)),
        }
    }

    fn is_file(&self, path: GuestPath, opts: IsFileOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_file())
    }

    fn is_dir(&self, path: GuestPath, opts: IsDirOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_dir())
    }

    fn is_chardev(&self, path: GuestPath, opts: IsChardevOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_char_device())
    }

    fn is_blockdev(&self, path: GuestPath, opts: IsBlockdevOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_block_device())
    }

    fn is_fifo(&self, path: GuestPath, opts: IsFifoOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_fifo())
    }

    fn is_socket(&self, path: GuestPath, opts: IsSocketOptions) -> Result<bool, Failure> {
        self.is(&path, opts.followsymlinks, |kind| kind.is_socket())
    }

    fn is_symlink(&self, path: GuestPath) -> Result<bool, Failure> {
        self.is(&path, None, |kind| kind.is_symlink())
    }

    fn rm(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        std::fs::remove_file(path.path()).map_err(|e| path.failure(e))
    }

    fn rm_f(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        match std::fs::remove_file(path.path()) {
            Err(error) if !is_missing(&error) => Err(path.failure(error)),
            _ => Ok(()),
        }
    }

    fn rm_rf(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        let removed = match path.path().symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {
                if std::fs::canonicalize(path.path()).is_ok_and(|real| real.parent().is_none()) {
                    return Err(Failure::new("cannot remove root directory"));
                }
                std::fs::remove_dir_all(path.path())
            }
            Ok(_) => std::fs::remove_file(path.path()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if !is_missing(&error) => Err(path.failure(error)),
            _ => Ok(()),
        }
    }

    fn utimens(
        &self,
        path: GuestPath,
        atsecs: i64,
        atnsecs: i64,
        mtsecs: i64,
        mtnsecs: i64,
    ) -> Result<(), Failure> {
        let time = |seconds: i64, nanos: i64| match nanos {
            -1 => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            -2 => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            _ => Timespec { tv_sec: seconds, tv_nsec: nanos },
        };
        let times =
            Timestamps { last_access: time(atsecs, atnsecs), last_modification: time(mtsecs, mtnsecs) };
        let _guest = self.guest()?;
        rustix::fs::utimensat(CWD, path.path(), &times, AtFlags::empty()).map_err(|e| path.failure(e))
    }

    fn realpath(&self, path: GuestPath) -> Result<GuestString, Failure> {
        let _guest = self.guest()?;
        let real = std::fs::canonicalize(path.path()).map_err(|e| path.failure(e))?;
        Ok(real.into_os_string().into())
    }

    fn mkfifo(&self, mode: i32, path: GuestPath) -> Result<(), Failure> {
        self.make_node(NodeKind::Fifo, mode, (0, 0), &path)
    }

    fn mknod(&self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<(), Failure> {
        let raw = u32::try_from(mode)
            .map_err(|_| Failure::new(format!("{}: mode is negative", GuestString::from(path.as_ref()))))?;
        let kind = match NodeKind::from_raw_mode(raw) {
            NodeKind::Unknown if raw & libc::S_IFMT == 0 => NodeKind::RegularFile,
            kind => kind,
        };
        self.make_node(kind, mode & 0o7777, (devmajor, devminor), &path)
    }

    fn mknod_b(&self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<(), Failure> {
        self.make_node(NodeKind::BlockDevice, mode, (devmajor, devminor), &path)
    }

    fn mknod_c(&self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<(), Failure> {
        self.make_node(NodeKind::CharacterDevice, mode, (devmajor, devminor), &path)
    }

    fn mktemp(&self, tmpl: GuestPath, opts: MktempOptions) -> Result<GuestString, Failure> {
        let suffix = opts.suffix.unwrap_or_default();
        if suffix.as_bytes().contains(&b'/') {
            return Err(Failure::new(format!("suffix: '{suffix}': a suffix cannot contain a / character")));
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        self.make_unique(&tmpl, suffix.as_bytes(), |path| {
            rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(drop)
        })
    }

    fn case_sensitive_path(&self, path: GuestPath) -> Result<GuestString, Failure> {
        let _guest = self.guest()?;
        let mut parts = path.as_ref().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
        let mut real = PathBuf::from("/");
        while let Some(part) = parts.next() {
            let missing =
                || Failure::new(format!("{}: not found", GuestString::from(part))).with_errno(libc::ENOENT);
            if matches!(part, b"." | b"..") {
                return Err(missing());
            }
            match true_name(&real, part).map_err(|e| not_entered(&real, &e))? {
                Some(name) => real.push(name),
                // The last part may be new.
                None if parts.peek().is_none() => real.push(OsStr::from_bytes(part)),
                None => return Err(missing()),
            }
        }
        Ok(real.into_os_string().into())
    }
}
