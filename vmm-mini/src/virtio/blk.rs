//! A virtio block device (specification, section 5.2) over any `libimage::Block`.
//!
//! The medium can be exchanged while the guest runs: a device without one has capacity 0, which is how
//! spare slots wait for a disk. A request holds the medium for as long as it lasts, so when
//! [`Blk::set_backend`] returns, nobody touches the old one any more.

mod config;
mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use libimage::Block;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_ID_BYTES,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueState;

use super::device::{Interrupt, QueueResources, VirtioDevice, has_feature, read_space};
use super::queue::{Ring, RingError};
use super::worker::{Handler, Next, Stop, Worker};
use request::Server;

const QUEUE_SIZE: u16 = 256;
/// Queues beyond this gain nothing on any host.
const MAX_QUEUES: u16 = 64;
/// Bytes moved after which a batch is announced before it is complete, so that a guest with many large
/// requests goes on while the rest is served.
const ANNOUNCE_BYTES: u64 = 512 * 1024;

/// What stays the same while the medium of a block device changes.
#[derive(Debug, Clone)]
pub struct BlkConfig {
    /// Serial number that the guest sees, at most 20 bytes.
    pub serial: String,
    /// The guest is told not to write, and its writes fail.
    pub read_only: bool,
    /// Logical block size in bytes: 512 or 4096.
    pub block_size: u32,
    /// Number of request queues, each with a thread: 1 to 64.
    pub queues: u16,
}

impl Default for BlkConfig {
    fn default() -> Self {
        BlkConfig { serial: String::new(), read_only: false, block_size: 512, queues: 1 }
    }
}

/// The block device.
pub struct Blk {
    shared: Arc<Shared>,
    workers: Mutex<Vec<Option<Worker>>>,
    interrupt: Mutex<Option<Arc<dyn Interrupt>>>,
}

/// What the queues' threads share.
struct Shared {
    config: BlkConfig,
    medium: RwLock<Option<Arc<dyn Block>>>,
    features: AtomicU64,
    /// The driver's wish: completed writes may stay in a cache until it flushes.
    write_back: AtomicBool,
}

impl Blk {
    /// Creates the device, with or without a medium.
    ///
    /// # Errors
    /// Refuses a serial of more than 20 bytes, block sizes other than 512 and 4096, and numbers of
    /// queues other than 1 to 64.
    pub fn new(config: BlkConfig, backend: Option<Arc<dyn Block>>) -> io::Result<Self> {
        let refuse = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if config.serial.len() > VIRTIO_BLK_ID_BYTES as usize {
            return refuse(format!("The disk serial '{}' has more than 20 bytes", config.serial));
        }
        if !matches!(config.block_size, 512 | 4096) {
            return refuse(format!("A block size of {} bytes is not 512 or 4096", config.block_size));
        }
        if !(1..=MAX_QUEUES).contains(&config.queues) {
            return refuse(format!(
                "A disk with {} queues is not possible: use 1 to {MAX_QUEUES}",
                config.queues
            ));
        }
        let workers = (0..config.queues).map(|_| None).collect();
        Ok(Blk {
            shared: Arc::new(Shared {
                config,
                medium: RwLock::new(backend),
                features: AtomicU64::new(0),
                write_back: AtomicBool::new(true),
            }),
            workers: Mutex::new(workers),
            interrupt: Mutex::new(None),
        })
    }

    /// Puts a medium in or takes it out, and tells a running guest of the new capacity. Waits for
    /// requests that use the old medium. Serial, block size and the read-only flag stay.
    ///
    /// # Errors
    /// When the guest could not be told; the medium is exchanged all the same.
    pub fn set_backend(&self, backend: Option<Arc<dyn Block>>) -> io::Result<()> {
        *self.shared.medium.write().unwrap_or_else(PoisonError::into_inner) = backend;
        self.notify_config()
    }

    /// Tells a running guest to read the capacity again, after the medium was resized.
    pub fn notify_config(&self) -> io::Result<()> {
        let interrupt = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        interrupt.map_or(Ok(()), |interrupt| interrupt.config())
    }
}

impl Shared {
    /// Runs `use_it` with the medium, which cannot be exchanged meanwhile.
    fn with_medium<R>(&self, use_it: impl FnOnce(Option<&dyn Block>) -> R) -> R {
        let medium = self.medium.read().unwrap_or_else(PoisonError::into_inner);
        use_it(medium.as_deref())
    }

    /// Every write is made durable before it completes: the driver cannot flush, or does not want to.
    fn write_through(&self) -> bool {
        let features = self.features.load(Ordering::Relaxed);
        !has_feature(features, VIRTIO_BLK_F_FLUSH)
            || (has_feature(features, VIRTIO_BLK_F_CONFIG_WCE) && !self.write_back.load(Ordering::Relaxed))
    }
}

impl VirtioDevice for Blk {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let mut bits = vec![
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_CONFIG_WCE,
        ];
        if self.shared.config.read_only {
            bits.push(VIRTIO_BLK_F_RO);
        } else {
            bits.extend([VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES]);
        }
        if self.shared.config.queues > 1 {
            bits.push(VIRTIO_BLK_F_MQ);
        }
        bits.into_iter().fold(0, |all, bit| all | 1 << bit)
    }

    fn set_features(&self, accepted: u64) {
        self.shared.features.store(accepted & self.features(), Ordering::Relaxed);
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; usize::from(self.shared.config.queues)]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let space = self.shared.with_medium(|medium| {
            config::space(&self.shared.config, medium, self.shared.write_back.load(Ordering::Relaxed))
        });
        read_space(&space, offset, data);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        if let (config::WRITE_BACK, [value]) = (offset, data) {
            self.shared.write_back.store(*value != 0, Ordering::Relaxed);
        }
    }

    fn start_queue(&self, index: u16, resources: QueueResources) -> io::Result<()> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = workers.get_mut(usize::from(index)) else {
            let text = format!("The disk has no queue {index}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let interrupt = Arc::clone(&resources.interrupt);
        let handler = Requests { server: Server::new(Arc::clone(&self.shared)) };
        *slot = Some(Worker::start(format!("blk-{index}"), index, resources, handler)?);
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupt);
        Ok(())
    }

    fn stop_queue(&self, index: u16) -> Option<QueueState> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.get_mut(usize::from(index))?.take()?.stop()
    }

    fn reset(&self) {
        for index in 0..self.shared.config.queues {
            self.stop_queue(index);
        }
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.features.store(0, Ordering::Relaxed);
        self.shared.write_back.store(true, Ordering::Relaxed);
    }
}

/// Serves one request queue.
struct Requests {
    server: Server,
}

impl Handler for Requests {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        let mut quiet_bytes = 0;
        while !stop.requested() {
            let Some(chain) = ring.pop()? else { break };
            let head = chain.head;
            let (written, moved) = self.server.serve(ring.memory(), chain);
            ring.push(head, written)?;
            quiet_bytes += moved;
            if quiet_bytes >= ANNOUNCE_BYTES {
                ring.announce()?;
                quiet_bytes = 0;
            }
        }
        ring.announce()?;
        Ok(if ring.listen()? { Next::Again } else { Next::Doorbell })
    }
}
