//! A limit of how many bits are read, and how many are written, in a second.
//!
//! Each direction has a bucket: time fills it, requests empty it, and who finds too little waits until what is
//! missing has come in. A full bucket lets a client be faster for a moment after it was idle. Zeroing, discarding and
//! questions cost nothing, as they would on a network.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::around::{Around, Call, Kind, Outcome, Wrapped};
use super::blocks::lock;
use crate::block::Block;
use crate::error::Result;
use crate::units::parse_size;

/// Seconds for which a full bucket lasts, where nothing else was asked for.
pub const DEFAULT_BURST: f64 = 2.0;
/// Seconds after which a request that waits looks whether the limit was changed.
const MAX_SLEEP: f64 = 0.5;
/// Bytes of a file that says a limit.
const MAX_RATE_FILE: u64 = 64;

/// What limits one or several devices together.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Bits in a second; 0 for no limit.
    pub bits_per_second: u64,
    /// A file with another limit, read while the device is in use.
    pub file: Option<PathBuf>,
    /// Seconds for which a full bucket lasts.
    pub burst: f64,
}

struct Bucket {
    rate: u64,
    /// Bits that may pass at once; below zero, what was promised already.
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, rate: u64, burst: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        let full = rate as f64 * burst;
        if self.rate == rate {
            self.level = (self.level + passed * rate as f64).min(full);
        } else {
            // What was promised under another limit is forgiven.
            self.rate = rate;
            self.level = self.level.clamp(0.0, full.max(0.0));
        }
    }
}

/// The buckets of one limit, which several devices may share.
pub struct Buckets {
    limit: Limit,
    /// The last limit that was read from the file.
    current: Mutex<u64>,
    directions: [Mutex<Bucket>; 2],
}

impl Buckets {
    /// Full buckets.
    pub fn new(limit: Limit) -> Self {
        let rate = limit.bits_per_second;
        let full = || Bucket { rate, level: rate as f64 * limit.burst, filled: Instant::now() };
        let directions = [Mutex::new(full()), Mutex::new(full())];
        Buckets { current: Mutex::new(rate), directions, limit }
    }

    /// The limit as it is now.
    fn rate(&self) -> u64 {
        let mut current = lock(&self.current);
        if let Some(path) = &self.limit.file {
            use std::io::Read;
            let mut text = String::new();
            let read =
                std::fs::File::open(path).and_then(|file| file.take(MAX_RATE_FILE).read_to_string(&mut text));
            // A file that is gone or half written leaves the limit as it was.
            if read.is_ok()
                && let Ok(rate) = parse_size(text.trim())
            {
                *current = rate;
            }
        }
        *current
    }

    /// Waits until `bytes` may pass.
    fn pass(&self, direction: usize, bytes: u64) {
        let Some(bucket) = self.directions.get(direction) else { return };
        let mut rate = self.rate();
        let mut seconds = {
            let mut bucket = lock(bucket);
            bucket.fill(rate, self.limit.burst, Instant::now());
            if rate == 0 {
                return;
            }
            bucket.level -= bytes as f64 * 8.0;
            -bucket.level / rate as f64
        };
        while seconds > 0.0 {
            let step = seconds.min(MAX_SLEEP);
            sleep(Duration::from_secs_f64(step));
            seconds -= step;
            let now = self.rate();
            if now == 0 {
                return;
            }
            seconds *= rate as f64 / now as f64;
            rate = now;
        }
    }
}

struct Rate(Vec<Arc<Buckets>>);

impl Around for Rate {
    fn around<T: Outcome>(
        &self,
        below: &dyn Block,
        call: Call,
        run: &mut dyn FnMut(&dyn Block) -> Result<T>,
    ) -> Result<T> {
        let direction = match call.kind {
            Kind::Read => Some(0),
            Kind::Write => Some(1),
            _ => None,
        };
        if let Some(direction) = direction {
            self.0.iter().for_each(|buckets| buckets.pass(direction, call.count));
        }
        run(below)
    }
}

/// Shows `below` as fast as all of the limits allow.
pub fn rate(below: Arc<dyn Block>, limits: Vec<Arc<Buckets>>) -> Arc<dyn Block> {
    Arc::new(Wrapped::new(below, Rate(limits)))
}

#[cfg(test)]
#[path = "rate_test.rs"]
mod tests;
