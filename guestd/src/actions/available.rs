//! What this appliance can do.

use crate::modules;
use crate::worker::Worker;
use guestd_api::actions::available::Server;
use guestd_api::{Failure, GuestString};

/// What a feature needs: a program of the tools, or a type of file system in the kernel.
enum Needs {
    Program(&'static str),
    FileSystem(&'static str),
    Nothing,
}

/// The features that can be asked for, by name.
const FEATURES: &[(&str, Needs)] = &[
    ("acl", Needs::Nothing),
    ("augeas", Needs::Program("augtool")),
    ("blkdiscard", Needs::Nothing),
    ("blkdiscardzeroes", Needs::Nothing),
    ("btrfs", Needs::Program("btrfs")),
    ("clevisluks", Needs::Program("clevis-luks-unlock")),
    ("extlinux", Needs::Program("extlinux")),
    ("f2fs", Needs::Program("resize.f2fs")),
    ("fstrim", Needs::Nothing),
    ("gdisk", Needs::Program("sgdisk")),
    ("grub", Needs::Program("grub-install")),
    ("hivex", Needs::Nothing),
    ("inotify", Needs::Nothing),
    ("journal", Needs::Nothing),
    ("ldm", Needs::Program("ldmtool")),
    ("libtsk", Needs::Program("fls")),
    ("libyara", Needs::Program("yara")),
    ("linuxcaps", Needs::Program("setcap")),
    ("linuxfsuuid", Needs::Program("mkswap")),
    ("linuxmodules", Needs::Nothing),
    ("linuxxattrs", Needs::Nothing),
    ("luks", Needs::Program("cryptsetup")),
    ("lvm2", Needs::Program("lvm")),
    ("mdadm", Needs::Program("mdadm")),
    ("mknod", Needs::Nothing),
    ("ntfs3g", Needs::Program("ntfs-3g.probe")),
    ("ntfsprogs", Needs::Program("ntfsresize")),
    ("rsync", Needs::Program("rsync")),
    ("scrub", Needs::Program("scrub")),
    ("selinux", Needs::Nothing),
    ("selinuxrelabel", Needs::Program("setfiles")),
    ("sleuthkit", Needs::Program("icat")),
    ("squashfs", Needs::Program("mksquashfs")),
    ("syslinux", Needs::Program("extlinux")),
    ("wipefs", Needs::Program("wipefs")),
    ("xfs", Needs::FileSystem("xfs")),
    ("xz", Needs::Program("xz")),
    ("zerofree", Needs::Program("zerofree")),
];

impl Worker {
    /// `None` for a name that nobody knows.
    fn has(&self, group: &GuestString) -> Result<Option<bool>, Failure> {
        let Some((_, needs)) = FEATURES.iter().find(|(name, _)| *group == **name) else { return Ok(None) };
        match needs {
            Needs::Program(name) => self.agent.tools.find(name).map(|found| Some(found.is_some())),
            Needs::FileSystem(kind) => modules::filesystem_known(&self.agent, kind).map(Some),
            Needs::Nothing => Ok(Some(true)),
        }
    }
}

impl Server for Worker {
    fn available(&self, groups: Vec<GuestString>) -> Result<(), Failure> {
        for group in &groups {
            match self.has(group)? {
                Some(true) => {}
                Some(false) => return Err(Failure::new(format!("{group}: group not available"))),
                None => return Err(Failure::new(format!("{group}: unknown group"))),
            }
        }
        Ok(())
    }

    fn feature_available(&self, groups: Vec<GuestString>) -> Result<bool, Failure> {
        for group in &groups {
            match self.has(group)? {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => return Err(Failure::new(format!("{group}: unknown group"))),
            }
        }
        Ok(true)
    }

    fn available_all_groups(&self) -> Result<Vec<GuestString>, Failure> {
        Ok(FEATURES.iter().map(|(name, _)| GuestString::from(*name)).collect())
    }

    fn filesystem_available(&self, filesystem: GuestString) -> Result<bool, Failure> {
        let kind = filesystem.to_string_lossy();
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Failure::new("filesystem name contains non-alphanumeric characters"));
        }
        modules::filesystem_known(&self.agent, &kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_table_can_be_asked_for() {
        for feature in guestd_api::commands().filter_map(|command| command.feature) {
            assert!(FEATURES.iter().any(|(name, _)| *name == feature), "'{feature}' has no test of presence");
        }
    }
}
