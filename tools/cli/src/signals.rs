//! How often this process was asked to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Counts the requests to end from now on.
#[derive(Clone)]
pub struct Ends(Arc<AtomicUsize>);

impl Ends {
    /// From here on SIGINT, SIGTERM and SIGHUP do not end the process by themselves.
    ///
    /// # Errors
    /// When the kernel does not allow that.
    pub fn watch() -> io::Result<Self> {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let wait = move || {
            for _ in signals.forever() {
                theirs.fetch_add(1, Ordering::SeqCst);
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(Ends(count))
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
