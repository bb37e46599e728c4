//! The journal of systemd: the files of a directory read as one list of entries.
//!
//! The order is that of `journalctl`: within a series of files that one journald wrote, the sequence number
//! counts, within one boot the monotonic clock, else the wall clock.
//!
//! Files come as [`Source`]s: the agent has those of its kernel, the direct reader those of an image.
#![forbid(unsafe_code)]

mod file;
mod unpack;

pub use file::Source;

use file::{EntryHead, JournalFile};
use guestd_api::structs::Xattr;
use guestd_api::{Failure, GuestString};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::io;

/// How long values may be before they are cut, unless the user says otherwise.
pub const THRESHOLD: u64 = 64 << 10;

/// Entries that are put in order: journals of 8 GiB, with room.
const MAX_ENTRIES: usize = 16 << 20;

/// How deep directories of journals are: one per machine.
pub const DEPTH: usize = 1;

/// What an action says that comes before `journal-open`.
pub fn not_open(action: &str) -> String {
    format!("do_{action}: you must call 'journal-open' first to initialize the journal handle")
}

/// What the failure of `journal-open` is about.
pub fn subject(directory: &[u8]) -> Vec<u8> {
    [b"sd_journal_open_directory: ", directory].concat()
}

/// Whether a name in a directory of journals is that of a machine, whose directory is looked into as well.
pub fn is_machine(name: &[u8]) -> bool {
    name.get(..32).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a name in a directory of journals is that of a journal.
pub fn is_journal(name: &[u8]) -> bool {
    name.ends_with(b".journal") || name.ends_with(b".journal~")
}

/// An open journal.
pub struct Journal<S> {
    files: Vec<JournalFile<S>>,
    /// All entries in order: the file and the place in it.
    entries: Vec<(usize, u64)>,
    /// The current one; none before the first was asked for.
    current: Option<usize>,
    /// Longer values are cut, 0 for none.
    threshold: u64,
}

/// A failure that names the call of libsystemd that a user may know.
fn failed(call: &str, error: &io::Error) -> Failure {
    Failure::io(call, error)
}

impl<S: Source> Journal<S> {
    /// Joins files. What is no journal, or a damaged one, counts as far as it can be read.
    pub fn new(files: Vec<S>) -> Self {
        let files: Vec<JournalFile<S>> =
            files.into_iter().filter_map(|file| JournalFile::new(file).ok()).collect();
        let mut entries = Vec::new();
        let mut lists: Vec<_> = files.iter().map(|file| file.entries().peekable()).collect();
        while entries.len() < MAX_ENTRIES {
            let mut first: Option<(usize, EntryHead)> = None;
            for (index, list) in lists.iter_mut().enumerate() {
                if let Some(head) = list.peek()
                    && first.as_ref().is_none_or(|(_, best)| order(head, best) == Ordering::Less)
                {
                    first = Some((index, *head));
                }
            }
            let Some((index, head)) = first else { break };
            if let Some(list) = lists.get_mut(index) {
                list.next();
            }
            entries.push((index, head.place));
        }
        drop(lists);
        Journal { files, entries, current: None, threshold: THRESHOLD }
    }

    /// Goes forward, or back if the number is negative; returns how far.
    pub fn skip(&mut self, by: i64) -> u64 {
        let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
        let Some(last) = self.entries.len().checked_sub(1) else { return 0 };
        let (target, moved) = match (by >= 0, self.current) {
            (_, _) if by == 0 => return 0,
            (true, None) => {
                let target = steps.saturating_sub(1).min(last);
                (target, target.saturating_add(1))
            }
            (true, Some(at)) => {
                let target = at.saturating_add(steps).min(last);
                (target, target.saturating_sub(at))
            }
            // Before the first entry: as if it were one step after it.
            (false, None) => (0, 1),
            (false, Some(at)) => {
                let target = at.saturating_sub(steps);
                (target, at.saturating_sub(target))
            }
        };
        self.current = Some(target);
        moved as u64
    }

    fn at(&self, call: &str) -> Result<(&JournalFile<S>, u64), Failure> {
        let entry = self.current.and_then(|at| self.entries.get(at));
        entry
            .and_then(|(file, place)| Some((self.files.get(*file)?, *place)))
            .ok_or_else(|| failed(call, &Errno::ADDRNOTAVAIL.into()))
    }

    /// The number of the current entry, from 0 on; `None` before the first was asked for.
    pub fn position(&self) -> Option<usize> {
        self.current
    }

    /// How long values may be before they are cut, in bytes; 0 for any length.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Says how long values may be.
    ///
    /// # Errors
    /// When the number is negative.
    pub fn set_threshold(&mut self, bytes: i64) -> Result<(), Failure> {
        self.threshold = u64::try_from(bytes)
            .map_err(|_| Failure::new("threshold: a number of bytes cannot be negative"))?;
        Ok(())
    }

    /// The wall clock of the current entry, in microseconds.
    ///
    /// # Errors
    /// When there is no current entry, or it is damaged.
    pub fn realtime(&self) -> Result<u64, Failure> {
        let call = "sd_journal_get_realtime_usec";
        let (file, place) = self.at(call)?;
        file.head(place).map(|head| head.realtime).map_err(|e| failed(call, &e))
    }

    /// The fields of the current entry: names and values.
    ///
    /// # Errors
    /// When there is no current entry, or it is damaged. Damaged fields are left out.
    pub fn fields(&self) -> Result<Vec<Xattr>, Failure> {
        let call = "sd_journal_enumerate_data";
        let (file, place) = self.at(call)?;
        let data = file.data(place, self.threshold).map_err(|e| failed(call, &e))?;
        let split = |bytes: Vec<u8>| {
            let end = bytes.iter().position(|byte| *byte == b'=')?;
            let (name, value) = bytes.split_at_checked(end)?;
            Some(Xattr { attrname: name.into(), attrval: GuestString::from(value.get(1..)?) })
        };
        Ok(data.into_iter().filter_map(split).collect())
    }
}

/// Which of two entries comes first.
fn order(one: &EntryHead, other: &EntryHead) -> Ordering {
    if one.series == other.series {
        return one.number.cmp(&other.number);
    }
    let by_clock = if one.boot == other.boot {
        one.monotonic.cmp(&other.monotonic)
    } else {
        one.realtime.cmp(&other.realtime)
    };
    by_clock.then(one.realtime.cmp(&other.realtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn length(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
            let from = self.0.get(offset as usize..).and_then(|rest| rest.get(..into.len()));
            into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    /// A file of one array with two entries, and the number of entries that its header claims.
    fn file(next_array: u64, entries: u64) -> Bytes {
        let mut bytes = vec![0; 368];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(0, b"LPKSHHRH");
        for (at, number) in [
            (152, entries),
            (176, 208),
            (208 + 8, 40),
            (208 + 16, next_array),
            (208 + 24, 304),
            (208 + 32, 304),
        ] {
            put(at, &number.to_le_bytes());
        }
        put(208, &[6]);
        put(304, &[3]);
        Bytes(bytes)
    }

    #[test]
    fn arrays_that_lead_back_end() {
        for (next, entries, found) in
            [(0, 2, 2), (208, u64::MAX, 2), (200, u64::MAX, 2), (0, 1, 1), (0, 0, 0)]
        {
            assert_eq!(Journal::new(vec![file(next, entries)]).skip(i64::MAX), found, "{next} {entries}");
        }
    }
}
