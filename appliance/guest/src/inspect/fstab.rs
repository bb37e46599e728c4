//! `/etc/fstab`: what a guest mounts, and which of our devices its names mean.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// What is mounted: a device, or `UUID=...` and the like.
    pub(super) spec: String,
    /// Where.
    pub(super) point: String,
    /// The type of the file system.
    pub(super) kind: String,
    /// Not mounted when the guest boots.
    pub(super) no_auto: bool,
    /// The subvolume of the device.
    pub(super) subvolume: Option<String>,
}

impl Entry {
    /// Things that lie on no disk.
    pub(super) fn is_virtual(&self) -> bool {
        const KINDS: [&str; 9] =
            ["proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "swap", "nfs", "nfs4", "cifs"];
        KINDS.contains(&self.kind.as_str())
            || self.spec.starts_with("/dev/cdrom")
            || self.spec.starts_with("/dev/fd")
    }
}

/// Reads the table. Lines that make no sense are skipped, as `mount -a` does.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let spec = unescape(fields.next()?);
            let point = unescape(fields.next()?);
            let kind = fields.next()?.to_owned();
            let options = fields.next().unwrap_or_default();
            let no_auto = options.split(',').any(|option| option == "noauto");
            let named = options.split(',').find_map(|option| option.strip_prefix("subvol="));
            let subvolume = named.map(|name| name.trim_start_matches('/').to_owned());
            Some(Entry { spec, point, kind, no_auto, subvolume })
        })
        .collect()
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

/// The device that an entry means: by UUID or label, or by place (`/dev/vda2` is our second partition of the
/// first disk, whatever bus the guest has it on); of btrfs the subvolume on it.
pub(super) fn find_device(
    guest: &dyn Actions,
    entry: &Entry,
    filesystems: &[(GuestString, GuestString)],
) -> Result<Option<String>> {
    let names: Vec<String> = filesystems.iter().map(|(device, _)| device.to_string()).collect();
    let device = whole_device(guest, &entry.spec, &names)?;
    let (Some(device), Some(subvolume)) = (&device, &entry.subvolume) else { return Ok(device) };
    let mountable = format!("btrfsvol:{device}/{subvolume}");
    Ok(Some(if names.contains(&mountable) { mountable } else { device.clone() }))
}

fn whole_device(guest: &dyn Actions, spec: &str, names: &[String]) -> Result<Option<String>> {
    if let Some((tag, value)) = spec.split_once('=') {
        let value = value.trim_matches('"');
        for device in names.iter().filter(|name| name.starts_with('/')) {
            let found = match tag {
                "UUID" => guest.vfs_uuid(device.as_str()),
                "LABEL" => guest.vfs_label(device.as_str()),
                "PARTUUID" | "PARTLABEL" => partition_tag(guest, tag, device),
                _ => return Ok(None),
            };
            match found {
                Ok(text) if text.to_string().eq_ignore_ascii_case(value) => return Ok(Some(device.clone())),
                Ok(_) | Err(Error::Action { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        return Ok(None);
    }
    let place =
        ["/dev/sd", "/dev/vd", "/dev/hd", "/dev/xvd"].iter().find_map(|prefix| spec.strip_prefix(prefix));
    let wanted = match place {
        Some(rest) => format!("/dev/sd{rest}"),
        None => match spec.strip_prefix("/dev/mapper/") {
            // Two dashes stand for one, a single one separates group and volume.
            Some(mapped) => {
                let (group, volume) = split_mapped(mapped);
                format!("/dev/{group}/{volume}")
            }
            None => spec.to_owned(),
        },
    };
    Ok(names.iter().find(|device| **device == wanted).cloned())
}

/// What the partition table says about the partition that a device is.
fn partition_tag(guest: &dyn Actions, tag: &str, device: &str) -> Result<GuestString> {
    let disk = guest.part_to_dev(device)?;
    let number = guest.part_to_partnum(device)?;
    if tag == "PARTUUID" { guest.part_get_gpt_guid(disk, number) } else { guest.part_get_name(disk, number) }
}

fn split_mapped(name: &str) -> (String, String) {
    let marked = name.replace("--", "\0");
    let (group, volume) = marked.split_once('-').unwrap_or((&marked, ""));
    (group.replace('\0', "-"), volume.replace('\0', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_mount_reads_them() {
        let text = "# comment\nUUID=ab / ext4 errors=remount-ro 0 1\n\n/dev/vdb1 /srv/my\\040data btrfs noauto,subvol=/a/b 0 0\nbroken\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].spec.as_str(), entries[0].no_auto), ("UUID=ab", false));
        assert_eq!((entries[1].point.as_str(), entries[1].no_auto), ("/srv/my data", true));
        assert_eq!((entries[0].subvolume.as_deref(), entries[1].subvolume.as_deref()), (None, Some("a/b")));
        assert_eq!(split_mapped("my--group-root"), ("my-group".to_owned(), "root".to_owned()));
    }
}
