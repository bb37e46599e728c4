//! Finds the operating systems in a guest and how their file systems belong together.
//!
//! Written over the actions, so that the direct readers and an appliance serve it alike. Everything that
//! is read comes from the guest and is only ever shown or used as the name of something to look for.

mod fstab;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

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
    /// The distribution, as its release file calls itself: `debian`.
    pub distro: Option<String>,
    /// Name and version for people.
    pub product_name: Option<String>,
    /// The version as the release file has it.
    pub version: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// Where its file systems belong: mount point and device, in the order in which to mount them.
    pub mountpoints: Vec<(String, String)>,
    /// Entries of its table of file systems that lead nowhere.
    pub missing: Vec<String>,
}

/// Looks at every file system. Nothing stays mounted.
///
/// # Errors
/// When the devices cannot be listed. A file system that cannot be mounted is no error: it is not a root.
pub fn inspect(guest: &dyn Actions) -> Result<Vec<System>> {
    let filesystems = guest.list_filesystems()?;
    let mut systems = Vec::new();
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
        if is_linux_root(guest)? {
            systems.push(linux(guest, device, &filesystems)?);
        }
    }
    guest.umount_all()?;
    Ok(systems)
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

fn is_linux_root(guest: &dyn Actions) -> Result<bool> {
    use guestd_api::actions::files::{IsDirOptions, IsFileOptions};
    let dir = |path| guest.is_dir(path, IsDirOptions::default().followsymlinks(true));
    let file = |path| guest.is_file(path, IsFileOptions::default().followsymlinks(true));
    Ok(dir("/etc")?
        && dir("/bin")?
        && (file("/etc/fstab")? || file("/etc/os-release")? || file("/etc/hosts")?))
}

fn linux(guest: &dyn Actions, root: String, filesystems: &[(GuestString, GuestString)]) -> Result<System> {
    let mut system = System { root: root.clone(), ..System::default() };
    let mut release = read_text(guest, "/etc/os-release")?;
    if release.is_empty() {
        release = read_text(guest, "/usr/lib/os-release")?;
    }
    system.distro = variable(&release, "ID");
    system.product_name = variable(&release, "PRETTY_NAME");
    system.version = variable(&release, "VERSION_ID");
    system.hostname = read_text(guest, "/etc/hostname")?
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned);

    system.mountpoints.push(("/".to_owned(), root));
    for entry in fstab::parse(&read_text(guest, "/etc/fstab")?) {
        if entry.point == "/" || !entry.point.starts_with('/') || entry.is_virtual() {
            continue;
        }
        match fstab::find_device(guest, &entry.spec, filesystems)? {
            Some(device) => system.mountpoints.push((entry.point, device)),
            None if entry.no_auto => {}
            None => system.missing.push(format!("{} ({})", entry.point, entry.spec)),
        }
    }
    // A directory must be there before what lies in it.
    system.mountpoints.sort_by_key(|(point, _)| point.split('/').filter(|part| !part.is_empty()).count());
    Ok(system)
}

/// The text of a file, or nothing if there is none that could be one.
fn read_text(guest: &dyn Actions, path: &str) -> Result<String> {
    use guestd_api::actions::files::IsFileOptions;
    let is_file = guest.is_file(path, IsFileOptions::default().followsymlinks(true))?;
    if !is_file || guest.filesize(path)? > MAX_TEXT {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&guest.read_file(path)?).into_owned())
}

/// A variable of a shell-like file: `NAME="value"`.
fn variable(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?.trim();
    let value = ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q)).unwrap_or(value);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_files_are_read_as_the_shell_would() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\nEMPTY=\n";
        assert_eq!(variable(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(variable(text, "ID").as_deref(), Some("debian"));
        assert_eq!(variable(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(variable(text, "EMPTY"), None);
        assert_eq!(variable(text, "VERSION"), None);
    }
}
