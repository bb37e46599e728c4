//! What is mounted before the work begins: a device that was named, or the operating system found.

use anyhow::{Context, Result, bail};
use guest::Guest;
use guest::inspect::{self, System};
use guestd_api::prelude::*;

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
        let done = match (self.options.as_str(), self.kind.as_str()) {
            ("", "") if read_only => guest.mount_ro(device, point),
            ("", "") => guest.mount(device, point),
            (options, "") => guest.mount_options(options, device, point),
            (options, kind) => guest.mount_vfs(options, kind, device, point),
        };
        done.with_context(|| format!("{device} cannot be mounted on {point}"))
    }
}

/// Finds the one operating system of a guest, which is then known to its actions, and mounts it; what could not be mounted of it is told on
/// standard error.
///
/// # Errors
/// When there is none, or more than one.
pub fn mount_system(guest: &Guest, read_only: bool, program: &str) -> Result<System> {
    let mut systems = guest.inspect()?;
    let system = match systems.len() {
        0 => bail!("no operating system was found on this disk"),
        1 => systems.remove(0),
        n => bail!(
            "{n} operating systems were found, on {}: choose one by mounting it with -m",
            systems.iter().map(|s| s.root.as_str()).collect::<Vec<_>>().join(", ")
        ),
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
