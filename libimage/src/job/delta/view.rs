//! A disk as it would be with a delta applied, without applying it.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Action, Header, Reader, Record};
use crate::block::{Block, Extent, Limits, check_range, read_only};
use crate::error::{Error, Result};

/// Where a change is in the delta.
struct Change {
    range: Range<u64>,
    /// Of its record in the file; `None` for zeroes.
    record: Option<u64>,
}

/// `base` with a delta over it, for reading.
pub struct Patched {
    base: Arc<dyn Block>,
    header: Header,
    changes: Vec<Change>,
    delta: Mutex<Delta>,
    name: String,
}

struct Delta {
    file: File,
    /// The record that was read last: requests usually go on in it.
    last: Option<(u64, Record)>,
}

impl Patched {
    /// Lays the delta at `path` over `base`, which should have been [verified](super::verify).
    ///
    /// # Errors
    /// When the delta cannot be read or is damaged.
    pub fn new(base: Arc<dyn Block>, path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let open = || File::open(path).map_err(|e| Error::io("open", name.clone(), e));
        let mut reader = Reader::new(BufReader::new(open()?), &name)?;
        let mut changes = Vec::new();
        while let Some((at, record)) = reader.next()? {
            let place = (record.action != Action::Zero).then_some(at);
            changes.push(Change { range: record.offset..record.offset + record.length, record: place });
        }
        let header = reader.header;
        let delta = Mutex::new(Delta { file: open()?, last: None });
        Ok(Patched { base, header, changes, delta, name })
    }

    /// The change at `offset`, or else where the next one begins.
    fn at(&self, offset: u64) -> std::result::Result<&Change, u64> {
        let next = self.changes.partition_point(|change| change.range.end <= offset);
        match self.changes.get(next) {
            Some(change) if change.range.start <= offset => Ok(change),
            Some(change) => Err(change.range.start),
            None => Err(self.header.new_size),
        }
    }

    fn read_change(&self, place: u64, start: u64, into: &mut [u8], offset: u64) -> Result<()> {
        let mut delta = self.delta.lock().unwrap_or_else(PoisonError::into_inner);
        if delta.last.as_ref().is_none_or(|(at, _)| *at != place) {
            delta.file.seek(SeekFrom::Start(place)).map_err(|e| Error::io("read", self.name.clone(), e))?;
            // A reader in the middle of the file: it knows the header, and nothing of what came before.
            let input = BufReader::new(&delta.file);
            let (name, header) = (&*self.name, self.header);
            let mut reader =
                Reader { input, name, header, position: place, count: 0, after: 0, ended: false };
            let record = reader.next()?;
            delta.last = record.map(|(_, record)| (place, record));
        }
        let from = (offset - start) as usize;
        match &delta.last {
            Some((_, Record { action: Action::Data(data), .. })) if data.len() >= from + into.len() => {
                into.copy_from_slice(&data[from..from + into.len()]);
                Ok(())
            }
            _ => Err(Error::corrupt_at(self.name.clone(), place, "it was changed while it was read")),
        }
    }
}

impl Block for Patched {
    fn size(&self) -> u64 {
        self.header.new_size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let end = match self.at(at) {
                Ok(change) => change.range.end,
                Err(next) => next,
            };
            let take = (end - at).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(take);
            match self.at(at) {
                Ok(Change { record: None, .. }) => now.fill(0),
                Ok(Change { record: Some(place), range }) => {
                    self.read_change(*place, range.start, now, at)?
                }
                Err(_) => {
                    // Behind the old end there is nothing but what the delta says.
                    let there = self.base.size().saturating_sub(at).min(take as u64) as usize;
                    let (old, new) = now.split_at_mut(there);
                    new.fill(0);
                    if there > 0 {
                        self.base.read_at(old, at)?;
                    }
                }
            }
            rest = later;
            at += take as u64;
        }
        Ok(())
    }

    read_only!();

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        match self.at(range.start) {
            Ok(change) => {
                let length = length.min(change.range.end - range.start);
                Ok(match change.record {
                    None => Extent::zero(length),
                    Some(_) => Extent { offset: None, ..Extent::data(length, 0) },
                })
            }
            Err(next) => {
                let end = range.end.min(next);
                if range.start >= self.base.size() {
                    return Ok(Extent::zero(end - range.start));
                }
                let found = self.base.status(range.start..end.min(self.base.size()))?;
                // Offsets and depths are the base's own.
                Ok(Extent { offset: None, depth: 0, present: true, ..found })
            }
        }
    }

    fn limits(&self) -> Limits {
        self.base.limits()
    }

    fn name(&self) -> &str {
        self.base.name()
    }
}
