//! How long work tells how far it is, and learns that it should stop.

/// Receives the progress of one job. Called from any thread of the job.
pub trait Progress: Send + Sync {
    /// A new step begins: what is being done, and how many units (usually bytes) it has; 0 when that
    /// cannot be told.
    fn step(&self, what: &str, units: u64);

    /// `units` more of the current step are done.
    fn advance(&self, units: u64);

    /// Somebody looks at it all the time, so that it is worth finding out beforehand how much there is to do.
    fn is_watched(&self) -> bool {
        false
    }

    /// The job should stop as soon as it can, leaving nothing half-done that looks whole.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody is watching.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
}
