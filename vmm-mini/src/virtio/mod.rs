//! Virtio 1.2 devices and the transports that carry them to a guest.

pub mod blk;
pub mod console;
pub mod device;
pub mod net;
pub mod queue;
pub mod rng;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;
pub mod worker;
