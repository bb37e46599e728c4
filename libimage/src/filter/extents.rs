//! What is said about holes and data: by a list that somebody made, or as it was said the last time.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::blocks::lock;
use super::forward::forward;
use crate::block::{Block, Extent, Limits, Zero, check_range};
use crate::error::{Error, Result};

/// An extent of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    start: u64,
    end: u64,
    data: bool,
    zero: bool,
}

/// Bytes and extents of a list, at most.
const MAX_LIST: u64 = 64 << 20;

/// Extents that somebody wrote down; between them are holes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtentList(Vec<Listed>);

impl ExtentList {
    /// Reads the lines of a file: `OFFSET LENGTH [TYPE]`, where `TYPE` is a number or words of `hole,zero`.
    ///
    /// # Errors
    /// When it cannot be read, a line makes no sense, or extents overlap.
    pub fn read(path: &std::path::Path) -> Result<Self> {
        use std::io::Read;
        let name = path.display().to_string();
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|source| Error::io("open", &name, source))?;
        file.take(MAX_LIST + 1)
            .read_to_string(&mut text)
            .map_err(|source| Error::io("read", &name, source))?;
        if text.len() as u64 > MAX_LIST {
            return Err(Error::unsupported(name, format!("a list of extents has {MAX_LIST} bytes at most")));
        }
        Self::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let mut list = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let bad = |what: &str| Error::Invalid(format!("{name}:{}: {what}", number + 1));
            let mut words = line.split_ascii_whitespace();
            let Some(offset) = words.next() else { continue };
            let size = |text: &str| super::named::parse_size(text).map_err(|error| bad(&error.to_string()));
            let start = size(offset)?;
            let length = size(words.next().ok_or_else(|| bad("cannot parse the length field"))?)?;
            let end = start.checked_add(length).ok_or_else(|| bad("the extent is too long"))?;
            let (mut hole, mut zero) = (false, false);
            if let Some(kind) = words.next() {
                if let Ok(bits) = kind.parse::<u32>() {
                    (hole, zero) = (bits & 1 != 0, bits & 2 != 0);
                } else {
                    for word in kind.split(',') {
                        match word {
                            "hole" => hole = true,
                            "zero" => zero = true,
                            _ => return Err(bad(&format!("'{word}' is no type of an extent"))),
                        }
                    }
                }
            }
            if words.next().is_some() {
                return Err(bad("there is something behind the type"));
            }
            if length > 0 {
                list.push(Listed { start, end, data: !hole, zero });
            }
        }
        list.sort_by_key(|extent| extent.start);
        if list.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(Error::Invalid(format!("{name}: there are overlapping extents")));
        }
        Ok(ExtentList(list))
    }
}

/// A device whose extents are those of a list.
pub struct WithList {
    below: Arc<dyn Block>,
    list: Arc<ExtentList>,
}

impl WithList {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>, list: Arc<ExtentList>) -> Self {
        WithList { below, list }
    }
}

impl Block for WithList {
    forward!(size, read_at, write_at, write_zeroes, discard, prefetch, flush);
    forward!(is_read_only, name, host_range, allocated_bytes);

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let list = &self.list.0;
        let next = list.partition_point(|extent| extent.end <= range.start);
        let hole = |end: u64| Extent::zero(end.min(range.end) - range.start);
        Ok(match list.get(next) {
            None => hole(range.end),
            Some(extent) if extent.start > range.start => hole(extent.start),
            Some(extent) => {
                let length = extent.end.min(range.end) - range.start;
                let same = Extent { offset: None, ..Extent::data(length, 0) };
                Extent { data: extent.data, zero: extent.zero, ..same }
            }
        })
    }

    fn limits(&self) -> Limits {
        Limits { zero_init: false, ..self.below.limits() }
    }
}

/// A device that remembers the last extent it was asked for: clients that ask for one piece after the other cost only
/// one question.
pub struct CacheExtents {
    below: Arc<dyn Block>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    known: Option<(u64, Extent)>,
    /// Grows with every change, so that an answer from before it is not kept.
    changes: u64,
}

impl CacheExtents {
    /// Shows `below`.
    pub fn new(below: Arc<dyn Block>) -> Self {
        CacheExtents { below, last: Mutex::default() }
    }

    fn change(&self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        let forget = || {
            let mut last = lock(&self.last);
            *last = Last { known: None, changes: last.changes.wrapping_add(1) };
        };
        forget();
        let done = change();
        forget();
        done
    }
}

impl Block for CacheExtents {
    forward!(size, read_at, prefetch, flush, limits, is_read_only, name, host_range, allocated_bytes);

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.change(|| self.below.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.change(|| self.below.write_zeroes(range, how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.change(|| self.below.discard(range))
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        if range.is_empty() {
            return self.below.status(range);
        }
        let changes = {
            let last = lock(&self.last);
            if let Some((start, extent)) = last.known
                && start <= range.start
                && range.start - start < extent.length
            {
                let rest = extent.skip(range.start - start);
                return Ok(rest.with_length(rest.length.min(range.end - range.start)));
            }
            last.changes
        };
        let extent = self.below.status(range.start..self.below.size().max(range.end))?;
        let mut last = lock(&self.last);
        if last.changes == changes {
            last.known = Some((range.start, extent));
        }
        Ok(extent.with_length(extent.length.min(range.end - range.start)))
    }
}

#[cfg(test)]
#[path = "extents_test.rs"]
mod tests;
