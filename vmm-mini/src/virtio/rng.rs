//! An entropy device (specification, section 5.4): random bytes of the host for the guest.
//!
//! The guest decides how much it asks for; a request is answered with at most [`MAX_ANSWER`] bytes, which the
//! specification allows, so that none of them takes long.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueState;

use super::device::{GuestMemory, QueueResources, VirtioDevice};
use super::queue::{Chain, Ring, RingError};
use super::worker::{Handler, Next, Stop, Worker};

const QUEUE_SIZE: u16 = 64;
/// Most bytes that one request is answered with.
pub const MAX_ANSWER: usize = 4096;

/// The entropy device.
#[derive(Default)]
pub struct Rng {
    worker: Mutex<Option<Worker>>,
}

impl VirtioDevice for Rng {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_EVENT_IDX | 1 << VIRTIO_RING_F_INDIRECT_DESC
    }

    fn set_features(&self, _accepted: u64) {}

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&self, _offset: u64, _data: &[u8]) {}

    fn start_queue(&self, index: u16, resources: QueueResources) -> io::Result<()> {
        if index != 0 {
            let text = format!("The entropy device has no queue {index}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let worker = Worker::start("rng".into(), index, resources, Requests)?;
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(())
    }

    fn stop_queue(&self, index: u16) -> Option<QueueState> {
        if index != 0 {
            return None;
        }
        self.worker.lock().unwrap_or_else(PoisonError::into_inner).take()?.stop()
    }

    fn reset(&self) {
        self.stop_queue(0);
    }
}

struct Requests;

impl Handler for Requests {
    fn serve(&mut self, ring: &mut Ring, stop: &Stop) -> Result<Next, RingError> {
        ring.hush()?;
        while !stop.requested() {
            let Some(chain) = ring.pop()? else { break };
            let head = chain.head;
            let written = answer(chain, ring.memory());
            ring.push(head, written)?;
        }
        ring.announce()?;
        Ok(if ring.listen()? { Next::Again } else { Next::Doorbell })
    }
}

/// Fills a request; what the host or the guest's addresses do not allow stays unanswered.
fn answer(mut chain: Chain, memory: &GuestMemory) -> u32 {
    let mut bytes = [0; MAX_ANSWER];
    let wanted = usize::try_from(chain.writable.len()).unwrap_or(usize::MAX).min(MAX_ANSWER);
    let Some(bytes) = bytes.get_mut(..wanted) else { return 0 };
    let got = getrandom(&mut *bytes, GetRandomFlags::empty()).unwrap_or(0);
    let Some(bytes) = bytes.get(..got) else { return 0 };
    match chain.writable.write(memory, bytes) {
        Ok(()) => u32::try_from(got).unwrap_or(0),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use vm_memory::{Bytes, GuestAddress};

    use super::super::testing::{Counter, Driver, Piece, guest_memory};
    use super::*;

    #[test]
    fn requests_are_filled_up_to_the_limit() {
        let memory = guest_memory();
        let mut driver = Driver::new(&memory, 0x10_0000);
        let interrupt = Arc::new(Counter::default());
        let rng = Rng::default();
        rng.start_queue(0, driver.resources(&interrupt, None)).unwrap();
        for (length, expected) in [(64, 64), (10_000, 4096), (0, 0)] {
            assert_eq!(driver.round_trip(&[Piece::In(0x20_0000, length)]), expected);
        }
        let mut bytes = [0; 4096];
        memory.read_slice(&mut bytes, GuestAddress(0x20_0000)).unwrap();
        let distinct: std::collections::BTreeSet<u8> = bytes.into_iter().collect();
        assert!(distinct.len() > 200, "random bytes take nearly every value");
        assert!(rng.stop_queue(0).is_some());
        assert!(rng.stop_queue(0).is_none());
    }
}
