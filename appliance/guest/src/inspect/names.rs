//! The names that operating systems have for disks and partitions, and what they are called here.
//!
//! Which bus a guest sees its disks on is not known, so its first disk is taken to be our first disk, whatever
//! its name. A name that follows no scheme is returned as it is.

use std::cell::RefCell;

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::fstab::Devices;
use super::text::read_text;

/// Devices, and the UUID or label of each.
type Tags = Vec<(String, String)>;

/// What there is, as far as names lead to it.
pub(super) struct Names {
    kind: &'static str,
    /// File systems and volumes, by our names.
    devices: Vec<String>,
    disks: Vec<String>,
    /// Lines of mdadm.conf: the guest's name of an array and its UUID.
    arrays: Vec<(String, String)>,
    /// Lines of crypttab: the name of an opened device and what it is opened from.
    opened: Vec<(String, String)>,
    /// UUIDs and labels that were asked for: the kind, and what each device has of it.
    tags: RefCell<Vec<(String, Tags)>>,
}

/// The device that a mountable lies on, if it is a subvolume; else itself.
pub(super) fn device_of(mountable: &str) -> &str {
    let Some(rest) = mountable.strip_prefix("btrfsvol:/dev/") else { return mountable };
    let (device, _) = rest.split_once('/').unwrap_or((rest, ""));
    mountable.get("btrfsvol:".len().."btrfsvol:/dev/".len() + device.len()).unwrap_or(mountable)
}

/// What there may be none of.
fn optional<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::Action { .. }) => Ok(T::default()),
        other => other,
    }
}

impl Names {
    /// Asks the guest that is mounted.
    pub(super) fn learn(guest: &dyn Actions, kind: &'static str, devices: &Devices) -> Result<Self> {
        let devices = devices.iter().map(|(device, _)| device.to_string());
        let mut arrays = Vec::new();
        for path in ["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"] {
            arrays.extend(read_text(guest, path)?.lines().filter_map(array));
        }
        let crypttab = read_text(guest, "/etc/crypttab")?;
        Ok(Names {
            kind,
            devices: devices.filter(|name| name.starts_with('/')).collect(),
            disks: guest.list_devices()?.iter().map(ToString::to_string).collect(),
            arrays,
            opened: crypttab.lines().filter_map(opened).collect(),
            tags: RefCell::default(),
        })
    }

    /// The device with this UUID or label.
    pub(super) fn tagged(&self, guest: &dyn Actions, tag: &str, value: &str) -> Result<Option<String>> {
        let mut tags = self.tags.borrow_mut();
        let known = match tags.iter().position(|(theirs, _)| theirs == tag) {
            Some(index) => index,
            None => {
                tags.push((tag.to_owned(), self.all_tags(guest, tag)?));
                tags.len() - 1
            }
        };
        // Some write the letters of a UUID large.
        let same = |theirs: &str| match tag.ends_with("LABEL") {
            true => theirs == value,
            false => theirs.eq_ignore_ascii_case(value),
        };
        let found = tags[known].1.iter().find(|(_, theirs)| !theirs.is_empty() && same(theirs));
        Ok(found.map(|(device, _)| device.clone()))
    }

    /// The UUIDs or labels of all devices: each is asked once, however often a table names it.
    fn all_tags(&self, guest: &dyn Actions, tag: &str) -> Result<Tags> {
        let mut all = Vec::new();
        for device in &self.devices {
            let found = match tag {
                "UUID" => guest.vfs_uuid(device.as_str()),
                "LABEL" => guest.vfs_label(device.as_str()),
                "PARTUUID" | "PARTLABEL" => partition_tag(guest, tag, device),
                _ => return Ok(all),
            };
            all.push((device.clone(), optional(found)?.to_string()));
        }
        Ok(all)
    }

    /// What a name below `/dev/` is called here.
    pub(super) fn resolve(&self, guest: &dyn Actions, spec: &str) -> Result<String> {
        let name = &spec["/dev/".len().min(spec.len())..];
        let found = if let Some(mapped) = name.strip_prefix("mapper/") {
            self.mapped(guest, mapped)?
        } else if let Some(uuid) = name.strip_prefix("disk/by-uuid/") {
            self.tagged(guest, "UUID", uuid)?
        } else if let Some(uuids) = name.strip_prefix("disk/by-id/dm-uuid-LVM-") {
            by_lvm_uuids(guest, uuids)?
        } else if name.starts_with("disk/by-id/") || name.starts_with("disk/by-path/") {
            self.only_disk(name)
        } else if name.strip_prefix("md").is_some_and(is_number) {
            self.array(guest, spec)?
        } else {
            self.placed(name)
        };
        Ok(found.unwrap_or_else(|| spec.to_owned()))
    }

    /// By place: which disk, and which partition on it.
    fn placed(&self, name: &str) -> Option<String> {
        let linux = || {
            let rest = ["hd", "sd", "vd", "xvd"].iter().find_map(|bus| name.strip_prefix(bus))?;
            let digits = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (letters, number) = rest.split_at(digits);
            let fits = !letters.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            fits.then_some(())?;
            Some(format!("{}{number}", self.disks.get(disk_index(letters)?)?))
        };
        match self.kind {
            "netbsd" => bsd_letter(name, &["ld", "sd", "wd"], |part| if part > 3 { part - 2 } else { part }),
            "openbsd" => bsd_letter(name, &["sd", "wd"], |part| if part > 2 { part - 1 } else { part }),
            _ => None,
        }
        .or_else(|| freebsd(name))
        .or_else(|| self.hurd(name))
        .or_else(linux)
    }

    /// `hd0s1`
    fn hurd(&self, name: &str) -> Option<String> {
        let (disk, part) = name.strip_prefix("hd")?.split_once('s')?;
        let fits = is_number(disk) && is_number(part);
        fits.then_some(())?;
        Some(format!("{}{part}", self.disks.get(disk.parse::<usize>().ok()?)?))
    }

    /// The name of a disk is lost, but if there is only one it is meant.
    fn only_disk(&self, name: &str) -> Option<String> {
        let (_, part) = name.rsplit_once("-part")?;
        match &self.disks[..] {
            [disk] if is_number(part) => Some(format!("{disk}{part}")),
            _ => None,
        }
    }

    /// A device of the mapper: one that the guest opens with a key, or a logical volume.
    fn mapped(&self, guest: &dyn Actions, name: &str) -> Result<Option<String>> {
        if let Some((_, from)) = self.opened.iter().find(|(opened, _)| opened == name) {
            let uuid = match from.split_once('=') {
                Some(("UUID", uuid)) => unquoted_uuid(uuid),
                _ if from.starts_with("/dev/") => {
                    let device = self.placed(&from["/dev/".len()..]).unwrap_or_else(|| from.clone());
                    optional(guest.vfs_uuid(device))?.to_string()
                }
                _ => String::new(),
            };
            let here = format!("/dev/mapper/luks-{uuid}");
            return Ok(self.devices.iter().find(|device| **device == here).cloned());
        }
        let is_it = |device: &&String| {
            device.strip_prefix("/dev/").and_then(|rest| rest.split_once('/')).is_some_and(
                |(group, volume)| {
                    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--")) == name
                },
            )
        };
        Ok(self.devices.iter().find(is_it).cloned())
    }

    fn array(&self, guest: &dyn Actions, spec: &str) -> Result<Option<String>> {
        let Some((_, uuid)) = self.arrays.iter().find(|(name, _)| name == spec) else { return Ok(None) };
        for device in optional(guest.list_md_devices())? {
            let detail = optional(guest.md_detail(&device))?;
            let theirs = detail.iter().find(|(key, _)| *key == "uuid");
            if theirs.and_then(|(_, text)| array_uuid(&text.to_string())).as_ref() == Some(uuid) {
                return Ok(Some(device.to_string()));
            }
        }
        Ok(None)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn unquoted_uuid(uuid: &str) -> String {
    uuid.trim_matches('"').to_ascii_lowercase()
}

/// `a` is 0, `z` 25, `aa` 26.
fn disk_index(letters: &str) -> Option<usize> {
    let mut index = 0_usize;
    for letter in letters.bytes() {
        index = index.checked_mul(26)?.checked_add(usize::from(letter - b'a') + 1)?;
    }
    index.checked_sub(1)
}

fn disk_letter(disk: &str) -> Option<char> {
    let disk: u8 = disk.parse().ok().filter(|&disk| disk < 26)?;
    Some(char::from(b'a' + disk))
}

/// The partitions within a BSD's one have letters; Linux numbers them from 5.
fn bsd_letter(name: &str, buses: &[&str], skip: fn(u8) -> u8) -> Option<String> {
    let rest = buses.iter().find_map(|bus| name.strip_prefix(bus))?;
    let [disk @ b'0'..=b'9', letter @ b'a'..=b'z'] = rest.as_bytes() else { return None };
    let part = skip(letter - b'a');
    Some(format!("/dev/sd{}{}", char::from(b'a' + (disk - b'0')), u32::from(part) + 5))
}

/// `ada0p2` with a GPT, `ada0s1a` with an MBR.
fn freebsd(name: &str) -> Option<String> {
    let rest = ["ada", "ad", "vtbd"].iter().find_map(|bus| name.strip_prefix(bus))?;
    if let Some((disk, part)) = rest.split_once('p') {
        let part: u8 = Some(part).filter(|part| is_number(part))?.parse().ok().filter(|&part| part <= 128)?;
        return Some(format!("/dev/sd{}{part}", disk_letter(disk)?));
    }
    // Only what the first slice holds is numbered like this.
    let (disk, part) = rest.split_once("s1")?;
    let [letter @ b'a'..=b'z'] = part.as_bytes() else { return None };
    let part = letter - b'a';
    // The third stands for the whole slice.
    let part = if part > 2 { part - 1 } else { part };
    Some(format!("/dev/sd{}{}", disk_letter(disk)?, u32::from(part) + 5))
}

/// Two UUIDs without dashes: the group's and the volume's.
fn by_lvm_uuids(guest: &dyn Actions, uuids: &str) -> Result<Option<String>> {
    let Some((group, volume)) = uuids.split_at_checked(32) else { return Ok(None) };
    let is_it = |found: &Option<GuestString>| {
        found.as_ref().map(|u| u.to_string().replace('-', "")) == Some(volume.to_owned())
    };
    for name in optional(guest.vgs())? {
        let theirs = optional(guest.vguuid(&name).map(Some))?;
        if theirs.map(|uuid| uuid.to_string().replace('-', "")).as_deref() != Some(group) {
            continue;
        }
        for device in optional(guest.lvs())? {
            let inside = device.to_string().starts_with(&format!("/dev/{name}/"));
            if inside && is_it(&optional(guest.lvuuid(&device).map(Some))?) {
                return Ok(Some(device.to_string()));
            }
        }
    }
    Ok(None)
}

/// What the partition table says about the partition that a device is.
fn partition_tag(guest: &dyn Actions, tag: &str, device: &str) -> Result<GuestString> {
    let disk = guest.part_to_dev(device)?;
    let number = guest.part_to_partnum(device)?;
    if tag == "PARTLABEL" {
        return guest.part_get_name(disk, number);
    }
    if guest.part_get_parttype(&disk)? == "gpt" {
        return guest.part_get_gpt_guid(disk, number);
    }
    // An MBR has a number, which stands for its partitions together with theirs.
    let id = guest.pread_device(disk, 4, 440)?;
    let id: String = id.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{id}-{number:02x}").into())
}

/// `ARRAY /dev/md0 metadata=1.2 UUID=...` of mdadm.conf.
fn array(line: &str) -> Option<(String, String)> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("array"))?;
    let name = words.next()?;
    let uuid = words.find_map(|word| {
        let (key, value) = word.split_once('=')?;
        key.eq_ignore_ascii_case("uuid").then_some(value)
    })?;
    Some((name.to_owned(), array_uuid(uuid)?))
}

/// The UUID of an array, whose digits are grouped in more than one way.
fn array_uuid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !":.- ".contains(*c)).collect();
    let fits = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| digits.to_ascii_lowercase())
}

/// `NAME DEVICE KEY OPTIONS` of crypttab.
fn opened(line: &str) -> Option<(String, String)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().filter(|name| !name.starts_with('#'))?;
    Some((name.to_owned(), words.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(kind: &'static str, disks: usize) -> Names {
        let disks = ["/dev/sda", "/dev/sdb"][..disks].iter().map(|disk| (*disk).to_owned()).collect();
        Names {
            kind,
            devices: Vec::new(),
            disks,
            arrays: Vec::new(),
            opened: Vec::new(),
            tags: RefCell::default(),
        }
    }

    #[test]
    fn places_have_many_names() {
        let of = |kind, name: &str| names(kind, 2).placed(name).unwrap_or_default();
        for (name, here) in [
            ("vda1", "/dev/sda1"),
            ("xvdb", "/dev/sdb"),
            ("hdb12", "/dev/sdb12"),
            ("sdc1", ""),
            ("sda-1", ""),
        ] {
            assert_eq!(of("linux", name), here, "{name}");
        }
        for (name, here) in
            [("ada1p2", "/dev/sdb2"), ("ada0s1a", "/dev/sda5"), ("vtbd0s1d", "/dev/sda7"), ("ada0s2a", "")]
        {
            assert_eq!(of("freebsd", name), here, "{name}");
        }
        for (name, here) in [("wd0a", "/dev/sda5"), ("ld1e", "/dev/sdb7"), ("wd0", "")] {
            assert_eq!(of("netbsd", name), here, "{name}");
        }
        assert_eq!(
            (of("openbsd", "wd0d"), of("hurd", "hd1s2")),
            ("/dev/sda7".to_owned(), "/dev/sdb2".to_owned())
        );
        assert_eq!(names("linux", 1).only_disk("disk/by-id/ata-X-part3").as_deref(), Some("/dev/sda3"));
        assert_eq!(names("linux", 2).only_disk("disk/by-id/ata-X-part3"), None);
        assert_eq!(device_of("btrfsvol:/dev/sda2/root/x"), "/dev/sda2");
        assert_eq!(device_of("/dev/sda2"), "/dev/sda2");
        let line = "ARRAY /dev/md0 metadata=1.2 UUID=aabbccdd:00112233:44556677:8899AABB name=x";
        assert_eq!(array(line), Some(("/dev/md0".into(), "aabbccdd00112233445566778899aabb".into())));
    }

    proptest! {
        #[test]
        fn no_name_surprises(name in "(sd|ada|hd|wd|s1|p|[a-z0-9/é-])*") {
            for kind in ["linux", "netbsd", "openbsd", "freebsd", "hurd"] {
                names(kind, 2).placed(&name);
                names(kind, 1).only_disk(&name);
            }
            device_of(&name);
            device_of(&format!("btrfsvol:/dev/{name}"));
            opened(&name);
            array(&name);
        }
    }
}
