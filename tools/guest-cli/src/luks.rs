//! Encrypted devices: opened before an operating system is searched, with the keys that there are.

use anyhow::{Result, bail};
use guestd_api::prelude::*;
use guestd_api::{Error, find};

use crate::keys::Keys;

/// Opens every encrypted partition, and then every encrypted volume: those may lie in the partitions.
///
/// # Errors
/// When no key fits, or somebody should be asked and does not answer.
pub fn open_all(guest: &dyn Actions, keys: &Keys) -> Result<()> {
    let mut devices = guest.list_partitions()?;
    if devices.is_empty() {
        devices = guest.list_devices()?;
    }
    let opened = open_encrypted(guest, keys, &devices)?;
    if opened || any_physical_volume(guest, &devices)? {
        guest.lvm_scan(true)?;
        open_encrypted(guest, keys, &guest.lvs()?)?;
    }
    Ok(())
}

fn any_physical_volume(guest: &dyn Actions, devices: &[GuestString]) -> Result<bool> {
    for device in devices {
        if kind_of(guest, device)? == "LVM2_member" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is in a device, if that can be told.
fn kind_of(guest: &dyn Actions, device: &GuestString) -> Result<GuestString> {
    match guest.vfs_type(device) {
        Err(Error::Action { .. }) => Ok(GuestString::default()),
        other => Ok(other?),
    }
}

/// Opens those of the devices that are encrypted. Returns whether there were any.
fn open_encrypted(guest: &dyn Actions, keys: &Keys, devices: &[GuestString]) -> Result<bool> {
    let mut opened = false;
    for device in devices {
        let kind = kind_of(guest, device)?;
        if kind == "crypto_LUKS" || kind == "BitLocker" {
            open(guest, keys, &device.to_string())?;
            opened = true;
        }
    }
    Ok(opened)
}

fn open(guest: &dyn Actions, keys: &Keys, device: &str) -> Result<()> {
    let Some(command) = find("cryptsetup_open") else {
        bail!("{device} is encrypted, and this appliance cannot open it");
    };
    let uuid = guest.vfs_uuid(device).map(|uuid| uuid.to_string()).unwrap_or_default();
    let mut given = keys.for_device(device, &uuid)?;
    if given.is_empty() {
        given.push(keys.ask(device)?);
    }
    let name = format!("luks-{}", if uuid.is_empty() { device.replace('/', "-") } else { uuid });
    let mut failed = None;
    for key in given {
        let words = [device.into(), name.as_str().into()];
        let request = command.parse(&words, &mut |_| Ok(key.clone()))?;
        match guest.call(&request.call, &mut Context::default()) {
            Ok(_) => return Ok(()),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => bail!(
            "could not find key to open LUKS encrypted {device}.\n\nTry using --key on the command line.\n\nOriginal error: {error} (0)"
        ),
        None => Ok(()),
    }
}
