//! Bytes of files on their way to clients, where their place in the file may be given to other bytes.
//!
//! What the kernel sends from a file is not copied: until the client has taken it out of the connection it is the page of
//! the file itself. Before an export gives such a page to something else ([`Transit::hold`]) nothing may be on its way;
//! so files are not sent then for a while, and those that wait for clients are waited for, or the place is kept.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stream::Stream;

/// After a change nothing is sent from files for this long: changes seldom come alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a change waits for clients to take what is on its way.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long it sleeps between two looks.
const LOOK: Duration = Duration::from_micros(50);
/// Connections that ended with something on its way, at the most, that are looked after.
const MOST_ENDED: usize = 16;

/// Bytes that a connection has taken and its peer has not.
pub type Queued = fn(BorrowedFd<'_>) -> io::Result<u32>;

/// Keeps account of what is sent from the files of one export.
pub struct Transit {
    queued: Queued,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that may be sending now.
    sending: usize,
    /// Changes that are being made now.
    changes: usize,
    /// When the last one ended.
    changed: Option<Instant>,
    /// Nothing is on its way, and nothing is sent.
    clear: bool,
    /// Clients were waited for in vain since files were sent.
    waited: bool,
    /// What is on its way is not known any more.
    lost: bool,
    streams: Vec<Arc<Stream>>,
    /// Those of connections that have ended.
    ended: Vec<Arc<Stream>>,
}

impl State {
    /// The time after changes in which nothing is sent from files.
    fn is_paused(&self) -> bool {
        self.changes > 0 || self.changed.is_some_and(|last| last.elapsed() < PAUSE)
    }
}

impl Transit {
    /// Nothing is on its way yet. `queued` asks the system what a connection holds.
    pub fn new(queued: Queued) -> Self {
        Transit { queued, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that was sent over `stream` waits for its peer.
    fn is_empty(&self, stream: &Stream) -> bool {
        (self.queued)(stream.output()).is_ok_and(|bytes| bytes == 0)
    }

    /// Files may be sent over `stream` from now on, if the system can tell what becomes of them.
    pub(super) fn join(self: &Arc<Self>, stream: &Arc<Stream>) -> Option<Member> {
        if !stream.sends_files() || (self.queued)(stream.output()).is_err() {
            return None;
        }
        self.state().streams.push(Arc::clone(stream));
        Some(Member { transit: Arc::clone(self), stream: Arc::clone(stream) })
    }

    /// Changes what bytes of the files stand for, once nothing of them is on its way and for as long as the guard lives.
    pub fn hold(self: &Arc<Self>) -> Hold {
        let begin = Instant::now();
        let mut state = self.state();
        state.changes += 1;
        let is_clear = loop {
            if self.look(&mut state) {
                break true;
            }
            if state.waited || begin.elapsed() > PATIENCE {
                state.waited = true;
                break false;
            }
            drop(state);
            std::thread::sleep(LOOK);
            state = self.state();
        };
        Hold { transit: Arc::clone(self), is_clear }
    }

    /// Looks whether something is on its way.
    fn look(&self, state: &mut State) -> bool {
        if !state.clear && state.sending == 0 && !state.lost {
            state.ended.retain(|stream| !self.is_empty(stream));
            state.clear = state.ended.is_empty() && state.streams.iter().all(|stream| self.is_empty(stream));
        }
        state.clear
    }
}

/// A connection over which files may be sent.
pub(super) struct Member {
    transit: Arc<Transit>,
    stream: Arc<Stream>,
}

impl Member {
    /// Something may be sent from a file now, and as long as the ticket lives.
    pub(super) fn enter(&self) -> Option<Ticket<'_>> {
        let mut state = self.transit.state();
        if state.is_paused() {
            return None;
        }
        state.changed = None;
        state.clear = false;
        state.waited = false;
        state.sending += 1;
        Some(Ticket(&self.transit))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.transit.state();
        state.streams.retain(|stream| !Arc::ptr_eq(stream, &self.stream));
        // A peer that has gone leaves nothing behind; one that stays can still read what was sent.
        if state.clear || self.transit.is_empty(&self.stream) {
            return;
        }
        state.ended.retain(|stream| !self.transit.is_empty(stream));
        if state.ended.len() < MOST_ENDED {
            state.ended.push(Arc::clone(&self.stream));
        } else {
            state.lost = true;
        }
    }
}

/// Something is being sent.
pub(super) struct Ticket<'a>(&'a Transit);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.state().sending -= 1;
    }
}

/// A change of what bytes of files stand for.
pub struct Hold {
    transit: Arc<Transit>,
    is_clear: bool,
}

impl Hold {
    /// Nothing is on its way. Otherwise bytes have to stay what they are.
    pub fn is_clear(&self) -> bool {
        self.is_clear
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.transit.state();
        state.changes -= 1;
        state.changed = Some(Instant::now());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// What the system would say.
    static QUEUED: AtomicU32 = AtomicU32::new(0);

    fn member(queued: Queued) -> (Arc<Transit>, Member) {
        let transit = Arc::new(Transit::new(queued));
        let (near, _far) = UnixStream::pair().unwrap();
        let member = transit.join(&Arc::new(Stream::socket(near))).unwrap();
        (transit, member)
    }

    #[test]
    fn a_change_waits_for_what_is_being_sent_and_for_what_nobody_has_read() {
        let (transit, member) = member(|_| Ok(QUEUED.load(Ordering::SeqCst)));
        let ticket = member.enter().unwrap();
        assert!(!transit.hold().is_clear(), "it is being sent");
        assert!(member.enter().is_none(), "after a change nothing is sent");
        drop(ticket);
        assert!(transit.hold().is_clear());
        transit.state().changed = None;
        drop(member.enter().unwrap());
        QUEUED.store(1, Ordering::SeqCst);
        assert!(!transit.hold().is_clear(), "nobody has read it");
        let taken = std::thread::spawn(|| {
            std::thread::sleep(PATIENCE / 4);
            QUEUED.store(0, Ordering::SeqCst);
        });
        transit.state().waited = false;
        assert!(transit.hold().is_clear(), "it was waited for");
        taken.join().unwrap();
    }

    #[test]
    fn connections_that_ended_count() {
        static OPEN: AtomicU32 = AtomicU32::new(1);
        let (transit, member) = member(|_| Ok(OPEN.load(Ordering::SeqCst)));
        drop(member.enter().unwrap());
        drop(member);
        assert!(!transit.hold().is_clear());
        OPEN.store(0, Ordering::SeqCst);
        assert!(transit.hold().is_clear());
        assert!(transit.state().ended.is_empty());
    }

    #[test]
    fn where_the_system_tells_nothing_files_are_not_sent() {
        let transit = Arc::new(Transit::new(|_| Err(io::ErrorKind::Unsupported.into())));
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(transit.join(&Arc::new(Stream::socket(near))).is_none());
    }
}
