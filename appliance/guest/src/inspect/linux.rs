//! A Linux system: what tells one from data, and what its files say about it.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::{System, arch, fstab, is_dir, is_file, read_text, release};

/// Programs that every system has, one of which tells its architecture.
const PROGRAMS: [&str; 5] = ["/bin/bash", "/bin/ls", "/bin/echo", "/bin/rm", "/bin/sh"];

pub(super) fn is_root(guest: &dyn Actions) -> Result<bool> {
    Ok(is_dir(guest, "/etc")?
        && (is_dir(guest, "/bin")? || is_dir(guest, "/usr/bin")?)
        && (is_file(guest, "/etc/fstab")?
            || is_file(guest, "/etc/os-release")?
            || is_file(guest, "/etc/hosts")?))
}

/// What the mounted file system says about itself; its table of file systems leads to the others.
pub(super) fn look(
    guest: &dyn Actions,
    root: &str,
    filesystems: &[(GuestString, GuestString)],
) -> Result<System> {
    let release = release::find(guest)?;
    let mut system = System {
        root: root.to_owned(),
        kind: "linux",
        distro: release.distro,
        product_name: release.product_name,
        version: release.version,
        numbers: release.numbers,
        build_id: release.build_id,
        hostname: hostname(guest)?,
        arch: architecture(guest)?,
        ..System::default()
    };
    system.mountpoints.push(("/".to_owned(), root.to_owned()));
    for entry in fstab::parse(&read_text(guest, "/etc/fstab")?) {
        if entry.point == "/" || !entry.point.starts_with('/') || entry.is_virtual() {
            continue;
        }
        match fstab::find_device(guest, &entry, filesystems)? {
            Some(device) => system.mountpoints.push((entry.point, device)),
            None if entry.no_auto => {}
            None => system.missing.push(format!("{} ({})", entry.point, entry.spec)),
        }
    }
    // A directory must be there before what lies in it.
    system.mountpoints.sort_by_key(|(point, _)| point.split('/').filter(|part| !part.is_empty()).count());
    Ok(system)
}

fn architecture(guest: &dyn Actions) -> Result<Option<String>> {
    for program in PROGRAMS {
        if is_file(guest, program)? {
            match arch::file_architecture(guest, program) {
                Ok(name) => return Ok(Some(name)),
                Err(Error::Action { .. }) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(None)
}

fn hostname(guest: &dyn Actions) -> Result<Option<String>> {
    for path in ["/etc/HOSTNAME", "/etc/hostname"] {
        let text = read_text(guest, path)?;
        let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        if let Some(name) = name {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(release::variable(&read_text(guest, "/etc/sysconfig/network")?, "HOSTNAME"))
}
