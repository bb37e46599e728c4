//! How far it is: a bar for people, or numbers for a program that gave a descriptor for them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use cli::progress::Percent;
use libimage::job::Progress;

use super::Show;

/// What is shown.
pub(super) struct Shown {
    form: Form,
    total: AtomicU64,
    done: AtomicU64,
}

enum Form {
    Nothing,
    Bar(Percent),
    /// `N/100`, and the number that was written last.
    Numbers(Mutex<(File, Option<u64>)>),
}

impl Shown {
    /// # Errors
    /// When the descriptor cannot be written to.
    pub(super) fn new(show: Show) -> Result<Self> {
        let form = match show {
            Show::Nothing => Form::Nothing,
            Show::Bar => Form::Bar(Percent::bar()),
            Show::Descriptor(number) => {
                let opened = OpenOptions::new().append(true).open(format!("/proc/self/fd/{number}"));
                let file = opened.map_err(|error| {
                    anyhow!("--progress: descriptor {number}: {}", libimage::error::plain(&error))
                })?;
                Form::Numbers(Mutex::new((file, None)))
            }
        };
        Ok(Shown { form, total: AtomicU64::new(0), done: AtomicU64::new(0) })
    }

    /// All is done.
    pub(super) fn finish(&self) {
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => bar.finish(),
            Form::Numbers(_) => self.tell(100),
        }
    }

    fn tell(&self, percent: u64) {
        let Form::Numbers(numbers) = &self.form else { return };
        let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.1.is_none_or(|last| last < percent) {
            numbers.1 = Some(percent);
            // Who does not read it any more does not miss it.
            let _ = writeln!(numbers.0, "{percent}/100");
        }
    }
}

impl Progress for Shown {
    fn step(&self, what: &str, units: u64) {
        self.total.store(units, Ordering::Relaxed);
        match &self.form {
            Form::Bar(bar) => bar.step(what, units),
            _ => self.tell(0),
        }
    }

    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed).saturating_add(units);
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => bar.advance(units),
            Form::Numbers(_) => {
                let total = self.total.load(Ordering::Relaxed).max(1);
                let percent = (u128::from(done) * 100 / u128::from(total)) as u64;
                // The last one is for the end, when all is written.
                if percent < 100 {
                    self.tell(percent);
                }
            }
        }
    }
}
