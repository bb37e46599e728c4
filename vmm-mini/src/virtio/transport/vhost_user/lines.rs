//! The way back to the guest: one descriptor for each queue's interrupt, one for requests of our own.
//!
//! QEMU gives eventfds and a socket, UML the write ends of pipes. A plain write of the right size serves
//! all of them. Nothing here ever blocks: a line that is full has the other side's attention already.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::message::config_changed;
use crate::virtio::device::Interrupt;

/// The lines of one connection. The front-end may exchange them while queues run.
pub(super) struct Lines {
    calls: Vec<Mutex<Option<File>>>,
    requests: Mutex<Option<File>>,
}

impl Lines {
    pub(super) fn new(queues: usize) -> Self {
        Lines { calls: (0..queues).map(|_| Mutex::new(None)).collect(), requests: Mutex::new(None) }
    }

    /// Sets or removes the interrupt of a queue.
    pub(super) fn set_call(&self, queue: usize, fd: Option<OwnedFd>) -> io::Result<()> {
        match self.calls.get(queue) {
            Some(line) => set(line, fd),
            None => Ok(()),
        }
    }

    /// Sets the line for requests of the back-end.
    pub(super) fn set_requests(&self, fd: OwnedFd) -> io::Result<()> {
        set(&self.requests, Some(fd))
    }
}

fn set(line: &Mutex<Option<File>>, fd: Option<OwnedFd>) -> io::Result<()> {
    let file = fd.map(nonblocking).transpose()?.map(File::from);
    *line.lock().unwrap_or_else(PoisonError::into_inner) = file;
    Ok(())
}

/// Makes sure that neither reading nor writing waits.
pub(super) fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

fn write(line: &Mutex<Option<File>>, bytes: &[u8]) -> io::Result<()> {
    let line = line.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut file) = line.as_ref() else { return Ok(()) };
    loop {
        // Both sizes are below what a pipe takes in one piece.
        match file.write(bytes) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Interrupt for Lines {
    fn queue(&self, index: u16) -> io::Result<()> {
        match self.calls.get(usize::from(index)) {
            Some(line) => write(line, &1u64.to_ne_bytes()),
            None => Ok(()),
        }
    }

    fn config(&self) -> io::Result<()> {
        write(&self.requests, &config_changed())
    }
}
