//! One action's hands: a thread that can step into the guest's root and out again.
//!
//! Each action runs in a thread whose root directory is its own. While [`InGuest`] lives, the thread's root
//! is the guest's, so the kernel itself resolves every path and symbolic link inside the guest and none can
//! lead out. Actions then use plain file calls.

use crate::agent::Agent;
use crate::disks::Device;
use crate::task::{Input, Output, Task};
use guestd_api::{Failure, GuestString};
use std::ffi::OsStr;
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An action in progress.
pub(crate) struct Worker {
    pub(crate) agent: Arc<Agent>,
    pub(crate) task: Arc<Task>,
    /// The thread's root is its own, so the worker must stay in its thread.
    thread_bound: PhantomData<*const ()>,
}

/// A path of the guest, absolute, without NUL.
#[derive(Clone, Debug)]
pub(crate) struct GuestPath(GuestString);

impl GuestPath {
    /// As a path for file calls inside the guest.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.0.as_bytes()))
    }

    /// An entry of this directory.
    pub(crate) fn join(&self, name: &GuestString) -> PathBuf {
        self.path().join(OsStr::from_bytes(name.as_bytes()))
    }

    /// A failure that names this path.
    pub(crate) fn failure(&self, error: impl Into<io::Error>) -> Failure {
        Failure::io(&self.0, &error.into())
    }
}

impl AsRef<[u8]> for GuestPath {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A device, or a subvolume of the btrfs on it.
#[derive(Clone, Debug)]
pub(crate) struct Mountable {
    pub(crate) device: Device,
    pub(crate) subvolume: Option<GuestString>,
}

/// A device or a path.
#[derive(Debug)]
pub(crate) enum DevOrPath {
    Device(Device),
    Path(GuestPath),
}

/// A mountable or a path.
#[derive(Debug)]
pub(crate) enum MountableOrPath {
    Mountable(Mountable),
    Path(GuestPath),
}

/// The thread is in the guest's root until this is dropped.
pub(crate) struct InGuest<'a>(&'a Agent);

impl Drop for InGuest<'_> {
    fn drop(&mut self) {
        let back = rustix::process::fchdir(&self.0.own_root).and_then(|()| rustix::process::chroot("."));
        if back.is_err() {
            // The thread must do nothing more with a root that is not the agent's. A descriptor of the
            // agent's own root cannot become invalid, so this is not met in practice.
            std::process::abort();
        }
    }
}

impl Worker {
    /// Makes the calling thread one that can change its root.
    pub(crate) fn start(agent: Arc<Agent>, task: Arc<Task>) -> Result<Self, Failure> {
        crate::sys::own_root_for_this_thread().map_err(|e| Failure::io("unshare", &e))?;
        let mask = rustix::fs::Mode::from_raw_mode(agent.umask.load(Ordering::SeqCst));
        rustix::process::umask(mask);
        Ok(Worker { agent, task, thread_bound: PhantomData })
    }

    /// Steps into the guest.
    pub(crate) fn guest(&self) -> Result<InGuest<'_>, Failure> {
        let failed = |e: rustix::io::Errno| Failure::io("Could not enter the guest's root", &e.into());
        rustix::process::chroot(&self.agent.sysroot).map_err(failed)?;
        let inside = InGuest(&self.agent);
        rustix::process::chdir("/").map_err(failed)?;
        Ok(inside)
    }

    /// The path of something in the guest as programs of the tools' root see it, symbolic links resolved
    /// inside the guest. The last part may be new.
    pub(crate) fn outside(&self, path: &GuestPath) -> Result<PathBuf, Failure> {
        let inside = self.guest()?;
        let real = match std::fs::canonicalize(path.path()) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drop(inside);
                return self.outside_entry(path);
            }
            Err(error) => return Err(path.failure(error)),
        };
        Ok(self.agent.tools.guest_path(&self.agent.sysroot, &real))
    }

    /// Like [`Worker::outside`], but if the path names a symbolic link, the link and not what it points to.
    pub(crate) fn outside_entry(&self, path: &GuestPath) -> Result<PathBuf, Failure> {
        let _inside = self.guest()?;
        let real = match (path.path().parent(), path.path().file_name()) {
            (Some(parent), Some(name)) => {
                std::fs::canonicalize(parent).map_err(|e| path.failure(e))?.join(name)
            }
            _ => std::fs::canonicalize(path.path()).map_err(|e| path.failure(e))?,
        };
        Ok(self.agent.tools.guest_path(&self.agent.sysroot, &real))
    }
}

impl guestd_api::Worker for Worker {
    type Path = GuestPath;
    type Device = Device;
    type Mountable = Mountable;
    type DevOrPath = DevOrPath;
    type MountableOrPath = MountableOrPath;
    type Input = Input;
    type Output = Output;

    fn path(&self, arg: &'static str, path: GuestString) -> Result<GuestPath, Failure> {
        if !path.as_bytes().starts_with(b"/") {
            return Err(Failure::new(format!("{arg}: '{path}': path must start with a / character")));
        }
        if path.as_bytes().contains(&0) {
            return Err(Failure::new(format!("{arg}: '{path}': a path cannot contain a NUL byte")));
        }
        if !self.agent.directory_is_guest && self.agent.sysroot_is_empty()? {
            return Err(Failure::new("you must call 'mount' first to mount the root filesystem"));
        }
        Ok(GuestPath(path))
    }

    fn device(&self, arg: &'static str, device: GuestString) -> Result<Device, Failure> {
        if !device.as_bytes().starts_with(b"/dev/") {
            return Err(Failure::new(format!("{arg}: '{device}': expecting a device name")));
        }
        match self.agent.disks.find(&device) {
            // It may be a volume that nobody has switched on yet.
            Err(_) if crate::disks::may_be_volume(&device) && self.bring_up_volumes()? => {
                self.agent.disks.find(&device)
            }
            found => found,
        }
    }

    fn mountable(&self, arg: &'static str, mountable: GuestString) -> Result<Mountable, Failure> {
        let Some(rest) = mountable.as_bytes().strip_prefix(b"btrfsvol:") else {
            return Ok(Mountable { device: self.device(arg, mountable)?, subvolume: None });
        };
        // The device's name ends at the first slash after which no device is known by it.
        let cuts = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for cut in cuts.skip(2) {
            let (name, volume) = rest.split_at(cut);
            if let Ok(device) = self.agent.disks.find(&name.into())
                && let Some(volume) = volume.get(1..)
            {
                return Ok(Mountable { device, subvolume: Some(volume.into()) });
            }
        }
        Err(Failure::new(format!("{arg}: '{mountable}': expecting btrfsvol:DEVICE/SUBVOLUME"))
            .with_errno(libc::ENOENT))
    }

    fn device_or_path(&self, arg: &'static str, text: GuestString) -> Result<DevOrPath, Failure> {
        if text.as_bytes().starts_with(b"/dev/") {
            self.device(arg, text).map(DevOrPath::Device)
        } else {
            self.path(arg, text).map(DevOrPath::Path)
        }
    }

    fn mountable_or_path(&self, arg: &'static str, text: GuestString) -> Result<MountableOrPath, Failure> {
        if text.as_bytes().starts_with(b"/dev/") || text.as_bytes().starts_with(b"btrfsvol:") {
            self.mountable(arg, text).map(MountableOrPath::Mountable)
        } else {
            self.path(arg, text).map(MountableOrPath::Path)
        }
    }

    fn input(&self) -> Input {
        Input::new(Arc::clone(&self.task))
    }

    fn output(&self) -> Output {
        Output::new(Arc::clone(&self.task))
    }

    fn shown_device(&self, name: GuestString) -> GuestString {
        self.agent.disks.shown(&name)
    }

    fn shown_mountable(&self, name: GuestString) -> GuestString {
        match name.as_bytes().strip_prefix(b"btrfsvol:") {
            None => self.agent.disks.shown(&name),
            Some(rest) => {
                let mut text = b"btrfsvol:".to_vec();
                let cut = rest
                    .iter()
                    .enumerate()
                    .filter(|(_, b)| **b == b'/')
                    .nth(2)
                    .map_or(rest.len(), |(at, _)| at);
                let (device, volume) = rest.split_at(cut);
                text.extend_from_slice(self.agent.disks.shown(&device.into()).as_bytes());
                text.extend_from_slice(volume);
                text.into()
            }
        }
    }
}

impl Agent {
    /// True when nothing is mounted for the guest and no mount point was made.
    fn sysroot_is_empty(&self) -> Result<bool, Failure> {
        let mut entries = std::fs::read_dir(&self.sysroot).map_err(|e| Failure::io("/sysroot", &e))?;
        Ok(entries.next().is_none() && self.guest_mounts()?.is_empty())
    }
}
