//! Encrypted devices: opened before an operating system is searched, with the keys that there are.

use anyhow::{Result, bail};
use guestd_api::prelude::*;
use guestd_api::{Error, find};

use crate::keys::Keys;

/// Opens every encrypted partition or volume.
///
/// # Errors
/// When no key fits, or somebody should be asked and does not answer.
pub(crate) fn open_all(guest: &dyn Actions, keys: &Keys) -> Result<()> {
    let mut devices = guest.list_partitions()?;
    if devices.is_empty() {
        devices = guest.list_devices()?;
    }
    for device in devices {
        let device = device.to_string();
        match guest.vfs_type(&device) {
            Ok(kind) if kind == "crypto_LUKS" || kind == "BitLocker" => open(guest, keys, &device)?,
            Ok(_) | Err(Error::Action { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
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
        Some(error) => bail!("could not find key to open LUKS encrypted {device}: {error}"),
        None => Ok(()),
    }
}
