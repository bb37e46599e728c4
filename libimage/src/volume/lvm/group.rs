//! A volume group as its description tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::map;
use super::text::{self, Section, Value};
use crate::block::Block;
use crate::error::{Error, Result};

/// LVM2 counts in sectors.
pub(super) const SECTOR: u64 = 512;
/// Flag of a volume that users see.
pub(super) const VISIBLE: &str = "VISIBLE";
/// Flag of one that is not made ready unless somebody insists: most snapshots of thin volumes.
pub(super) const SKIPPED: &str = "ACTIVATION_SKIP";
/// Flag of a disk that failed and came back: what it has is old.
const MISSING: &str = "MISSING";
/// The kind of a volume that only ties a snapshot to its origin.
const SNAPSHOT: &str = "snapshot";
/// Kinds of volumes that users see in lists and that hold nothing of theirs.
const PRIVATE: [&str; 3] = [SNAPSHOT, "thin-pool", "cache-pool"];
/// Flag of a group that belongs to another machine.
const EXPORTED: &str = "EXPORTED";

/// A volume group.
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its identifier: 32 characters and dashes.
    pub id: String,
    pub(super) sequence: u64,
    /// It was given to another machine: nothing in it is made ready.
    pub is_exported: bool,
    /// Bytes of an extent.
    pub(super) extent: u64,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) volumes: BTreeMap<String, Layout>,
    /// All that the description says.
    pub(super) section: Section,
    file: String,
}

/// A physical volume.
pub(super) struct Device {
    id: String,
    is_stale: bool,
    /// Where its extents begin, in bytes.
    pub(super) start: u64,
    /// How many it has.
    pub(super) extents: u64,
    pub(super) block: Option<Arc<dyn Block>>,
}

/// A logical volume, perhaps one that only others use.
pub(super) struct Layout {
    id: String,
    flags: Vec<String>,
    pub(super) segments: Vec<Segment>,
}

/// A run of extents that is stored in one way.
pub(super) struct Segment {
    /// Its first extent in the volume, and how many.
    pub(super) start: u64,
    pub(super) count: u64,
    pub(super) kind: String,
    pub(super) section: Section,
}

/// A logical volume that users see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name in the group.
    pub name: String,
    /// Its identifier: 32 characters and dashes.
    pub id: String,
    /// LVM makes it ready when it makes the group ready.
    pub is_active: bool,
    /// Bytes.
    pub size: u64,
}

/// The words of both lists: which one a word is in depends on how old it is.
pub(super) fn flags(section: &Section) -> Vec<String> {
    let lists = ["status", "flags"].into_iter().filter_map(|name| section.get(name));
    lists.flat_map(Value::list).filter_map(Value::text).map(str::to_owned).collect()
}

impl Group {
    /// Reads a description found in `file`.
    pub(super) fn parse(file: &str, text: &[u8]) -> Result<Group> {
        let broken = || Error::corrupt(file, "the description of the volume group of LVM makes no sense");
        let all = text::parse(text).ok_or_else(broken)?;
        let (name, section) = all.sections().next().ok_or_else(broken)?;
        Group::of(file, name, section).ok_or_else(broken)
    }

    fn of(file: &str, name: &str, section: &Section) -> Option<Group> {
        let inner = |name: &str| section.get(name).and_then(Value::section);
        let mut devices = BTreeMap::new();
        for (name, device) in inner("physical_volumes")?.sections() {
            devices.insert(
                name.clone(),
                Device {
                    id: device.text("id")?.replace('-', ""),
                    is_stale: flags(device).iter().any(|flag| flag == MISSING),
                    start: device.number("pe_start")?.checked_mul(SECTOR)?,
                    extents: device.number("pe_count")?,
                    block: None,
                },
            );
        }
        let mut volumes = BTreeMap::new();
        for (name, volume) in inner("logical_volumes").into_iter().flat_map(Section::sections) {
            volumes.insert(name.clone(), Layout::of(volume)?);
        }
        let extent = section.number("extent_size")?.checked_mul(SECTOR).filter(|size| *size > 0)?;
        Some(Group {
            name: name.to_owned(),
            id: section.text("id")?.to_owned(),
            sequence: section.number("seqno")?,
            is_exported: flags(section).iter().any(|flag| flag == EXPORTED),
            extent,
            devices,
            volumes,
            section: section.clone(),
            file: file.to_owned(),
        })
    }

    /// Gives each physical volume its device, of those that carry these identifiers.
    pub(super) fn find_devices(&mut self, found: &[(String, Arc<dyn Block>)]) {
        for device in self.devices.values_mut() {
            let mut same = found.iter().filter(|(id, _)| *id == device.id);
            // A volume that is there twice is as good as missing: which one is right?
            device.block = match (same.next(), same.next()) {
                (Some((_, block)), None) if !device.is_stale => Some(Arc::clone(block)),
                _ => None,
            };
        }
    }

    /// All of its physical volumes are there.
    pub fn is_complete(&self) -> bool {
        self.devices.values().all(|device| device.block.is_some())
    }

    /// The logical volumes that users see, in the order in which they are made ready.
    pub fn logical_volumes(&self) -> Vec<LogicalVolume> {
        let is_private = |segment: &Segment| PRIVATE.contains(&segment.kind.as_str());
        let seen = self.sections("logical_volumes").filter_map(|(name, _)| {
            let is_seen = |volume: &&Layout| volume.has(VISIBLE) || self.origin(name).is_some();
            let volume = self.volumes.get(name).filter(is_seen)?;
            (!volume.segments.iter().any(is_private)).then(|| LogicalVolume {
                name: name.clone(),
                id: volume.id.clone(),
                is_active: !self.is_exported && !volume.has(SKIPPED),
                size: volume.extents().saturating_mul(self.extent),
            })
        });
        seen.collect()
    }

    /// The sections in one of the description's, in order.
    pub(super) fn sections(&self, name: &str) -> impl Iterator<Item = (&String, &Section)> {
        self.section.get(name).and_then(Value::section).into_iter().flat_map(Section::sections)
    }

    /// A logical volume as a block device that is read.
    ///
    /// # Errors
    /// When there is none of that name, a device of it is missing, its layout makes no sense, or it is of a kind
    /// that is not read here; the error names it.
    pub fn open(&self, volume: &str) -> Result<Arc<dyn Block>> {
        map::open(self, volume)
    }

    /// What keeps a volume from being read as it lies there: it is on the move, or being merged.
    pub(super) fn role(&self, volume: &str) -> Option<&'static str> {
        if self.volumes.get(volume).is_some_and(|layout| layout.has("PVMOVE")) {
            return Some("is being moved to another disk");
        }
        let mut snapshots = self.snapshots();
        let is_merging = snapshots.any(|snapshot| {
            let is_named = |name: &str| snapshot.text(name) == Some(volume);
            is_named("merging_store") || snapshot.get("merging_store").is_some() && is_named("origin")
        });
        is_merging.then_some("is being merged with a snapshot")
    }

    /// What ties snapshots to their origins.
    fn snapshots(&self) -> impl Iterator<Item = &Section> {
        let segments = self.volumes.values().flat_map(|layout| &layout.segments);
        segments.filter(|segment| segment.kind == SNAPSHOT).map(|segment| &segment.section)
    }

    /// What a volume is a snapshot of, if it holds the differences of one.
    pub(super) fn origin(&self, volume: &str) -> Option<&str> {
        self.snapshots().find(|snapshot| snapshot.text("cow_store") == Some(volume))?.text("origin")
    }

    pub(super) fn refuse(&self, volume: &str, what: &str) -> Error {
        Error::unsupported(&self.file, format!("the logical volume {}/{volume} {what}", self.name))
    }

    pub(super) fn broken(&self, volume: &str, what: &str) -> Error {
        Error::corrupt(&self.file, format!("the logical volume {}/{volume} {what}", self.name))
    }
}

impl Layout {
    fn of(section: &Section) -> Option<Layout> {
        let mut segments = Vec::new();
        for (_, segment) in section.sections() {
            segments.push(Segment {
                start: segment.number("start_extent")?,
                count: segment.number("extent_count")?,
                kind: segment.text("type")?.to_owned(),
                section: segment.clone(),
            });
        }
        segments.sort_by_key(|segment| segment.start);
        Some(Layout { id: section.text("id")?.to_owned(), flags: flags(section), segments })
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    pub(super) fn extents(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.start.saturating_add(last.count))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    const TEXT: &str = r#"
# as LVM writes it
vg0 {
id = "aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa" seqno = 7 status = ["RESIZEABLE", "READ", "WRITE"] extent_size = 2
physical_volumes {
pv0 { id = "p0" status = ["ALLOCATABLE"] flags = [] pe_start = 1 pe_count = 4 }
pv1 { id = "p-1" pe_start = 2 pe_count = 5 }
}
logical_volumes {
plain { id = "l0" status = ["READ", "VISIBLE"] flags = []
segment1 { start_extent = 0 extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv1", 4] }
segment2 { start_extent = 1 extent_count = 2 type = "striped" stripe_count = 1 stripes = ["pv0", 0] } }
wide { id = "l1" status = ["VISIBLE"]
segment1 { start_extent = 0 extent_count = 4 type = "striped" stripe_count = 2 stripe_size = 1 stripes = ["pv0", 2, "pv1", 0] } }
half { id = "l2" status = ["READ"] segment1 { start_extent = 0 extent_count = 1 type = "striped" stripes = ["pv1", 2] } }
both { id = "l3" status = ["VISIBLE"] flags = ["ACTIVATION_SKIP"]
segment1 { start_extent = 0 extent_count = 1 type = "mirror" mirrors = ["half", 0, "pv1", 3] } }
snap { id = "l4" status = ["VISIBLE"] segment1 { start_extent = 0 extent_count = 1 type = "striped" stripes = ["pv1", 3] } }
snapshot0 { id = "l5" status = ["VISIBLE"]
segment1 { start_extent = 0 extent_count = 1 type = "snapshot" origin = "plain" cow_store = "snap" } }
self { id = "l6" status = ["VISIBLE"] segment1 { start_extent = 0 extent_count = 1 type = "mirror" mirrors = ["self", 0] } }
thin { id = "l7" status = ["VISIBLE"] segment1 { start_extent = 0 extent_count = 1 type = "thin" } }
far { id = "l8" status = ["VISIBLE"] segment1 { start_extent = 0 extent_count = 2 type = "striped" stripes = ["pv1", 4] } }
}
}
"#;

    /// Devices whose every sector holds its own number.
    fn group(text: &str) -> Result<Group> {
        let mut group = Group::parse("disk", text.as_bytes())?;
        let device = |first: u8, sectors: u8| {
            let bytes: Vec<u8> = (first..first + sectors).flat_map(|number| [number; 512]).collect();
            Arc::new(Memory::from_bytes(&bytes)) as Arc<dyn Block>
        };
        group.find_devices(&[("p0".to_owned(), device(0, 20)), ("p1".to_owned(), device(100, 20))]);
        Ok(group)
    }

    fn sectors(volume: &dyn Block) -> Vec<u8> {
        let mut bytes = vec![0; volume.size() as usize];
        volume.read_at(&mut bytes, 0).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    #[test]
    fn volumes_lie_where_the_description_says() {
        let group = group(TEXT).unwrap();
        assert!(group.is_complete());
        assert_eq!(sectors(&*group.open("plain").unwrap()), [110, 111, 1, 2, 3, 4]);
        assert_eq!(sectors(&*group.open("wide").unwrap()), [5, 102, 6, 103, 7, 104, 8, 105]);
        assert_eq!(sectors(&*group.open("both").unwrap()), [106, 107]);
        for (name, why) in [
            ("snap", "has no header"),
            ("snapshot0", "of the kind snapshot"),
            ("self", "made of itself"),
            ("thin", "in a thin pool that does not exist"),
            ("far", "beyond its disk"),
            ("none", "does not exist"),
        ] {
            let error = group.open(name).err().unwrap().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        let seen = group.logical_volumes();
        let names: Vec<_> = seen.iter().map(|volume| (volume.name.as_str(), volume.is_active)).collect();
        let skipped = |name| (name, name != "both");
        assert_eq!(names, ["plain", "wide", "both", "snap", "self", "thin", "far"].map(skipped));
        assert_eq!(seen[0].size, 6 * 512);
    }

    #[test]
    fn a_description_of_anything_ends_in_order() {
        let mut opened = 0;
        let mut state = 1u64;
        for _ in 0..3000 {
            let mut text = TEXT.as_bytes().to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (at, with) = ((state >> 33) as usize % text.len(), (state >> 20) as usize % text.len());
                text[at] = text[with];
            }
            let Ok(group) = group(&String::from_utf8_lossy(&text)) else { continue };
            for volume in group.logical_volumes() {
                if let Ok(block) = group.open(&volume.name) {
                    let mut sector = [0; 512];
                    opened += usize::from(block.read_at(&mut sector, 0).is_ok());
                }
            }
        }
        assert!(opened > 300, "{opened}");
    }
}
