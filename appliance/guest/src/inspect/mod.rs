//! Finds the operating systems in a guest and how their file systems belong together.
//!
//! Written over the actions, so that the direct readers and an appliance serve it alike. Everything that
//! is read comes from the guest and is only ever shown or used as the name of something to look for.

mod apps;
mod arch;
mod fstab;
mod linux;
mod osinfo;
mod packages;
mod release;
mod windows;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

pub use apps::applications;
pub use arch::file_architecture;
pub use windows::Windows;

/// File systems that hold no operating system and cannot be mounted.
const NOT_MOUNTED: [&str; 6] =
    ["swap", "unknown", "crypto_LUKS", "LVM2_member", "linux_raid_member", "BitLocker"];
/// More than any release file or fstab needs; a larger one is not one.
const MAX_TEXT: i64 = 1 << 20;

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
    /// The version as the release file has it.
    pub version: Option<String>,
    /// Major and minor version, 0 where unknown.
    pub numbers: (i32, i32),
    /// The build, where builds have names.
    pub build_id: Option<String>,
    /// The architecture of its programs.
    pub arch: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// Where its file systems belong: mount point and device, in the order in which to mount them.
    pub mountpoints: Vec<(String, String)>,
    /// Entries of its table of file systems that lead nowhere.
    pub missing: Vec<String>,
    /// What only Windows has.
    pub windows: Option<Windows>,
}

impl System {
    /// The format of its packages: `deb`, `rpm`, ...
    pub fn package_format(&self) -> Option<&'static str> {
        packages::format(self.distro.as_deref()?)
    }

    /// The program that manages its packages: `apt`, `dnf`, ...
    pub fn package_management(&self) -> Option<&'static str> {
        packages::management(self.distro.as_deref()?, self.numbers.0)
    }

    /// What libosinfo may call it.
    pub fn osinfo(&self) -> Option<String> {
        osinfo::guess(self)
    }
}

/// Looks at every file system. Nothing stays mounted.
///
/// # Errors
/// When the devices cannot be listed. A file system that cannot be mounted is no error: it is not a root.
pub fn inspect(guest: &dyn Actions) -> Result<Vec<System>> {
    let filesystems = guest.list_filesystems()?;
    let mut systems: Vec<System> = Vec::new();
    for (device, kind) in &filesystems {
        if NOT_MOUNTED.iter().any(|not| kind == *not) {
            continue;
        }
        guest.umount_all()?;
        let device = device.to_string();
        match guest.mount_ro(device.as_str(), "/") {
            Ok(()) => {}
            Err(Error::Action { .. }) => continue,
            Err(other) => return Err(other),
        }
        // A default subvolume is found under two names, the second being its own.
        let own_name = |system: &System| is_subvolume(&device, &system.root);
        if let Some(system) = look(guest, &device, &filesystems)? {
            match systems.iter_mut().find(|found| own_name(found) && same(found, &system)) {
                Some(found) => *found = system,
                None => systems.push(system),
            }
        }
    }
    guest.umount_all()?;
    Ok(systems)
}

fn is_subvolume(mountable: &str, device: &str) -> bool {
    mountable.strip_prefix("btrfsvol:").and_then(|rest| rest.strip_prefix(device)).is_some()
}

fn same(one: &System, other: &System) -> bool {
    one.distro == other.distro && one.hostname == other.hostname && one.product_name == other.product_name
}

fn look(
    guest: &dyn Actions,
    device: &str,
    filesystems: &[(GuestString, GuestString)],
) -> Result<Option<System>> {
    if linux::is_root(guest)? {
        return linux::look(guest, device, filesystems).map(Some);
    }
    windows::look(guest, device)
}

/// Mounts a system that was found, the way it would do it itself.
///
/// # Errors
/// When its root cannot be mounted. Others that cannot are returned, with the reason.
pub fn mount(guest: &dyn Actions, system: &System, read_only: bool) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    guest.umount_all()?;
    for (point, device) in &system.mountpoints {
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

/// What a damaged file system does not tell is not there.
fn answered(answer: Result<bool>) -> Result<bool> {
    match answer {
        Err(Error::Action { .. }) => Ok(false),
        other => other,
    }
}

/// The text of a file, or nothing if there is none that could be one.
fn read_text(guest: &dyn Actions, path: &str) -> Result<String> {
    if !is_file(guest, path)? {
        return Ok(String::new());
    }
    let read = || {
        if guest.filesize(path)? > MAX_TEXT {
            return Ok(Vec::new());
        }
        guest.read_file(path)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(Error::Action { .. }) => Ok(String::new()),
        Err(other) => Err(other),
    }
}
