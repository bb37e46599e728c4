//! From a logical volume to the bytes of the disks.

use std::sync::Arc;

use super::group::{Group, Layout, SECTOR, Segment};
use super::snapshot;
use super::text::Value;
use super::thin::Pool;
use crate::block::Block;
use crate::error::Result;
use crate::fields::Fields;
use crate::filter::{Concat, Slice, Stripe};

/// Volumes are made of volumes: an image of a mirror, of pieces of disks.
const MAX_DEPTH: usize = 6;
/// Most parts that one segment is spread over.
const MAX_WIDTH: usize = 256;
/// Marks the superblock of a member of an array: `DmRd`.
const ARRAY_MAGIC: u32 = 0x6452_6d44;

pub(super) fn open(group: &Group, name: &str) -> Result<Arc<dyn Block>> {
    if group.is_exported {
        return Err(group.refuse(name, "is in a group that was given to another machine"));
    }
    Map { group, name }.volume(name, 0)
}

/// The volume that is being opened, for messages, and its group.
struct Map<'a> {
    group: &'a Group,
    name: &'a str,
}

impl Map<'_> {
    fn refuse<T>(&self, what: &str) -> Result<T> {
        Err(self.group.refuse(self.name, what))
    }

    fn broken<T>(&self, what: &str) -> Result<T> {
        Err(self.group.broken(self.name, what))
    }

    fn volume(&self, name: &str, depth: usize) -> Result<Arc<dyn Block>> {
        let Some(layout) = self.group.volumes.get(name) else { return self.broken("does not exist") };
        if depth > MAX_DEPTH {
            return self.broken("is made of itself");
        }
        if let Some(what) = self.group.role(name) {
            return self.refuse(what);
        }
        let own = self.pieces(layout, depth)?;
        match self.group.origin(name) {
            None => Ok(own),
            Some(origin) => snapshot::open(self.volume(origin, depth + 1)?, own),
        }
    }

    fn pieces(&self, layout: &Layout, depth: usize) -> Result<Arc<dyn Block>> {
        let mut parts = Vec::new();
        let mut at = 0u64;
        for segment in &layout.segments {
            let end = segment.start.checked_add(segment.count).filter(|end| *end > at && segment.start == at);
            let Some(end) = end else { return self.broken("has pieces with gaps between them") };
            parts.push(self.segment(segment, depth)?);
            at = end;
        }
        match parts.len() {
            0 => self.broken("has no pieces"),
            1 => Ok(parts.remove(0)),
            _ => Ok(Arc::new(Concat::new(parts)?)),
        }
    }

    fn segment(&self, segment: &Segment, depth: usize) -> Result<Arc<dyn Block>> {
        match segment.kind.as_str() {
            "striped" => {
                let areas = self.areas(segment, "stripes")?;
                let length = self.bytes(segment.count, areas.len())?;
                let areas = areas.iter().map(|area| self.area(area, length, depth)).collect::<Result<_>>()?;
                self.stripe(segment, areas)
            }
            "raid0" => {
                let images = self.names(segment, "raid0_lvs")?;
                self.stripe(
                    segment,
                    images.iter().map(|name| self.volume(name, depth + 1)).collect::<Result<_>>()?,
                )
            }
            "raid0_meta" => {
                let images = self.images(segment, depth)?;
                self.stripe(segment, images)
            }
            // Whatever is out of step is made from the first one, so that one is always right.
            "mirror" => {
                let areas = self.areas(segment, "mirrors")?;
                let Some(first) = areas.first() else { return self.broken("is a mirror of nothing") };
                self.area(first, self.bytes(segment.count, 1)?, depth)
            }
            "raid1" => match self.images(segment, depth)?.into_iter().next() {
                Some(first) => self.cut(first, self.bytes(segment.count, 1)?),
                None => self.broken("is an array of nothing"),
            },
            "thin" => self.thin(segment, depth),
            kind => self.refuse(&format!("is of the kind {kind}")),
        }
    }

    /// What a thin pool has given to a volume.
    fn thin(&self, segment: &Segment, depth: usize) -> Result<Arc<dyn Block>> {
        let layout = segment.section.text("thin_pool").and_then(|pool| self.group.volumes.get(pool));
        let Some([Segment { section: pool, .. }]) = layout.map(|layout| layout.segments.as_slice()) else {
            return self.broken("is in a thin pool that does not exist");
        };
        let (Some(metadata), Some(data)) = (pool.text("metadata"), pool.text("pool")) else {
            return self.broken("is in a thin pool without data");
        };
        let Some(device) = segment.section.number("device_id") else {
            return self.broken("has no number in its pool");
        };
        // LVM has written down what the pool shall do when it is made ready.
        let has_messages = pool.iter().any(|(key, _)| key.starts_with("message"));
        let transaction = pool.number("transaction_id");
        let pool = Pool::open(self.volume(metadata, depth + 1)?, self.volume(data, depth + 1)?)?;
        if has_messages || transaction != Some(pool.transaction) {
            return self.refuse("is in a thin pool with changes that are not done yet");
        }
        let origin =
            segment.section.text("external_origin").map(|name| self.volume(name, depth + 1)).transpose()?;
        pool.volume(device, self.bytes(segment.count, 1)?, origin)
    }

    /// What each of `parts` parts of so many extents has, in bytes.
    fn bytes(&self, extents: u64, parts: usize) -> Result<u64> {
        let size = extents.checked_mul(self.group.extent);
        match size.and_then(|size| size.checked_div(parts as u64)) {
            Some(size) => Ok(size),
            None => self.broken("has an impossible size"),
        }
    }

    /// Names and extents in turns.
    fn areas<'s>(&self, segment: &'s Segment, list: &str) -> Result<Vec<(&'s str, u64)>> {
        let list = segment.section.list(list);
        let pairs = list.chunks(2).map(|pair| match pair {
            [name, extent] => Some((name.text()?, extent.number()?)),
            _ => None,
        });
        match pairs.collect::<Option<Vec<_>>>() {
            Some(areas) if (1..=MAX_WIDTH).contains(&areas.len()) => Ok(areas),
            _ => self.broken("has a list of areas that makes no sense"),
        }
    }

    fn names<'s>(&self, segment: &'s Segment, list: &str) -> Result<Vec<&'s str>> {
        let list = segment.section.list(list);
        match list.iter().map(Value::text).collect::<Option<Vec<_>>>() {
            Some(names) if (1..=2 * MAX_WIDTH).contains(&names.len()) => Ok(names),
            _ => self.broken("has a list of images that makes no sense"),
        }
    }

    /// So many bytes from an extent of a physical or logical volume on.
    fn area(&self, (name, extent): &(&str, u64), length: u64, depth: usize) -> Result<Arc<dyn Block>> {
        let Some(offset) = extent.checked_mul(self.group.extent) else {
            return self.broken("lies beyond its disk");
        };
        let Some(device) = self.group.devices.get(*name) else {
            let inner = self.volume(name, depth + 1)?;
            return Ok(Arc::new(Slice::new(inner, offset, length)?));
        };
        let Some(block) = &device.block else { return self.refuse("is on a disk that is missing") };
        let end = length.div_ceil(self.group.extent).checked_add(*extent);
        let start = device.start.checked_add(offset);
        match (start, end) {
            (Some(start), Some(end)) if end <= device.extents => {
                Ok(Arc::new(Slice::new(Arc::clone(block), start, length)?))
            }
            _ => self.broken("lies beyond its disk"),
        }
    }

    fn cut(&self, block: Arc<dyn Block>, length: u64) -> Result<Arc<dyn Block>> {
        match block.size().cmp(&length) {
            std::cmp::Ordering::Less => self.broken("is larger than what it is made of"),
            std::cmp::Ordering::Equal => Ok(block),
            std::cmp::Ordering::Greater => Ok(Arc::new(Slice::new(block, 0, length)?)),
        }
    }

    fn stripe(&self, segment: &Segment, mut parts: Vec<Arc<dyn Block>>) -> Result<Arc<dyn Block>> {
        let size = self.bytes(segment.count, 1)?;
        if parts.len() == 1 {
            return self.cut(parts.remove(0), size);
        }
        let chunk = segment.section.number("stripe_size");
        match chunk.and_then(|sectors| sectors.checked_mul(SECTOR)).filter(|chunk| *chunk > 0) {
            Some(chunk) => self.cut(Arc::new(Stripe::new(parts, chunk)?), size),
            None => self.broken("has stripes of no size"),
        }
    }

    /// The images of an array all of whose members are in order.
    fn images(&self, segment: &Segment, depth: usize) -> Result<Vec<Arc<dyn Block>>> {
        let names = self.names(segment, "raids")?;
        let mut images = Vec::new();
        let mut events = None;
        for (position, pair) in names.chunks(2).enumerate() {
            let [meta, image] = pair else { return self.broken("has an array of halves") };
            let meta = self.volume(meta, depth + 1)?;
            let mut superblock = [0; SECTOR as usize];
            meta.read_at(&mut superblock, 0)?;
            let fields = Fields(&superblock);
            let is_member = fields.le32(0) == ARRAY_MAGIC
                && fields.le32(8) as usize == names.len() / 2
                && fields.le32(12) as usize == position;
            let is_whole = fields.le64(24) == 0 && fields.le64(32) == u64::MAX;
            if !is_member || !is_whole || *events.get_or_insert(fields.le64(16)) != fields.le64(16) {
                return self.refuse("is an array whose members are not all in order");
            }
            images.push(self.volume(image, depth + 1)?);
        }
        Ok(images)
    }
}
