//! Requests as they come in: many small ones are read at once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stream::Stream;

/// Bytes read at once where requests are small.
const MANY: usize = 64 * 1024;
/// Bytes read at once behind a large payload: what is read here has to be copied.
const FEW: usize = 4096;
/// A payload from this size on is large.
const LARGE: usize = 16 * 1024;

/// How long a client is watched that is about to answer an answer: to be woken takes longer than that.
const WATCH: Duration = Duration::from_micros(100);
/// After a client that was watched in vain, so many waits are slept through; then twice as many.
const MOST_SLEPT: u32 = 256;

/// Whether it is worth while to watch for the next request instead of sleeping.
#[derive(Default)]
struct Patience {
    /// Waits that are still to be slept through.
    asleep: u32,
    /// How many that were the last time.
    last: u32,
}

impl Patience {
    /// Watches for a moment, if that has been worth it.
    fn wait(&mut self, stream: &Stream) {
        if self.asleep > 0 {
            self.asleep -= 1;
            return;
        }
        let begin = Instant::now();
        loop {
            if stream.has_input() {
                self.last = 0;
                return;
            }
            if begin.elapsed() > WATCH {
                break;
            }
            std::thread::yield_now();
        }
        self.last = (self.last * 2).clamp(1, MOST_SLEPT);
        self.asleep = self.last;
    }
}

/// The incoming half of a connection.
pub(super) struct Input {
    stream: Arc<Stream>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    at_once: usize,
    patience: Patience,
}

impl Input {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Input { stream, bytes: vec![0; MANY], start: 0, end: 0, at_once: MANY, patience: Patience::default() }
    }

    /// `length` bytes can be taken without waiting.
    pub(super) fn has(&self, length: usize) -> bool {
        self.end - self.start >= length
    }

    /// Waits until `length` bytes are here (at most 4096). False at the end of the connection, if that comes
    /// before the first of them.
    pub(super) fn wait_for(&mut self, length: usize) -> io::Result<bool> {
        if self.has(length) {
            return Ok(true);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < length {
            self.patience.wait(&self.stream);
            let room = self.bytes.get_mut(self.end..self.at_once).unwrap_or_default();
            match self.stream.read(room)? {
                0 if self.end == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.end += count,
            }
        }
        Ok(true)
    }

    /// The next `length` bytes, which have to be here.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let part = self.bytes.get(self.start..self.end.min(self.start + length)).unwrap_or_default();
        self.start += part.len();
        part
    }

    /// Fills `buf` with what comes next.
    pub(super) fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.at_once = if buf.len() >= LARGE { FEW } else { MANY };
        let here = buf.len().min(self.end - self.start);
        let (front, rest) = buf.split_at_mut(here);
        front.copy_from_slice(self.take(here));
        self.stream.read_exact(rest)
    }
}
