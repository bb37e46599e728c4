//! Requests of the kernel passed on to the agent, and its answers passed back, many at a time and unread.
//!
//! Much data goes through the exchange (`slots`), all else over the port. Only headers are looked at: lengths, because an answer must be written whole and by itself, and the
//! numbers of requests, because an agent that dies leaves some without an answer. Those get one from here: an
//! input/output error, as do all that come later, until the file system is taken off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use guestd_api::fuse::{self, IN_HEADER, InHeader, MAX_MESSAGE, OUT_HEADER, OutHeader, op};
use libimage::Block;
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::bare::{Bare, Lesson};
use super::slots::{Lent, Slots};

/// The number of the last request, which is not the kernel's: its own are even.
const LAST: u64 = u64::MAX;

/// How far a mount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The kernel and the agent have not agreed yet.
    Begins,
    /// It can be used.
    Serves,
    /// It was taken off, and the agent has written everything.
    Ended,
    /// The agent is gone.
    Dead,
}

/// A mount in progress.
pub(super) struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    kernel: File,
    port: UnixStream,
    slots: Slots,
    /// Unless the kernel may not remember anything either.
    bare: Option<Bare>,
    state: Mutex<State>,
    changed: Condvar,
}

/// A request that the agent has.
struct Asked {
    lent: Option<Lent>,
    lesson: Lesson,
}

struct State {
    stage: Stage,
    /// Requests that the agent has not answered.
    open: HashMap<u64, Asked>,
    /// The kernel has no more requests.
    is_off: bool,
}

impl Relay {
    /// Begins to pass on; with `lasting`, what is known of files stays true.
    pub(super) fn start(
        kernel: OwnedFd,
        port: UnixStream,
        exchange: Arc<dyn Block>,
        lasting: bool,
    ) -> io::Result<Self> {
        let state = State { stage: Stage::Begins, open: HashMap::new(), is_off: false };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let (slots, bare) = (Slots::new(exchange), lasting.then(Bare::default));
        let shared = Arc::new(Shared { kernel: kernel.into(), port, slots, bare, state, changed });
        let spawn = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
        };
        let answers = spawn("mount-answers", Shared::pass_answers)?;
        let requests = spawn("mount-requests", Shared::pass_requests)?;
        Ok(Relay { shared, threads: vec![answers, requests] })
    }

    /// Waits until the mount can be used.
    pub(super) fn ready(&self) -> io::Result<()> {
        let state = self.shared.state();
        let waits = |state: &mut State| state.stage == Stage::Begins && !state.is_off;
        let state = self.shared.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        match state.stage {
            Stage::Serves | Stage::Ended => Ok(()),
            Stage::Begins | Stage::Dead => Err(dead()),
        }
    }

    /// Whether it was taken off, and all is written or lost.
    pub(super) fn is_over(&self, patience: Duration) -> bool {
        let over = |state: &State| state.is_off && matches!(state.stage, Stage::Ended | Stage::Dead);
        let waited =
            self.shared.changed.wait_timeout_while(self.shared.state(), patience, |state| !over(state));
        over(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Ends its threads; it must be over or cut off.
    pub(super) fn finish(self) -> io::Result<()> {
        let state = self.shared.state();
        let (ended, is_off) = (state.stage == Stage::Ended, state.is_off);
        drop(state);
        // After it was cut off the kernel may still have requests, which end with this process.
        for thread in self.threads.into_iter().filter(|_| is_off) {
            // One that panicked has nothing to tell.
            let _ = thread.join();
        }
        if ended { Ok(()) } else { Err(dead()) }
    }

    /// The mount is over for whoever still uses it.
    pub(super) fn cut_off(&self) {
        let mut state = self.shared.state();
        if state.stage == Stage::Serves || state.stage == Stage::Begins {
            state.stage = Stage::Dead;
        }
        drop(state);
        let _ = self.shared.port.shutdown(Shutdown::Both);
    }
}

fn dead() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "The appliance ended before the mount was taken off")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread from the kernel to the agent.
    fn pass_requests(&self) {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            match (&self.kernel).read(&mut buffer) {
                // Taken off.
                Ok(0) => break,
                Ok(count) => self.pass_request(buffer.get(..count).unwrap_or_default()),
                // What was to be read was withdrawn.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        let mut state = self.state();
        state.is_off = true;
        let alive = matches!(state.stage, Stage::Begins | Stage::Serves);
        drop(state);
        if alive {
            // The agent answers when everything is written.
            let last = InHeader {
                len: IN_HEADER as u32,
                opcode: op::DESTROY,
                unique: LAST,
                nodeid: fuse::ROOT,
                ..InHeader::default()
            };
            self.send(last.as_bytes());
        }
        self.changed.notify_all();
    }

    fn pass_request(&self, message: &[u8]) {
        let Ok((header, _)) = InHeader::read_from_prefix(message) else { return };
        let answered = !fuse::is_one_way(header.opcode);
        let lesson = self.bare.as_ref().map_or(Some(Lesson::Nothing), |bare| bare.look(message));
        let Some(lesson) = lesson else { return self.refuse(header.unique, Errno::NODATA) };
        let shortened = self.slots.lend(message);
        let (lent, message) = match &shortened {
            Some((lent, request)) => (Some(*lent), request.as_bytes()),
            None => (None, message),
        };
        let mut state = self.state();
        if state.stage == Stage::Dead {
            drop(state);
            if answered {
                self.refuse(header.unique, Errno::IO);
            }
            return;
        }
        if answered {
            state.open.insert(header.unique, Asked { lent, lesson });
        }
        drop(state);
        self.send(message);
    }

    /// Sends to the agent. If that is gone, the other thread notices by itself.
    fn send(&self, message: &[u8]) {
        let _ = (&self.port).write_all(message);
    }

    /// Answers with an error what the agent does not.
    fn refuse(&self, unique: u64, errno: Errno) {
        let answer = fuse::answer(unique, errno.raw_os_error().saturating_neg());
        // Who asked may be gone.
        let _ = (&self.kernel).write_all(answer.as_bytes());
    }

    /// The thread from the agent to the kernel.
    fn pass_answers(&self) {
        let mut buffer = vec![0; 2 * MAX_MESSAGE];
        let mut whole = Vec::new();
        let (mut start, mut end) = (0, 0);
        let ended = 'port: loop {
            while let Some(length) = length(buffer.get(start..end).unwrap_or_default()) {
                let Some(message) = buffer.get(start..end).and_then(|unread| unread.get(..length)) else {
                    if length > MAX_MESSAGE {
                        break 'port false;
                    }
                    break;
                };
                start += length;
                match self.pass_answer(message, &mut whole) {
                    Some(true) => {}
                    Some(false) => break 'port true,
                    None => break 'port false,
                }
            }
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            match (&self.port).read(buffer.get_mut(end..).unwrap_or_default()) {
                Ok(0) => break false,
                Ok(count) => end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        let mut state = self.state();
        state.stage = if ended { Stage::Ended } else { Stage::Dead };
        let open = std::mem::take(&mut state.open);
        drop(state);
        for unique in open.into_keys() {
            self.refuse(unique, Errno::IO);
        }
        self.changed.notify_all();
    }

    /// Gives an answer to the kernel. `Some(false)` if it was the last one; `None` if nobody has asked for it.
    /// `whole` is room for one with the data that was lent for.
    fn pass_answer(&self, message: &[u8], whole: &mut Vec<u8>) -> Option<bool> {
        let (header, _) = OutHeader::read_from_prefix(message).ok()?;
        if header.unique == LAST {
            return self.state().is_off.then_some(false);
        }
        let mut state = self.state();
        let Asked { lent, lesson } = state.open.remove(&header.unique)?;
        let first = state.stage == Stage::Begins;
        drop(state);
        if let Some(bare) = &self.bare {
            bare.learn(lesson, message);
        }
        let message = match lent {
            Some(lent) => self.slots.take_back(lent, message, whole),
            None => message,
        };
        // Who has asked may not wait any more, or the mount be off; and the kernel checks the contents.
        let _ = (&self.kernel).write(message);
        if first {
            let mut state = self.state();
            if state.stage == Stage::Begins {
                state.stage = Stage::Serves;
            }
            drop(state);
            self.changed.notify_all();
        }
        Some(true)
    }
}

/// The length of the message that begins here, once its header has come: one that cannot be is too long.
fn length(unread: &[u8]) -> Option<usize> {
    let (header, _) = OutHeader::read_from_prefix(unread).ok()?;
    let length = header.len as usize;
    Some(if (OUT_HEADER..=MAX_MESSAGE).contains(&length) { length } else { usize::MAX })
}
