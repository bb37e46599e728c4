//! The journal that systemd keeps.

use crate::journal::{self, Compression, Journal};
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::journal::Server;
use guestd_api::structs::Xattr;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What an action says that comes too early.
fn not_open(action: &str) -> String {
    format!("do_{action}: you must call 'journal-open' first to initialize the journal handle")
}

/// How deep directories of journals are: one per machine.
const DEPTH: usize = 1;

/// Opens the journal files of a directory, and of those below it that are named after a machine.
fn open_files(directory: &Path, depth: usize, into: &mut Vec<File>) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.as_bytes();
        let machine = name.get(..32).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit));
        if depth > 0 && machine && entry.file_type()?.is_dir() {
            // One that cannot be read hides only itself.
            let _ = open_files(&entry.path(), depth.saturating_sub(1), into);
        } else if name.ends_with(b".journal") || name.ends_with(b".journal~") {
            let mut options = File::options();
            options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            let file = options.open(entry.path())?;
            if file.metadata()?.is_file() {
                into.push(file);
            }
        }
    }
    Ok(())
}

impl Worker {
    fn journal<R>(
        &self,
        action: &str,
        work: impl FnOnce(&mut Journal) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.agent.session.journal.with(&not_open(action), work)
    }

    fn unpack(&self, how: Compression, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        match how {
            Compression::Lz4 => journal::lz4(bytes, limit),
            Compression::Zstd => journal::zstd(bytes, limit),
            Compression::Xz => {
                let failed = |failure: Failure| io::Error::other(failure.to_string());
                let mut input = bytes;
                let done = self.tool("xz").map_err(failed)?.arg("-dc").finish_with(Some(&mut input), None);
                let done = done.map_err(failed)?;
                done.success().map_err(failed)?;
                let mut value = done.stdout;
                value.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                Ok(value)
            }
        }
    }
}

impl Server for Worker {
    fn journal_open(&self, directory: GuestPath) -> Result<(), Failure> {
        self.agent.session.journal.close();
        let mut files = Vec::new();
        {
            let _guest = self.guest()?;
            let subject = || GuestString::from([b"sd_journal_open_directory: ", directory.as_ref()].concat());
            open_files(directory.path(), DEPTH, &mut files).map_err(|e| Failure::io(subject(), &e))?;
        }
        self.agent.session.journal.open(Journal::new(files));
        Ok(())
    }

    fn journal_close(&self) -> Result<(), Failure> {
        self.agent.session.journal.close().map(drop).ok_or_else(|| Failure::new(not_open("journal_close")))
    }

    fn journal_next(&self) -> Result<bool, Failure> {
        self.journal("journal_next", |journal| Ok(journal.skip(1) > 0))
    }

    fn journal_skip(&self, skip: i64) -> Result<i64, Failure> {
        self.journal("journal_skip", |journal| Ok(journal.skip(skip).cast_signed()))
    }

    fn journal_get(&self) -> Result<Vec<Xattr>, Failure> {
        self.journal("journal_get", |journal| {
            let fields = journal.fields(&|how, bytes, limit| self.unpack(how, bytes, limit))?;
            Ok(fields.into_iter().map(|field| Xattr { attrname: field.name, attrval: field.value }).collect())
        })
    }

    fn journal_get_realtime_usec(&self) -> Result<i64, Failure> {
        self.journal("journal_get_realtime_usec", |journal| journal.realtime().map(u64::cast_signed))
    }

    fn journal_get_data_threshold(&self) -> Result<i64, Failure> {
        self.journal("journal_get_data_threshold", |journal| Ok(journal.threshold.cast_signed()))
    }

    fn journal_set_data_threshold(&self, threshold: i64) -> Result<(), Failure> {
        let threshold = u64::try_from(threshold)
            .map_err(|_| Failure::new("threshold: a number of bytes cannot be negative"))?;
        self.journal("journal_set_data_threshold", |journal| {
            journal.threshold = threshold;
            Ok(())
        })
    }
}
