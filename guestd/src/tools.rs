//! The tools' root: where the distribution's programs are, mounted when first needed.
//!
//! Most short sessions (read a file, list partitions) never need it, and the appliance answers before its
//! disk was even looked for.

use crate::modules;
use guestd_api::Failure;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use std::ffi::CStr;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The serial of the disk that holds the tools' root.
const SERIAL: &str = "dw-root";

/// Where the tools are.
#[derive(Debug)]
pub(crate) enum Tools {
    /// On their disk, to be mounted at /tools.
    Disk {
        /// Whether that was done.
        ready: Mutex<bool>,
        /// The mount that all mounts of the guest lie on, to be bound for the tools.
        sysroot: OwnedFd,
    },
    /// The machine's own.
    Own,
}

impl Tools {
    /// The directory that is the root of tools, ready for use.
    pub(crate) fn root(&self) -> Result<PathBuf, Failure> {
        match self {
            Tools::Own => Ok(PathBuf::from("/")),
            Tools::Disk { ready, sysroot } => {
                let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
                if !*ready {
                    mount_tools(sysroot)?;
                    *ready = true;
                }
                Ok(PathBuf::from("/tools"))
            }
        }
    }

    /// The root as a descriptor for a child process.
    pub(crate) fn open_root(&self) -> Result<OwnedFd, Failure> {
        let root = self.root()?;
        rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Failure::io(root.as_os_str().as_encoded_bytes(), &e.into()))
    }

    /// Where the programs see a path of the guest that has no symbolic links.
    pub(crate) fn guest_path(&self, sysroot: &Path, real: &Path) -> PathBuf {
        let base = match self {
            Tools::Own => sysroot,
            Tools::Disk { .. } => Path::new("/sysroot"),
        };
        // Joining an absolute path would replace the base.
        base.join(real.strip_prefix("/").unwrap_or(real))
    }

    /// The guest's root as programs print it.
    pub(crate) fn sysroot_text(&self, sysroot: &Path) -> Vec<u8> {
        match self {
            Tools::Own => sysroot.as_os_str().as_encoded_bytes().to_vec(),
            Tools::Disk { .. } => b"/sysroot".to_vec(),
        }
    }

    /// Where a mount of the guest is seen a second time, by programs. `None` if they see the same mount.
    pub(crate) fn mounted_copy(&self, inside: &Path) -> Option<PathBuf> {
        match self {
            Tools::Own => None,
            Tools::Disk { ready, .. } => {
                let ready = *ready.lock().unwrap_or_else(PoisonError::into_inner);
                ready.then(|| Path::new("/tools/sysroot").join(inside))
            }
        }
    }

    /// A program's place, or `None` if there is no such program.
    pub(crate) fn find(&self, program: &str) -> Result<Option<PathBuf>, Failure> {
        let root = self.root()?;
        let places =
            ["usr/sbin", "usr/bin", "sbin", "bin"].iter().map(|place| root.join(place).join(program));
        Ok(places.into_iter().find(|path| path.symlink_metadata().is_ok()))
    }

    /// A directory that the agent and its programs see, at the agent's path and at the programs' path.
    pub(crate) fn shared_directory(&self, name: &str) -> Result<(PathBuf, PathBuf), Failure> {
        let inner = Path::new("/tmp").join(name);
        let outer = self.root()?.join("tmp").join(name);
        std::fs::create_dir(&outer).map_err(|e| Failure::io(outer.as_os_str().as_encoded_bytes(), &e))?;
        Ok((outer, inner))
    }
}

/// A directory of its own for files that an action and its programs share; gone when this is dropped.
pub(crate) struct Scratch {
    outer: PathBuf,
    inner: PathBuf,
}

impl Scratch {
    /// A file's place as the agent sees it.
    pub(crate) fn outer(&self, name: &str) -> PathBuf {
        self.outer.join(name)
    }

    /// The same place as programs see it.
    pub(crate) fn inner(&self, name: &str) -> PathBuf {
        self.inner.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies in memory that goes with the machine.
        let _ = std::fs::remove_dir_all(&self.outer);
    }
}

impl crate::worker::Worker {
    /// Makes a directory that nobody else reads.
    pub(crate) fn scratch(&self, purpose: &str) -> Result<Scratch, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{purpose}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (outer, inner) = self.agent.tools.shared_directory(&name)?;
        let scratch = Scratch { outer, inner };
        std::fs::set_permissions(&scratch.outer, Permissions::from_mode(0o700))
            .map_err(|e| Failure::io(scratch.outer.as_os_str().as_encoded_bytes(), &e))?;
        Ok(scratch)
    }
}

/// The package of the distribution that has a program, for those whose names differ.
const PACKAGES: &[(&str, &str)] = &[
    ("btrfs", "btrfs-progs"),
    ("btrfs-image", "btrfs-progs"),
    ("btrfstune", "btrfs-progs"),
    ("compress", "ncompress"),
    ("grub-install", "grub2-common"),
    ("lvm", "lvm2"),
    ("mksquashfs", "squashfs-tools"),
    ("mount.exfat-fuse", "exfat-fuse"),
    ("ntfscat", "ntfs-3g"),
    ("ntfsclone", "ntfs-3g"),
    ("ntfsfix", "ntfs-3g"),
    ("ntfsresize", "ntfs-3g"),
    ("resize.f2fs", "f2fs-tools"),
    ("xfs_repair", "xfsprogs"),
    ("xz", "xz-utils"),
];

/// The package that would bring a program.
pub(crate) fn package(program: &str) -> &str {
    let found = PACKAGES.iter().find(|(name, _)| *name == program);
    found.map_or(program, |(_, package)| package)
}

fn mount_tools(sysroot: &OwnedFd) -> Result<(), Failure> {
    let failed = |what: &str| {
        let what = format!("Could not mount the tools of the appliance: {what}");
        move |error: rustix::io::Errno| Failure::io(what, &io::Error::from(error))
    };
    modules::load_listed(Path::new("/modules/late"))
        .map_err(|e| Failure::io("Could not load the modules for the tools of the appliance", &e))?;
    let disk = find_disk().ok_or_else(|| {
        Failure::new(format!("The appliance was started without the disk of its tools (serial '{SERIAL}')"))
    })?;
    mount(&disk, "/tools", "squashfs", MountFlags::RDONLY, None::<&CStr>).map_err(failed("squashfs"))?;
    for place in ["dev", "proc", "sys"] {
        mount_bind_recursive(format!("/{place}"), format!("/tools/{place}")).map_err(failed(place))?;
    }
    // Not by its path, which leads to what is mounted on top: mounts below this one then appear here too,
    // and disappear.
    let sysroot = format!("/proc/self/fd/{}", sysroot.as_raw_fd());
    mount_bind_recursive(sysroot, "/tools/sysroot").map_err(failed("sysroot"))?;
    for place in ["tmp", "run", "var"] {
        mount("tmpfs", format!("/tools/{place}"), "tmpfs", MountFlags::empty(), None::<&CStr>)
            .map_err(failed(place))?;
    }
    // Where btrfs keeps what its scrubs have found, and programs their larger temporary files.
    for place in ["/tools/var/lib/btrfs", "/tools/var/tmp"] {
        std::fs::create_dir_all(place).map_err(|e| Failure::io(place, &e))?;
    }
    Ok(())
}

fn find_disk() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    let found = entries.flatten().find(|entry| {
        std::fs::read_to_string(entry.path().join("serial")).is_ok_and(|serial| serial.trim() == SERIAL)
    })?;
    Some(Path::new("/dev").join(found.file_name()))
}

/// Makes the place for the guest's mounts, such that they also appear where it is bound for the tools.
pub(crate) fn prepare_sysroot() -> rustix::io::Result<OwnedFd> {
    mount("tmpfs", "/sysroot", "tmpfs", MountFlags::empty(), None::<&CStr>)?;
    mount_change("/sysroot", MountPropagationFlags::SHARED)?;
    rustix::fs::open("/sysroot", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
