//! One thread that waits for a front-end, and then answers it until it hangs up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Fault;
use super::message::Channel;
use super::session::Session;
use crate::virtio::device::VirtioDevice;
use crate::virtio::worker::borrow;

/// Serves one device to one front-end. Dropping it ends the service and stops the device.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    stop: EventFd,
    /// A second handle of the connection, to break a wait in the middle of a message.
    connection: Mutex<Option<UnixStream>>,
    fault: Mutex<Option<Fault>>,
}

impl Server {
    /// Waits for one connection to `listener`, closes it, and serves `device` over the connection.
    pub fn listen(name: String, listener: UnixListener, device: Arc<dyn VirtioDevice>) -> io::Result<Self> {
        Self::spawn(name, move |shared| {
            let accept = || {
                listener.set_nonblocking(true)?;
                loop {
                    if !wait(&shared.stop, listener.as_fd()) {
                        return Ok(None);
                    }
                    match listener.accept() {
                        Ok((stream, _)) => return Ok(Some(stream)),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            };
            let stream = accept().map_err(|error| Fault::Io("be connected", error))?;
            drop(listener);
            stream.map_or(Ok(()), |stream| serve(stream, device, shared))
        })
    }

    /// Serves `device` over a connection that exists.
    pub fn serve(name: String, stream: UnixStream, device: Arc<dyn VirtioDevice>) -> io::Result<Self> {
        Self::spawn(name, move |shared| serve(stream, device, shared))
    }

    fn spawn(
        name: String,
        work: impl FnOnce(&Shared) -> Result<(), Fault> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: EventFd::new(EFD_NONBLOCK)?,
            connection: Mutex::new(None),
            fault: Mutex::new(None),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // Interrupts of UML are pipes: one whose reader is gone shall be an error, not a signal.
            let _ = vmm_sys_util::signal::block_signal(libc::SIGPIPE);
            if let Err(fault) = work(&theirs) {
                *theirs.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            }
        })?;
        Ok(Server { thread: Some(thread), shared })
    }

    /// True when the front-end has gone, or was cut off.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Why the front-end was cut off, if it was. The reason can be taken once.
    pub fn take_fault(&self) -> Option<Fault> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.shared.stop.write(1);
        if let Some(stream) = &*self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: UnixStream, device: Arc<dyn VirtioDevice>, shared: &Shared) -> Result<(), Fault> {
    let second = stream.try_clone().map_err(|error| Fault::Io("prepare to talk", error))?;
    *shared.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
    let outcome = converse(Channel::new(stream)?, Session::new(device), &shared.stop);
    // The front-end shall see the end although the server itself may live on.
    if let Some(second) = shared.connection.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = second.shutdown(std::net::Shutdown::Both);
    }
    outcome
}

fn converse(channel: Channel, mut session: Session, stop: &EventFd) -> Result<(), Fault> {
    while wait(stop, channel.socket.as_fd()) {
        let Some(message) = channel.receive()? else { break };
        let request = message.request;
        if let Some(reply) = session.handle(message)? {
            channel.reply(request, &reply)?;
        }
    }
    Ok(())
}

/// Waits for `fd` to have something to read; false when the server shall end instead.
fn wait(stop: &EventFd, fd: BorrowedFd<'_>) -> bool {
    let event = borrow(stop);
    loop {
        let mut fds = [PollFd::new(&event, PollFlags::IN), PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
