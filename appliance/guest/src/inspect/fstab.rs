//! `/etc/fstab`: what a guest mounts, and which of our devices its names mean.
//!
//! A name that is understood to mean a device is kept even if there is no such device: whoever mounts it learns
//! so. An entry whose name means nothing on any disk is left out.

use guestd_api::Result;
use guestd_api::prelude::*;

use super::System;
use super::names::{Names, device_of};
use super::text::{read_text, unquoted};

/// The file systems of a guest, as they were listed.
pub(super) type Devices = [(GuestString, GuestString)];

/// More lines than this are no table: each costs questions.
const MAX_ENTRIES: usize = 1000;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// What is mounted: a device, or `UUID=...` and the like.
    spec: String,
    /// Where: `/` and names, or something else for what is not mounted.
    point: String,
    /// The type of the file system.
    kind: String,
    /// The subvolume of the device.
    subvolume: Option<String>,
    /// Not mounted when the guest boots.
    no_auto: bool,
}

/// Reads the table of the system that is mounted: its mount points and all of its file systems.
pub(super) fn look(guest: &dyn Actions, system: &mut System, devices: &Devices) -> Result<()> {
    let entries = parse(&read_text(guest, "/etc/fstab")?);
    if entries.is_empty() {
        return Ok(());
    }
    let names = Names::learn(guest, system.kind, devices)?;
    let is_bsd = matches!(system.kind, "freebsd" | "netbsd" | "openbsd");
    let mut has_root = false;
    for entry in entries.iter().filter(|entry| !is_elsewhere(entry)) {
        let found = if entry.spec == "/dev/root" || (is_bsd && entry.point == "/") {
            Some(system.root.clone())
        } else {
            resolve(guest, &names, &entry.spec)?
        };
        let Some(device) = found else {
            if !entry.no_auto && entry.spec.contains('=') && entry.point.starts_with('/') {
                system.missing.push(format!("{} ({})", entry.point, entry.spec));
            }
            continue;
        };
        let mut device = match &entry.subvolume {
            Some(name) if entry.kind == "btrfs" => format!("btrfsvol:{device}/{name}"),
            _ => device,
        };
        if entry.point == "/" {
            // A second one cannot be mounted as well, and what was found is the root, whatever its table says.
            if has_root {
                continue;
            }
            has_root = true;
            if device_of(&device) != device_of(&system.root) {
                device = system.root.clone();
            }
        }
        system.filesystems.push(device.clone());
        if entry.point.starts_with('/') {
            system.mountpoints.push((entry.point.clone(), device));
        }
    }
    if !has_root && !system.filesystems.is_empty() {
        system.filesystems.push(system.root.clone());
        system.mountpoints.push(("/".to_owned(), system.root.clone()));
    }
    // The last comes first, as scripts have always seen it.
    system.filesystems.reverse();
    system.mountpoints.reverse();
    Ok(())
}

/// The device that a table's name means.
fn resolve(guest: &dyn Actions, names: &Names, spec: &str) -> Result<Option<String>> {
    if spec.starts_with("/dev/") {
        return names.resolve(guest, spec).map(Some);
    }
    let Some((tag, value)) = spec.split_once('=') else {
        // OpenBSD names its first disk by the number in its label; tmpfs, proc and the like lie on none.
        let is_disk = |name: &str| name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
        return match spec.split_once('.') {
            Some((disk, letter)) if is_disk(disk) && letter.len() == 1 => {
                names.resolve(guest, &format!("/dev/sd0{letter}")).map(Some)
            }
            _ => Ok(None),
        };
    };
    names.tagged(guest, tag, &unquoted(value))
}

/// Floppy disks and CDs, and what is mounted where other things are in every system.
fn is_elsewhere(entry: &Entry) -> bool {
    let numbered = |begin: &str| {
        entry.spec.strip_prefix(begin).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let within = |begin: &str| {
        entry.point.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    numbered("/dev/fd")
        || numbered("/dev/cd")
        || ["/dev/floppy", "/dev/cdrom"].contains(&entry.spec.as_str())
        || entry.spec.starts_with("/dev/iso9660/")
        || entry.point.starts_with("/media/")
        || ["/dev", "/proc", "/selinux", "/sys"].into_iter().any(within)
}

/// Reads the table. Lines that make no sense are skipped, as `mount -a` does.
fn parse(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let spec = unescape(fields.next()?);
        let point = canonical(&unescape(fields.next()?));
        let kind = fields.next()?.to_owned();
        let options = fields.next().unwrap_or_default();
        let no_auto = options.split(',').any(|option| option == "noauto");
        let subvolume = options.split(',').find_map(|option| option.strip_prefix("subvol="));
        let subvolume = subvolume.filter(|name| !name.is_empty()).map(unescape);
        Some(Entry { spec, point, kind, subvolume, no_auto })
    };
    lines.filter_map(entry).take(MAX_ENTRIES).collect()
}

/// `///usr//local/` is `/usr/local`.
fn canonical(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// `\040` is a blank, and so on.
fn unescape(field: &str) -> String {
    let mut text = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_read_as_mount_reads_them() {
        let text = "# comment\nUUID=ab / ext4 errors=remount-ro 0 1\n\n/dev/vdb1 //srv//my\\040data/ btrfs noauto,subvol=/a/b 0 0\nbroken line\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].spec.as_str(), entries[0].no_auto), ("UUID=ab", false));
        assert_eq!((entries[1].point.as_str(), entries[1].no_auto), ("/srv/my data", true));
        assert_eq!((&entries[0].subvolume, entries[1].subvolume.as_deref()), (&None, Some("/a/b")));
    }

    #[test]
    fn some_entries_lie_elsewhere() {
        let of = |line: &str| parse(line).iter().any(is_elsewhere);
        for line in [
            "/dev/fd0 /a x",
            "/dev/cdrom /a x",
            "proc /proc x",
            "x /dev/shm x",
            "x /media/a x",
            "/dev/cd0a / x",
        ] {
            assert!(of(line), "{line}");
        }
        for line in ["/dev/sda1 / x", "/dev/fdx / x", "x /devices x", "x /media x", "x none x"] {
            assert!(!of(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_table_surprises(text in "(subvol=|UUID=|/dev/|[ \t\n#\\\\/,=.0-9a-zé])*") {
            for entry in parse(&text) {
                prop_assert!(!entry.point.starts_with('/') || !entry.point.contains("//"));
                is_elsewhere(&entry);
            }
        }
    }
}
