//! What `virt-inspector` tells about a guest: gathered once, then written as XML or JSON.

pub mod json;
pub mod xml;

use anyhow::Result;
use guest::Guest;
use guest::inspect::{self, System};
use guestd_api::prelude::*;
use guestd_api::structs::Application2;
use guestd_api::{Error, GuestString};

/// A system and everything that was found out about it.
#[derive(Debug)]
pub struct Report {
    /// The system.
    pub system: System,
    /// Where its file systems belong: mount point and device, ordered by mount point.
    pub mountpoints: Vec<(String, String)>,
    /// Its file systems, ordered by device.
    pub filesystems: Vec<FileSystem>,
    /// What is installed, if that was asked for.
    pub applications: Option<Vec<Application2>>,
    /// A picture in PNG; empty if there is none.
    pub icon: Vec<u8>,
}

/// A file system of a system. What is not known is empty.
#[derive(Debug)]
pub struct FileSystem {
    /// Its device.
    pub device: String,
    /// Its type, as blkid calls it.
    pub kind: String,
    /// Its label.
    pub label: String,
    /// Its UUID.
    pub uuid: String,
}

/// What is to be found out beside the system itself.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What is installed.
    pub applications: bool,
    /// The picture.
    pub icon: bool,
}

/// Looks at all systems of a guest.
///
/// # Errors
/// When the guest does not answer. What goes wrong with one system is told on standard error as a line of `program`.
pub fn reports(guest: &Guest, wanted: Wanted, program: &str) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for system in guest.inspect()? {
        reports.push(report(guest, system, wanted, program)?);
    }
    Ok(reports)
}

fn report(guest: &Guest, system: System, wanted: Wanted, program: &str) -> Result<Report> {
    let mut mountpoints = system.mount_points();
    mountpoints.sort();
    let mut devices = system.file_systems();
    devices.sort();
    let mut report =
        Report { mountpoints, filesystems: Vec::new(), applications: None, icon: Vec::new(), system };
    for device in devices {
        let of = |answer: guestd_api::Result<GuestString>| match answer {
            Err(Error::Action { .. }) => Ok(String::new()),
            other => other.map(|text| text.to_string()),
        };
        let kind = of(guest.vfs_type(&device))?;
        let (label, uuid) = match kind.is_empty() {
            true => (String::new(), String::new()),
            false => (of(guest.vfs_label(&device))?, of(guest.vfs_uuid(&device))?),
        };
        report.filesystems.push(FileSystem { device, kind, label, uuid });
    }
    if !(wanted.applications || wanted.icon) {
        return Ok(report);
    }
    match look_inside(guest, &mut report, wanted, program) {
        // A system whose databases cannot be read is still a system.
        Err(Error::Action { action, failure }) => {
            eprintln!("{program}: warning: {}: {action}: {failure}", report.system.root);
        }
        done => done?,
    }
    guest.umount_all()?;
    Ok(report)
}

fn look_inside(guest: &Guest, report: &mut Report, wanted: Wanted, program: &str) -> guestd_api::Result<()> {
    for warning in inspect::mount(guest, &report.system, true)? {
        eprintln!("{program}: warning: {warning}");
    }
    if wanted.icon {
        report.icon = inspect::icon(guest, &report.system, false, true)?;
    }
    if wanted.applications {
        report.applications = Some(Vec::new());
        report.applications = Some(inspect::applications(guest, &report.system)?);
    }
    Ok(())
}

/// The fields of a system that are one text each, by the names that the XML has for them, in its order; only those that
/// are known.
fn fields(system: &System) -> Vec<(&'static str, String)> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let (major, minor) = system.numbers();
    let windows = system.windows.as_ref();
    let all = [
        ("root", Some(system.root.clone())),
        ("name", text(Some(system.kind))),
        ("arch", system.arch.clone()),
        ("distro", system.distro.clone()),
        ("product_name", system.product_name.clone()),
        ("product_variant", system.variant.clone()),
        ("major_version", Some(major.to_string())),
        ("minor_version", Some(minor.to_string())),
        ("package_format", text(system.package_format())),
        ("package_management", text(system.package_management())),
        ("windows_systemroot", windows.map(|w| w.system_root.clone())),
        ("windows_current_control_set", windows.and_then(|w| w.control_set.clone())),
        ("hostname", system.hostname.clone()),
        ("osinfo", system.osinfo()),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The fields of an application, by the names that the XML has for them, in its order; only those that are known.
fn application_fields(app: &Application2) -> Vec<(&'static str, String)> {
    let epoch = if app.app2_epoch > 0 { app.app2_epoch.to_string() } else { String::new() };
    let all = [
        ("name", app.app2_name.to_string()),
        ("display_name", app.app2_display_name.to_string()),
        ("epoch", epoch),
        ("version", app.app2_version.to_string()),
        ("release", app.app2_release.to_string()),
        ("arch", app.app2_arch.to_string()),
        ("install_path", app.app2_install_path.to_string()),
        ("publisher", app.app2_publisher.to_string()),
        ("url", app.app2_url.to_string()),
        ("source_package", app.app2_source_package.to_string()),
        ("summary", app.app2_summary.to_string()),
        ("description", app.app2_description.to_string()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The drive letters of Windows and their devices, in the order of the alphabet.
fn drives(system: &System) -> Vec<(String, String)> {
    let mut drives = system.windows.as_ref().map(|windows| windows.drives.clone()).unwrap_or_default();
    drives.sort_by_key(|(letter, _)| letter.to_ascii_lowercase());
    drives
}

/// Bytes as text of printable letters (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_letters() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
