//! Virtio 1.2 devices and the transports that carry them to a guest.

pub mod device;
