//! Files of the guest that an action works on as plain data.
//!
//! Opening one never waits and has no side effects: a fifo, a device or a directory in its place is an error.

use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::Failure;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

impl Worker {
    /// Opens a regular file for reading.
    pub(super) fn open_regular(&self, path: &GuestPath) -> Result<File, Failure> {
        let _guest = self.guest()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path.path(), flags, Mode::empty()).map_err(|e| path.failure(e))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|e| path.failure(e))?;
        if metadata.is_dir() {
            return Err(path.failure(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        if !metadata.is_file() {
            return Err(not_regular(path));
        }
        Ok(file)
    }

    /// The place of a regular file as programs of the tools see it.
    pub(super) fn outside_regular(&self, path: &GuestPath) -> Result<PathBuf, Failure> {
        {
            let _guest = self.guest()?;
            let metadata = std::fs::metadata(path.path()).map_err(|e| path.failure(e))?;
            if !metadata.is_file() {
                return Err(not_regular(path));
            }
        }
        self.outside(path)
    }

    /// The place of a directory as programs of the tools see it. What is missing is for them to tell.
    pub(super) fn outside_directory(&self, path: &GuestPath) -> Result<PathBuf, Failure> {
        {
            let _guest = self.guest()?;
            if std::fs::metadata(path.path()).is_ok_and(|metadata| !metadata.is_dir()) {
                return Err(path.failure(io::Error::from_raw_os_error(libc::ENOTDIR)));
            }
        }
        self.outside(path)
    }

    /// The place of a file or directory, perhaps a new one, as programs of the tools see it: of nothing whose
    /// opening waits for somebody.
    pub(super) fn outside_plain(&self, path: &GuestPath) -> Result<PathBuf, Failure> {
        {
            let _guest = self.guest()?;
            if std::fs::metadata(path.path()).is_ok_and(|metadata| !metadata.is_dir() && !metadata.is_file())
            {
                return Err(not_regular(path));
            }
        }
        self.outside(path)
    }

    /// True if a file system on the device is mounted in the guest.
    pub(super) fn is_mounted(&self, device: &Device) -> Result<bool, Failure> {
        let number = |node: &std::path::Path| {
            std::fs::metadata(node).map(|metadata| std::os::unix::fs::MetadataExt::rdev(&metadata))
        };
        let ours = number(&device.node).map_err(|e| device.failure(e))?;
        let mounts = self.agent.guest_mounts()?;
        Ok(mounts.iter().any(|mount| {
            let node = guestd_api::GuestString::from(mount.device.as_slice());
            number(std::path::Path::new(node.as_os_str())).is_ok_and(|theirs| theirs == ours)
        }))
    }
}

/// Pipes and character devices have no bytes of their own, and perhaps no end.
pub(super) fn refuse_endless(path: &GuestPath, kind: FileType) -> Result<(), Failure> {
    let what = match () {
        () if kind.is_fifo() => "is a named pipe",
        () if kind.is_char_device() => "is a character device",
        () => return Ok(()),
    };
    Err(Failure::new(format!("{}: {what}", shown(path))).with_errno(libc::ESPIPE))
}

fn not_regular(path: &GuestPath) -> Failure {
    let path = guestd_api::GuestString::from(path.as_ref());
    Failure::new(format!("{path}: not a regular file")).with_errno(libc::EINVAL)
}

/// A tool's failure with what it was about in front.
pub(super) fn about(subject: impl std::fmt::Display) -> impl FnOnce(Failure) -> Failure {
    move |failure| Failure { message: format!("{subject}: {}", failure.message).into(), ..failure }
}

/// The path for messages.
pub(super) fn shown(path: &GuestPath) -> guestd_api::GuestString {
    path.as_ref().into()
}
