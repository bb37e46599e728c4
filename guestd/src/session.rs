//! What one action leaves behind for the next: an open hive, a journal, watches.
//!
//! There is one of each kind per agent. Whoever opens a new one closes the one before it.

use crate::actions::OpenHive;
use crate::augeas::Augeas;
use guestd_api::Failure;
use journal::Journal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that may be open.
pub(crate) struct Slot<T>(Mutex<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something new in the place of what was open.
    pub(crate) fn open(&self, new: T) {
        *self.lock() = Some(new);
    }

    /// Takes out what is open.
    pub(crate) fn close(&self) -> Option<T> {
        self.lock().take()
    }

    /// Works with what is open; nothing open is the given failure.
    pub(crate) fn with<R>(
        &self,
        nothing: &str,
        work: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        match self.lock().as_mut() {
            Some(open) => work(open),
            None => Err(Failure::new(nothing)),
        }
    }
}

impl Session {
    /// Closes everything.
    pub(crate) fn close(&self) {
        drop((self.augeas.close(), self.hive.close(), self.inotify.close(), self.journal.close()));
        self.mapped.close();
    }

    /// Variables for every program that is started.
    pub(crate) fn environment(&self) -> MutexGuard<'_, BTreeMap<OsString, OsString>> {
        self.environment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that can be open.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) augeas: Slot<Augeas>,
    pub(crate) hive: Slot<OpenHive>,
    pub(crate) inotify: Slot<OwnedFd>,
    pub(crate) journal: Slot<Journal<File>>,
    /// Compiled rules of yara, a file that the tools see.
    pub(crate) yara: Slot<PathBuf>,
    /// What `debug bmap` reads.
    pub(crate) mapped: Slot<File>,
    environment: Mutex<BTreeMap<OsString, OsString>>,
}
