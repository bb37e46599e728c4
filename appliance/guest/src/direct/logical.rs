//! Logical volumes under the names that users know: `/dev/VG/LV` and `/dev/mapper/VG-LV`.

use std::rc::Rc;
use std::sync::Arc;

use guestd_api::Value;
use guestd_api::actions::lvm;
use libimage::Block;
use libimage::volume::lvm::{Groups, KIND};

use super::device::Device;
use super::devices::Devices;
use super::vfs::Vfs;
use super::{Served, aside, names, reports};

/// The volume groups on the disks.
#[derive(Default)]
pub(super) struct Logical {
    /// The devices that they lie on.
    members: Vec<Member>,
    groups: Groups,
    volumes: Vec<Volume>,
}

/// A device that they lie on.
pub(super) struct Member {
    pub(super) name: String,
    /// Its identifier, with dashes.
    pub(super) id: String,
}

/// A logical volume that is ready.
struct Volume {
    name: String,
    mapper_name: String,
    /// Its bytes, or why they are not read here.
    block: Result<Arc<dyn Block>, String>,
}

impl Logical {
    /// Looks for volume groups on `devices`. Steps aside where not all of a group is there.
    pub(super) fn read(devices: &[Device]) -> Served<Logical> {
        let (mut members, mut blocks) = (Vec::new(), Vec::new());
        for device in devices {
            if device.is_member_of(KIND)? {
                let id = device.content()?.and_then(|content| content.uuid).unwrap_or_default();
                members.push(Member { name: device.name.clone(), id });
                blocks.push(device.block()?);
            }
        }
        if members.is_empty() {
            return Ok(Logical::default());
        }
        let groups = Groups::read(&blocks).or_else(|e| aside(e.to_string()))?;
        if groups.are_ambiguous() {
            return aside("two volume groups have one name");
        }
        let mut volumes = Vec::new();
        for group in groups.all() {
            if !group.is_complete() {
                return aside(format!("a disk of the volume group {} is missing", group.name));
            }
            for volume in group.logical_volumes().into_iter().filter(|volume| volume.is_active) {
                // Dashes within names are doubled, so that the one between them can be told.
                let plain = |name: &str| name.replace('-', "--");
                volumes.push(Volume {
                    name: format!("/dev/{}/{}", group.name, volume.name),
                    mapper_name: format!("/dev/mapper/{}-{}", plain(&group.name), plain(&volume.name)),
                    block: group.open(&volume.name).map_err(|error| error.to_string()),
                });
            }
        }
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Logical { members, groups, volumes })
    }

    /// The devices that the groups lie on, by name.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The groups.
    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The names of the volumes below `/dev/mapper`, in the order in which they are made ready.
    pub(super) fn mapper_names(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(|volume| volume.mapper_name.as_str())
    }

    /// All volumes, as devices, by name.
    pub(super) fn devices(&self, devices: &Devices) -> Served<Vec<Device>> {
        self.sorted().into_iter().map(|volume| volume.device(&volume.name, devices)).collect()
    }

    fn sorted(&self) -> Vec<&Volume> {
        let mut volumes: Vec<&Volume> = self.volumes.iter().collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        volumes
    }

    /// The volume that goes by a name, under that name.
    pub(super) fn find(&self, name: &str, devices: &Devices) -> Option<Served<Device>> {
        let volume = self.volumes.iter().find(|volume| volume.goes_by(name))?;
        Some(volume.device(name, devices))
    }

    /// The usual name of the volume that goes by a name.
    pub(super) fn usual_name(&self, name: &str) -> Option<&str> {
        self.volumes.iter().find(|volume| volume.goes_by(name)).map(|volume| volume.name.as_str())
    }
}

impl Volume {
    fn goes_by(&self, name: &str) -> bool {
        self.name == name || self.mapper_name == name
    }

    fn device(&self, name: &str, devices: &Devices) -> Served<Device> {
        match &self.block {
            Ok(block) => {
                let number = devices.mapper_number(&self.mapper_name);
                Ok(Device::of_volume(name.to_owned(), number, Arc::clone(block)))
            }
            Err(why) => aside(why.clone()),
        }
    }
}

/// Answers a call about logical volumes.
pub(super) fn answer(devices: &Devices, vfs: &Vfs, call: &lvm::Call) -> Served<Value> {
    use lvm::Call;
    let logical = || -> Served<Rc<Logical>> {
        // Whatever an appliance would assemble first might hold volumes as well.
        devices.filesystems()?;
        devices.logical()
    };
    Ok(match call {
        Call::lvs {} => names(logical()?.sorted().into_iter().map(|volume| volume.name.clone())),
        Call::vgs {} => names(logical()?.groups.all().iter().map(|group| group.name.clone())),
        Call::pvs {} => names(logical()?.members.iter().map(|member| member.name.clone())),
        // What is read here is always ready.
        Call::lvm_scan { .. } | Call::vgscan {} => logical().map(|_| Value::Void)?,
        Call::is_lv { mountable } => Value::Bool(devices.find(mountable)?.is_volume()),
        Call::lvm_canonical_lv_name { lvname } => {
            if !devices.find(lvname)?.is_volume() {
                return aside("it is no logical volume");
            }
            super::text(devices.usual_name(lvname)?)
        }
        call => return reports::answer(devices, vfs, &*logical()?, call),
    })
}
