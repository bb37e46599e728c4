//! Progress for people: bars on a terminal, and the percentage line that scripts of qemu-img read.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use libimage::job::Progress;

/// One line per step on standard error: a bar while it runs, a tick and its duration when it is done.
#[derive(Default)]
pub struct Steps {
    current: Mutex<Option<Step>>,
}

struct Step {
    what: String,
    started: Instant,
    bar: ProgressBar,
}

impl Steps {
    /// Nothing is shown until the first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the current step and says how long it took.
    pub fn finish(&self) {
        let step = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(step) = step {
            step.bar.finish_and_clear();
            eprintln!("  {:<28} {:>6.1} s", step.what, step.started.elapsed().as_secs_f64());
        }
    }
}

impl Progress for Steps {
    fn step(&self, what: &str, units: u64) {
        self.finish();
        let bar = if !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else if units == 0 {
            ProgressBar::new_spinner()
        } else {
            let style = ProgressStyle::with_template("  {msg:28} {bar:30} {percent:>3} %");
            ProgressBar::new(units).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        let step = Step { what: what.to_owned(), started: Instant::now(), bar };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
    }

    fn advance(&self, units: u64) {
        if let Some(step) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            step.bar.inc(units);
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(step) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            step.bar.finish_and_clear();
        }
    }
}

/// `    (12.34/100%)` on standard output, over and over on one line.
pub struct Percent {
    quiet: bool,
    total: AtomicU64,
    done: AtomicU64,
    shown: Mutex<f64>,
    finished: AtomicBool,
}

impl Percent {
    /// Prints nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Percent {
            quiet,
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            shown: Mutex::new(-1.0),
            finished: AtomicBool::new(false),
        }
    }

    /// Prints the last percentage and ends the line.
    pub fn finish(&self) {
        if !self.quiet && !self.finished.swap(true, Ordering::Relaxed) {
            self.print(100.0);
            let _ = writeln!(std::io::stdout());
        }
    }

    fn print(&self, percent: f64) {
        let mut out = std::io::stdout().lock();
        // Whoever does not read the progress any more does not miss it.
        let _ = write!(out, "    ({percent:3.2}/100%)\r");
        let _ = out.flush();
    }
}

impl Progress for Percent {
    fn step(&self, _what: &str, units: u64) {
        self.total.store(units, Ordering::Relaxed);
        self.advance(0);
    }

    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        let total = self.total.load(Ordering::Relaxed);
        if self.quiet {
            return;
        }
        let percent = if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if percent - *shown >= 1.0 {
            *shown = percent;
            self.print(percent);
        }
    }

    fn is_cancelled(&self) -> bool {
        crate::interrupt::requested()
    }
}
