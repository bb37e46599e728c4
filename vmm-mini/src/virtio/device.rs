//! The contract between a virtio device and the transport that shows it to a guest.
//!
//! A transport (PCI in our own machine, vhost-user for other processes) decodes registers or messages,
//! negotiates features and sets queues up. A device moves bytes. Starting a queue hands it over with
//! everything it needs; stopping it hands back where it stood. That one pair is reset, pause, snapshot
//! and the vhost-user ring protocol at once.

use std::io;
use std::sync::Arc;

use virtio_queue::{Queue, QueueState};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// The guest's memory as devices see it: cheap to clone, checked at every access.
pub type GuestMemory = GuestMemoryMmap<()>;

/// How a device reaches the guest's CPU. Implemented by transports; called from any thread.
pub trait Interrupt: Send + Sync {
    /// Buffers of queue `index` were used.
    fn queue(&self, index: u16) -> io::Result<()>;
    /// The configuration space changed.
    fn config(&self) -> io::Result<()>;
}

/// Everything a device needs to serve one queue.
pub struct QueueResources {
    /// The ring, with its addresses, size, `EVENT_IDX` setting and next indices in place. A saved queue
    /// comes back through `Queue::try_from(QueueState)`.
    pub queue: Queue,
    /// The memory in which ring and buffers lie.
    pub memory: GuestMemory,
    /// Becomes readable when the guest has added buffers.
    pub doorbell: EventFd,
    /// Tells the guest about used buffers and configuration changes.
    pub interrupt: Arc<dyn Interrupt>,
}

/// One virtio device, whatever carries it.
///
/// The transport promises: features are set before the first queue starts; a queue is started at most
/// once before it is stopped; configuration accesses may come at any time, from any thread.
///
/// The device promises: no method blocks on the guest; after `stop_queue` returns it touches neither
/// the ring nor guest memory for that queue, every request it had taken is finished and used; guest
/// memory contents are never trusted, and a malformed chain ends that request, not the process.
pub trait VirtioDevice: Send + Sync {
    /// Virtio device id: 1 net, 2 block, 3 console (specification, section 5).
    fn device_id(&self) -> u32;

    /// Device features offered, `VIRTIO_F_VERSION_1` included. Transport features are not the device's.
    fn features(&self) -> u64;

    /// Features that the driver accepted.
    fn set_features(&self, accepted: u64);

    /// Largest size of each queue, a power of two; the length is the number of queues.
    fn queue_sizes(&self) -> Vec<u16>;

    /// Reads configuration space; bytes past its end read as zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes configuration space; what is not writable is ignored.
    fn write_config(&self, offset: u64, data: &[u8]);

    /// Begins to serve queue `index`.
    fn start_queue(&self, index: u16, resources: QueueResources) -> io::Result<()>;

    /// Stops serving queue `index` and returns where it stood; `None` if it was not running.
    fn stop_queue(&self, index: u16) -> Option<QueueState>;

    /// Back to the state after creation, all queues stopped.
    fn reset(&self);
}

/// Copies a part of a configuration space; what lies beyond its end is zero.
pub(super) fn read_space(space: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let from = usize::try_from(offset).ok().and_then(|offset| space.get(offset..)).unwrap_or_default();
    let count = from.len().min(data.len());
    data[..count].copy_from_slice(&from[..count]);
}

/// True when feature `bit` is among `features`.
pub fn has_feature(features: u64, bit: u32) -> bool {
    1u64.checked_shl(bit).is_some_and(|mask| features & mask != 0)
}
