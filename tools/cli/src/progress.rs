//! Progress bars on a terminal, and nothing where there is none.

use std::io::IsTerminal;
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
