//! Progress for people: bars on a terminal, and the percentage line that scripts of qemu-img read.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// `    (12.34/100%)` on standard output, over and over on one line; or a bar. Where neither is wanted, the
/// signal USR1 is answered with that line on standard error.
pub struct Percent {
    show: Show,
    /// Percent between two lines.
    step: f64,
    total: AtomicU64,
    done: AtomicU64,
    shown: Mutex<f64>,
    finished: AtomicBool,
}

enum Show {
    WhenAsked(Arc<AtomicBool>),
    Line,
    Bar(ProgressBar),
}

impl Percent {
    /// Prints nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self::with_step(quiet, 1.0)
    }

    /// The same, printed only after `step` percent more.
    pub fn with_step(quiet: bool, step: f64) -> Self {
        if !quiet {
            return Self::showing(Show::Line, step);
        }
        let asked = Arc::new(AtomicBool::new(false));
        // Without a handler the signal does what it always does.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&asked));
        Self::showing(Show::WhenAsked(asked), step)
    }

    /// A bar with rate and time left, for a terminal.
    pub fn bar() -> Self {
        let style = "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(0).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::showing(Show::Bar(bar), 1.0)
    }

    fn showing(show: Show, step: f64) -> Self {
        Percent {
            show,
            step,
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            shown: Mutex::new(f64::NEG_INFINITY),
            finished: AtomicBool::new(false),
        }
    }

    /// Prints the last percentage and ends the line.
    pub fn finish(&self) {
        if matches!(self.show, Show::Line) && !self.finished.swap(true, Ordering::Relaxed) {
            print(100.0);
            let _ = writeln!(std::io::stdout());
        }
        self.end_bar();
    }

    /// Prints the last percentage unless that has been done.
    pub fn complete(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.show, Show::Line) && *shown < 100.0 {
            *shown = 100.0;
            print(100.0);
        }
    }

    /// Ends the line, whatever it says.
    pub fn end_line(&self) {
        if matches!(self.show, Show::Line) && !self.finished.swap(true, Ordering::Relaxed) {
            let _ = writeln!(std::io::stdout());
        }
        self.end_bar();
    }

    fn end_bar(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    fn percent(&self, done: u64) -> f64 {
        let total = self.total.load(Ordering::Relaxed);
        if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 }
    }
}

fn print(percent: f64) {
    let mut out = std::io::stdout().lock();
    // Whoever does not read the progress any more does not miss it.
    let _ = write!(out, "    ({percent:3.2}/100%)\r");
    let _ = out.flush();
}

impl Progress for Percent {
    fn step(&self, what: &str, units: u64) {
        self.total.store(units, Ordering::Relaxed);
        if let Show::Bar(bar) = &self.show {
            bar.set_length(units);
            bar.set_message(what.to_owned());
        }
        self.advance(0);
    }

    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        match &self.show {
            Show::WhenAsked(asked) => {
                if asked.load(Ordering::Relaxed) && asked.swap(false, Ordering::Relaxed) {
                    eprintln!("    ({:3.2}/100%)", self.percent(done));
                }
            }
            Show::Bar(bar) => bar.inc(units),
            Show::Line => {
                let percent = self.percent(done);
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                let last = percent >= 100.0 && *shown < 100.0;
                if percent - *shown > self.step || last {
                    *shown = percent;
                    print(percent);
                }
            }
        }
    }

    fn is_watched(&self) -> bool {
        !matches!(self.show, Show::WhenAsked(_))
    }

    fn is_cancelled(&self) -> bool {
        crate::interrupt::requested()
    }
}

impl Drop for Percent {
    fn drop(&mut self) {
        self.end_bar();
    }
}
