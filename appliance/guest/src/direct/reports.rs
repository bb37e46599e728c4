//! What LVM's reports say of volume groups, their devices and their volumes.

use guestd_api::actions::lvm;
use guestd_api::structs::{LvmLv, LvmPv, LvmVg};
use guestd_api::{GuestString, Value};
use libimage::volume::lvm::{Group, GroupReport};

use super::devices::Devices;
use super::logical::Logical;
use super::vfs::Vfs;
use super::{Served, aside, names, structs, text};

/// What all groups are that are read here.
const FORMAT: &str = "lvm2";

/// Answers a call for a report.
pub(super) fn answer(devices: &Devices, vfs: &Vfs, logical: &Logical, call: &lvm::Call) -> Served<Value> {
    use lvm::Call;
    Ok(match call {
        Call::pvs_full {} => structs(physical_volumes(logical)?),
        Call::vgs_full {} => structs(volume_groups(logical)?),
        Call::lvs_full {} => structs(logical_volumes(devices, vfs, logical)?),
        Call::pvuuid { device } => {
            let name = devices.find(device)?.name;
            match logical.members().iter().find(|member| member.name == name) {
                Some(member) => text(member.id.as_str()),
                None => return aside(format!("{name} is no physical volume")),
            }
        }
        Call::vguuid { vgname } => text(group(logical, vgname)?.id.as_str()),
        Call::lvuuid { device } => {
            let name = devices.usual_name(device)?;
            let of = |group: &Group| {
                let mut volumes = group.logical_volumes().into_iter();
                volumes.find(|volume| format!("/dev/{}/{}", group.name, volume.name) == name)
            };
            match logical.groups().all().iter().find_map(of) {
                Some(volume) => text(volume.id),
                None => return aside(format!("{name} is no logical volume")),
            }
        }
        Call::vgpvuuids { vgname } => names(report(logical, group(logical, vgname)?)?.device_ids),
        Call::vglvuuids { vgname } => names(report(logical, group(logical, vgname)?)?.volume_ids),
        _ => return aside("LVM's programs answer it"),
    })
}

fn group<'l>(logical: &'l Logical, name: &GuestString) -> Served<&'l Group> {
    match logical.groups().all().iter().find(|group| *name == *group.name) {
        Some(group) => Ok(group),
        None => aside(format!("there is no volume group {name}")),
    }
}

fn report(logical: &Logical, group: &Group) -> Served<GroupReport> {
    match logical.groups().group_report(group) {
        Some(report) => Ok(report),
        None => aside(format!("the volume group {} is no plain one", group.name)),
    }
}

/// A number as structs have it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An identifier as structs have it.
fn bare(id: &str) -> GuestString {
    id.replace('-', "").into()
}

fn physical_volumes(logical: &Logical) -> Served<Vec<LvmPv>> {
    let volume = |member: &super::logical::Member| {
        let Some(report) = logical.groups().device_report(&member.id) else {
            return aside(format!("{} belongs to a volume group that is no plain one", member.name));
        };
        Ok(LvmPv {
            pv_name: member.name.as_str().into(),
            pv_uuid: bare(&report.id),
            pv_fmt: FORMAT.into(),
            pv_size: report.size,
            dev_size: report.device_size,
            pv_free: report.free,
            pv_used: report.used,
            pv_attr: report.attributes.into(),
            pv_pe_count: signed(report.extents),
            pv_pe_alloc_count: signed(report.used_extents),
            pv_tags: report.tags.into(),
            pe_start: report.start,
            pv_mda_count: signed(report.areas),
            pv_mda_free: report.area_free,
        })
    };
    logical.members().iter().map(volume).collect()
}

fn volume_groups(logical: &Logical) -> Served<Vec<LvmVg>> {
    let volume_group = |group: &Group| {
        let report = report(logical, group)?;
        let bytes = |extents: u64| extents.saturating_mul(report.extent);
        Ok(LvmVg {
            vg_name: group.name.as_str().into(),
            vg_uuid: bare(&group.id),
            vg_fmt: FORMAT.into(),
            vg_size: bytes(report.extents),
            vg_free: bytes(report.free),
            vg_attr: report.attributes.into(),
            vg_sysid: report.system.into(),
            vg_extent_size: report.extent,
            vg_extent_count: signed(report.extents),
            vg_free_count: signed(report.free),
            max_lv: signed(report.max_volumes),
            max_pv: signed(report.max_devices),
            pv_count: report.device_ids.len() as i64,
            lv_count: report.volume_ids.len() as i64,
            snap_count: 0,
            vg_seqno: signed(report.sequence),
            vg_tags: report.tags.into(),
            vg_mda_count: signed(report.areas),
            vg_mda_free: report.area_free,
        })
    };
    logical.groups().all().iter().map(volume_group).collect()
}

fn logical_volumes(devices: &Devices, vfs: &Vfs, logical: &Logical) -> Served<Vec<LvmLv>> {
    let mut found = Vec::new();
    for group in logical.groups().all() {
        let Some(reports) = group.volume_reports() else {
            return aside(format!("the volume group {} is no plain one", group.name));
        };
        for report in reports {
            let name = format!("/dev/{}/{}", group.name, report.name);
            let mut attributes = report.attributes;
            let (mut major, mut minor) = (-1, -1);
            if report.is_active {
                let device = devices.find(&name.as_str().into())?;
                (major, minor) = (device.number.0.into(), device.number.1.into());
                let is_it = |other: &GuestString| devices.usual_name(other).is_ok_and(|other| other == name);
                if vfs.mounts().any(|mount| is_it(&mount.device)) || devices.opened.is_open(is_it) {
                    attributes.replace_range(5..6, "o");
                }
            }
            found.push(LvmLv {
                lv_name: report.name.into(),
                lv_uuid: bare(&report.id),
                lv_attr: attributes.into(),
                lv_major: -1,
                lv_minor: -1,
                lv_kernel_major: major,
                lv_kernel_minor: minor,
                lv_size: report.size,
                seg_count: signed(report.segments),
                origin: GuestString::default(),
                snap_percent: None,
                copy_percent: None,
                move_pv: GuestString::default(),
                lv_tags: report.tags.into(),
                mirror_log: GuestString::default(),
                modules: GuestString::default(),
            });
        }
    }
    Ok(found)
}
