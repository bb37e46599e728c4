//! A Windows system: its directory, and what its registry says. DOS, which has no registry, is here as well.
//!
//! Names are looked for whatever the case of their letters, and given as they are written on the disk.

use std::collections::HashSet;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::registry::{Key, in_hive};
use super::text::{read_text, version_in};
use super::{Role, System, arch, is_plain_dir, is_plain_file};

/// The directories that Windows was installed in, over the years.
const ROOTS: [&str; 5] = ["/windows", "/winnt", "/win32", "/win", "/reactos"];
/// The longest directory that is searched for a name.
const MAX_NAMES: usize = 200_000;

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
    /// Group policies were applied to it.
    pub group_policy: bool,
}

/// What the mounted file system is, if it is one of these.
pub(super) fn look(guest: &dyn Actions, device: &str) -> Result<Option<Role>> {
    let system = System { root: device.to_owned(), ..System::default() };
    if let Some(root) = system_root(guest)? {
        return windows(guest, system, root).map(|system| Some(Role::Root(system)));
    }
    if find(guest, "/System Volume Information", is_plain_dir)?.is_some() {
        return Ok(Some(Role::Other));
    }
    for (directory, file, distro) in
        [("/fdos", "/fdos/freedos.bss", "freedos"), ("/dos", "/dos/command.com", "msdos")]
    {
        if find(guest, directory, is_plain_dir)?.is_some() && find(guest, file, is_plain_file)?.is_some() {
            // A mix of 16 and 32 bits, for processors that know both.
            let (distro, arch) = (Some(distro.to_owned()), Some("i386".to_owned()));
            return Ok(Some(Role::Root(System { kind: "dos", distro, arch, ..system })));
        }
    }
    Ok(None)
}

fn windows(guest: &dyn Actions, mut system: System, root: String) -> Result<System> {
    let file = |name: &str| find(guest, &format!("{root}/system32/{name}"), is_plain_file);
    system.kind = "windows";
    system.distro = Some("windows".to_owned());
    if let Some(shell) = file("cmd.exe")? {
        match arch::file_architecture(guest, &shell) {
            Ok(name) => system.arch = Some(name),
            Err(Error::Action { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    let mut windows = Windows {
        software_hive: file("config/software")?,
        system_hive: file("config/system")?,
        ..Windows::default()
    };
    if let Some(path) = windows.software_hive.clone() {
        in_hive(guest, &path, |root| {
            windows.group_policy = has_group_policy(&root)?;
            software(&root, &mut system)
        })?;
    }
    if let Some(path) = windows.system_hive.clone() {
        in_hive(guest, &path, |root| settings(&root, &mut system, &mut windows))?;
    }
    windows.system_root = root;
    system.windows = Some(windows);
    Ok(system)
}

fn system_root(guest: &dyn Actions) -> Result<Option<String>> {
    for root in ROOTS {
        if let Some(root) = find(guest, root, is_plain_dir)?
            && is_system_root(guest, &root)?
        {
            return Ok(Some(root));
        }
    }
    let Some(path) = find(guest, "/boot.ini", is_plain_file)? else { return Ok(None) };
    for root in boot_ini(&read_text(guest, &path)?) {
        if is_system_root(guest, &root)? {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

fn is_system_root(guest: &dyn Actions, root: &str) -> Result<bool> {
    Ok(find(guest, &format!("{root}/system32/config"), is_plain_dir)?.is_some()
        && find(guest, &format!("{root}/system32/cmd.exe"), is_plain_file)?.is_some())
}

/// The directories of the systems that the boot loader of Windows NT offers. Which disk they are on is not known.
fn boot_ini(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("[operating systems]"));
    lines.next();
    let theirs = lines.take_while(|line| line.starts_with("multi(") || line.starts_with("scsi("));
    let path = |line: &str| {
        let (place, _) = line.split_once('=')?;
        let (_, path) = place.split_once("partition(")?.1.split_once(')')?;
        path.starts_with('\\').then(|| path.replace('\\', "/"))
    };
    theirs.filter_map(path).collect()
}

/// The path as it is written on the disk, if something of this kind is there.
fn find(
    guest: &dyn Actions,
    path: &str,
    is: fn(&dyn Actions, &str) -> Result<bool>,
) -> Result<Option<String>> {
    let mut found = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match child(guest, &found, name)? {
            Some(path) => found = path,
            None => return Ok(None),
        }
    }
    Ok(if is(guest, &found)? { Some(found) } else { None })
}

/// An entry of a directory, whatever the case of its letters; as it was asked for, if it is there twice.
fn child(guest: &dyn Actions, directory: &str, name: &str) -> Result<Option<String>> {
    let around = if directory.is_empty() { "/" } else { directory };
    let names = match guest.ls(around) {
        Ok(names) => names,
        Err(Error::Action { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    let names = || names.iter().take(MAX_NAMES).filter_map(|entry| entry.to_str());
    let exact = names().find(|entry| *entry == name);
    let found = exact.or_else(|| names().find(|entry| entry.eq_ignore_ascii_case(name)));
    Ok(found.map(|entry| format!("{directory}/{entry}")))
}

fn software(root: &Key<'_>, system: &mut System) -> Result<()> {
    let Some(key) = root.below(&["Microsoft", "Windows NT", "CurrentVersion"])? else { return Ok(()) };
    system.product_name = key.text("ProductName")?;
    system.variant = key.text("InstallationType")?;
    system.build_id = key.text("CurrentBuildNumber")?;
    // From Windows 10 on the old value says 6.3 for ever.
    let (major, minor) = (key.number("CurrentMajorVersionNumber")?, key.number("CurrentMinorVersionNumber")?);
    system.version = match (major, minor) {
        (Some(major), Some(minor)) => Some((major, minor)),
        _ => key.text("CurrentVersion")?.as_deref().and_then(version_in),
    };
    Ok(())
}

/// Policies that were applied leave their GUIDs.
fn has_group_policy(root: &Key<'_>) -> Result<bool> {
    let path = ["Microsoft", "Windows", "CurrentVersion", "Group Policy", "History"];
    let Some(history) = root.below(&path)? else { return Ok(false) };
    for policy in history.children()? {
        if policy.name()?.is_some_and(|name| name.as_bytes().starts_with(b"{")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn settings(root: &Key<'_>, system: &mut System, windows: &mut Windows) -> Result<()> {
    if let Some(select) = root.below(&["Select"])?
        && let Some(number) = select.number("Current")?
    {
        let set = format!("ControlSet{number:03}");
        if let Some(key) = root.below(&[&set, "Services", "Tcpip", "Parameters"])? {
            system.hostname = key.text("Hostname")?;
        }
        windows.control_set = Some(set);
    }
    let Some(mounted) = root.below(&["MountedDevices"])? else { return Ok(()) };
    let mut seen = HashSet::new();
    for (name, data) in mounted.binaries()? {
        if let Some(letter) = drive_letter(&name).filter(|letter| seen.insert(*letter))
            && let Some(device) = mounted_device(root.guest, &data)?
        {
            windows.drives.push((letter.to_string(), device));
        }
    }
    Ok(())
}

/// `\DosDevices\C:`
fn drive_letter(name: &str) -> Option<char> {
    const BEGIN: &str = "\\DosDevices\\";
    let (begin, rest) = name.split_at_checked(BEGIN.len())?;
    let mut rest = rest.chars();
    let letter = rest.next().filter(char::is_ascii_alphabetic)?;
    (begin.eq_ignore_ascii_case(BEGIN) && rest.next() == Some(':')).then_some(letter)
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
    let table = guest.part_get_parttype(&disk)?;
    if let Some(guid) = data.strip_prefix(b"DMIO:ID:") {
        let Some(guid) = guid.get(..16).and_then(shown_guid).filter(|_| table == "gpt") else {
            return Ok(false);
        };
        return Ok(guest.part_get_gpt_guid(&disk, number)?.to_string().eq_ignore_ascii_case(&guid));
    }
    let (Some(id), Some(start)) = (data.get(..4), data.get(4..12)) else { return Ok(false) };
    if data.len() != 12 || table != "msdos" || guest.pread_device(&disk, 4, 440)? != id {
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
    use proptest::prelude::*;

    #[test]
    fn guids_are_written_the_usual_way() {
        let bytes =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(shown_guid(&bytes).as_deref(), Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        assert_eq!(shown_guid(&bytes[1..]), None);
    }

    #[test]
    fn boot_menus_name_directories() {
        let text = "[boot loader]\r\ntimeout=30\r\n[operating systems]\r\n\
            multi(0)disk(0)rdisk(0)partition(1)\\WINXP=\"Windows XP\" /fastdetect\r\n\
            scsi(0)disk(0)rdisk(0)partition(2)\\A\\B=\"x\"\r\nmulti(0)nonsense\r\nC:\\CMDCONS\\=\"x\"\r\nmulti(0)partition(1)\\NO=x\r\n";
        assert_eq!(boot_ini(text), ["/WINXP", "/A/B"]);
        assert!(boot_ini("[operating systems]").is_empty() && boot_ini("").is_empty());
    }

    #[test]
    fn drives_have_letters() {
        assert_eq!(drive_letter("\\DosDevices\\C:"), Some('C'));
        assert_eq!(drive_letter("\\dosdevices\\d:"), Some('d'));
        for name in
            ["\\DosDevices\\CC", "\\DosDevices\\1:", "\\??\\Volume{}", "\\DosDevices\\", "\\DosDevicesé"]
        {
            assert_eq!(drive_letter(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_menu_surprises(text in "(\\[operating systems\\]|multi\\(|scsi\\(|partition\\(|[)=\\\\\r\n0-9a-zé])*", name in any::<String>()) {
            for root in boot_ini(&text) {
                prop_assert!(root.starts_with('/'));
            }
            drive_letter(&name);
            drive_letter(&format!("\\DosDevices\\{name}"));
        }
    }
}
