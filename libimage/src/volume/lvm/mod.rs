//! LVM2: disks and partitions are physical volumes of a group, which is cut into logical volumes.
//!
//! Every physical volume has a label, and most have the description of the whole group in text. The newest
//! description counts. What a volume is made of is opened down to the disks; what cannot be read with certainty here
//! (caches, arrays that are not in order, what is on the move) is refused by name.

mod group;
mod label;
mod map;
mod report;
mod snapshot;
mod text;
mod thin;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Block;
use crate::error::Result;

pub use group::{Group, LogicalVolume};
pub use report::{DeviceReport, GroupReport, VolumeReport};

/// The signature that probes report for a physical volume.
pub const KIND: &str = "LVM2_member";

/// The volume groups of some block devices, with what they know of each other.
#[derive(Default)]
pub struct Groups {
    groups: Vec<Group>,
    labels: Vec<Labelled>,
}

/// A device with a label.
struct Labelled {
    id: String,
    size: u64,
    data: u64,
    /// How many areas of metadata it has.
    areas: u64,
    /// The smallest space that one of them has left, in bytes.
    free: u64,
    /// An area of it is not used.
    is_odd: bool,
}

impl Groups {
    /// Looks for physical volumes among `blocks` and reads the descriptions of their groups.
    ///
    /// # Errors
    /// When a device cannot be read, or a label or description is damaged.
    pub fn read<'a>(blocks: impl IntoIterator<Item = &'a Arc<dyn Block>>) -> Result<Groups> {
        let mut volumes = Vec::new();
        let mut labels = Vec::new();
        let mut newest: BTreeMap<String, Group> = BTreeMap::new();
        for block in blocks {
            let Some(label) = label::read(block)? else { continue };
            let mut free = u64::MAX;
            let mut is_odd = label.areas.is_empty();
            for area in &label.areas {
                let held = area.read(block)?;
                free = free.min(held.free);
                is_odd |= held.is_ignored;
                let Some(text) = held.text else { continue };
                let group = Group::parse(block.name(), &text)?;
                match newest.get(&group.id) {
                    Some(known) if known.sequence >= group.sequence => {}
                    _ => drop(newest.insert(group.id.clone(), group)),
                }
            }
            let (size, data, areas) = (block.size(), label.data, label.areas.len() as u64);
            labels.push(Labelled { id: label.id.clone(), size, data, areas, free, is_odd });
            volumes.push((label.id, Arc::clone(block)));
        }
        let mut groups: Vec<Group> = newest.into_values().collect();
        for group in &mut groups {
            group.find_devices(&volumes);
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Groups { groups, labels })
    }

    /// The groups, by name.
    pub fn all(&self) -> &[Group] {
        &self.groups
    }

    /// Two groups have one name: nobody can say which one is meant.
    pub fn are_ambiguous(&self) -> bool {
        self.groups.windows(2).any(|pair| matches!(pair, [a, b] if a.name == b.name))
    }
}
