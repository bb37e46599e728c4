//! From the members of an array to its bytes.

use std::sync::Arc;

use super::layout::{Parity, Plan, Rows};
use super::rebuilt::Rebuilt;
use super::superblock::{self, Role, Superblock};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::filter::spread::Spread;
use crate::filter::{Concat, Slice, Stripe};

/// Most members of an array.
const MAX_PLACES: u32 = 384;
/// What `layout` says of a RAID 0 whose members have different sizes: how Linux arranged it before 3.14, and since.
const BEFORE: u32 = 1;
const SINCE: u32 = 2;

/// Devices by place; `None` where one is missing.
type Places = Vec<Option<Arc<dyn Block>>>;

/// Where the data of a member is, in bytes.
struct Data {
    device: Arc<dyn Block>,
    start: u64,
    length: u64,
}

/// Devices that belong together.
pub struct Array {
    /// What the members say that changed last.
    pub about: Superblock,
    /// By place: which of the devices that were looked at is the member, if it is there and in step.
    pub members: Vec<Option<usize>>,
    /// The others of those devices: they stand by, failed, or fell behind.
    pub others: Vec<usize>,
    /// The members' data, by place.
    data: Vec<Option<Data>>,
    file: String,
    /// Why it is not read.
    refused: Option<&'static str>,
}

/// Finds the arrays that `devices` are members of, in the order of their first members.
///
/// # Errors
/// When a device cannot be read, or has a damaged superblock.
pub fn arrays(devices: &[Arc<dyn Block>]) -> Result<Vec<Array>> {
    let mut found: Vec<Vec<(usize, Superblock)>> = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let Some(superblock) = superblock::read(device)? else { continue };
        match found.iter_mut().find(|array| array.iter().any(|(_, known)| known.id == superblock.id)) {
            Some(array) => array.push((index, superblock)),
            None => found.push(vec![(index, superblock)]),
        }
    }
    Ok(found.into_iter().filter_map(|members| Array::of(devices, members)).collect())
}

impl Array {
    fn of(devices: &[Arc<dyn Block>], found: Vec<(usize, Superblock)>) -> Option<Array> {
        let newest = found.iter().map(|(_, superblock)| superblock).max_by_key(|known| known.events)?.clone();
        let places = newest.places.min(MAX_PLACES) as usize;
        let mut array = Array {
            members: vec![None; places],
            others: Vec::new(),
            data: std::iter::repeat_with(|| None).take(places).collect(),
            file: String::new(),
            refused: newest.oddity,
            about: newest,
        };
        if array.about.places > MAX_PLACES {
            array.refused = Some("it has too many members");
        }
        for (index, member) in found {
            array.add(index, devices.get(index)?, &member);
        }
        Some(array)
    }

    fn add(&mut self, index: usize, device: &Arc<dyn Block>, member: &Superblock) {
        if self.file.is_empty() {
            device.name().clone_into(&mut self.file);
        }
        let Role::Member(place) = member.role else {
            if member.role == Role::Journal {
                self.refused = Some("it has a journal");
            }
            return self.others.push(index);
        };
        if member.events != self.about.events {
            // Linux takes one that is a single step behind; whether that is right cannot be told here.
            if member.events.checked_add(1) == Some(self.about.events) {
                self.refused = Some("its members do not agree about its last change");
            }
            return self.others.push(index);
        }
        let agrees = Superblock { role: member.role, start: 0, length: 0, ..member.clone() }
            == Superblock { role: member.role, start: 0, length: 0, ..self.about.clone() };
        if member.oddity.is_some() {
            self.refused = member.oddity;
        } else if !agrees || !member.roles.contains(&member.role) {
            self.refused = Some("its members do not agree");
        }
        let place = place as usize;
        match (self.members.get_mut(place), self.data.get_mut(place)) {
            (Some(known), Some(data)) if known.is_none() => {
                *known = Some(index);
                let device = Arc::clone(device);
                *data = Some(Data { device, start: member.start, length: member.length });
            }
            (Some(_), _) => self.refused = Some("two members claim one place"),
            _ => self.refused = Some("a member claims a place that there is not"),
        }
    }

    fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(Error::unsupported(&self.file, format!("a member of an array: {why}")))
    }

    /// The array as a block device that is read.
    ///
    /// # Errors
    /// When it is of a kind that is not read here, too many of its members are missing, or something is under way.
    pub fn open(&self) -> Result<Arc<dyn Block>> {
        if let Some(why) = self.refused {
            return self.refuse(why);
        }
        match self.about.level {
            -1 => Ok(Arc::new(Concat::new(self.all(true)?)?)),
            0 => self.striped(),
            1 => match self.same_sizes(self.about.size)?.into_iter().flatten().next() {
                Some(first) => Ok(first),
                None => self.refuse("none of its members is there"),
            },
            4 | 5 => self.with_parity(),
            10 => self.copied(),
            level => self.refuse(&format!("arrays of level {level} are not read directly")),
        }
    }

    /// The data of a member, cut to `size` bytes.
    fn cut(&self, member: &Data, size: u64) -> Result<Arc<dyn Block>> {
        if size > member.length {
            return self.refuse("a member is too small");
        }
        Ok(Arc::new(Slice::new(Arc::clone(&member.device), member.start, size)?))
    }

    /// What fits whole pieces, where there are any.
    fn whole(&self, size: u64) -> u64 {
        size - size.checked_rem(self.about.chunk).unwrap_or_default()
    }

    /// All members, each with all it has.
    fn all(&self, is_any_chunk: bool) -> Result<Vec<Arc<dyn Block>>> {
        if self.about.chunk == 0 && !is_any_chunk {
            return self.refuse("its pieces have no size");
        }
        let Some(members) = self.data.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
            return self.refuse("a member is missing");
        };
        if members.is_empty() {
            return self.refuse("it has no members");
        }
        members.into_iter().map(|member| self.cut(member, self.whole(member.length))).collect()
    }

    /// The members that there are, all of `size` bytes.
    fn same_sizes(&self, size: u64) -> Result<Places> {
        self.data.iter().map(|member| member.as_ref().map(|one| self.cut(one, size)).transpose()).collect()
    }

    /// Members of different sizes make zones: where the smallest ends, the next zone has one member less.
    fn striped(&self) -> Result<Arc<dyn Block>> {
        let members = self.all(false)?;
        let mut zones: Vec<Arc<dyn Block>> = Vec::new();
        // Bytes of each member, and of all, that zones have.
        let (mut depth, mut before) = (0, 0u64);
        loop {
            let wide: Vec<_> = members.iter().filter(|member| member.size() > depth).collect();
            let Some(end) = wide.iter().map(|member| member.size()).min() else { break };
            let mut parts = Vec::new();
            for member in &wide {
                let part = Slice::new(Arc::clone(member), depth, end - depth)?;
                parts.push(Arc::new(part) as Arc<dyn Block>);
            }
            if !zones.is_empty() && parts.len() > 1 {
                match self.about.layout {
                    // Members take turns from the start of the array on, whatever the zones are.
                    BEFORE => parts.rotate_left((before / self.about.chunk % wide.len() as u64) as usize),
                    SINCE => {}
                    _ => return self.refuse("how its zones are arranged is not said"),
                }
            }
            let zone = Stripe::new(parts, self.about.chunk)?;
            before = before.saturating_add(zone.size());
            zones.push(Arc::new(zone));
            depth = end;
        }
        match zones.len() {
            0 => self.refuse("it has no room"),
            1 => Ok(zones.remove(0)),
            _ => Ok(Arc::new(Concat::new(zones)?)),
        }
    }

    fn rows(&self, members: Places, plan: Plan, pieces: u64) -> Result<Arc<dyn Block>> {
        let chunk = self.about.chunk;
        let Some(size) = pieces.checked_mul(chunk) else { return self.refuse("it has an impossible size") };
        let rows = Rows { members, chunk, size, plan };
        if !rows.is_readable() {
            return self.refuse("too many members are missing");
        }
        Ok(Arc::new(Spread::over(rows, self.file.clone())))
    }

    /// Members of whole pieces, and how many pieces each has.
    fn rows_of(&self) -> Result<(Places, u64)> {
        let size = self.whole(self.about.size);
        match size.checked_div(self.about.chunk) {
            Some(rows) if rows > 0 => Ok((self.same_sizes(size)?, rows)),
            _ => self.refuse("it has no room"),
        }
    }

    fn copied(&self) -> Result<Arc<dyn Block>> {
        let layout = self.about.layout;
        let (near, far) = (u64::from(layout & 0xff), layout >> 8 & 0xff);
        let (members, rows) = self.rows_of()?;
        let count = members.len() as u64;
        if far != 1 || layout >> 16 != 0 || !(1..=count).contains(&near) {
            return self.refuse("its copies are not next to each other");
        }
        match rows.checked_mul(count) {
            Some(slots) => self.rows(members, Plan::Copies(near), slots / near),
            None => self.refuse("it has an impossible size"),
        }
    }

    fn with_parity(&self) -> Result<Arc<dyn Block>> {
        let Some(parity) = Parity::of(self.about.level, self.about.layout) else {
            return self.refuse("how its parity is arranged is not known");
        };
        let (mut members, rows) = self.rows_of()?;
        let missing: Vec<usize> =
            members.iter().enumerate().filter(|(_, member)| member.is_none()).map(|(at, _)| at).collect();
        match missing.as_slice() {
            [] => {}
            [one] if self.about.is_in_sync => {
                let others: Vec<_> = members.iter().flatten().cloned().collect();
                let rebuilt = Rebuilt::new(others, self.whole(self.about.size));
                if let Some(place) = members.get_mut(*one) {
                    *place = Some(Arc::new(rebuilt));
                }
            }
            [_] => return self.refuse("a member is missing, and its parity may be wrong"),
            _ => return self.refuse("too many members are missing"),
        }
        let data = members.len().checked_sub(1).and_then(|data| rows.checked_mul(data as u64));
        match data {
            Some(pieces) if pieces > 0 => self.rows(members, Plan::Parity(parity), pieces),
            _ => self.refuse("it has no room"),
        }
    }
}
