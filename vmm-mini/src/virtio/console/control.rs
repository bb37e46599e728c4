//! The control channel: which ports there are, what they are called, who has them open (section 5.3.6.2).
//!
//! Messages to the guest wait in a list until it offers buffers. The list is bounded: a guest that asks
//! and never listens loses answers, not the host's memory.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::PollFlags;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Shared;
use crate::virtio::queue::{Ring, RingError};
use crate::virtio::worker::{Handler, Next, Stop, borrow};
use std::sync::atomic::Ordering;

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;
/// Bytes of a message without text: port u32, event u16, value u16.
const MESSAGE: usize = 8;
/// Messages that may wait: several for each of the most ports there can be.
const MAX_WAITING: usize = 512;

/// Messages on their way to the guest.
pub(super) struct Control {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    added: EventFd,
}

impl Control {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Control { waiting: Mutex::new(VecDeque::new()), added: EventFd::new(EFD_NONBLOCK)? })
    }

    /// Forgets what the guest has not taken.
    pub(super) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Tells the guest that the host's end of a port is open, or not.
    pub(super) fn port_open(&self, port: usize, open: bool) {
        self.send(port, PORT_OPEN, u16::from(open), &[]);
    }

    fn send(&self, port: usize, event: u16, value: u16, text: &[u8]) {
        let mut message = Vec::with_capacity(MESSAGE + text.len());
        message.extend_from_slice(&(port as u32).to_le_bytes());
        message.extend_from_slice(&event.to_le_bytes());
        message.extend_from_slice(&value.to_le_bytes());
        message.extend_from_slice(text);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            waiting.push_back(message);
            // Non-blocking: a full counter has woken the reader already.
            let _ = self.added.write(1);
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Queue 2: messages to the guest.
pub(super) struct ToGuest {
    shared: Arc<Shared>,
}

impl ToGuest {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        ToGuest { shared }
    }
}

impl Handler for ToGuest {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        let control = &self.shared.control;
        let _ = control.added.read();
        while !stop.requested() && !control.is_empty() {
            let Some(mut chain) = ring.pop()? else {
                ring.announce()?;
                return Ok(if ring.listen()? { Next::Again } else { Next::Doorbell });
            };
            let message = control.take().unwrap_or_default();
            let written = match chain.writable.write(ring.memory(), &message) {
                Ok(()) => message.len() as u32,
                Err(_) => 0,
            };
            ring.push(chain.head, written)?;
        }
        ring.announce()?;
        Ok(Next::Source)
    }

    fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some((borrow(&self.shared.control.added), PollFlags::IN))
    }
}

/// Queue 3: messages from the guest.
pub(super) struct FromGuest {
    shared: Arc<Shared>,
}

impl FromGuest {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        FromGuest { shared }
    }

    fn handle(&self, message: [u8; MESSAGE]) {
        let [p0, p1, p2, p3, e0, e1, v0, v1] = message;
        let number = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        let value = u16::from_le_bytes([v0, v1]);
        let control = &self.shared.control;
        match u16::from_le_bytes([e0, e1]) {
            DEVICE_READY if value == 1 => {
                for (number, port) in self.shared.ports.iter().enumerate() {
                    if port.is_some() {
                        control.send(number, PORT_ADD, 1, &[]);
                    }
                }
            }
            PORT_READY if value == 1 => {
                let Some(port) = self.shared.port(number) else { return };
                match &port.name {
                    Some(name) => control.send(number, PORT_NAME, 1, name.as_bytes()),
                    None => control.send(number, CONSOLE_PORT, 1, &[]),
                }
                if port.host_open.load(Ordering::Acquire) {
                    control.port_open(number, true);
                }
            }
            PORT_OPEN => {
                if let Some(port) = self.shared.port(number) {
                    port.guest_opened(value != 0);
                }
            }
            _ => {}
        }
    }
}

impl Handler for FromGuest {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        while !stop.requested() {
            let Some(mut chain) = ring.pop()? else { break };
            let mut message = [0; MESSAGE];
            if chain.readable.read(ring.memory(), &mut message).is_ok() {
                self.handle(message);
            }
            ring.push(chain.head, 0)?;
        }
        ring.announce()?;
        Ok(if ring.listen()? { Next::Again } else { Next::Doorbell })
    }
}
