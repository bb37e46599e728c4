//! One action in progress, seen from its connection: its streams, its progress, and how it is cancelled.
//!
//! The connection's reader feeds a task and never waits for it; the action's thread waits here. A stream
//! from the host holds at most a window of bytes, because the host sends only what it was given credit for.

use crate::exchange::{Aligned, Exchange};
use crate::serve::Sender;
use guestd_api::Failure;
use guestd_api::exchange::PIECE;
use guestd_api::wire::{CHUNK, Frame, WINDOW};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Less than this goes in the frame itself, where it does not have to be fetched.
const WORTH_A_PIECE: usize = 16 << 10;

/// More of the stream in.
enum Arrival {
    /// As it came.
    Bytes(Vec<u8>),
    /// In the exchange.
    Piece { piece: u32, length: usize },
}

/// The state that the connection and the action share.
pub(crate) struct Task {
    id: u32,
    sender: Arc<Sender>,
    exchange: Option<Arc<Exchange>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    input: VecDeque<Arrival>,
    /// Bytes that the host may still send.
    granted: u64,
    input_ended: bool,
    /// Bytes that may still be sent to the host.
    credit: u64,
    cancelled: bool,
    /// Process groups to end when the task is cancelled.
    children: Vec<rustix::process::Pid>,
    last_progress: Option<Instant>,
}

impl Task {
    pub(crate) fn new(id: u32, sender: Arc<Sender>, exchange: Option<Arc<Exchange>>) -> Arc<Self> {
        let state = State {
            input: VecDeque::new(),
            granted: WINDOW,
            input_ended: false,
            credit: WINDOW,
            cancelled: false,
            children: Vec::new(),
            last_progress: None,
        };
        Arc::new(Task { id, sender, exchange, state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More of the stream in. False if the host sent more than it had credit for.
    pub(crate) fn feed(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        let Some(granted) = state.granted.checked_sub(bytes.len() as u64) else { return false };
        state.granted = granted;
        if !bytes.is_empty() {
            state.input.push_back(Arrival::Bytes(bytes.to_vec()));
        }
        self.changed.notify_all();
        true
    }

    /// More of the stream in, in a piece of the exchange.
    pub(crate) fn feed_piece(&self, piece: u32, length: usize) {
        self.lock().input.push_back(Arrival::Piece { piece, length });
        self.changed.notify_all();
    }

    /// The action is over: pieces that it did not look at go back.
    pub(crate) fn finish(&self) {
        let left = std::mem::take(&mut self.lock().input);
        for arrival in left {
            if let Arrival::Piece { piece, .. } = arrival {
                // A host that is gone shows when the answer is sent.
                let _ = self.sender.send(&Frame::Taken { piece });
            }
        }
    }

    /// The stream in is over.
    pub(crate) fn end_input(&self) {
        self.lock().input_ended = true;
        self.changed.notify_all();
    }

    /// The host has used up bytes of the stream out.
    pub(crate) fn credit(&self, bytes: u64) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(bytes);
        self.changed.notify_all();
    }

    /// Wakes whatever the action waits for, and ends its programs.
    pub(crate) fn cancel(&self) {
        let children = {
            let mut state = self.lock();
            state.cancelled = true;
            state.children.clone()
        };
        self.changed.notify_all();
        for child in children {
            let _ = rustix::process::kill_process_group(child, rustix::process::Signal::KILL);
        }
    }

    /// An error once the host has cancelled: long loops ask now and then.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.lock().cancelled { Err(cancelled()) } else { Ok(()) }
    }

    /// Notes a program that must end when the task is cancelled.
    pub(crate) fn child_started(&self, group: rustix::process::Pid) {
        let cancelled = {
            let mut state = self.lock();
            state.children.push(group);
            state.cancelled
        };
        if cancelled {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    /// The program has ended and its number may be another's soon.
    pub(crate) fn child_ended(&self, group: rustix::process::Pid) {
        self.lock().children.retain(|child| *child != group);
    }

    /// Tells the host how far the action is, a few times per second at most; the end is always told.
    pub(crate) fn progress(&self, position: u64, total: u64) {
        {
            let mut state = self.lock();
            let now = Instant::now();
            let soon = state.last_progress.is_some_and(|last| now - last < Duration::from_millis(300));
            if soon && position != total {
                return;
            }
            state.last_progress = Some(now);
        }
        // A host that is gone shows when the answer is sent.
        let _ = self.sender.send(&Frame::Progress { id: self.id, position, total });
    }
}

fn cancelled() -> Failure {
    Failure::new("Operation cancelled").with_errno(libc::ECANCELED)
}

/// The stream from the host.
pub(crate) struct Input {
    task: Arc<Task>,
    /// What came in a frame.
    current: Vec<u8>,
    /// What came in a piece; room is taken for it when the first comes.
    piece: Option<Aligned>,
    /// Which bytes of the one or the other were not read yet.
    unread: Range<usize>,
    in_piece: bool,
    /// Bytes used up that the host does not know of yet.
    owed: u64,
}

impl Input {
    pub(crate) fn new(task: Arc<Task>) -> Self {
        Input { task, current: Vec::new(), piece: None, unread: 0..0, in_piece: false, owed: 0 }
    }

    /// Waits for more. False at the end of the stream.
    fn advance(&mut self) -> io::Result<bool> {
        let mut state = self.task.lock();
        let arrival = loop {
            if state.cancelled {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            if let Some(next) = state.input.pop_front() {
                break next;
            }
            if state.input_ended {
                return Ok(false);
            }
            state = self.task.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        match arrival {
            Arrival::Bytes(bytes) => {
                self.owed = self.owed.saturating_add(bytes.len() as u64);
                if self.owed >= WINDOW / 4 {
                    let bytes = std::mem::take(&mut self.owed);
                    state.granted = state.granted.saturating_add(bytes);
                    drop(state);
                    self.task.sender.send(&Frame::Credit { id: self.task.id, bytes })?;
                }
                self.unread = 0..bytes.len();
                self.current = bytes;
                self.in_piece = false;
            }
            Arrival::Piece { piece, length } => {
                drop(state);
                let exchange = self.task.exchange.as_ref();
                let exchange = exchange.ok_or_else(|| io::Error::other("the machine has no exchange"))?;
                let room = self.piece.get_or_insert_with(Aligned::new);
                let taken = exchange.take(piece, room, length);
                self.task.sender.send(&Frame::Taken { piece })?;
                taken?;
                self.unread = 0..length;
                self.in_piece = true;
            }
        }
        Ok(true)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread.is_empty() {
            if !self.advance()? {
                return Ok(&[]);
            }
        }
        let bytes = match &mut self.piece {
            Some(piece) if self.in_piece => &*piece.bytes(),
            _ => self.current.as_slice(),
        };
        Ok(bytes.get(self.unread.clone()).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.unread.start = self.unread.start.saturating_add(count).min(self.unread.end);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

/// The stream to the host.
pub(crate) struct Output {
    task: Arc<Task>,
    /// Room for a piece, taken when the first is sent.
    piece: Option<Aligned>,
}

impl Output {
    pub(crate) fn new(task: Arc<Task>) -> Self {
        Output { task, piece: None }
    }

    /// Sends bytes through the exchange. `None` if there is none or no piece of it is free.
    fn send_piece(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(exchange) = &self.task.exchange else { return Ok(None) };
        let Some(piece) = exchange.claim() else { return Ok(None) };
        let count = bytes.len().min(PIECE);
        let room = self.piece.get_or_insert_with(Aligned::new);
        if let (Some(to), Some(from)) = (room.bytes().get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        if let Err(error) = exchange.fill(piece, room, count) {
            exchange.release(piece);
            return Err(error);
        }
        let length = u32::try_from(count).map_err(io::Error::other)?;
        self.task.sender.send(&Frame::Piece { id: self.task.id, piece, length })?;
        Ok(Some(count))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if bytes.len() >= WORTH_A_PIECE {
            if self.task.lock().cancelled {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            if let Some(count) = self.send_piece(bytes)? {
                return Ok(count);
            }
        }
        let count = {
            let mut state = self.task.lock();
            loop {
                if state.cancelled {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                if state.credit > 0 {
                    break;
                }
                state = self.task.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let allowed = usize::try_from(state.credit).unwrap_or(usize::MAX);
            let count = bytes.len().min(CHUNK).min(allowed);
            state.credit = state.credit.saturating_sub(count as u64);
            count
        };
        let bytes = bytes.get(..count).unwrap_or_default();
        self.task.sender.send(&Frame::Data { id: self.task.id, bytes })?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
