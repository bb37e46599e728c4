//! Ctrl-C: the first one asks the work to stop and clean up, the second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on an interrupt is noted instead of ending the program at once.
pub fn watch() {
    let flag = REQUESTED.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the second signal finds the flag set and ends the program. Should a handler not
        // be possible, the signal does what it always does.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(flag));
        let _ = signal_hook::flag::register(signal, Arc::clone(flag));
    }
}

/// An interrupt came since [`watch`] was called.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Calls `act` at every interrupt from now on, in a thread of its own, instead of ending the program.
pub fn on_interrupt(act: impl Fn() + Send + 'static) {
    // Without a handler an interrupt ends the program, as it would anyway.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT]) {
        std::thread::spawn(move || signals.forever().for_each(|_| act()));
    }
}
