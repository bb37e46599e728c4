//! Read-only actions, answered in this process without any machine.
//!
//! [`Direct::serve`] answers what it surely can and steps aside for everything else, saying why an
//! appliance must be asked. It never guesses, so what it says is what the appliance would have said.

mod archives;
mod arrays;
mod device;
mod devices;
mod encrypted;
mod journals;
mod kinds;
mod listing;
mod logical;
mod reading;
mod registry;
mod reports;
mod searching;
mod stat;
mod streams;
mod sums;
mod vfs;
mod volumes;
mod xattrs;

use std::cell::RefCell;
use std::sync::Arc;

use guestd_api::actions::{mount, system};
use guestd_api::prelude::*;
use guestd_api::structs::Struct;
use guestd_api::{Call, Error, Failure, Result, Value};
use libimage::Block;

use devices::Devices;
use journals::OpenJournal;
use registry::Registry;
use vfs::{MountedAs, Vfs};

pub use vfs::MountedSystem;

/// Contents that are an answer are bounded as the appliance bounds them.
const MAX_CONTENT: u64 = guestd_api::wire::MAX_REPLY as u64 / 2;
/// Deeper trees than this are not walked here.
const MAX_DEPTH: usize = 1000;

/// A guest read directly.
pub struct Direct {
    devices: Devices,
    vfs: RefCell<Vfs>,
    registry: RefCell<Option<Registry>>,
    journal: RefCell<Option<OpenJournal>>,
}

/// Why there is no value.
enum Refusal {
    /// The guest says no.
    Failure(Failure),
    /// Somebody else must be asked.
    StepAside(String),
    /// Who asks does not want to know any more.
    Cancelled,
    /// What was found could not be given away.
    Output(std::io::Error),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failure(failure)
    }
}

impl Refusal {
    /// A failure with something before its text.
    fn about(self, subject: impl AsRef<[u8]>) -> Self {
        match self {
            Refusal::Failure(failure) => Refusal::Failure(failure.about(subject)),
            other => other,
        }
    }

    /// The failure of a system call with another thing that it is about.
    fn with_subject(self, subject: impl AsRef<[u8]>) -> Self {
        match self {
            Refusal::Failure(failure) if failure.errno != 0 => {
                let error = std::io::Error::from_raw_os_error(failure.errno);
                Refusal::Failure(Failure::io(subject, &error))
            }
            other => other,
        }
    }
}

/// What the functions that answer return: `?` leaves with a failure or a reason to step aside.
type Served<T> = std::result::Result<T, Refusal>;

fn aside<T>(why: impl Into<String>) -> Served<T> {
    Err(Refusal::StepAside(why.into()))
}

fn text(value: impl Into<GuestString>) -> Value {
    Value::String(value.into())
}

fn names(list: impl IntoIterator<Item = String>) -> Value {
    Value::StringList(list.into_iter().map(GuestString::from).collect())
}

fn structs<S: Struct>(list: impl IntoIterator<Item = S>) -> Value {
    Value::StructList(list.into_iter().map(Struct::into_fields).collect())
}

/// Gives up if that is wanted.
fn check(context: &Context<'_>) -> Served<()> {
    match context.cancel.is_some_and(|cancel| cancel.is_cancelled()) {
        true => Err(Refusal::Cancelled),
        false => Ok(()),
    }
}

impl Direct {
    /// A view of disks, in the order in which the guest has them.
    pub fn new(disks: Vec<Arc<dyn Block>>) -> Self {
        Direct {
            devices: Devices::new(disks),
            vfs: RefCell::default(),
            registry: RefCell::default(),
            journal: RefCell::default(),
        }
    }

    /// Carries a call out, or returns why an appliance must.
    pub fn serve(
        &self,
        call: &Call,
        context: &mut Context<'_>,
    ) -> std::result::Result<Result<Value>, String> {
        let action = call.name();
        match self.answer(call, context) {
            Ok(value) => Ok(Ok(value)),
            Err(Refusal::Failure(failure)) => Ok(Err(Error::Action { action, failure })),
            Err(Refusal::Cancelled) => Ok(Err(Error::Cancelled { action })),
            Err(Refusal::Output(source)) => Ok(Err(Error::Output { action, source })),
            Err(Refusal::StepAside(why)) => Err(why),
        }
    }

    /// Brings an appliance that takes over to where this reader is: what was opened with a key, what is mounted, and
    /// what is open.
    ///
    /// # Errors
    /// What the appliance says.
    pub fn hand_over(&self, appliance: &dyn Actions) -> Result<()> {
        for call in self.devices.opened.calls() {
            appliance.call(&call, &mut Context::default())?;
        }
        let now = self.vfs.borrow().mounted_as();
        let mut mounted: Vec<MountedAs> = Vec::new();
        if let Some(registry) = &*self.registry.borrow() {
            let (mounts, path, opts) = registry.opened_by();
            remount(appliance, &mut mounted, mounts)?;
            appliance.hivex_open(path, opts.clone())?;
        }
        if let Some(journal) = &*self.journal.borrow() {
            let (mounts, directory) = journal.opened_by();
            remount(appliance, &mut mounted, mounts)?;
            appliance.journal_open(directory)?;
            let (threshold, steps) = journal.state();
            appliance.journal_set_data_threshold(threshold)?;
            appliance.journal_skip(steps)?;
        }
        remount(appliance, &mut mounted, &now)
    }

    /// The mounted file systems with their mount points, the root first, for who looks into them by himself.
    pub fn file_systems(&self) -> Option<Vec<MountedSystem>> {
        self.vfs.borrow().systems()
    }

    fn answer(&self, call: &Call, context: &mut Context<'_>) -> Served<Value> {
        let (devices, vfs) = (&self.devices, &self.vfs);
        match call {
            Call::System(system::Call::ping_daemon {} | system::Call::sync {}) => Ok(Value::Void),
            Call::Mount(call) => self.mount_call(call),
            Call::Devices(call) => volumes::devices(devices, call),
            Call::Labels(call) => volumes::labels(devices, call),
            Call::Parts(call) => volumes::parts(devices, call),
            Call::Block(call) => volumes::block(devices, call),
            Call::Luks(call) => {
                // Where a hive or a journal lies must be there when an appliance takes over.
                let is_needed = self.registry.borrow().is_some() || self.journal.borrow().is_some();
                encrypted::answer(devices, &vfs.borrow(), call, is_needed)
            }
            Call::Lvm(call) => logical::answer(devices, &vfs.borrow(), call),
            Call::Md(call) => arrays::answer(devices, call),
            Call::Ldm(call) => volumes::dynamic(devices, call),
            Call::Files(call) => kinds::answer(&vfs.borrow(), call),
            Call::Links(call) => kinds::links(&vfs.borrow(), call),
            Call::Stat(call) => stat::answer(&vfs.borrow(), call, context),
            Call::Dirs(call) => listing::answer(&vfs.borrow(), call),
            Call::Read(call) => reading::answer(&vfs.borrow(), devices, call, context),
            Call::Search(call) => searching::answer(&vfs.borrow(), call, context),
            Call::Xattr(call) => xattrs::answer(&vfs.borrow(), call),
            Call::Transfer(call) => streams::answer(&vfs.borrow(), devices, call, context),
            Call::Checksum(call) => streams::checksums(&vfs.borrow(), call, context),
            Call::Archive(call) => archives::answer(&vfs.borrow(), call, context),
            Call::Hivex(call) => registry::answer(&vfs.borrow(), &mut self.registry.borrow_mut(), call),
            Call::Journal(call) => journals::answer(&vfs.borrow(), &mut self.journal.borrow_mut(), call),
            _ => aside("the direct reader does not answer it"),
        }
    }

    fn mount_call(&self, call: &mount::Call) -> Served<Value> {
        use mount::Call;
        match call {
            Call::mount { mountable, mountpoint } => self.mount(mountable, mountpoint, &"".into()),
            Call::mount_ro { mountable, mountpoint } => self.mount(mountable, mountpoint, &"ro".into()),
            Call::mount_options { options, mountable, mountpoint }
                if options.is_empty() || options == "ro" =>
            {
                self.mount(mountable, mountpoint, options)
            }
            // Its files are open: the kernel knows what that means.
            Call::umount_all {} | Call::umount { .. } if self.journal.borrow().is_some() => {
                aside("a journal is open")
            }
            Call::umount_all {} => {
                *self.vfs.borrow_mut() = Vfs::default();
                Ok(Value::Void)
            }
            Call::umount { pathordevice, .. } => {
                let is_device = pathordevice.as_bytes().starts_with(b"/dev/");
                let device = is_device.then(|| self.devices.find(pathordevice)).transpose()?;
                self.vfs.borrow_mut().unmount(pathordevice, device.as_ref())
            }
            Call::mounts {} | Call::mountpoints {} if self.vfs.borrow().mounts().any(|m| m.is_spread) => {
                aside("the kernel chooses the name of a file system on several devices")
            }
            Call::mounts {} => {
                let devices = self.vfs.borrow().mounts().map(|m| m.device.clone()).collect();
                Ok(Value::StringList(devices))
            }
            Call::mountpoints {} => {
                let vfs = self.vfs.borrow();
                Ok(Value::Hash(vfs.mounts().map(|m| (m.device.clone(), m.point.clone().into())).collect()))
            }
            _ => aside("it mounts in a way that the direct reader does not know"),
        }
    }

    fn mount(&self, mountable: &GuestString, point: &GuestString, options: &GuestString) -> Served<Value> {
        let device = self.devices.find_mountable(mountable)?;
        let others = || self.devices.others(&device);
        self.vfs.borrow_mut().mount(&device, &others, (mountable, options), point)
    }
}

/// Changes what an appliance has mounted.
fn remount(appliance: &dyn Actions, mounted: &mut Vec<MountedAs>, wanted: &[MountedAs]) -> Result<()> {
    if !wanted.starts_with(mounted) {
        appliance.umount_all()?;
        mounted.clear();
    }
    for (options, device, point) in wanted.iter().skip(mounted.len()) {
        appliance.mount_options(options, device, point)?;
    }
    *mounted = wanted.to_vec();
    Ok(())
}
