//! Finds the operating systems in a guest and how their file systems belong together.
//!
//! Written over the actions, so that the direct readers and an appliance serve it alike. Everything that
//! is read comes from the guest and is only ever shown or used as the name of something to look for: a file that
//! is odd, damaged or hostile tells nothing, and ends nothing.

mod apps;
mod arch;
mod fstab;
mod icon;
mod merge;
mod names;
mod osinfo;
mod packages;
mod registry;
mod release;
mod text;
mod unix;
mod windows;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

pub use apps::applications;
pub use arch::file_architecture;
pub use icon::icon;
pub use windows::Windows;

/// File systems that hold no operating system and cannot be mounted.
const NOT_MOUNTED: [&str; 6] =
    ["swap", "unknown", "crypto_LUKS", "LVM2_member", "linux_raid_member", "BitLocker"];

/// An operating system that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// The device of its root file system.
    pub root: String,
    /// `linux`, `windows`, ...
    pub kind: &'static str,
    /// The distribution, by the name that libguestfs has for it: `debian`, `archlinux`.
    pub distro: Option<String>,
    /// Name and version for people.
    pub product_name: Option<String>,
    /// `Client` or `Server`, of Windows.
    pub variant: Option<String>,
    /// Major and minor version.
    pub version: Option<(i32, i32)>,
    /// The build, where builds have names.
    pub build_id: Option<String>,
    /// The architecture of its programs.
    pub arch: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// What its table of file systems mounts: mount point and device, the table's last line first.
    mountpoints: Vec<(String, String)>,
    /// All devices of that table, also those that are not mounted.
    filesystems: Vec<String>,
    /// Entries of its table of file systems that lead nowhere.
    pub missing: Vec<String>,
    /// What only Windows has.
    pub windows: Option<Windows>,
    /// The program `dnf` is installed.
    has_dnf: bool,
}

impl System {
    /// Major and minor version, 0 where unknown.
    pub fn numbers(&self) -> (i32, i32) {
        self.version.unwrap_or((0, 0))
    }

    /// Where its file systems belong: mount point and device, the last line of its table first. Without a table
    /// that is the root alone.
    pub fn mount_points(&self) -> Vec<(String, String)> {
        if self.mountpoints.is_empty() && self.filesystems.is_empty() {
            return vec![("/".to_owned(), self.root.clone())];
        }
        self.mountpoints.clone()
    }

    /// The same, ordered so that a directory is there before what is mounted in it.
    pub fn mounts(&self) -> Vec<(String, String)> {
        let mut points = self.mount_points();
        points.sort_by_key(|(point, _)| point.split('/').filter(|part| !part.is_empty()).count());
        points
    }

    /// The devices that belong to it, the last line of its table first.
    pub fn file_systems(&self) -> Vec<String> {
        if self.filesystems.is_empty() { vec![self.root.clone()] } else { self.filesystems.clone() }
    }

    /// The format of its packages: `deb`, `rpm`, ...
    pub fn package_format(&self) -> Option<&'static str> {
        packages::format(self.distro.as_deref()?)
    }

    /// The program that manages its packages: `apt`, `dnf`, ...
    pub fn package_management(&self) -> Option<&'static str> {
        packages::management(self.distro.as_deref()?, self.numbers().0, self.has_dnf)
    }

    /// What libosinfo may call it.
    pub fn osinfo(&self) -> Option<String> {
        osinfo::guess(self)
    }
}

/// What a file system is to an operating system.
enum Role {
    Root(System),
    /// It holds `/usr`, and tells something about the system that it is a part of.
    Usr(System),
    /// A part that tells nothing: `/boot`, `/var`, data.
    Other,
}

/// Looks at every file system. Nothing stays mounted.
///
/// # Errors
/// When the devices cannot be listed. A file system that cannot be mounted is no error: it is not a root.
pub fn inspect(guest: &dyn Actions) -> Result<Vec<System>> {
    guest.umount_all()?;
    let filesystems = guest.list_filesystems()?;
    let mut roles = Vec::new();
    for (device, kind) in &filesystems {
        if NOT_MOUNTED.iter().any(|not| kind == *not) {
            continue;
        }
        let device = device.to_string();
        match mount_to_look(guest, &device, kind) {
            Ok(()) => {}
            Err(Error::Action { .. }) => continue,
            Err(other) => return Err(other),
        }
        // Whatever goes wrong on one file system, the others are looked at.
        match look(guest, &device, &filesystems) {
            Ok(Some(role)) => roles.push(role),
            Ok(None) | Err(Error::Action { .. }) => {}
            Err(other) => return Err(other),
        }
        guest.umount_all()?;
    }
    Ok(merge::systems(roles))
}

fn mount_to_look(guest: &dyn Actions, device: &str, kind: &GuestString) -> Result<()> {
    if *kind != "ufs" {
        return guest.mount_ro(device, "/");
    }
    // Of the many kinds of it, FreeBSD has one and the other two have another.
    guest
        .mount_vfs("ro,ufstype=ufs2", "ufs", device, "/")
        .or_else(|_| guest.mount_vfs("ro,ufstype=44bsd", "ufs", device, "/"))
}

fn look(guest: &dyn Actions, device: &str, filesystems: &fstab::Devices) -> Result<Option<Role>> {
    match unix::look(guest, device, filesystems)? {
        None => windows::look(guest, device),
        found => Ok(found),
    }
}

/// Mounts a system that was found, the way it would do it itself.
///
/// # Errors
/// When its root cannot be mounted. Others that cannot are returned, with the reason.
pub fn mount(guest: &dyn Actions, system: &System, read_only: bool) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    guest.umount_all()?;
    for (point, device) in system.mounts() {
        let mounted = match read_only {
            true => guest.mount_ro(device.as_str(), point.as_str()),
            false => guest.mount(device.as_str(), point.as_str()),
        };
        match mounted {
            Err(Error::Action { failure, .. }) if point != "/" => {
                failed.push(format!("{device} could not be mounted on {point}: {failure}"));
            }
            other => other?,
        }
    }
    Ok(failed)
}

fn is_dir(guest: &dyn Actions, path: &str) -> Result<bool> {
    use guestd_api::actions::files::IsDirOptions;
    answered(guest.is_dir(path, IsDirOptions::default().followsymlinks(true)))
}

fn is_file(guest: &dyn Actions, path: &str) -> Result<bool> {
    use guestd_api::actions::files::IsFileOptions;
    answered(guest.is_file(path, IsFileOptions::default().followsymlinks(true)))
}

/// The same, and no link to one.
fn is_plain_dir(guest: &dyn Actions, path: &str) -> Result<bool> {
    answered(guest.is_dir(path, Default::default()))
}

fn is_plain_file(guest: &dyn Actions, path: &str) -> Result<bool> {
    answered(guest.is_file(path, Default::default()))
}

/// What a damaged file system does not tell is not there.
fn answered(answer: Result<bool>) -> Result<bool> {
    match answer {
        Err(Error::Action { .. }) => Ok(false),
        other => other,
    }
}
