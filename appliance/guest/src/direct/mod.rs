//! Read-only actions, answered in this process without any machine.
//!
//! [`Direct::serve`] answers what it surely can and steps aside for everything else, saying why an
//! appliance must be asked. It never guesses, so what it says is what the appliance would have said.

mod devices;
mod files;
mod vfs;

use std::cell::RefCell;
use std::sync::Arc;

use guestd_api::actions::{devices as devices_api, labels, mount, parts, read, system};
use guestd_api::{Call, Context, Error, Failure, GuestString, Result, Value};
use libimage::Block;
use libimage::fs::system::FileSystem;

use devices::{Device, Devices};
use vfs::Vfs;

/// A guest read directly.
pub struct Direct {
    devices: Devices,
    vfs: RefCell<Vfs>,
}

/// Why there is no value: the guest says no, or somebody else must be asked.
enum Refusal {
    Failure(Failure),
    StepAside(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failure(failure)
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

impl Direct {
    /// A view of disks, in the order in which the guest has them.
    pub fn new(disks: Vec<Arc<dyn Block>>) -> Self {
        Direct { devices: Devices::new(disks), vfs: RefCell::default() }
    }

    /// Carries a call out, or returns why an appliance must.
    pub fn serve(
        &self,
        call: &Call,
        context: &mut Context<'_>,
    ) -> std::result::Result<Result<Value>, String> {
        match self.answer(call, context) {
            Ok(value) => Ok(Ok(value)),
            Err(Refusal::Failure(failure)) => Ok(Err(Error::Action { action: call.name(), failure })),
            Err(Refusal::StepAside(why)) => Err(why),
        }
    }

    /// What is mounted, as (options, device or subvolume, mount point) in order: an appliance that takes over mounts
    /// the same.
    pub fn mounts(&self) -> Vec<(GuestString, GuestString, GuestString)> {
        let vfs = self.vfs.borrow();
        vfs.mounts().map(|m| (m.options.clone(), m.mountable.clone(), m.point.clone().into())).collect()
    }

    /// The mounted file systems with their mount points, the root first, for who looks into them by himself.
    pub fn file_systems(&self) -> Option<Vec<(Vec<u8>, Arc<dyn FileSystem>)>> {
        self.vfs.borrow().systems()
    }

    fn answer(&self, call: &Call, context: &mut Context<'_>) -> Served<Value> {
        match call {
            Call::System(system::Call::ping_daemon {} | system::Call::sync {}) => Ok(Value::Void),
            Call::Devices(call) => self.devices_call(call),
            Call::Labels(call) => self.labels_call(call),
            Call::Parts(call) => self.parts_call(call),
            Call::Block(call) => self.block_call(call),
            Call::Mount(call) => self.mount_call(call),
            Call::Read(read::Call::pread_device { .. }) => aside("it reads a device"),
            other => files::answer(&self.vfs.borrow(), other, context),
        }
    }

    fn devices_call(&self, call: &devices_api::Call) -> Served<Value> {
        use devices_api::Call;
        let names = |list: Vec<String>| Value::StringList(list.into_iter().map(GuestString::from).collect());
        Ok(match call {
            Call::list_devices {} => names(self.devices.disk_names()),
            Call::list_partitions {} => names(self.devices.partition_names()?),
            Call::list_filesystems {} => Value::Hash(self.devices.filesystems()?),
            Call::nr_devices {} => Value::Int(self.devices.disk_names().len() as i64),
            _ => return aside("it is not a question for the direct reader"),
        })
    }

    fn labels_call(&self, call: &labels::Call) -> Served<Value> {
        use labels::Call;
        let content = |mountable: &GuestString| self.devices.find_mountable(mountable)?.content();
        Ok(match call {
            Call::vfs_type { mountable } => text(content(mountable)?.map(|c| c.kind).unwrap_or_default()),
            Call::vfs_label { mountable } => {
                text(content(mountable)?.and_then(|c| c.label).unwrap_or_default())
            }
            Call::vfs_uuid { mountable } => {
                text(content(mountable)?.and_then(|c| c.uuid).unwrap_or_default())
            }
            _ => return aside("it is not a question for the direct reader"),
        })
    }

    fn block_call(&self, call: &guestd_api::actions::block::Call) -> Served<Value> {
        use guestd_api::actions::block::Call;
        match call {
            Call::blockdev_getsize64 { device } => {
                Ok(Value::Int(self.devices.find(device)?.block()?.size() as i64))
            }
            Call::blockdev_getss { device } => {
                self.devices.find(device)?.block()?;
                Ok(Value::Int(512))
            }
            _ => aside("it is not a question for the direct reader"),
        }
    }

    fn parts_call(&self, call: &parts::Call) -> Served<Value> {
        use parts::Call;
        match call {
            Call::part_list { device } => self.devices.part_list(device),
            Call::part_get_parttype { device } => self.devices.table_kind(device),
            Call::part_to_dev { partition } => self.devices.whole_disk_of(partition),
            Call::part_to_partnum { partition } => self.devices.number_of(partition),
            _ => aside("it is not a question for the direct reader"),
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
        let device: Device = self.devices.find_mountable(mountable)?;
        let others = || self.devices.others(&device);
        self.vfs.borrow_mut().mount(&device, &others, (mountable, options), point)
    }
}
