//! Reading: look up under the metadata lock, then read outside of it.
//!
//! A request keeps a mark of the clusters it looked up until it has ended, so that none of them can be
//! given to somebody else meanwhile.

use super::alloc::InUse;
use super::cache::Absent;
use super::image::Qcow2;
use super::map::{Lookup, Source};
use super::meta::Meta;
use super::storage::read_padded;
use super::units::GuestOffset;
use crate::block::Block;
use crate::error::Result;

/// Runs that are looked up at once.
const MAX_RUNS: usize = 64;

/// Which L1 table a request goes by.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    /// The disk as it is now.
    Active,
    /// A snapshot's.
    Fixed(&'a [u64]),
}

impl View<'_> {
    fn l1<'m>(&'m self, meta: &'m Meta) -> &'m [u64] {
        match self {
            View::Active => &meta.l1,
            View::Fixed(l1) => l1,
        }
    }
}

/// Runs that follow each other, and what keeps their clusters in place.
pub(super) struct Runs {
    pub(super) list: Vec<(Source, u64)>,
    pub(super) generation: u64,
    _in_use: InUse,
}

impl Qcow2 {
    /// Where the bytes from `at` on come from: at least one run, together at most `length` bytes.
    pub(super) fn runs(&self, view: View<'_>, at: GuestOffset, length: u64, max: usize) -> Result<Runs> {
        loop {
            let missing = {
                let meta = self.meta_read()?;
                let mut list = Vec::with_capacity(4);
                let mut done = 0;
                let missing = loop {
                    match meta.look_up(view.l1(&meta), GuestOffset(at.0 + done), length - done)? {
                        Lookup::Missing(page) => break Some(meta.l2.absent(page)),
                        Lookup::Found(source, run) => {
                            // A compressed cluster is one run, however long the request.
                            list.push((source, run));
                            done += run;
                            if done >= length || list.len() >= max {
                                break None;
                            }
                        }
                    }
                };
                match missing {
                    Some(page) if list.is_empty() => page,
                    _ => {
                        return Ok(Runs {
                            list,
                            generation: meta.generation,
                            _in_use: meta.freeing.in_use(),
                        });
                    }
                }
            };
            self.load_page(missing)?;
        }
    }

    /// Brings in a page of an L2 table. Others go on while it is read.
    pub(super) fn load_page(&self, page: Absent) -> Result<()> {
        let bytes = page.read(&*self.file)?;
        let mut meta = self.meta_write()?;
        meta.make_read_room();
        meta.l2.insert(&*self.file, page, bytes)
    }

    /// Reads from the given view. The caller has checked the range.
    pub(super) fn read_view(&self, view: View<'_>, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let runs = self.runs(view, GuestOffset(at), rest.len() as u64, MAX_RUNS)?;
            for &(source, length) in &runs.list {
                // A run is never longer than what was asked for.
                let (part, later) = rest.split_at_mut(length as usize);
                self.read_run(source, part, at, runs.generation)?;
                at += length;
                rest = later;
            }
        }
        Ok(())
    }

    fn read_run(&self, source: Source, buf: &mut [u8], at: u64, generation: u64) -> Result<()> {
        match source {
            Source::Zero(_) => buf.fill(0),
            Source::Data(host) => self.read_data(buf, host, at)?,
            Source::Backing | Source::Reserved(_) => match self.backing()? {
                Some(backing) => read_padded(&*backing, buf, at)?,
                None => buf.fill(0),
            },
            Source::Compressed(place) => self.read_compressed(place, buf, at, generation)?,
        }
        Ok(())
    }

    /// True if `at..at + length` reads as zeroes, as far as can be told without reading data.
    pub(super) fn reads_as_zero(&self, at: u64, length: u64) -> Result<bool> {
        let mut done = 0;
        while done < length {
            let runs = self.runs(View::Active, GuestOffset(at + done), length - done, 1)?;
            for &(source, run) in &runs.list {
                let zero = match source {
                    Source::Zero(_) => true,
                    Source::Backing | Source::Reserved(_) => match self.backing()? {
                        None => true,
                        Some(backing) => self.backing_is_zero(&*backing, at + done, run)?,
                    },
                    Source::Data(_) | Source::Compressed(_) => false,
                };
                if !zero {
                    return Ok(false);
                }
                done += run;
            }
        }
        Ok(true)
    }

    fn backing_is_zero(&self, backing: &dyn Block, at: u64, length: u64) -> Result<bool> {
        let end = (at + length).min(backing.size());
        let mut position = at;
        while position < end {
            let extent = backing.status(position..end)?;
            if !extent.zero || extent.length == 0 {
                return Ok(false);
            }
            position += extent.length;
        }
        Ok(true)
    }
}
