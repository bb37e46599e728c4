//! The rings that carry commands to the ublk driver, and the memory in which it describes requests.
//!
//! All that needs `unsafe` for ublk is here. Commands hold numbers alone, and for two of them the address of memory that
//! stays where it is until the answer came: data of requests never passes through memory that the kernel knows.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{self, NonNull};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::{FromBytes, IntoBytes};

use super::abi::{ControlCommand, Descriptor, QueueCommand, descriptors_offset};

/// Says that the driver does not take commands in this way.
pub(super) fn explain(error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("io_uring with commands is needed, which this kernel refuses: {error}"),
    )
}

/// A ring for commands to `/dev/ublk-control`.
pub(super) struct ControlRing {
    ring: IoUring<squeue::Entry128, cqueue::Entry>,
    device: File,
    /// What goes in and out with a command.
    exchange: Box<[u8; EXCHANGE]>,
}

/// More than any command has with it.
const EXCHANGE: usize = 256;

impl ControlRing {
    pub(super) fn new(device: File) -> io::Result<Self> {
        let ring = IoUring::builder().build(4).map_err(|error| explain(&error))?;
        Ok(ControlRing { ring, device, exchange: Box::new([0; EXCHANGE]) })
    }

    /// Gives a command to the driver, with `data` for what goes in or out, and waits for the answer.
    pub(super) fn command(
        &mut self,
        number: u32,
        command: ControlCommand,
        data: &mut [u8],
    ) -> io::Result<()> {
        let too_long = || io::Error::from(io::ErrorKind::InvalidInput);
        self.exchange.get_mut(..data.len()).ok_or_else(too_long)?.copy_from_slice(data);
        let addr = self.exchange.as_mut_ptr().expose_provenance() as u64;
        let len = u16::try_from(data.len()).map_err(io::Error::other)?;
        let command = ControlCommand { len, addr: if len == 0 { 0 } else { addr }, ..command };
        let mut words = [0; 80];
        words
            .get_mut(..size_of::<ControlCommand>())
            .ok_or_else(too_long)?
            .copy_from_slice(command.as_bytes());
        let entry = opcode::UringCmd80::new(types::Fd(self.device.as_raw_fd()), number).cmd(words).build();
        // SAFETY: the address is that of memory of this ring, which is at least so long, and which nobody touches until
        // the answer came; should that not be seen, it is never given back. The device is open as long as the ring.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        let result = loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    std::mem::forget(std::mem::replace(&mut self.exchange, Box::new([0; EXCHANGE])));
                    return Err(error);
                }
                Ok(_) => {
                    if let Some(answer) = self.ring.completion().next() {
                        break answer.result();
                    }
                }
            }
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(result.saturating_neg()));
        }
        data.copy_from_slice(self.exchange.get(..data.len()).ok_or_else(too_long)?);
        Ok(())
    }
}

/// What a queue's ring tells.
pub(super) enum Told {
    /// The request with this tag has come.
    Request(u16),
    /// Nothing will ever come any more for one of the tags.
    Over,
    /// [`Waker::wake`] was called.
    Woken,
}

/// A ring for the commands of a queue.
pub(super) struct QueueRing {
    ring: IoUring,
    device: RawFd,
    waker: OwnedFd,
}

/// What is told with the answer to a wait for the waker.
const WOKEN: u64 = u64::MAX;

impl QueueRing {
    /// A ring for so many requests of the open device `/dev/ublkcN`, which must stay open as long as the ring.
    pub(super) fn new(device: &File, depth: u16) -> io::Result<Self> {
        let ring = IoUring::new(u32::from(depth).saturating_add(1)).map_err(|error| explain(&error))?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mut ring = QueueRing { ring, device: device.as_raw_fd(), waker };
        ring.listen()?;
        Ok(ring)
    }

    /// A way for other threads to end a wait.
    pub(super) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.waker.try_clone()?))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the entries of this module hold descriptors, which are checked when they are used, and numbers, but
        // no addresses.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(self.waker.as_raw_fd()), u32::from(PollFlags::IN.bits()));
        self.push(&poll.build().user_data(WOKEN))
    }

    /// Gives a command of a tag to the driver, with the next wait.
    pub(super) fn command(&mut self, number: u32, command: QueueCommand) -> io::Result<()> {
        let mut words = [0; 16];
        words.copy_from_slice(command.as_bytes());
        let entry = opcode::UringCmd16::new(types::Fd(self.device), number).cmd(words).build();
        self.push(&entry.user_data(u64::from(command.tag)))
    }

    /// Waits until something is told.
    pub(super) fn wait(&mut self, told: &mut Vec<Told>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            submitted => drop(submitted?),
        }
        let answers: Vec<cqueue::Entry> = self.ring.completion().collect();
        for answer in answers {
            told.push(match (answer.user_data(), answer.result()) {
                (WOKEN, _) => {
                    // Only how often is read, and that does not matter.
                    let _ = rustix::io::read(&self.waker, &mut [0; 8]);
                    self.listen()?;
                    Told::Woken
                }
                (tag, 0) => Told::Request(tag as u16),
                (_, _) => Told::Over,
            });
        }
        Ok(())
    }
}

/// Ends the wait of a queue.
pub(super) struct Waker(OwnedFd);

impl Waker {
    pub(super) fn wake(&self) {
        // It fails only when it was woken almost endlessly often, and is awake.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// The memory in which the driver describes the requests of a queue.
pub(super) struct Descriptors {
    memory: NonNull<Descriptor>,
    depth: u16,
}

// SAFETY: the memory is a mapping of the whole process, and is only read, a piece at a time.
unsafe impl Send for Descriptors {}

impl Descriptors {
    pub(super) fn new(device: &File, queue: u16, depth: u16) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, takes nothing from anybody.
        let memory = unsafe {
            mmap(
                ptr::null_mut(),
                Self::length(depth),
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::POPULATE,
                device,
                descriptors_offset(queue),
            )
        }?;
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Descriptors { memory, depth })
    }

    fn length(depth: u16) -> usize {
        (usize::from(depth) * size_of::<Descriptor>()).next_multiple_of(rustix::param::page_size())
    }

    /// The description of the request with this tag, which has come.
    pub(super) fn get(&self, tag: u16) -> Option<Descriptor> {
        if tag >= self.depth {
            return None;
        }
        let mut words = [0; size_of::<Descriptor>() / 4];
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: the tag lies within the mapping, which lives as long as this. The driver writes a description
            // before it tells of the request, and not until that is answered.
            *word = unsafe { self.memory.add(usize::from(tag)).cast::<u32>().add(index).read_volatile() };
        }
        Descriptor::read_from_bytes(words.as_bytes()).ok()
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: it is the mapping made by `new`, and nobody has a reference into it.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), Self::length(self.depth)) };
    }
}
