//! Questions about disks, partitions and what is on them.

use guestd_api::actions::{block, devices as devices_api, labels, ldm, parts};
use guestd_api::{Failure, GuestString, Value};
use libimage::volume::{Partition, TableKind};
use rustix::io::Errno;

use super::devices::{Devices, disk_name};
use super::{Served, aside, names, text};

/// The type of a partition that UEFI starts from.
const EFI_SYSTEM: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

/// Answers a call of the group of devices.
pub(super) fn devices(devices: &Devices, call: &devices_api::Call) -> Served<Value> {
    use devices_api::Call;
    let whole = |device: &GuestString| {
        let name = devices.find(device)?.name;
        Served::Ok(devices.disk_names().iter().position(|disk| *disk == name))
    };
    Ok(match call {
        Call::list_devices {} => names(devices.disk_names()),
        Call::list_partitions {} => names(devices.partition_names()?),
        Call::list_filesystems {} => Value::Hash(devices.filesystems()?),
        Call::nr_devices {} => Value::Int(devices.disk_names().len() as i64),
        Call::is_whole_device { device } => {
            Value::Bool(devices.find(device)?.is_array() || whole(device)?.is_some())
        }
        Call::device_index { device } => match whole(device)? {
            Some(index) => Value::Int(index as i64),
            None => {
                let failure = Failure::new(format!("{}: device not found", devices.find(device)?.name));
                return Err(failure.with_errno(Errno::NODEV.raw_os_error()).into());
            }
        },
        Call::device_name { index } => match usize::try_from(*index) {
            Ok(index) if index < devices.disk_names().len() => text(disk_name(index)),
            _ => {
                let failure = Failure::new(format!("{index}: device not found"));
                return Err(failure.with_errno(Errno::NODEV.raw_os_error()).into());
            }
        },
        Call::canonical_device_name { device } => text(devices.usual_name(device)?),
        // Where nothing is assembled of several devices, there are none of these.
        Call::list_dm_devices {} => {
            nothing(devices)?;
            names(devices.opened.devices().into_iter().map(|device| device.name))
        }
        Call::list_disk_labels {} | Call::max_disks {} => return aside("the appliance knows"),
    })
}

/// An empty list, if nothing on the disks is a part of something that an appliance assembles.
fn nothing(devices: &Devices) -> Served<Value> {
    devices.filesystems().map(|_| names(None))
}

/// Answers a call about dynamic disks: where there are none.
pub(super) fn dynamic(devices: &Devices, call: &ldm::Call) -> Served<Value> {
    match call {
        ldm::Call::list_ldm_volumes {} | ldm::Call::list_ldm_partitions {} => {
            // The databases of dynamic disks are in partitions of their own kind.
            if devices.may_be_dynamic()? { aside("there may be dynamic disks") } else { nothing(devices) }
        }
        _ => aside("it is about dynamic disks"),
    }
}

/// Answers a call of the group of labels.
pub(super) fn labels(devices: &Devices, call: &labels::Call) -> Served<Value> {
    use labels::Call;
    let content = |mountable: &GuestString| devices.find_mountable(mountable)?.content();
    Ok(match call {
        Call::vfs_type { mountable } => text(content(mountable)?.map(|c| c.kind).unwrap_or_default()),
        Call::vfs_label { mountable } => text(content(mountable)?.and_then(|c| c.label).unwrap_or_default()),
        Call::vfs_uuid { mountable } => text(content(mountable)?.and_then(|c| c.uuid).unwrap_or_default()),
        _ => return aside("it is not a question for the direct reader"),
    })
}

/// Answers a call about block devices.
pub(super) fn block(devices: &Devices, call: &block::Call) -> Served<Value> {
    use block::Call;
    let size = |device: &GuestString| Served::Ok(devices.find(device)?.block()?.size().cast_signed());
    match call {
        Call::blockdev_getss { device } | Call::blockdev_getro { device }
            if devices.find(device)?.is_mapped() =>
        {
            aside("how it was opened counts")
        }
        Call::blockdev_getsize64 { device } => Ok(Value::Int(size(device)?)),
        Call::blockdev_getsz { device } => Ok(Value::Int(size(device)? / 512)),
        Call::blockdev_getss { device } => {
            size(device)?;
            Ok(Value::Int(512))
        }
        // An appliance has a copy of its own that it may write.
        Call::blockdev_getro { device } => {
            devices.find(device)?;
            Ok(Value::Bool(false))
        }
        _ => aside("it is not a question for the direct reader"),
    }
}

/// Answers a call about partitions.
pub(super) fn parts(devices: &Devices, call: &parts::Call) -> Served<Value> {
    use parts::Call;
    match call {
        Call::part_list { device } => devices.part_list(device),
        Call::part_get_parttype { device } => devices.table_kind(device),
        Call::part_to_dev { partition } => devices.whole_disk_of(partition),
        Call::part_to_partnum { partition } => devices.number_of(partition),
        Call::part_get_bootable { device, partnum } => match devices.one(device, *partnum)? {
            (TableKind::Gpt, part) => Ok(Value::Bool(part.gpt_type.as_deref() == Some(EFI_SYSTEM))),
            _ => aside("the mark is not read here"),
        },
        Call::part_get_name { device, partnum } => gpt(devices, device, *partnum, |part| part.name),
        Call::part_get_gpt_type { device, partnum } => gpt(devices, device, *partnum, |part| part.gpt_type),
        Call::part_get_gpt_guid { device, partnum } => gpt(devices, device, *partnum, |part| part.guid),
        Call::part_get_mbr_id { device, partnum } => match devices.one(device, *partnum)? {
            (TableKind::Mbr, Partition { mbr_type: Some(id), .. }) => Ok(Value::Int(id.into())),
            _ => {
                Err(Failure::new(format!("{}: the disk has no MBR partition table", shown(devices, device)?))
                    .into())
            }
        },
        Call::part_get_mbr_part_type { device, partnum } => match devices.one(device, *partnum)? {
            (TableKind::Mbr, part) if part.number > 4 => Ok(text("logical")),
            (TableKind::Mbr, part) if part.extended => Ok(text("extended")),
            _ => Ok(text("primary")),
        },
        _ => aside("it is not a question for the direct reader"),
    }
}

fn shown(devices: &Devices, device: &GuestString) -> Served<String> {
    Ok(devices.find(device)?.name)
}

fn gpt(
    devices: &Devices,
    device: &GuestString,
    number: i32,
    ask: impl FnOnce(Partition) -> Option<String>,
) -> Served<Value> {
    match devices.one(device, number)? {
        (TableKind::Gpt, part) => match ask(part) {
            Some(answer) => Ok(text(answer)),
            None => aside("the table does not say"),
        },
        _ => {
            Err(Failure::new(format!("{}: the disk has no GUID partition table", shown(devices, device)?))
                .into())
        }
    }
}
