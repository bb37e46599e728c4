//! Subvolumes of btrfs.

use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, MountableOrPath, Worker};
use guestd_api::actions::btrfs::{BtrfsSubvolumeCreateOptions, BtrfsSubvolumeSnapshotOptions, Server};
use guestd_api::structs::Btrfssubvolume;
use guestd_api::{Failure, GuestString};
use rustix::mount::MountFlags;
use std::path::Path;

impl Worker {
    /// Calls with a directory of a btrfs as tools see it. A file system that is not mounted in the guest is
    /// mounted for the time of the call.
    pub(super) fn on_btrfs<T>(
        &self,
        fs: &MountableOrPath,
        flags: MountFlags,
        act: impl FnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match fs {
            MountableOrPath::Path(path) => act(&self.outside_plain(path)?),
            MountableOrPath::Mountable(mountable) => self.on_btrfs_device(&mountable.device, flags, act),
        }
    }

    /// See [`Worker::on_btrfs`].
    pub(super) fn on_btrfs_device<T>(
        &self,
        device: &Device,
        flags: MountFlags,
        act: impl FnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.refuse_raid6(device, "btrfs")?;
        self.want_all_devices(device)?;
        self.with_mounted(device, "btrfs", flags, act)
    }

    /// The subvolumes of the btrfs that a directory is on.
    pub(super) fn subvolumes(&self, place: &Path) -> Result<Vec<Btrfssubvolume>, Failure> {
        let text = self.tool("btrfs")?.args(["subvolume", "list"]).arg(place).run()?;
        let parse = |line: &GuestString| {
            subvolume(line)
                .ok_or_else(|| Failure::new(format!("btrfs subvolume list: unexpected line '{line}'")))
        };
        super::lines(&text).iter().map(parse).collect()
    }

    /// The number of the subvolume that is mounted when none is named.
    pub(super) fn default_subvolume(&self, place: &Path) -> Result<u64, Failure> {
        let text = self.tool("btrfs")?.args(["subvolume", "get-default"]).arg(place).run()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let id = text
            .strip_prefix("ID ")
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|id| id.parse().ok());
        id.ok_or_else(|| {
            Failure::new(format!("btrfs subvolume get-default: unexpected answer '{}'", text.trim_end()))
        })
    }
}

/// `ID 256 gen 9 top level 5 path the/path`
fn subvolume(line: &GuestString) -> Option<Btrfssubvolume> {
    let at = line.as_bytes().windows(6).position(|window| window == b" path ")?;
    let (head, path) = line.as_bytes().split_at(at);
    let words: Vec<&str> = std::str::from_utf8(head).ok()?.split_whitespace().collect();
    let after = |name: &str| words.iter().skip_while(|word| **word != name).nth(1)?.parse().ok();
    Some(Btrfssubvolume {
        btrfssubvolume_id: after("ID")?,
        btrfssubvolume_top_level_id: after("level")?,
        btrfssubvolume_path: path.get(6..)?.into(),
    })
}

impl Server for Worker {
    fn btrfs_subvolume_list(&self, fs: MountableOrPath) -> Result<Vec<Btrfssubvolume>, Failure> {
        self.on_btrfs(&fs, MountFlags::RDONLY, |place| self.subvolumes(place))
    }

    fn btrfs_subvolume_create(
        &self,
        dest: GuestPath,
        opts: BtrfsSubvolumeCreateOptions,
    ) -> Result<(), Failure> {
        let mut program = self.tool("btrfs")?.args(["subvolume", "create"]);
        if let Some(group) = &opts.qgroupid {
            program = program.arg("-i").arg(group.as_os_str());
        }
        program.arg(self.outside_entry(&dest)?).run().map(|_| ())
    }

    fn btrfs_subvolume_delete(&self, subvolume: GuestPath) -> Result<(), Failure> {
        self.tool("btrfs")?
            .args(["subvolume", "delete"])
            .arg(self.outside_directory(&subvolume)?)
            .run()
            .map(|_| ())
    }

    fn btrfs_subvolume_snapshot(
        &self,
        source: GuestPath,
        dest: GuestPath,
        opts: BtrfsSubvolumeSnapshotOptions,
    ) -> Result<(), Failure> {
        let mut program = self.tool("btrfs")?.args(["subvolume", "snapshot"]);
        if opts.ro.unwrap_or(false) {
            program = program.arg("-r");
        }
        if let Some(group) = &opts.qgroupid {
            program = program.arg("-i").arg(group.as_os_str());
        }
        program.arg(self.outside_directory(&source)?).arg(self.outside(&dest)?).run().map(|_| ())
    }

    fn btrfs_subvolume_get_default(&self, fs: MountableOrPath) -> Result<i64, Failure> {
        self.on_btrfs(&fs, MountFlags::RDONLY, |place| self.default_subvolume(place)).map(u64::cast_signed)
    }

    fn btrfs_subvolume_set_default(&self, id: i64, fs: GuestPath) -> Result<(), Failure> {
        let place = self.outside_directory(&fs)?;
        self.tool("btrfs")?.args(["subvolume", "set-default", &id.to_string()]).arg(place).run().map(|_| ())
    }

    fn btrfs_subvolume_show(&self, subvolume: GuestPath) -> Result<Vec<(GuestString, GuestString)>, Failure> {
        let place = self.outside_directory(&subvolume)?;
        let text = self.tool("btrfs")?.args(["subvolume", "show"]).arg(place).run();
        text.map(|text| details(&text)).map_err(about(shown(&subvolume)))
    }
}

/// The path, then `Name: value` lines; under the last name but those of quotas the snapshots, a path a line.
fn details(text: &[u8]) -> Vec<(GuestString, GuestString)> {
    const AFTER: &[&[u8]] =
        &[b"Quota group", b"Limit referenced", b"Limit exclusive", b"Usage referenced", b"Usage exclusive"];
    let lines = super::trimmed_lines(text);
    let mut lines = lines.iter().map(GuestString::as_bytes);
    let mut pairs: Vec<(GuestString, GuestString)> = Vec::new();
    pairs.extend(lines.next().map(|path| ("path".into(), path.into())));
    let mut snapshots: Option<Vec<u8>> = None;
    for line in lines {
        let cut = line.iter().position(|byte| *byte == b':');
        let (name, value) = cut.and_then(|at| line.split_at_checked(at)).unwrap_or((line, b""));
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        match &mut snapshots {
            _ if name == b"Snapshot(s)" => snapshots = Some(Vec::new()),
            Some(paths) if !AFTER.contains(&name) => {
                if !paths.is_empty() {
                    paths.push(b',');
                }
                paths.extend_from_slice(line);
            }
            _ => {
                pairs.extend(snapshots.take().map(|paths| ("Snapshot(s)".into(), paths.into())));
                pairs.push((name.into(), if value == b"-" { "".into() } else { value.into() }));
            }
        }
    }
    pairs.extend(snapshots.map(|paths| ("Snapshot(s)".into(), paths.into())));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_a_subvolume() {
        let text = b"home\n\tName: \t\t\thome\n\tParent UUID: \t\t-\n\tSnapshot(s):\n\t\t\t\tsnap:1\n\t\t\t\tsnap2\n\tQuota group:\t\tn/a\n";
        let shown: Vec<_> = details(text).iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            shown,
            ["path=home", "Name=home", "Parent UUID=", "Snapshot(s)=snap:1,snap2", "Quota group=n/a"]
        );
    }
}
