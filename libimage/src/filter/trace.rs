//! Records what is written, to play it back: what would the file hold had the power failed here?
//!
//! Every change is recorded in the order in which it took effect, and every flush that succeeded. A
//! power cut keeps all changes before the last flush, and any of those after it.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, Extent, Limits, Preallocation, Zero};
use crate::error::Result;

/// Something that happened to the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// Which.
        bytes: Vec<u8>,
    },
    /// A range was zeroed.
    WriteZeroes(Range<u64>),
    /// A range was discarded: it may hold zeroes or what it held before.
    Discard(Range<u64>),
    /// The size was changed.
    Resize(u64),
    /// Everything before this is durable.
    Flush,
}

impl Event {
    /// Does it again.
    ///
    /// # Errors
    /// Those of `target`.
    pub fn apply(&self, target: &dyn Block) -> Result<()> {
        match self {
            Event::Write { offset, bytes } => target.write_at(bytes, *offset),
            Event::WriteZeroes(range) => target.write_zeroes(range.clone(), Zero::MayUnmap),
            Event::Discard(range) => {
                target.discard(range.start..range.end.min(target.size()).max(range.start))
            }
            Event::Resize(size) => target.resize(*size, Preallocation::Off),
            Event::Flush => Ok(()),
        }
    }
}

/// A storage that remembers its changes. They are serialised; reads are not.
pub struct Trace {
    inner: Arc<dyn Block>,
    /// Which of the storages that share the record this is.
    number: usize,
    events: Arc<Mutex<Vec<(usize, Event)>>>,
}

impl Trace {
    /// Records changes to `inner`.
    pub fn new(inner: Arc<dyn Block>) -> Self {
        Trace { inner, number: 0, events: Arc::default() }
    }

    /// Records changes to another storage in the same record, as those of storage `number`: in which order two files
    /// were changed is known afterwards.
    pub fn beside(&self, inner: Arc<dyn Block>, number: usize) -> Self {
        Trace { inner, number, events: Arc::clone(&self.events) }
    }

    /// How many events have been recorded, with those of all that share the record.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True if nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// All events so far of this storage.
    pub fn events(&self) -> Vec<Event> {
        let own = |(number, event): &(usize, Event)| (*number == self.number).then(|| event.clone());
        self.lock().iter().filter_map(own).collect()
    }

    /// All events so far, each with the number of its storage.
    pub fn record_of_all(&self) -> Vec<(usize, Event)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Event)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event, action: impl FnOnce(&dyn Block) -> Result<()>) -> Result<()> {
        let mut events = self.lock();
        action(&*self.inner)?;
        events.push((self.number, event));
        Ok(())
    }
}

impl Block for Trace {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.record(Event::Write { offset, bytes: buf.to_owned() }, |inner| inner.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.record(Event::WriteZeroes(range.clone()), |inner| inner.write_zeroes(range, how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.record(Event::Discard(range.clone()), |inner| inner.discard(range))
    }

    fn flush(&self) -> Result<()> {
        self.record(Event::Flush, |inner| inner.flush())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.inner.status(range)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.record(Event::Resize(size), |inner| inner.resize(size, preallocation))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.inner.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn playing_back_gives_the_same_bytes() {
        let trace = Trace::new(Arc::new(Memory::new(0)));
        trace.write_at(&[1; 1000], 10).unwrap();
        trace.write_zeroes(20..30, Zero::MayUnmap).unwrap();
        trace.flush().unwrap();
        trace.resize(500, Preallocation::Off).unwrap();
        let copy = Memory::new(0);
        for event in trace.events() {
            event.apply(&copy).unwrap();
        }
        let (mut a, mut b) = (vec![0; 500], vec![0; 500]);
        trace.read_at(&mut a, 0).unwrap();
        copy.read_at(&mut b, 0).unwrap();
        assert!(copy.size() == 500 && a == b && trace.len() == 4);
    }
}
