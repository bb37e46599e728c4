//! Takes requests from a virtqueue and gives them back, trusting nothing that the guest wrote.
//!
//! A [`Ring`] is one running queue: it pops [`Chain`]s, pushes used elements and decides whether the
//! guest wants to hear of them. Two kinds of guest error are kept apart. A malformed *chain* is returned
//! to the guest unserved and the queue goes on. A malformed *ring* ([`RingError`]) cannot be recovered:
//! the queue stops moving until the driver resets it. Neither ever touches memory outside the guest's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemory as _, GuestMemoryError, Permissions, ReadVolatile,
    VolatileMemoryError, VolatileSlice, WriteVolatile,
};

use vm_memory::guest_memory::GuestMemorySliceIterator;

use super::device::{GuestMemory, Interrupt, QueueResources};

/// The guest broke the ring itself; the queue cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// An index or address of the ring makes no sense.
    #[error("The virtqueue is damaged")]
    Queue(#[source] virtio_queue::Error),
    /// The available ring names a descriptor that does not exist.
    #[error("The available ring names descriptor {0}, beyond the end of the table")]
    Head(u16),
    /// A request asks for more to be remembered than makes sense.
    #[error("The guest sent {0} bytes at once")]
    TooLong(u64),
    /// The guest could not be interrupted.
    #[error("Could not interrupt the guest")]
    Interrupt(#[source] io::Error),
}

impl From<virtio_queue::Error> for RingError {
    fn from(source: virtio_queue::Error) -> Self {
        RingError::Queue(source)
    }
}

/// One running virtqueue.
pub struct Ring {
    queue: Queue,
    memory: GuestMemory,
    interrupt: Arc<dyn Interrupt>,
    index: u16,
    /// Elements were used since the guest was last considered for an interrupt.
    unannounced: bool,
}

/// One request: what the guest wants read, then where it wants answers written.
pub struct Chain {
    /// The descriptor that names the chain in the used ring.
    pub head: u16,
    /// Buffers the device reads.
    pub readable: Buffers,
    /// Buffers the device writes.
    pub writable: Buffers,
}

impl Ring {
    /// Takes over queue `index`. Gives back the doorbell too, which belongs to whoever waits.
    ///
    /// # Errors
    /// Refuses a queue whose rings do not lie in guest memory.
    pub fn new(index: u16, resources: QueueResources) -> io::Result<(Self, vmm_sys_util::eventfd::EventFd)> {
        let QueueResources { queue, memory, doorbell, interrupt } = resources;
        if !queue.is_valid(&memory) {
            let text = format!("The rings of queue {index} do not lie in guest memory");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok((Ring { queue, memory, interrupt, index, unannounced: false }, doorbell))
    }

    /// The guest's memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Number of descriptors: no driver can have more requests than this in the ring.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Where the queue stands, for whoever continues it.
    pub fn state(&self) -> QueueState {
        self.queue.state()
    }

    /// The next request, if there is one. Malformed chains are given back unserved; after a ring's worth
    /// of them `None` is answered, so that the caller gets to look at its own affairs.
    pub fn pop(&mut self) -> Result<Option<Chain>, RingError> {
        for _ in 0..self.queue.size() {
            let Some(descriptors) = self.queue.iter(&self.memory)?.next() else { return Ok(None) };
            let head = descriptors.head_index();
            if head >= self.queue.size() {
                return Err(RingError::Head(head));
            }
            match Chain::collect(head, descriptors) {
                Some(chain) => return Ok(Some(chain)),
                None => self.push(head, 0)?,
            }
        }
        Ok(None)
    }

    /// Puts the chain popped last back, as if it had not been popped. Nothing may have been done with it.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Gives a chain back, with the number of bytes written into it.
    pub fn push(&mut self, head: u16, written: u32) -> Result<(), RingError> {
        self.queue.add_used(&self.memory, head, written)?;
        self.unannounced = true;
        Ok(())
    }

    /// Interrupts the guest if chains were used that it waits for.
    pub fn announce(&mut self) -> Result<(), RingError> {
        if !std::mem::take(&mut self.unannounced) || !self.wants_interrupt()? {
            return Ok(());
        }
        self.interrupt.queue(self.index).map_err(RingError::Interrupt)
    }

    fn wants_interrupt(&mut self) -> Result<bool, RingError> {
        let wanted = self.queue.needs_notification(&self.memory)?;
        if self.queue.event_idx_enabled() {
            return Ok(wanted);
        }
        // needs_notification() has fenced: the used index is visible before the flag is read.
        let flags: u16 = self
            .memory
            .load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed)
            .map_err(virtio_queue::Error::GuestMemory)?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Asks the guest not to ring while requests are taken anyway.
    pub fn hush(&mut self) -> Result<(), RingError> {
        Ok(self.queue.disable_notification(&self.memory)?)
    }

    /// Asks the guest to ring again. True when requests arrived meanwhile: serve them before waiting.
    pub fn listen(&mut self) -> Result<bool, RingError> {
        Ok(self.queue.enable_notification(&self.memory)?)
    }
}

impl Chain {
    /// Walks the descriptors; `None` when they loop, end in nowhere, or read after write.
    fn collect(head: u16, descriptors: virtio_queue::DescriptorChain<&GuestMemory>) -> Option<Self> {
        let mut chain = Chain { head, readable: Buffers::default(), writable: Buffers::default() };
        let mut ended = false;
        for descriptor in descriptors {
            let span = (descriptor.addr(), descriptor.len());
            if descriptor.is_write_only() {
                chain.writable.push(span);
            } else if chain.writable.list.is_empty() {
                chain.readable.push(span);
            } else {
                return None;
            }
            // The iterator just stops at an error: then the last descriptor still promises a next one.
            ended = !descriptor.has_next();
        }
        ended.then_some(chain)
    }
}

/// Pieces of guest memory that follow each other in a request. Reading or writing consumes them.
#[derive(Debug, Default, Clone)]
pub struct Buffers {
    list: Vec<(GuestAddress, u32)>,
    /// The first piece that is not consumed yet, and how much of it is.
    index: usize,
    offset: u32,
    left: u64,
}

impl Buffers {
    fn push(&mut self, span: (GuestAddress, u32)) {
        self.left = self.left.saturating_add(u64::from(span.1));
        self.list.push(span);
    }

    /// Bytes not consumed yet.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// True when everything is consumed.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Splits the last `count` bytes off; `None` (and nothing changed) if there are not that many.
    pub fn split_last(&mut self, count: u64) -> Option<Buffers> {
        let mut keep = self.left.checked_sub(count)?;
        let mut rest = self.clone();
        while keep > 0 {
            let (_, available) = rest.current()?;
            let step = u64::from(available).min(keep);
            rest.advance(u32::try_from(step).ok()?);
            keep -= step;
        }
        self.left -= count;
        Some(rest)
    }

    /// The unconsumed part of the first piece that has one.
    fn current(&self) -> Option<(GuestAddress, u32)> {
        if self.left == 0 {
            return None;
        }
        let mut offset = self.offset;
        for &(address, length) in self.list.get(self.index..)? {
            if length > offset {
                let available = u64::from(length - offset).min(self.left);
                return Some((address.checked_add(u64::from(offset))?, u32::try_from(available).ok()?));
            }
            offset = 0;
        }
        None
    }

    fn advance(&mut self, mut count: u32) {
        self.left = self.left.saturating_sub(u64::from(count));
        while let Some(&(_, length)) = self.list.get(self.index) {
            let available = length - self.offset;
            if count < available {
                self.offset += count;
                return;
            }
            count -= available;
            self.index += 1;
            self.offset = 0;
        }
    }

    /// Fills `data` from the guest.
    ///
    /// # Errors
    /// When there are not enough bytes, or they do not lie in guest memory.
    pub fn read(&mut self, memory: &GuestMemory, mut data: &mut [u8]) -> Result<(), GuestMemoryError> {
        while !data.is_empty() {
            let (address, available) = self.current().ok_or(too_short(data.len()))?;
            let step = data.len().min(available as usize);
            let (now, later) = data.split_at_mut(step);
            memory.read_slice(now, address)?;
            self.advance(step as u32);
            data = later;
        }
        Ok(())
    }

    /// Writes all of `data` to the guest.
    ///
    /// # Errors
    /// When there is not enough room, or it does not lie in guest memory.
    pub fn write(&mut self, memory: &GuestMemory, mut data: &[u8]) -> Result<(), GuestMemoryError> {
        while !data.is_empty() {
            let (address, available) = self.current().ok_or(too_short(data.len()))?;
            let step = data.len().min(available as usize);
            let (now, later) = data.split_at(step);
            memory.write_slice(now, address)?;
            self.advance(step as u32);
            data = later;
        }
        Ok(())
    }

    /// Lets `source` fill guest memory directly until it has no more, fails, or the buffers are full.
    /// Answers the bytes moved, and what ended it.
    pub fn fill_from(&mut self, memory: &GuestMemory, source: &mut impl ReadVolatile) -> (u64, End) {
        self.transfer(memory, Permissions::Write, |slice| source.read_volatile(slice))
    }

    /// Lets `sink` take guest memory directly until it takes no more, fails, or the buffers are empty.
    pub fn drain_to(&mut self, memory: &GuestMemory, sink: &mut impl WriteVolatile) -> (u64, End) {
        self.transfer(memory, Permissions::Read, |slice| sink.write_volatile(slice))
    }

    fn transfer(
        &mut self,
        memory: &GuestMemory,
        access: Permissions,
        mut step: impl FnMut(&mut VolatileSlice<'_>) -> Result<usize, VolatileMemoryError>,
    ) -> (u64, End) {
        let mut total = 0;
        while let Some((address, available)) = self.current() {
            let slices = memory.get_slices(address, available as usize, access);
            let Ok(slices) = slices.and_then(GuestMemorySliceIterator::stop_on_error) else {
                return (total, End::BadAddress);
            };
            for mut slice in slices {
                match step(&mut slice) {
                    Ok(0) => return (total, End::Closed),
                    Ok(moved) => {
                        total += moved as u64;
                        self.advance(moved as u32);
                        if moved < slice.len() {
                            break;
                        }
                    }
                    Err(VolatileMemoryError::IOError(error)) => match error.kind() {
                        io::ErrorKind::Interrupted => break,
                        io::ErrorKind::WouldBlock => return (total, End::Blocked),
                        _ => return (total, End::Closed),
                    },
                    Err(_) => return (total, End::BadAddress),
                }
            }
        }
        (total, End::Complete)
    }
}

/// Why a transfer between guest memory and a descriptor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of the buffers was moved.
    Complete,
    /// The descriptor has or takes no more for now.
    Blocked,
    /// The other end is gone.
    Closed,
    /// A buffer does not lie in guest memory.
    BadAddress,
}

fn too_short(expected: usize) -> GuestMemoryError {
    GuestMemoryError::PartialBuffer { expected, completed: 0 }
}
