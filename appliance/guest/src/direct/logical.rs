//! Logical volumes under the names that users know: `/dev/VG/LV` and `/dev/mapper/VG-LV`.

use std::rc::Rc;
use std::sync::Arc;

use guestd_api::actions::lvm;
use guestd_api::{GuestString, Value};
use libimage::Block;
use libimage::volume::lvm::{Groups, KIND};

use super::devices::{Device, Devices};
use super::{Served, aside};

/// The kernel's number of the device mapper, where its module comes after the disks' driver.
const MAJOR: u32 = 253;

/// The volume groups on the disks.
#[derive(Default)]
pub(super) struct Logical {
    /// The devices that they lie on.
    members: Vec<String>,
    groups: Vec<String>,
    volumes: Vec<Volume>,
}

/// A logical volume.
struct Volume {
    name: String,
    mapper_name: String,
    /// Its bytes, or why they are not read here.
    block: Result<Arc<dyn Block>, String>,
}

impl Logical {
    /// Looks for volume groups on `devices`. Steps aside where not all of a group is there.
    pub(super) fn read(devices: &[Device]) -> Served<Logical> {
        let mut members = Vec::new();
        for device in devices {
            if device.is_member_of(KIND)? {
                members.push((device.name.clone(), device.block()?));
            }
        }
        if members.is_empty() {
            return Ok(Logical::default());
        }
        let groups =
            Groups::read(members.iter().map(|(_, block)| block)).or_else(|e| aside(e.to_string()))?;
        if groups.are_ambiguous() {
            return aside("two volume groups have one name");
        }
        let mut logical = Logical::default();
        for group in groups.all() {
            if !group.is_complete() {
                return aside(format!("a disk of the volume group {} is missing", group.name));
            }
            logical.groups.push(group.name.clone());
            for volume in group.logical_volumes().into_iter().filter(|volume| volume.is_active) {
                // Dashes within names are doubled, so that the one between them can be told.
                let plain = |name: &str| name.replace('-', "--");
                logical.volumes.push(Volume {
                    name: format!("/dev/{}/{}", group.name, volume.name),
                    mapper_name: format!("/dev/mapper/{}-{}", plain(&group.name), plain(&volume.name)),
                    block: group.open(&volume.name).map_err(|error| error.to_string()),
                });
            }
        }
        logical.members = members.into_iter().map(|(name, _)| name).collect();
        logical.members.sort_unstable();
        logical.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(logical)
    }

    /// All volumes, as devices.
    pub(super) fn devices(&self) -> Served<Vec<Device>> {
        self.volumes.iter().enumerate().map(|(index, volume)| volume.device(&volume.name, index)).collect()
    }

    /// The volume that goes by a name, under that name.
    pub(super) fn find(&self, name: &str) -> Option<Served<Device>> {
        let index = self.volumes.iter().position(|volume| volume.goes_by(name))?;
        self.volumes.get(index).map(|volume| volume.device(name, index))
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

    fn device(&self, name: &str, index: usize) -> Served<Device> {
        match &self.block {
            Ok(block) => Ok(Device::of_volume(name.to_owned(), (MAJOR, index as u32), Arc::clone(block))),
            Err(why) => aside(why.clone()),
        }
    }
}

/// Answers a call about logical volumes.
pub(super) fn answer(devices: &Devices, call: &lvm::Call) -> Served<Value> {
    use lvm::Call;
    let logical = || -> Served<Rc<Logical>> {
        // Whatever an appliance would assemble first might hold volumes as well.
        devices.filesystems()?;
        devices.logical()
    };
    let names = |list: &mut dyn Iterator<Item = &String>| {
        Value::StringList(list.map(|name| GuestString::from(name.as_str())).collect())
    };
    Ok(match call {
        Call::lvs {} => names(&mut logical()?.volumes.iter().map(|volume| &volume.name)),
        Call::vgs {} => names(&mut logical()?.groups.iter()),
        Call::pvs {} => names(&mut logical()?.members.iter()),
        // What is read here is always ready.
        Call::lvm_scan { .. } | Call::vgscan {} => logical().map(|_| Value::Void)?,
        Call::is_lv { mountable } => Value::Bool(devices.find(mountable)?.is_volume()),
        Call::lvm_canonical_lv_name { lvname } => {
            if !devices.find(lvname)?.is_volume() {
                return aside("it is no logical volume");
            }
            super::text(devices.usual_name(lvname)?)
        }
        _ => return aside("LVM's programs answer it"),
    })
}
