//! What is mounted before the work begins: a device that was named, or the operating system found.

use anyhow::{Result, bail};
use guest::Guest;
use guest::inspect::{self, System};
use guestd_api::prelude::*;

use crate::Usage;

/// `DEV[:DIR[:OPTIONS[:TYPE]]]`, as given to `-m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    device: String,
    point: String,
    options: String,
    kind: String,
}

impl MountSpec {
    /// The device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Takes the text apart; the mount point is `/` unless said.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (device, point, options, kind) = (next(), next(), next(), next());
        MountSpec { device, point: if point.is_empty() { "/".to_owned() } else { point }, options, kind }
    }

    /// Mounts it.
    ///
    /// # Errors
    /// When that fails.
    pub fn mount(&self, guest: &dyn Actions, read_only: bool) -> Result<()> {
        let (device, point) = (self.device.as_str(), self.point.as_str());
        match (self.options.as_str(), self.kind.as_str()) {
            ("", "") if read_only => guest.mount_ro(device, point),
            ("", "") => guest.mount(device, point),
            (options, "") => guest.mount_options(options, device, point),
            (options, kind) => guest.mount_vfs(options, kind, device, point),
        }?;
        Ok(())
    }
}

/// Mounts what was named, in order.
///
/// # Errors
/// When something cannot be mounted; with what could be instead.
pub fn mount_all(guest: &Guest, mounts: &[MountSpec], read_only: bool, program: &str) -> Result<()> {
    for mount in mounts {
        if let Err(error) = mount.mount(guest, read_only) {
            let others = others(guest, mount.device(), program);
            return Err(Usage(format!("libguestfs: error: {}\n{others}", cli::error::chain(&error))).into());
        }
    }
    Ok(())
}

/// What could be mounted instead.
fn others(guest: &Guest, device: &str, program: &str) -> String {
    let mut text = format!("{program}: ‘{device}’ could not be mounted.");
    let others = guest.list_filesystems().unwrap_or_default();
    if !others.is_empty() {
        text.push_str(&format!("\n{program}: Did you mean to mount one of these filesystems?"));
    }
    for (name, kind) in others {
        text.push_str(&format!("\n{program}: \t{name} ({kind})"));
    }
    text
}

/// Finds the one operating system of a guest, which is then known to its actions, and mounts it; what could not be
/// mounted of it is told on standard error.
///
/// # Errors
/// When there is none, or more than one.
pub fn mount_system(guest: &Guest, read_only: bool, program: &str) -> Result<System> {
    let mut systems = guest.inspect()?;
    let system = match systems.len() {
        1 => systems.remove(0),
        0 => bail!(Usage(format!(
            "{program}: no operating system was found on this disk\n\n\
             virt-filesystems shows what the disk holds. Where a tool has -m, that mounts a file system of it\n\
             without looking for a system; in guestfish, 'run' and 'mount-ro' do."
        ))),
        n => bail!(Usage(format!(
            "{program}: multi-boot operating systems are not supported\n\n\
             {n} were found, on {}. Where a tool has -m, that mounts the one that is meant; in guestfish,\n\
             'run' and 'mount-ro' do.",
            systems.iter().map(|s| s.root.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    };
    for missing in &system.missing {
        eprintln!("{program}: warning: {missing} is not on these disks");
    }
    for warning in inspect::mount(guest, &system, read_only)? {
        eprintln!("{program}: warning: {warning}");
    }
    Ok(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_may_be_left_out() {
        let spec = |text| {
            let m = MountSpec::parse(text);
            [m.device, m.point, m.options, m.kind].join("|")
        };
        assert_eq!(spec("/dev/sda1"), "/dev/sda1|/||");
        assert_eq!(spec("/dev/sda1:/boot"), "/dev/sda1|/boot||");
        assert_eq!(spec("/dev/sda1::ro,acl:ext4"), "/dev/sda1|/|ro,acl|ext4");
    }
}
