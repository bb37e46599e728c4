//! The journal that systemd keeps.

use crate::worker::{GuestPath, Worker};
use guestd_api::Failure;
use guestd_api::actions::journal::Server;
use guestd_api::structs::Xattr;
use journal::{DEPTH, Journal, is_journal, is_machine, not_open, subject};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the journal files of a directory, and of those below it that are named after a machine.
fn open_files(directory: &Path, depth: usize, into: &mut Vec<File>) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.as_bytes();
        if depth > 0 && is_machine(name) && entry.file_type()?.is_dir() {
            // One that cannot be read hides only itself.
            let _ = open_files(&entry.path(), depth.saturating_sub(1), into);
        } else if is_journal(name) {
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
        work: impl FnOnce(&mut Journal<File>) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        self.agent.session.journal.with(&not_open(action), work)
    }
}

impl Server for Worker {
    fn journal_open(&self, directory: GuestPath) -> Result<(), Failure> {
        self.agent.session.journal.close();
        let mut files = Vec::new();
        {
            let _guest = self.guest()?;
            open_files(directory.path(), DEPTH, &mut files)
                .map_err(|e| Failure::io(subject(directory.as_ref()), &e))?;
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
        self.journal("journal_get", |journal| journal.fields())
    }

    fn journal_get_realtime_usec(&self) -> Result<i64, Failure> {
        self.journal("journal_get_realtime_usec", |journal| journal.realtime().map(u64::cast_signed))
    }

    fn journal_get_data_threshold(&self) -> Result<i64, Failure> {
        self.journal("journal_get_data_threshold", |journal| Ok(journal.threshold().cast_signed()))
    }

    fn journal_set_data_threshold(&self, threshold: i64) -> Result<(), Failure> {
        self.journal("journal_set_data_threshold", |journal| journal.set_threshold(threshold))
    }
}
