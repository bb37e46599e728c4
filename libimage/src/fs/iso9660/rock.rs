//! Rock Ridge: what Unix knows of a file, in entries behind the directory record and in continuations elsewhere.

use std::ops::ControlFlow;

use super::super::system::{FsError, Result, Time};
use super::Iso;
use super::record::{Record, long_time, short_time};
use crate::fields::Fields;

/// Continuations of a record: more are taken for a circle.
const MAX_CONTINUATIONS: usize = 32;
/// Longer names are cut, as Linux does.
const MAX_NAME: usize = 254;
const MAX_TARGET: usize = 4096;
/// Flags of names and of parts of targets.
const GOES_ON: u8 = 1;
const DOT: u8 = 2;
const DOTS: u8 = 4;
const TOP: u8 = 8;

/// What the entries of a record say, as far as they say it.
#[derive(Default)]
pub(super) struct Rock {
    pub(super) name: Vec<u8>,
    /// Mode, names, user and group.
    pub(super) owners: Option<[u32; 4]>,
    pub(super) device: (u32, u32),
    pub(super) target: Vec<u8>,
    pub(super) modified: Option<Time>,
    pub(super) accessed: Option<Time>,
    pub(super) changed: Option<Time>,
    /// The block of a directory that was moved elsewhere.
    pub(super) moved_to: Option<u64>,
    /// It is such a directory: not shown here.
    pub(super) is_moved: bool,
    /// The size that it unpacks to.
    pub(super) packed: Option<u64>,
    /// The root says that there is Rock Ridge.
    pub(super) is_announced: bool,
    /// Bytes to pass over in every record before the entries.
    pub(super) skip: Option<usize>,
}

impl Iso {
    /// What the entries of a record say.
    pub(super) fn rock(&self, record: &Record) -> Result<Rock> {
        let mut rock = Rock::default();
        if self.is_joliet {
            return Ok(rock);
        }
        let mut area = record.system_use().get(self.skip..).unwrap_or_default().to_vec();
        let mut names_end = false;
        for _ in 0..MAX_CONTINUATIONS {
            let mut next = None;
            let mut rest = area.as_slice();
            while let [a, b, length, _, ..] = *rest {
                let Some((entry, after)) = rest.split_at_checked(length.into()).filter(|_| length >= 4)
                else {
                    break;
                };
                rest = after;
                let fields = Fields(entry);
                match &[a, b] {
                    b"CE" if length >= 28 => {
                        next = Some((fields.le32(4), fields.le32(12), fields.le32(20)));
                    }
                    b"SP" if entry.get(4..6) == Some(&[0xbe, 0xef]) => {
                        rock.skip = entry.get(6).copied().map(usize::from);
                    }
                    b"ST" => break,
                    b"NM" => names_end |= rock.add_name(entry, names_end).is_break(),
                    _ => rock.add(&[a, b], entry),
                }
            }
            let Some((block, offset, length)) = next else { return Ok(rock) };
            let (block, offset, length) = (u64::from(block), u64::from(offset), u64::from(length));
            if offset + length > self.volume.block_size {
                let what = "a continuation of a directory record is too long";
                return Err(self.device.corrupt(record.at, what).into());
            }
            area = self.device.bytes(block * self.volume.block_size + offset, length as usize)?;
        }
        Err(FsError::from(
            self.device.corrupt(record.at, "the continuations of a directory record have no end"),
        ))
    }
}

impl Rock {
    fn add_name(&mut self, entry: &[u8], is_over: bool) -> ControlFlow<()> {
        let (Some(flags), Some(part)) = (entry.get(4), entry.get(5..)) else { return ControlFlow::Break(()) };
        if is_over || flags & !GOES_ON != 0 || self.name.len() + part.len() >= MAX_NAME {
            return ControlFlow::Break(());
        }
        self.name.extend(part);
        ControlFlow::Continue(())
    }

    fn add(&mut self, kind: &[u8; 2], entry: &[u8]) {
        let fields = Fields(entry);
        match kind {
            b"PX" if entry.len() >= 36 => self.owners = Some([4, 12, 20, 28].map(|at| fields.le32(at))),
            b"PN" if entry.len() >= 20 => {
                let (high, low) = (fields.le32(4), fields.le32(12));
                // Some write the whole number into the lower half.
                let is_whole = high == 0 && low > 0xff;
                let (major, minor) = if is_whole { (low >> 8, low & 0xff) } else { (high, low) };
                // Linux has room for 12 and 20 bits.
                let number = (major & 0xfff) << 20 | minor;
                self.device = (number >> 20, number & 0xf_ffff);
            }
            b"SL" => self.add_target(entry),
            b"TF" => self.add_times(entry),
            b"CL" if entry.len() >= 12 => self.moved_to = Some(fields.le32(4).into()),
            b"RE" => self.is_moved = true,
            b"ER" => self.is_announced = true,
            b"ZF" if entry.get(4..6) == Some(b"pz") => self.packed = Some(fields.le32(8).into()),
            _ => {}
        }
    }

    fn add_target(&mut self, entry: &[u8]) {
        let goes_on = entry.get(4).is_some_and(|flags| flags & GOES_ON != 0);
        let mut rest = entry.get(5..).unwrap_or_default();
        while let [flags, length, after @ ..] = rest {
            let Some((text, after)) = after.split_at_checked(usize::from(*length)) else { return };
            if self.target.len() > MAX_TARGET {
                return;
            }
            rest = after;
            match flags & !GOES_ON {
                0 => self.target.extend(text),
                DOT => self.target.extend(b"."),
                DOTS => self.target.extend(b".."),
                TOP => self.target.extend(b"/"),
                _ => {}
            }
            let is_last = rest.len() < 2 && !goes_on;
            if flags & !GOES_ON != TOP && flags & GOES_ON == 0 && !is_last {
                self.target.extend(b"/");
            }
        }
    }

    fn add_times(&mut self, entry: &[u8]) {
        let Some(flags) = entry.get(4) else { return };
        let size = if flags & 0x80 != 0 { 17 } else { 7 };
        let mut times = entry.get(5..).unwrap_or_default().chunks_exact(size);
        let mut next = |bit: u8| {
            let bytes = if flags & bit != 0 { times.next()? } else { return None };
            Some(if size == 17 { long_time(bytes) } else { short_time(bytes) })
        };
        // Linux takes the time of creation for that of a change, unless there is one.
        let created = next(1);
        self.modified = next(2).or(self.modified);
        self.accessed = next(4).or(self.accessed);
        self.changed = next(8).or(created).or(self.changed);
    }
}
