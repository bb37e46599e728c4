//! The applications that are installed: what the databases of package managers say.
//!
//! Databases are read as bytes, in this process, by readers that check every length and place in them. No program of
//! the guest runs, and none that was not written for hostile input sees its files.

mod rpm;
mod stanzas;
mod windows;

use guestd_api::prelude::*;
use guestd_api::structs::Application2;
use guestd_api::{Error, Result};

use super::{System, is_file};

/// Larger databases are not read.
const MAX_DATABASE: i64 = 1 << 30;

/// The applications of a system that is mounted, in the order of their names.
///
/// # Errors
/// When nothing is mounted, or its database is in a form that cannot be read.
pub fn applications(guest: &dyn Actions, system: &System) -> Result<Vec<Application2>> {
    // A system without packages is one thing, one that is not mounted another.
    guest.exists("/")?;
    let mut apps = match (system.kind, system.package_format()) {
        ("windows", _) => windows::list(guest, system)?,
        ("linux" | "hurd", Some("deb")) => stanzas::dpkg(&text(guest, &["/var/lib/dpkg/status"])?),
        ("linux" | "hurd", Some("apk")) => {
            stanzas::apk(&text(guest, &["/usr/lib/apk/db/installed", "/lib/apk/db/installed"])?)
        }
        ("linux" | "hurd", Some("pacman")) => pacman(guest)?,
        ("linux" | "hurd", Some("rpm")) => rpm::list(guest)?,
        _ => Vec::new(),
    };
    apps.sort_by(|one, other| one.app2_name.as_bytes().cmp(other.app2_name.as_bytes()));
    Ok(apps)
}

/// The contents of the first of these files that is there; a guest without any has nothing installed.
fn database(guest: &dyn Actions, paths: &[&str]) -> Result<Option<Vec<u8>>> {
    for path in paths {
        if !is_file(guest, path)? {
            continue;
        }
        let size = guest.filesize(path)?;
        if size > MAX_DATABASE {
            return Err(unreadable(format!(
                "{path} has {size} bytes, which is more than a database of packages can have"
            )));
        }
        let mut bytes = Vec::new();
        guest.download(path, &mut bytes)?;
        return Ok(Some(bytes));
    }
    Ok(None)
}

fn text(guest: &dyn Actions, paths: &[&str]) -> Result<String> {
    let bytes = database(guest, paths)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(why: String) -> Error {
    Error::Action { action: "inspect_list_applications2", failure: guestd_api::Failure::new(why) }
}

/// One directory a package, with a file that describes it.
fn pacman(guest: &dyn Actions) -> Result<Vec<Application2>> {
    const DATABASE: &str = "/var/lib/pacman/local";
    let names = match guest.ls(DATABASE) {
        Ok(names) => names,
        Err(Error::Action { .. }) => return Ok(Vec::new()),
        Err(other) => return Err(other),
    };
    let mut apps = Vec::new();
    for name in names {
        let path = format!("{DATABASE}/{name}/desc");
        apps.extend(stanzas::pacman(&super::text::read_text(guest, &path)?));
    }
    Ok(apps)
}

/// An application of which nothing is known.
fn application() -> Application2 {
    let none = GuestString::default;
    Application2 {
        app2_name: none(),
        app2_display_name: none(),
        app2_epoch: 0,
        app2_version: none(),
        app2_release: none(),
        app2_arch: none(),
        app2_install_path: none(),
        app2_trans_path: none(),
        app2_publisher: none(),
        app2_url: none(),
        app2_source_package: none(),
        app2_summary: none(),
        app2_description: none(),
        app2_spare1: none(),
        app2_spare2: none(),
        app2_spare3: none(),
        app2_spare4: none(),
    }
}
