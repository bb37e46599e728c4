//! A Windows system: its directory, and what its registry says.
//!
//! The hives are read on the host by a parser that is safe for hostile ones; the guest's own tools never run.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};
use nt_hive::{Hive, KeyNode};

use super::{System, arch, is_dir, is_file, release};

/// Larger hives are not read.
const MAX_HIVE: i64 = 512 << 20;
/// The directories that Windows was installed in, over the years.
const ROOTS: [&str; 5] = ["/Windows", "/WINDOWS", "/windows", "/WINNT", "/winnt"];

/// What only Windows has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    /// Its directory.
    pub system_root: String,
    /// The path of the hive SOFTWARE.
    pub software_hive: Option<String>,
    /// The path of the hive SYSTEM.
    pub system_hive: Option<String>,
    /// `ControlSet001`
    pub control_set: Option<String>,
    /// Drive letters and the devices that they stand for.
    pub drives: Vec<(String, String)>,
    /// Group policies are stored on it.
    pub group_policy: bool,
}

/// What the mounted file system says, if it is the root of a Windows.
pub(super) fn look(guest: &dyn Actions, device: &str) -> Result<Option<System>> {
    let Some(root) = system_root(guest)? else { return Ok(None) };
    let config = match child(guest, &root, "System32")? {
        Some(system) => child(guest, &system, "config")?,
        None => None,
    };
    let hive = |name: &str| match &config {
        Some(config) => child(guest, config, name),
        None => Ok(None),
    };
    let mut windows =
        Windows { software_hive: hive("SOFTWARE")?, system_hive: hive("SYSTEM")?, ..Windows::default() };
    let mut system = System {
        root: device.to_owned(),
        kind: "windows",
        distro: Some("windows".to_owned()),
        mountpoints: vec![("/".to_owned(), device.to_owned())],
        ..System::default()
    };
    for program in ["System32/cmd.exe", "System32/ntoskrnl.exe", "explorer.exe"] {
        let path = format!("{root}/{program}");
        if is_file(guest, &path)?
            && let Ok(name) = arch::file_architecture(guest, &path)
        {
            system.arch = Some(name);
            break;
        }
    }
    if let Some(path) = &windows.software_hive {
        software(&read_hive(guest, path)?, &mut system);
    }
    if let Some(path) = &windows.system_hive {
        settings(guest, &read_hive(guest, path)?, &mut system, &mut windows)?;
    }
    windows.group_policy = match child(guest, &root, "System32")? {
        Some(system) => child(guest, &system, "GroupPolicy")?.is_some(),
        None => false,
    };
    windows.system_root = root;
    system.windows = Some(windows);
    Ok(Some(system))
}

fn system_root(guest: &dyn Actions) -> Result<Option<String>> {
    for root in ROOTS {
        if !is_dir(guest, root)? {
            continue;
        }
        let Some(system) = child(guest, root, "System32")? else { continue };
        if child(guest, &system, "config")?.is_some() {
            return Ok(Some(root.to_owned()));
        }
    }
    Ok(None)
}

/// An entry of a directory, whatever the case of its letters.
fn child(guest: &dyn Actions, directory: &str, name: &str) -> Result<Option<String>> {
    let names = match guest.ls(directory) {
        Ok(names) => names,
        Err(Error::Action { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    let same = |entry: &&GuestString| entry.to_str().is_some_and(|entry| entry.eq_ignore_ascii_case(name));
    Ok(names.iter().find(same).map(|entry| format!("{directory}/{entry}")))
}

/// The bytes of a hive; nothing of what is too large or cannot be read.
fn read_hive(guest: &dyn Actions, path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut read = || {
        if guest.filesize(path)? > MAX_HIVE {
            return Ok(());
        }
        guest.download(path, &mut bytes)
    };
    match read() {
        Ok(()) | Err(Error::Action { .. }) => Ok(bytes),
        Err(other) => Err(other),
    }
}

type Key<'h> = KeyNode<'h, &'h [u8]>;

/// The value of a key, as text.
fn text(key: &Key<'_>, name: &str) -> Option<String> {
    let text = key.value(name)?.ok()?.string_data().ok()?;
    let text = text.trim_end_matches('\0').to_owned();
    (!text.is_empty()).then_some(text)
}

fn dword(key: &Key<'_>, name: &str) -> Option<i32> {
    i32::try_from(key.value(name)?.ok()?.dword_data().ok()?).ok()
}

fn software(hive: &[u8], system: &mut System) {
    // A guest that was not shut down leaves hives whose checksum is old.
    let Ok(hive) = Hive::new(hive).or_else(|_| Hive::without_validation(hive)) else { return };
    let Ok(root) = hive.root_key_node() else { return };
    let Some(Ok(key)) = root.subpath("Microsoft\\Windows NT\\CurrentVersion") else { return };
    system.product_name = text(&key, "ProductName");
    system.variant = text(&key, "InstallationType");
    system.build_id = text(&key, "CurrentBuildNumber").or_else(|| text(&key, "CurrentBuild"));
    system.version = text(&key, "CurrentVersion");
    let old = release::numbers(system.version.as_deref().unwrap_or_default());
    // From Windows 10 on the old value says 6.3 for ever.
    system.numbers =
        match (dword(&key, "CurrentMajorVersionNumber"), dword(&key, "CurrentMinorVersionNumber")) {
            (Some(major), Some(minor)) => (major, minor),
            _ => old,
        };
}

fn settings(guest: &dyn Actions, hive: &[u8], system: &mut System, windows: &mut Windows) -> Result<()> {
    let Ok(hive) = Hive::new(hive).or_else(|_| Hive::without_validation(hive)) else { return Ok(()) };
    let Ok(root) = hive.root_key_node() else { return Ok(()) };
    let current = match root.subkey("Select") {
        Some(Ok(select)) => dword(&select, "Current"),
        _ => None,
    };
    if let Some(number) = current {
        let set = format!("ControlSet{number:03}");
        if let Some(Ok(key)) = root.subpath(&format!("{set}\\Services\\Tcpip\\Parameters")) {
            system.hostname = text(&key, "Hostname");
        }
        windows.control_set = Some(set);
    }
    let Some(Ok(mounted)) = root.subkey("MountedDevices") else { return Ok(()) };
    for letter in 'A'..='Z' {
        let value = mounted.value(&format!("\\DosDevices\\{letter}:"));
        let Some(Ok(data)) = value.map(|value| value.and_then(|value| value.data()?.into_vec())) else {
            continue;
        };
        if let Some(device) = mounted_device(guest, &data)? {
            windows.drives.push((letter.to_string(), device));
        }
    }
    Ok(())
}

/// The partition that a value of `MountedDevices` means: the GUID of a GPT partition, or the identifier of an
/// MBR and where in bytes the partition begins.
fn mounted_device(guest: &dyn Actions, data: &[u8]) -> Result<Option<String>> {
    for partition in guest.list_partitions()? {
        if is_that_partition(guest, &partition, data).or_else(|error| match error {
            Error::Action { .. } => Ok(false),
            other => Err(other),
        })? {
            return Ok(Some(partition.to_string()));
        }
    }
    Ok(None)
}

fn is_that_partition(guest: &dyn Actions, partition: &GuestString, data: &[u8]) -> Result<bool> {
    let disk = guest.part_to_dev(partition)?;
    let number = guest.part_to_partnum(partition)?;
    if let Some(guid) = data.strip_prefix(b"DMIO:ID:") {
        let theirs = guest.part_get_gpt_guid(&disk, number)?;
        return Ok(shown_guid(guid).is_some_and(|guid| theirs.to_string().eq_ignore_ascii_case(&guid)));
    }
    let (Some(id), Some(start)) = (data.get(..4), data.get(4..12)) else { return Ok(false) };
    if data.len() != 12 || guest.pread_device(&disk, 4, 440)? != id {
        return Ok(false);
    }
    let start: [u8; 8] = start.try_into().unwrap_or_default();
    let parts = guest.part_list(&disk)?;
    Ok(parts.iter().any(|part| part.part_num == number && part.part_start == u64::from_le_bytes(start)))
}

/// A GUID as Windows stores it, as people write it.
fn shown_guid(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::new();
    for (at, index) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02X}", bytes[index]));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_written_the_usual_way() {
        let bytes =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(shown_guid(&bytes).as_deref(), Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        assert_eq!(shown_guid(&bytes[1..]), None);
    }

    #[test]
    fn damaged_hives_say_nothing() {
        for bytes in [&b""[..], b"regf", &[0xff; 8192]] {
            let mut system = System::default();
            software(bytes, &mut system);
            assert_eq!(system, System::default());
        }
    }
}
