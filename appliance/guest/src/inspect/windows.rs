//! A Windows system: its directory, and what its registry says.
//!
//! The hives are read by the agent, which is safe for hostile ones; the guest's own tools never run.

use guestd_api::actions::hivex::HivexOpenOptions;
use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::{System, arch, is_dir, is_file, release};

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
        in_hive(guest, path, |root| software(&root, &mut system))?;
    }
    if let Some(path) = windows.system_hive.clone() {
        in_hive(guest, &path, |root| settings(&root, &mut system, &mut windows))?;
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

/// What is not there, or cannot be read, is nothing.
fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Action { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Calls with the root of a hive, if it can be opened.
fn in_hive(guest: &dyn Actions, path: &str, look: impl FnOnce(Key<'_>) -> Result<()>) -> Result<()> {
    if optional(guest.hivex_open(path, HivexOpenOptions::default()))?.is_none() {
        return Ok(());
    }
    let looked = match optional(guest.hivex_root()) {
        Ok(Some(node)) => look(Key { guest, node }),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    optional(guest.hivex_close())?;
    looked
}

/// A key of the hive that is open.
#[derive(Clone, Copy)]
struct Key<'g> {
    guest: &'g dyn Actions,
    node: i64,
}

impl Key<'_> {
    /// The key below it, several levels down.
    fn below(&self, path: &[&str]) -> Result<Option<Self>> {
        let mut node = self.node;
        for name in path {
            match optional(self.guest.hivex_node_get_child(node, name))? {
                Some(child) if child != 0 => node = child,
                _ => return Ok(None),
            }
        }
        Ok(Some(Key { node, ..*self }))
    }

    fn value(&self, name: &str) -> Result<Option<i64>> {
        let value = optional(self.guest.hivex_node_get_value(self.node, name))?;
        Ok(value.filter(|&value| value != 0))
    }

    /// The bytes of a value.
    fn data(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.value(name)? {
            Some(value) => optional(self.guest.hivex_value_value(value)),
            None => Ok(None),
        }
    }

    /// A value as text.
    fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let text = optional(self.guest.hivex_value_string(value))?;
        Ok(text.map(|text| text.to_string()).filter(|text| !text.is_empty()))
    }

    /// A value as a number.
    fn number(&self, name: &str) -> Result<Option<i32>> {
        let data = self.data(name)?;
        Ok(data.and_then(|data| <[u8; 4]>::try_from(&data[..]).ok()).map(i32::from_le_bytes))
    }
}

fn software(root: &Key<'_>, system: &mut System) -> Result<()> {
    let Some(key) = root.below(&["Microsoft", "Windows NT", "CurrentVersion"])? else { return Ok(()) };
    system.product_name = key.text("ProductName")?;
    system.variant = key.text("InstallationType")?;
    system.build_id = match key.text("CurrentBuildNumber")? {
        None => key.text("CurrentBuild")?,
        build => build,
    };
    system.version = key.text("CurrentVersion")?;
    // From Windows 10 on the old value says 6.3 for ever.
    let (major, minor) = (key.number("CurrentMajorVersionNumber")?, key.number("CurrentMinorVersionNumber")?);
    system.numbers = match (major, minor) {
        (Some(major), Some(minor)) => (major, minor),
        _ => release::numbers(system.version.as_deref().unwrap_or_default()),
    };
    Ok(())
}

fn settings(root: &Key<'_>, system: &mut System, windows: &mut Windows) -> Result<()> {
    let current = match root.below(&["Select"])? {
        Some(select) => select.number("Current")?,
        None => None,
    };
    if let Some(number) = current {
        let set = format!("ControlSet{number:03}");
        if let Some(key) = root.below(&[&set, "Services", "Tcpip", "Parameters"])? {
            system.hostname = key.text("Hostname")?;
        }
        windows.control_set = Some(set);
    }
    let Some(mounted) = root.below(&["MountedDevices"])? else { return Ok(()) };
    for letter in 'A'..='Z' {
        let Some(data) = mounted.data(&format!("\\DosDevices\\{letter}:"))? else { continue };
        if let Some(device) = mounted_device(root.guest, &data)? {
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
}
