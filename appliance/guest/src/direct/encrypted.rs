//! Encrypted devices that were opened: `/dev/mapper/NAME`.

use std::cell::RefCell;
use std::sync::Arc;

use guestd_api::actions::{luks, lvm};
use guestd_api::{Call, Failure, GuestString, Value};
use libimage::Block;
use libimage::error::Error;
use libimage::format::luks::{Luks, WRONG_PASSWORD};
use libimage::volume::lvm::KIND as PHYSICAL_VOLUME;

use super::device::Device;
use super::devices::Devices;
use super::vfs::Vfs;
use super::{Served, aside, text};

const MAPPER: &str = "/dev/mapper/";
/// The signature that probes report for what can be opened here.
const KIND: &str = "crypto_LUKS";

/// What cryptsetup says of a key that opens nothing.
const WRONG_KEY: &str = "cryptsetup exited with status 2: No key available with this passphrase.";

/// What was opened, in order.
#[derive(Default)]
pub(super) struct Opened(RefCell<Vec<Mapped>>);

struct Mapped {
    name: String,
    /// The kernel's number: major and minor.
    number: (u32, u32),
    block: Arc<dyn Block>,
    /// The device that holds it.
    device: String,
    /// What opened it.
    call: luks::Call,
    /// There are logical volumes in it.
    holds_volumes: bool,
}

impl Opened {
    /// What an appliance that takes over must be asked for, so that it has the same devices.
    pub(super) fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for mapped in self.0.borrow().iter() {
            calls.push(Call::Luks(mapped.call.clone()));
            // Here its volumes are there at once, there when they are asked for. The next one may lie in them.
            if mapped.holds_volumes {
                calls.push(Call::Lvm(lvm::Call::lvm_scan { activate: true }));
            }
        }
        calls
    }

    /// All of them, as devices, by name.
    pub(super) fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = self.0.borrow().iter().map(Mapped::device).collect();
        devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        devices
    }

    /// The one of a name.
    pub(super) fn find(&self, name: &str) -> Option<Device> {
        self.0.borrow().iter().find(|mapped| mapped.name == name).map(Mapped::device)
    }

    /// Whether what a device holds was opened. `is_it` knows the device by any of its names.
    pub(super) fn is_open(&self, is_it: impl Fn(&GuestString) -> bool) -> bool {
        self.0.borrow().iter().any(|mapped| is_it(&mapped.device.as_str().into()))
    }
}

impl Mapped {
    fn device(&self) -> Device {
        Device::mapped(self.name.clone(), self.number, Arc::clone(&self.block))
    }
}

/// Answers a call about encrypted devices. What is opened stays so if it is still needed.
pub(super) fn answer(devices: &Devices, vfs: &Vfs, call: &luks::Call, is_needed: bool) -> Served<Value> {
    use luks::Call;
    match call {
        Call::cryptsetup_open { device, key, mapname, opts } => {
            let is_usual = opts.cipher.is_none() && opts.crypttype.as_ref().is_none_or(|kind| kind == "luks");
            if !is_usual {
                return aside("cryptsetup knows what is asked for");
            }
            open(devices, call, device, key, mapname)
        }
        Call::luks_open { device, key, mapname } | Call::luks_open_ro { device, key, mapname } => {
            open(devices, call, device, key, mapname)
        }
        Call::cryptsetup_close { .. } | Call::luks_close { .. } if is_needed => aside("it may be in use"),
        Call::cryptsetup_close { device } | Call::luks_close { device } => close(devices, vfs, device),
        Call::luks_uuid { device } => match devices.find(device)?.content()? {
            Some(content) if content.kind == KIND => Ok(text(content.uuid.unwrap_or_default())),
            _ => aside("it is not encrypted with LUKS"),
        },
        _ => aside("cryptsetup answers it"),
    }
}

/// Opens a device. Whatever goes wrong is asked of the appliance, whose words users know.
fn open(
    devices: &Devices,
    call: &luks::Call,
    device: &GuestString,
    key: &GuestString,
    name: &GuestString,
) -> Served<Value> {
    let device = devices.find(device)?;
    match device.content()? {
        Some(content) if content.kind == KIND => {}
        _ => return aside(format!("{} is not encrypted with LUKS", device.name)),
    }
    let usual = devices.usual_name(&device.name.as_str().into())?;
    if devices.opened.is_open(|other| devices.usual_name(other).is_ok_and(|other| other == usual)) {
        return aside(format!("{} is open already", device.name));
    }
    devices.mapper();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let usual = name.to_str().filter(|name| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(is_plain)
    });
    let Some(name) = usual.map(|name| format!("{MAPPER}{name}")) else {
        return aside("its name is not a usual one");
    };
    if name == "/dev/mapper/control" || devices.opened.find(&name).is_some() || devices.has_volume(&name) {
        return aside(format!("there is {name} already"));
    }
    let luks = Luks::open(device.block()?, None, Some(key.as_bytes()), true);
    let block: Arc<dyn Block> = match luks {
        Ok(luks) => Arc::new(luks),
        // As cryptsetup says it: there may be another key to try.
        Err(Error::Invalid(why)) if why == WRONG_PASSWORD => {
            return Err(Failure::new(WRONG_KEY).into());
        }
        Err(error) => return aside(format!("{}: {error}", device.name)),
    };
    let number = devices.mapper_number(&name);
    let mapped = Device::mapped(name.clone(), number, Arc::clone(&block));
    let holds_volumes = mapped.is_member_of(PHYSICAL_VOLUME)?;
    let (device, call) = (device.name, call.clone());
    devices.opened.0.borrow_mut().push(Mapped { name, number, block, device, call, holds_volumes });
    if holds_volumes {
        devices.forget_volumes();
    }
    Ok(Value::Void)
}

/// Closes a device that nothing uses.
fn close(devices: &Devices, vfs: &Vfs, device: &GuestString) -> Served<Value> {
    let device = devices.find(device)?;
    let mut opened = devices.opened.0.borrow_mut();
    let Some(index) = opened.iter().position(|mapped| mapped.name == device.name) else {
        return aside(format!("{} was not opened", device.name));
    };
    let is_layered = opened.iter().any(|mapped| mapped.device == device.name || mapped.holds_volumes);
    if is_layered || vfs.mounts().any(|mount| mount.device == *device.name) {
        return aside(format!("{} may be in use", device.name));
    }
    opened.remove(index);
    devices.forget_mapped(&device.name);
    Ok(Value::Void)
}
