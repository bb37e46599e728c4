//! What LVM's programs report of groups, devices and volumes: counts, bytes, and attributes as letters.
//!
//! All of it follows from the descriptions, except what only a kernel knows. Groups that are more than runs of
//! extents (mirrors, snapshots, pools) have no report here.

use super::group::{Group, SECTOR, SKIPPED, VISIBLE, flags};
use super::text::{Section, Value};
use super::{Groups, Labelled};

/// A volume group as `vgs` shows it. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// Letters: writable, resizable, exported, partial, policy of allocation, cluster.
    pub attributes: String,
    /// Of an extent.
    pub extent: u64,
    /// All its extents.
    pub extents: u64,
    /// Extents that belong to no volume.
    pub free: u64,
    /// The system that it belongs to, if that is said.
    pub system: String,
    /// Most volumes, or zero.
    pub max_volumes: u64,
    /// Most devices, or zero.
    pub max_devices: u64,
    /// Identifiers of its devices, in order, with dashes.
    pub device_ids: Vec<String>,
    /// Identifiers of the volumes that users see, in order, with dashes.
    pub volume_ids: Vec<String>,
    /// How often it was changed.
    pub sequence: u64,
    /// With commas between them.
    pub tags: String,
    /// Areas that hold its description.
    pub areas: u64,
    /// The least that one of those areas has left.
    pub area_free: u64,
}

/// A physical volume as `pvs` shows it. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// Its identifier, with dashes.
    pub id: String,
    /// What the group has of it.
    pub size: u64,
    /// Of the whole device.
    pub device_size: u64,
    /// What belongs to no volume.
    pub free: u64,
    /// What belongs to volumes.
    pub used: u64,
    /// Letters: allocatable, exported, missing.
    pub attributes: String,
    /// Extents.
    pub extents: u64,
    /// Extents that belong to volumes.
    pub used_extents: u64,
    /// With commas between them.
    pub tags: String,
    /// Where its extents begin.
    pub start: u64,
    /// Areas that hold the description of its group.
    pub areas: u64,
    /// The least that one of those areas has left.
    pub area_free: u64,
}

/// A logical volume as `lvs` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeReport {
    /// Its name in the group.
    pub name: String,
    /// Its identifier, with dashes.
    pub id: String,
    /// Ten letters; the fifth and sixth are those of a volume that is ready, if it will be, and not in use.
    pub attributes: String,
    /// Bytes.
    pub size: u64,
    /// Pieces that it is made of.
    pub segments: u64,
    /// With commas between them.
    pub tags: String,
    /// It is made ready with its group.
    pub is_active: bool,
}

/// An identifier as people see it.
fn dashed(id: &str) -> String {
    let mut out = String::new();
    for (index, letter) in id.chars().filter(|letter| *letter != '-').enumerate() {
        if matches!(index, 6 | 10 | 14 | 18 | 22 | 26) {
            out.push('-');
        }
        out.push(letter);
    }
    out
}

fn tags(section: &Section) -> String {
    section.list("tags").iter().filter_map(Value::text).collect::<Vec<_>>().join(",")
}

fn has(section: &Section, flag: &str) -> bool {
    flags(section).iter().any(|known| known == flag)
}

/// The letter of a policy of allocation; `None` for one that is not known.
fn policy(section: &Section, usual: char) -> Option<char> {
    Some(match section.text("allocation_policy") {
        None => usual,
        Some("contiguous") => 'c',
        Some("cling") => 'l',
        Some("normal") => 'n',
        Some("anywhere") => 'a',
        Some("inherit") => 'i',
        Some(_) => return None,
    })
}

fn letter(condition: bool, letter: char) -> char {
    if condition { letter } else { '-' }
}

impl Group {
    /// Extents of a device that belong to volumes; `None` where that is not simply told.
    fn used(&self, device: &str) -> Option<u64> {
        let mut used = 0u64;
        for segment in self.volumes.values().flat_map(|volume| &volume.segments) {
            if segment.kind != "striped" {
                return None;
            }
            let areas = segment.section.list("stripes");
            let each = segment.count.checked_div(areas.len() as u64 / 2)?;
            let here = areas.iter().filter(|area| area.text() == Some(device)).count() as u64;
            used = used.checked_add(each.checked_mul(here)?)?;
        }
        Some(used)
    }

    fn volume_sections(&self) -> impl Iterator<Item = (&String, &Section)> {
        let is_seen = |(name, _): &(&String, &Section)| {
            self.volumes.get(*name).is_some_and(|volume| volume.has(VISIBLE))
        };
        self.sections("logical_volumes").filter(is_seen)
    }

    /// Reports its volumes, in the order in which they are made ready; `None` if they are not plain ones.
    pub fn volume_reports(&self) -> Option<Vec<VolumeReport>> {
        let report = |(name, section): (&String, &Section)| {
            let layout = self.volumes.get(name)?;
            let is_plain = layout.segments.iter().all(|segment| segment.kind == "striped");
            let is_numbered = section.get("major").is_some() || section.get("minor").is_some();
            if !is_plain || is_numbered || layout.has("PVMOVE") || layout.has("LOCKED") {
                return None;
            }
            let is_active = !self.is_exported && !layout.has(SKIPPED);
            let attributes = [
                '-',
                if layout.has("WRITE") { 'w' } else { 'r' },
                policy(section, 'i')?,
                '-',
                letter(is_active, 'a'),
                '-',
                '-',
                '-',
                '-',
                letter(layout.has(SKIPPED), 'k'),
            ];
            Some(VolumeReport {
                name: name.clone(),
                id: dashed(section.text("id")?),
                attributes: attributes.into_iter().collect(),
                size: layout.extents().checked_mul(self.extent)?,
                segments: layout.segments.len() as u64,
                tags: tags(section),
                is_active,
            })
        };
        // A number that the kernel gives to parts of a volume is not known here.
        let is_plain = self.volumes.values().all(|volume| volume.has(VISIBLE));
        self.volume_sections().map(report).collect::<Option<_>>().filter(|_| is_plain)
    }
}

impl Groups {
    /// Reports a group whose devices are all there; `None` if it is not a plain one.
    pub fn group_report(&self, group: &Group) -> Option<GroupReport> {
        let (mut extents, mut used, mut areas, mut area_free) = (0u64, 0u64, 0u64, u64::MAX);
        let mut device_ids = Vec::new();
        for (name, section) in group.sections("physical_volumes") {
            let device = group.devices.get(name)?;
            let label = self.label(section.text("id")?)?;
            extents = extents.checked_add(device.extents)?;
            used = used.checked_add(group.used(name)?)?;
            areas = areas.checked_add(label.areas)?;
            area_free = area_free.min(label.free);
            device_ids.push(dashed(section.text("id")?));
        }
        let section = &group.section;
        let attributes = [
            if has(section, "WRITE") { 'w' } else { 'r' },
            letter(has(section, "RESIZEABLE"), 'z'),
            letter(group.is_exported, 'x'),
            '-',
            policy(section, 'n')?,
            '-',
        ];
        if has(section, "CLUSTERED") || has(section, "SHARED") || section.get("lock_type").is_some() {
            return None;
        }
        let ids = group.volume_sections().map(|(_, volume)| Some(dashed(volume.text("id")?)));
        Some(GroupReport {
            attributes: attributes.into_iter().collect(),
            extent: group.extent,
            extents,
            free: extents.checked_sub(used)?,
            system: section.text("system_id").unwrap_or_default().to_owned(),
            max_volumes: section.number("max_lv").unwrap_or_default(),
            max_devices: section.number("max_pv").unwrap_or_default(),
            device_ids,
            volume_ids: ids.collect::<Option<_>>()?,
            sequence: group.sequence,
            tags: tags(section),
            areas,
            area_free,
        })
    }

    /// Reports the device of an identifier, with or without dashes; `None` if its group is not a plain one.
    pub fn device_report(&self, id: &str) -> Option<DeviceReport> {
        let label = self.label(id)?;
        let report = DeviceReport {
            id: dashed(&label.id),
            size: label.size,
            device_size: label.size,
            free: label.size,
            used: 0,
            attributes: "---".to_owned(),
            extents: 0,
            used_extents: 0,
            tags: String::new(),
            start: label.data,
            areas: label.areas,
            area_free: label.free,
        };
        let mut members = self.groups.iter().flat_map(|group| {
            group.sections("physical_volumes").map(move |(name, section)| (group, name, section))
        });
        let Some((group, name, section)) = members
            .find(|(_, _, section)| section.text("id").is_some_and(|known| dashed(known) == report.id))
        else {
            return Some(report);
        };
        let device = group.devices.get(name)?;
        let used_extents = group.used(name)?;
        let free = device.extents.checked_sub(used_extents)?;
        let attributes =
            [if has(section, "ALLOCATABLE") { 'a' } else { 'u' }, letter(group.is_exported, 'x'), '-'];
        Some(DeviceReport {
            size: device.extents.checked_mul(group.extent)?,
            free: free.checked_mul(group.extent)?,
            used: used_extents.checked_mul(group.extent)?,
            attributes: attributes.into_iter().collect(),
            extents: device.extents,
            used_extents,
            tags: tags(section),
            start: section.number("pe_start")?.checked_mul(SECTOR)?,
            ..report
        })
    }

    /// The only label of an identifier, if all of it is in use.
    fn label(&self, id: &str) -> Option<&Labelled> {
        let id = id.replace('-', "");
        let mut same = self.labels.iter().filter(|label| label.id == id);
        same.next().filter(|label| same.next().is_none() && !label.is_odd)
    }
}
