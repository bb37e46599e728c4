//! Reading ahead: while a client looks at one piece, a thread fetches the next.
//!
//! Reads that follow each other open a window, which grows as they go on and closes when they jump. What was fetched
//! is kept here until it was read, or until somebody changes those bytes; nothing has to be able to keep it below.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use super::blocks::lock;
use super::forward::forward;
use crate::block::{Block, Zero, check_range};
use crate::error::Result;

/// The first window and the largest one, in bytes.
const MIN_WINDOW: u64 = 64 * 1024;
const MAX_WINDOW: u64 = 4 << 20;
/// What is fetched at once.
const PIECE: u64 = 256 * 1024;
/// Fetched pieces that wait to be read, at most.
const MAX_PIECES: usize = 2 * (MAX_WINDOW / PIECE) as usize;

/// Bytes that were fetched, or are being fetched.
struct Fetched {
    range: Range<u64>,
    /// `None` while they are on their way.
    bytes: Option<Vec<u8>>,
    /// They were changed meanwhile: not to be used.
    stale: bool,
}

#[derive(Default)]
struct State {
    /// Where the next read begins if reads follow each other.
    expected: u64,
    window: u64,
    /// Everything up to here is fetched or on its way.
    ahead: u64,
    wanted: VecDeque<Range<u64>>,
    pieces: VecDeque<Fetched>,
    closed: bool,
}

struct Shared {
    below: Arc<dyn Block>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn wait<'a>(&self, state: std::sync::MutexGuard<'a, State>) -> std::sync::MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does until the device is given up.
    fn work(&self) {
        let mut state = lock(&self.state);
        while !state.closed {
            let Some(range) = state.wanted.pop_front() else {
                state = self.wait(state);
                continue;
            };
            if state.pieces.len() >= MAX_PIECES {
                state.pieces.pop_front();
            }
            state.pieces.push_back(Fetched { range: range.clone(), bytes: None, stale: false });
            drop(state);
            let mut bytes = vec![0; (range.end - range.start) as usize];
            let read = self.below.read_at(&mut bytes, range.start);
            state = lock(&self.state);
            let place = state.pieces.iter().position(|piece| piece.bytes.is_none() && piece.range == range);
            if let Some(place) = place {
                match state.pieces.get_mut(place) {
                    Some(piece) if read.is_ok() && !piece.stale => piece.bytes = Some(bytes),
                    // The reader meets the error itself, if it is still there.
                    _ => drop(state.pieces.remove(place)),
                }
            }
            self.changed.notify_all();
        }
    }

    /// Copies from what was fetched as much of the beginning of `range` as there is; 0 if nothing.
    fn take(&self, into: &mut [u8], offset: u64) -> usize {
        let mut state = lock(&self.state);
        loop {
            let found = state.pieces.iter().position(|piece| !piece.stale && piece.range.contains(&offset));
            let Some(place) = found else { return 0 };
            let Some(piece) = state.pieces.get(place) else { return 0 };
            let Some(bytes) = &piece.bytes else {
                if state.closed {
                    return 0;
                }
                state = self.wait(state);
                continue;
            };
            let inside = (offset - piece.range.start) as usize;
            let rest = bytes.get(inside..).unwrap_or_default();
            let count = rest.len().min(into.len());
            if let (Some(into), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
                into.copy_from_slice(from);
            }
            if count == rest.len() {
                state.pieces.remove(place);
            }
            return count;
        }
    }

    /// Notes a read, and plans what to fetch.
    fn plan(&self, range: &Range<u64>, size: u64) {
        let mut state = lock(&self.state);
        // Clients with several requests on their way do not always come in order.
        let near = state.window > 0
            && range.start <= state.ahead
            && range.start.saturating_add(MAX_WINDOW) >= state.expected;
        if (range.start == state.expected && range.start > 0) || near {
            let grown = state.window.saturating_mul(2).max(range.end - range.start);
            state.window = grown.clamp(MIN_WINDOW, MAX_WINDOW);
            let end = range.end.max(state.expected).saturating_add(state.window).min(size);
            // What was not begun yet the client reads itself.
            state.wanted.iter_mut().for_each(|wanted| wanted.start = wanted.start.max(range.end));
            state.wanted.retain(|wanted| !wanted.is_empty());
            let mut at = state.ahead.max(range.end);
            while at < end {
                let next = at.saturating_add(PIECE).min(end);
                state.wanted.push_back(at..next);
                at = next;
            }
            state.ahead = at;
            self.changed.notify_all();
        } else if range.start != state.expected {
            state.window = 0;
            state.ahead = range.end;
            state.wanted.clear();
            state.pieces.retain(|piece| piece.bytes.is_none());
            state.pieces.iter_mut().for_each(|piece| piece.stale = true);
            self.changed.notify_all();
        }
        state.expected = if near { state.expected.max(range.end) } else { range.end };
    }

    /// Makes what was fetched of `range` unusable.
    fn forget(&self, range: &Range<u64>) {
        let mut state = lock(&self.state);
        let hit = |piece: &Range<u64>| piece.start < range.end && range.start < piece.end;
        for piece in state.pieces.iter_mut().filter(|piece| hit(&piece.range)) {
            piece.stale = true;
        }
        state.pieces.retain(|piece| !piece.stale || piece.bytes.is_none());
        self.changed.notify_all();
    }
}

/// Devices over the same bytes: what one of them changes the others must not show as it was.
#[derive(Default)]
pub struct Siblings(Mutex<Vec<Weak<Shared>>>);

impl Siblings {
    fn forget(&self, range: &Range<u64>) {
        lock(&self.0).iter().filter_map(Weak::upgrade).for_each(|shared| shared.forget(range));
    }

    fn add(&self, shared: &Arc<Shared>) {
        let mut all = lock(&self.0);
        all.retain(|weak| weak.strong_count() > 0);
        all.push(Arc::downgrade(shared));
    }
}

/// A device whose next bytes are fetched before they are asked for.
pub struct ReadAhead {
    below: Arc<dyn Block>,
    shared: Arc<Shared>,
    siblings: Arc<Siblings>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Shows `below`, and starts the thread that fetches.
    pub fn new(below: Arc<dyn Block>, siblings: Arc<Siblings>) -> Self {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { below: Arc::clone(&below), state, changed: Condvar::new() });
        siblings.add(&shared);
        let worker = Arc::clone(&shared);
        // Without a thread it is a device as any other.
        let thread =
            std::thread::Builder::new().name("readahead".to_owned()).spawn(move || worker.work()).ok();
        ReadAhead { below, shared, siblings, thread }
    }

    /// Changes something, and lets go what was fetched of it: before, as what is on its way may be old; and after, as
    /// it may have been fetched meanwhile.
    fn change(&self, range: Range<u64>, change: impl FnOnce() -> Result<()>) -> Result<()> {
        self.siblings.forget(&range);
        let done = change();
        self.siblings.forget(&range);
        done
    }
}

impl Block for ReadAhead {
    forward!(size, prefetch, flush, status, limits, is_read_only, name, allocated_bytes);

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        if self.thread.is_none() || buf.is_empty() {
            return self.below.read_at(buf, offset);
        }
        self.shared.plan(&(offset..offset + buf.len() as u64), self.below.size());
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let count = self.shared.take(rest, at);
            if count == 0 {
                return self.below.read_at(rest, at);
            }
            rest = rest.get_mut(count..).unwrap_or_default();
            at += count as u64;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.change(range, || self.below.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.change(range.clone(), || self.below.write_zeroes(range, how))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.change(range.clone(), || self.below.discard(range))
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "readahead_test.rs"]
mod tests;
