//! The bar that long actions show, once they have turned out to be long.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{Duration, Instant};

use guestd_api::Progress;

/// Shorter actions show nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Letters of the bar.
const WIDTH: u64 = 40;

/// Shows how far one action is.
pub(crate) struct Bar {
    started: Instant,
    shown: Cell<bool>,
    out: RefCell<std::io::Stdout>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Bar { started: Instant::now(), shown: Cell::new(false), out: RefCell::new(std::io::stdout()) }
    }

    /// Takes a report.
    pub(crate) fn show(&self, progress: Progress) {
        let elapsed = self.started.elapsed();
        if elapsed < PATIENCE {
            return;
        }
        self.shown.set(true);
        let line = line(progress, elapsed);
        // A terminal that is gone has nobody who would miss the bar.
        let mut out = self.out.borrow_mut();
        let _ = write!(out, "\r{line}");
        let _ = out.flush();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown.get() {
            let _ = writeln!(self.out.borrow_mut());
        }
    }
}

fn line(progress: Progress, elapsed: Duration) -> String {
    if progress.total == 0 {
        return format!("  … {:>4} s", elapsed.as_secs());
    }
    let done = u128::from(progress.position.min(progress.total));
    let part = |of: u64| u64::try_from(done * u128::from(of) / u128::from(progress.total)).unwrap_or(of);
    let percent = part(100);
    let full = part(WIDTH);
    let bar: String = (0..WIDTH).map(|at| if at < full { '█' } else { '░' }).collect();
    let left = (elapsed.as_secs() * (100 - percent)).checked_div(percent).unwrap_or(0);
    format!(" {percent:>3}% {bar} {:02}:{:02}", left / 60, left % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill() {
        let at = |position, total| line(Progress { position, total }, Duration::from_secs(60));
        assert!(at(0, 100).contains("  0% ░") && at(0, 100).ends_with("00:00"));
        assert!(at(50, 100).contains(" 50% ") && at(50, 100).ends_with("01:00"));
        assert!(at(u64::MAX, 1).contains("100% "));
        assert!(at(5, 0).contains("60 s"));
    }
}
