//! One thread that serves one virtqueue: it sleeps until there is work, and ends when it is told to.
//!
//! The thread owns the [`Ring`] from start to stop, so a queue needs no lock. A handler takes requests
//! one by one and finishes each before it takes the next: when [`Worker::stop`] returns, nothing is in
//! flight, and what was not taken is still in the ring for the next one who serves it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use virtio_queue::QueueState;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::QueueResources;
use super::queue::{Ring, RingError};

/// What a handler does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is more to do, but the stop flag should be looked at first.
    Again,
    /// Sleep until the guest rings, or the handler's source is ready.
    Doorbell,
    /// Sleep until the handler's source is ready, whether the guest rings or not.
    Source,
}

/// Serves one queue. It lives in the queue's thread.
pub trait Handler: Send + 'static {
    /// Does what can be done without waiting, and says what to wait for. It looks at `stop` between
    /// requests and returns soon when it is set.
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError>;

    /// A descriptor to wait for besides the doorbell. Asked after every [`Handler::serve`].
    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }
}

/// Whether the worker has been asked to end.
pub struct Stop {
    flag: AtomicBool,
    event: EventFd,
}

impl Stop {
    /// True once the worker should end.
    pub fn requested(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// The running thread of one queue.
pub struct Worker {
    thread: Option<JoinHandle<QueueState>>,
    stop: Arc<Stop>,
}

impl Worker {
    /// Starts serving queue `index` in a thread called `name`.
    ///
    /// # Errors
    /// When the queue's rings do not lie in guest memory, or the thread cannot be had.
    pub fn start(
        name: String,
        index: u16,
        resources: QueueResources,
        mut handler: impl Handler,
    ) -> io::Result<Worker> {
        let (mut ring, doorbell) = Ring::new(index, resources)?;
        let stop = Arc::new(Stop { flag: AtomicBool::new(false), event: EventFd::new(EFD_NONBLOCK)? });
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // A peer that has gone away is an error to handle, whatever the program does with the signal.
            let _ = vmm_sys_util::signal::block_signal(libc::SIGPIPE);
            if run(&mut ring, &doorbell, &mut handler, &seen).is_err() {
                // The guest broke its own queue: it stands still until the driver resets it.
                while !seen.requested() {
                    wait(&seen, None, None);
                }
            }
            ring.state()
        })?;
        Ok(Worker { thread: Some(thread), stop })
    }

    /// Ends the thread and tells where the queue stood. Waits for the request in hand, not for the guest.
    pub fn stop(mut self) -> Option<QueueState> {
        self.end()
    }

    fn end(&mut self) -> Option<QueueState> {
        self.stop.flag.store(true, Ordering::Release);
        // The counter cannot overflow: it is written once.
        let _ = self.stop.event.write(1);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(
    ring: &mut Ring,
    doorbell: &EventFd,
    handler: &mut impl Handler,
    stop: &Stop,
) -> Result<(), RingError> {
    let mut bell = Some(borrow(doorbell));
    while !stop.requested() {
        let listening = match handler.serve(ring, stop)? {
            Next::Again => continue,
            Next::Doorbell => bell,
            Next::Source => None,
        };
        if wait(stop, listening, handler.source()) && !listening.is_none_or(drain) {
            // The other side closed it: nobody will ring again.
            bell = None;
        }
    }
    Ok(())
}

/// Takes the doorbell's rings. False when it is not, or no longer, something that can ring.
fn drain(bell: BorrowedFd<'_>) -> bool {
    match rustix::io::read(bell, &mut [0u8; 8]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}

/// Sleeps until the worker shall stop, the guest rings or the source is ready. True when it rang.
fn wait(stop: &Stop, bell: Option<BorrowedFd<'_>>, source: Option<(BorrowedFd<'_>, PollFlags)>) -> bool {
    let event = borrow(&stop.event);
    // Places that are not used watch the stop event a second time.
    let bell_fd = bell.unwrap_or(event);
    let (source_fd, flags) = source.unwrap_or((event, PollFlags::IN));
    let mut fds = [
        PollFd::new(&event, PollFlags::IN),
        PollFd::new(&bell_fd, PollFlags::IN),
        PollFd::new(&source_fd, flags),
    ];
    // It can only be interrupted or out of memory; either way the caller comes back.
    match poll(&mut fds, None) {
        Ok(_) => bell.is_some() && !fds[1].revents().is_empty(),
        Err(_) => false,
    }
}

/// `EventFd` of vmm-sys-util predates the standard library's borrowed descriptors.
pub(crate) fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as `event` lives, which the result borrows.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
