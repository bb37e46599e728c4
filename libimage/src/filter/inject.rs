//! Errors at random, for clients that shall prove that they can handle them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use crate::block::Block;
use crate::error::{Error, Result};

/// The errors that the NBD protocol can carry, by name.
pub const ERRORS: [(&str, Errno); 8] = [
    ("EPERM", Errno::PERM),
    ("EIO", Errno::IO),
    ("ENOMEM", Errno::NOMEM),
    ("EINVAL", Errno::INVAL),
    ("ENOSPC", Errno::NOSPC),
    ("EOVERFLOW", Errno::OVERFLOW),
    ("ENOTSUP", Errno::OPNOTSUPP),
    ("ESHUTDOWN", Errno::SHUTDOWN),
];

/// What happens to calls of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// The error.
    pub error: Errno,
    /// How many of the calls get it: from 0 to 1.
    pub probability: f64,
    /// Only while this file exists.
    pub file: Option<PathBuf>,
}

impl Default for Injection {
    fn default() -> Self {
        Injection { error: Errno::IO, probability: 0.0, file: None }
    }
}

/// What happens to each kind of call. Nothing, by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Injections {
    calls: [Injection; Kind::ALL.len()],
}

impl Injections {
    /// What happens to calls of a kind.
    pub fn of(&mut self, kind: Kind) -> &mut Injection {
        &mut self.calls[kind.index()]
    }
}

struct Inject {
    injections: Injections,
    random: RandomState,
    calls: AtomicU64,
}

/// What is tried, as a message says it.
fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read (an error was injected)",
        Kind::Write => "write (an error was injected)",
        Kind::Trim => "discard (an error was injected)",
        Kind::Zero => "zero (an error was injected)",
        Kind::Extents => "examine (an error was injected)",
        Kind::Cache => "prefetch (an error was injected)",
        Kind::Flush => "flush (an error was injected)",
    }
}

impl Inject {
    fn hits(&self, injection: &Injection) -> bool {
        if injection.probability <= 0.0 || injection.file.as_ref().is_some_and(|file| !file.exists()) {
            return false;
        }
        // 53 bits are what a floating-point number holds: from 0 to just below 1.
        let drawn = self.random.hash_one(self.calls.fetch_add(1, Ordering::Relaxed)) >> 11;
        (drawn as f64) / ((1_u64 << 53) as f64) < injection.probability
    }
}

impl Around for Inject {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let injection = &self.injections.calls[call.kind.index()];
        if self.hits(injection) {
            let source = io::Error::from(injection.error);
            return Err(Error::io_at(action(call.kind), below.name(), call.offset, source));
        }
        run(below)
    }
}

/// Shows `below`, with errors.
pub fn inject(below: Arc<dyn Block>, injections: Injections) -> Arc<dyn Block> {
    let inject = Inject { injections, random: RandomState::new(), calls: AtomicU64::new(0) };
    Arc::new(Wrapped::new(below, inject))
}
