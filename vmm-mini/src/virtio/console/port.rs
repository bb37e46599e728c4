//! The two data queues of a port: bytes from the host's socket into the guest's buffers, and back.
//!
//! Bytes go between socket and guest memory without a copy of ours, with one exception: what the host
//! does not take at once is kept here, so that the guest gets its buffer back promptly. The queue then
//! takes nothing more until the host has caught up, which is the back-pressure.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Shared;
use crate::virtio::queue::{End, Ring, RingError};
use crate::virtio::worker::{Handler, Next, Stop, borrow};

/// Most that is kept of one guest buffer. Linux writes at most 32 KiB at once.
const MAX_PENDING: u64 = 1 << 20;
/// Bytes received after which the guest is told, although more are coming.
const ANNOUNCE_BYTES: u64 = 64 * 1024;

/// One port: the device's end of a socket, and who has it open.
pub(super) struct Port {
    pub(super) name: Option<String>,
    stream: UnixStream,
    hang_up: bool,
    pub(super) host_open: AtomicBool,
    guest_open: AtomicBool,
    /// The guest has closed the port, and the host shall read the end of the stream.
    hang_up_due: AtomicBool,
    /// The guest opened or closed the port: one event for each queue that wants to know.
    changed_rx: EventFd,
    changed_tx: EventFd,
    /// Written by the guest, not taken by the host yet.
    pending: Mutex<Vec<u8>>,
}

impl Port {
    pub(super) fn new(name: Option<String>, stream: UnixStream, hang_up: bool) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Port {
            name,
            stream,
            hang_up,
            host_open: AtomicBool::new(true),
            guest_open: AtomicBool::new(false),
            hang_up_due: AtomicBool::new(false),
            changed_rx: EventFd::new(EFD_NONBLOCK)?,
            changed_tx: EventFd::new(EFD_NONBLOCK)?,
            pending: Mutex::new(Vec::new()),
        })
    }

    /// The guest opened or closed its end.
    pub(super) fn guest_opened(&self, open: bool) {
        if self.guest_open.swap(open, Ordering::AcqRel) != open {
            self.hang_up_due.store(self.hang_up && !open, Ordering::Release);
            // Non-blocking: a full counter has woken the reader already.
            let _ = self.changed_rx.write(1);
            let _ = self.changed_tx.write(1);
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<u8>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Host to guest.
pub(super) struct Receive {
    shared: Arc<Shared>,
    number: usize,
}

impl Receive {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Receive { shared, number }
    }

    /// The port, while bytes can flow through it.
    fn open_port(&self) -> Option<&Port> {
        self.shared
            .port(self.number)
            .filter(|port| port.host_open.load(Ordering::Acquire) && port.guest_open.load(Ordering::Acquire))
    }
}

impl Handler for Receive {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        if let Some(port) = self.shared.port(self.number) {
            let _ = port.changed_rx.read();
        }
        let Some(port) = self.open_port() else { return Ok(Next::Source) };
        let mut quiet_bytes = 0;
        let closed = loop {
            if stop.requested() {
                break false;
            }
            let Some(mut chain) = ring.pop()? else {
                ring.announce()?;
                return Ok(if ring.listen()? { Next::Again } else { Next::Doorbell });
            };
            let (moved, end) = chain.writable.fill_from(ring.memory(), &mut &port.stream);
            if moved == 0 && matches!(end, End::Blocked | End::Closed) {
                ring.unpop();
                break end == End::Closed;
            }
            ring.push(chain.head, u32::try_from(moved).unwrap_or(u32::MAX))?;
            quiet_bytes += moved;
            if quiet_bytes >= ANNOUNCE_BYTES {
                ring.announce()?;
                quiet_bytes = 0;
            }
            if matches!(end, End::Blocked | End::Closed) {
                break end == End::Closed;
            }
        };
        ring.announce()?;
        if closed {
            self.shared.host_closed(self.number);
        }
        Ok(Next::Source)
    }

    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let fd = match self.open_port() {
            Some(port) => port.stream.as_fd(),
            None => borrow(&self.shared.port(self.number)?.changed_rx),
        };
        Some((fd, PollFlags::IN))
    }
}

/// Guest to host.
pub(super) struct Transmit {
    shared: Arc<Shared>,
    number: usize,
}

impl Transmit {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Transmit { shared, number }
    }

    /// Offers the host what is pending. False when it has still not taken all.
    fn flush(&self, port: &Port) -> bool {
        let mut pending = port.pending();
        let mut done = 0;
        let blocked = loop {
            if done == pending.len() {
                break false;
            }
            match (&port.stream).write(&pending[done..]) {
                Ok(0) => break true,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => {
                    self.shared.host_closed(self.number);
                    done = pending.len();
                }
            }
        };
        pending.drain(..done);
        !blocked
    }
}

impl Handler for Transmit {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        let port = self.shared.port(self.number);
        let hang_up = port.filter(|port| {
            let _ = port.changed_tx.read();
            port.hang_up_due.load(Ordering::Acquire)
        });
        while !stop.requested() {
            if let Some(port) = port
                && !self.flush(port)
            {
                ring.announce()?;
                return Ok(Next::Source);
            }
            let Some(mut chain) = ring.pop()? else {
                // All that the guest wrote before it closed the port has been passed on by now.
                if let Some(port) = hang_up {
                    let _ = port.stream.shutdown(Shutdown::Write);
                }
                break;
            };
            // Without a host's end, what the guest writes goes nowhere, but it goes.
            if let Some(port) = port.filter(|port| port.host_open.load(Ordering::Acquire)) {
                match chain.readable.drain_to(ring.memory(), &mut &port.stream).1 {
                    End::Complete | End::BadAddress => {}
                    End::Closed => self.shared.host_closed(self.number),
                    End::Blocked => {
                        let length = chain.readable.len();
                        if length > MAX_PENDING {
                            return Err(RingError::TooLong(length));
                        }
                        let mut rest = vec![0; length as usize];
                        if chain.readable.read(ring.memory(), &mut rest).is_ok() {
                            *port.pending() = rest;
                        }
                    }
                }
            }
            ring.push(chain.head, 0)?;
        }
        ring.announce()?;
        Ok(if ring.listen()? { Next::Again } else { Next::Doorbell })
    }

    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let port = self.shared.port(self.number)?;
        if port.pending().is_empty() {
            Some((borrow(&port.changed_tx), PollFlags::IN))
        } else {
            Some((port.stream.as_fd(), PollFlags::OUT))
        }
    }
}
