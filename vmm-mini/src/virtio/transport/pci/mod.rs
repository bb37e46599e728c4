//! Virtio over PCI (virtio 1.2, section 4.1): the bus, the functions on it and their interrupts.
//!
//! Nothing here knows KVM. What a function needs of the machine (interrupts, doorbells) it asks of a
//! [`platform::Platform`], so the whole transport runs in tests without a guest.

pub mod config;
pub mod function;
pub mod interrupt;
pub mod msix;
pub mod platform;
pub mod registers;
pub mod root;
