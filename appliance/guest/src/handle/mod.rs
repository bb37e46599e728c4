//! Actions about the machine rather than in it: settings, disks, launch, images on the host, inspection.
//!
//! They are declared in the one table like all others; [`answer`] finds the few that are answered here.

mod config;
mod domain;
mod drives;
mod image;
mod inspect;
mod mount_local;
mod settings;

use guestd_api::actions::{
    handle, host_disk, inspect as inspect_api, launch, mount_local as mount_api, system,
};
use guestd_api::structs::{Struct as _, Version};
use guestd_api::{Call, Error, Failure, GuestString, Result, Value, Worker};

use crate::guest::Guest;

pub(crate) use config::Config;
pub use domain::{Domain, domains};

/// Answers a call that is about the machine.
pub(crate) fn answer(guest: &Guest, call: &Call) -> Option<Result<Value>> {
    let host = Host { guest };
    let done = match call {
        Call::Handle(call) => handle::dispatch(&host, call.clone()),
        Call::HostDisk(call) => host_disk::dispatch(&host, call.clone()),
        Call::Launch(call) => launch::dispatch(&host, call.clone()),
        Call::MountLocal(call) => mount_api::dispatch(&host, call.clone()),
        // It asks the guest, whose failures bring the name of the action.
        Call::Inspect(inspect) => {
            let failed = |failure| Error::Action { action: call.name(), failure };
            return Some(inspect_api::dispatch(&host, inspect.clone()).map_err(failed));
        }
        // The appliance is of the same version, and need not run for it to be told.
        Call::System(system::Call::version {}) => return Some(Ok(Value::Struct(version().into_fields()))),
        _ => return None,
    };
    Some(done.map_err(Error::Host))
}

fn version() -> Version {
    let number = |text: &str| text.parse().unwrap_or_default();
    Version {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        release: number(env!("CARGO_PKG_VERSION_PATCH")),
        extra: env!("CARGO_PKG_VERSION_PRE").into(),
    }
}

/// Carries them out. Their arguments mean things of the host or are passed on: nothing is looked up for them.
pub(crate) struct Host<'g> {
    pub(crate) guest: &'g Guest,
}

type Checked = std::result::Result<GuestString, Failure>;

impl Worker for Host<'_> {
    type Path = GuestString;
    type Device = GuestString;
    type Mountable = GuestString;
    type DevOrPath = GuestString;
    type MountableOrPath = GuestString;
    type Input = std::io::Empty;
    type Output = std::io::Sink;

    fn path(&self, _: &'static str, path: GuestString) -> Checked {
        Ok(path)
    }

    fn device(&self, _: &'static str, device: GuestString) -> Checked {
        Ok(device)
    }

    fn mountable(&self, _: &'static str, mountable: GuestString) -> Checked {
        Ok(mountable)
    }

    fn device_or_path(&self, _: &'static str, text: GuestString) -> Checked {
        Ok(text)
    }

    fn mountable_or_path(&self, _: &'static str, text: GuestString) -> Checked {
        Ok(text)
    }

    fn input(&self) -> Self::Input {
        std::io::empty()
    }

    fn output(&self) -> Self::Output {
        std::io::sink()
    }

    fn shown_device(&self, name: GuestString) -> GuestString {
        name
    }

    fn shown_mountable(&self, name: GuestString) -> GuestString {
        name
    }
}

/// A word that should be text.
fn text(word: &GuestString) -> std::result::Result<String, Failure> {
    word.to_str().map(str::to_owned).ok_or_else(|| Failure::new(format!("{word}: it is not UTF-8")))
}

/// A word that may be missing; the empty one is.
fn opt_text(word: Option<&GuestString>) -> std::result::Result<Option<String>, Failure> {
    Ok(word.map(text).transpose()?.filter(|word| !word.is_empty()))
}
