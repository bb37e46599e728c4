//! New disks for `-N`: made on the host before the launch, filled by actions after it.

use anyhow::{Result, anyhow, bail};
use guestd_api::actions::host_disk::DiskCreateOptions;
use guestd_api::actions::launch::AddDriveOptions;
use guestd_api::actions::mkfs::MkfsOptions;
use guestd_api::prelude::*;
use guestd_api::words;

/// A kind of disk.
struct Kind {
    name: &'static str,
    summary: &'static str,
    /// Parameters in order: name, what it is, what it is by itself.
    parameters: &'static [(&'static str, &'static str, &'static str)],
    text: &'static str,
}

const SIZE: (&str, &str, &str) = ("size", "size of the disk", "1G");
const TABLE: (&str, &str, &str) = ("partition", "kind of the partition table", "mbr");
const FILE_SYSTEM: (&str, &str, &str) = ("filesystem", "kind of the file system", "ext2");
const VOLUME: (&str, &str, &str) = ("name", "name of the volume", "/dev/VG/LV");
const BOOT: (&str, &str, &str) = ("bootfs", "kind of the file system for /boot", "ext2");
const ROOT: (&str, &str, &str) = ("rootfs", "kind of the root file system", "ext2");
const BOOT_SIZE: (&str, &str, &str) = ("bootsize", "size of the file system for /boot", "128M");

static KINDS: &[Kind] = &[
    Kind { name: "disk", summary: "an empty disk", parameters: &[SIZE], text: "Nothing is on it." },
    Kind {
        name: "part",
        summary: "a disk with one partition",
        parameters: &[SIZE, TABLE],
        text: "The partition takes the whole disk.",
    },
    Kind {
        name: "fs",
        summary: "a file system",
        parameters: &[FILE_SYSTEM, SIZE, TABLE],
        text: "It lies in the one partition of the disk.",
    },
    Kind {
        name: "lv",
        summary: "a logical volume",
        parameters: &[VOLUME, SIZE, TABLE],
        text: "The one partition of the disk holds a volume group, and that one volume.",
    },
    Kind {
        name: "lvfs",
        summary: "a file system in a logical volume",
        parameters: &[VOLUME, FILE_SYSTEM, SIZE, TABLE],
        text: "The one partition of the disk holds a volume group, and that one volume the file system.",
    },
    Kind {
        name: "bootroot",
        summary: "file systems for /boot and /",
        parameters: &[BOOT, ROOT, SIZE, BOOT_SIZE, TABLE],
        text: "Each lies in a partition of its own.",
    },
    Kind {
        name: "bootrootlv",
        summary: "file systems for /boot and /, the latter in a logical volume",
        parameters: &[VOLUME, BOOT, ROOT, SIZE, BOOT_SIZE, TABLE],
        text: "The first partition holds /boot, the second a volume group with the volume for /.",
    },
];

/// A disk that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    file: String,
    kind: &'static str,
    values: Vec<(&'static str, String)>,
}

/// What can be asked for.
pub(crate) fn help() -> String {
    let mut text = "Disks that can be made with -N:\n".to_owned();
    for kind in KINDS {
        let names: Vec<String> = kind.parameters.iter().map(|(name, _, _)| format!(":<{name}>")).collect();
        text.push_str(&format!(
            "\nguestfish -N {}{} - {}\n\n  {}\n\n",
            kind.name,
            names.concat(),
            kind.summary,
            kind.text
        ));
        for (name, what, value) in kind.parameters {
            text.push_str(&format!("    <{name}> {what} (default: {value})\n"));
        }
    }
    text.push_str(
        "\nThe first one is the file test1.img here, the second test2.img, and so on; a name may stand in front:\n\n  \
         guestfish -N blank.img=fs:ext4:500M\n\nA file of that name is overwritten.\n",
    );
    text
}

impl Prepared {
    /// `[FILE=]KIND[:PARAMETER...]`; `count` makes the file's name if there is none.
    pub(crate) fn parse(text: &str, count: usize) -> Result<Self> {
        // A name can have colons, but only before the sign.
        let (file, wish) = match text.split_once('=') {
            Some((file, wish)) => (file.to_owned(), wish),
            None => (format!("test{count}.img"), text),
        };
        let mut words = wish.split(':');
        let name = words.next().unwrap_or_default();
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            bail!(
                "-N parameter ‘{name}’: no such prepared disk image known.\nUse 'guestfish -N help' to list possible values for the -N parameter."
            );
        };
        let words: Vec<&str> = words.collect();
        if words.len() > kind.parameters.len() {
            bail!("-N parameter ‘{name}’: it has at most {} parameters", kind.parameters.len());
        }
        let value = |(at, (name, _, usual)): (usize, &(&'static str, &str, &str))| {
            (*name, words.get(at).filter(|word| !word.is_empty()).unwrap_or(usual).to_string())
        };
        Ok(Prepared {
            file,
            kind: kind.name,
            values: kind.parameters.iter().enumerate().map(value).collect(),
        })
    }

    fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn bytes(&self, name: &str) -> Result<i64> {
        let word = GuestString::from(self.value(name));
        words::integer(name, &word).map_err(|error| anyhow!("-N {}: {error}", self.kind))
    }

    /// Makes the image and adds it.
    pub(crate) fn add(&self, guest: &dyn Actions) -> Result<()> {
        let size = self.bytes("size")?;
        guest.disk_create(&self.file, "raw", size, DiskCreateOptions::default())?;
        Ok(guest.add_drive(&self.file, AddDriveOptions::default().format("raw"))?)
    }

    /// Fills the disk, once the guest was launched.
    pub(crate) fn fill(&self, guest: &dyn Actions, device: &str) -> Result<()> {
        let table = self.value("partition");
        let first = format!("{device}1");
        let mkfs = |kind: &str, device: &str| guest.mkfs(kind, device, MkfsOptions::default());
        match self.kind {
            "disk" => {}
            "part" => guest.part_disk(device, table)?,
            "fs" => {
                guest.part_disk(device, table)?;
                mkfs(self.value("filesystem"), &first)?;
            }
            "lv" | "lvfs" => {
                guest.part_disk(device, table)?;
                let volume = self.make_volume(guest, &first)?;
                if self.kind == "lvfs" {
                    mkfs(self.value("filesystem"), &volume)?;
                }
            }
            _ => self.fill_boot_and_root(guest, device, table)?,
        }
        Ok(())
    }

    fn fill_boot_and_root(&self, guest: &dyn Actions, device: &str, table: &str) -> Result<()> {
        /// Where the first partition begins, in sectors.
        const START: i64 = 2048;
        /// What the second table of a GPT needs at the end.
        const END: i64 = 64;
        let sector = i64::from(guest.blockdev_getss(device)?.max(512));
        let boot_end = self
            .bytes("bootsize")?
            .checked_div(sector)
            .and_then(|sectors| sectors.checked_add(START - 1))
            .ok_or_else(|| anyhow!("-N {}: the size of /boot is too large", self.kind))?;
        guest.part_init(device, table)?;
        guest.part_add(device, "p", START, boot_end)?;
        guest.part_add(device, "p", boot_end.saturating_add(1), -END)?;
        let (boot, second) = (format!("{device}1"), format!("{device}2"));
        let root = if self.kind == "bootrootlv" { self.make_volume(guest, &second)? } else { second };
        guest.mkfs(self.value("bootfs"), &boot, MkfsOptions::default())?;
        guest.mkfs(self.value("rootfs"), &root, MkfsOptions::default())?;
        Ok(())
    }

    /// Makes a volume group of one volume; returns the volume's device.
    fn make_volume(&self, guest: &dyn Actions, partition: &str) -> Result<String> {
        let name = self.value("name");
        let path = name.strip_prefix("/dev/").unwrap_or(name);
        let parts = path.split_once('/').filter(|(group, volume)| !group.is_empty() && !volume.is_empty());
        let Some((group, volume)) = parts.filter(|(_, volume)| !volume.contains('/')) else {
            bail!("-N {}: '{name}' is not the name of a volume, such as /dev/VG/LV", self.kind)
        };
        guest.pvcreate(partition)?;
        guest.vgcreate(group, &[partition])?;
        guest.lvcreate_free(volume, group, 100)?;
        Ok(format!("/dev/{group}/{volume}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_defaults() {
        let parsed = Prepared::parse("a:b.img=fs:xfs::gpt", 1).unwrap();
        assert_eq!((parsed.file.as_str(), parsed.kind), ("a:b.img", "fs"));
        assert_eq!(
            (parsed.value("filesystem"), parsed.value("size"), parsed.value("partition")),
            ("xfs", "1G", "gpt")
        );
        assert_eq!(Prepared::parse("disk", 3).unwrap().file, "test3.img");
        assert_eq!(Prepared::parse("disk:10M", 1).unwrap().bytes("size").unwrap(), 10 << 20);
        assert!(Prepared::parse("disk:1:2", 1).is_err() && Prepared::parse("cloud", 1).is_err());
        assert!(Prepared::parse("disk:x", 1).unwrap().bytes("size").is_err());
        for kind in KINDS {
            assert!(help().contains(&format!("-N {}", kind.name)));
        }
    }
}
