//! A small machine: KVM, memory, vCPUs, virtio devices, boot, pause and snapshot.
//!
//! Two walls keep it small. The image library never hears of virtio: a disk is a `libimage::Block`.
//! Devices never hear of KVM: they see guest memory, a doorbell and an interrupt sender, so the same
//! device serves a virtual machine over PCI and another process over vhost-user.

pub mod boot;
pub mod bus;
pub mod config;
pub mod error;
pub mod kvm;
pub mod legacy;
pub mod lifecycle;
pub mod memory;
pub mod virtio;
pub mod vm;

pub use config::Config;
pub use error::{Error, Result};
pub use lifecycle::Exit;
pub use vm::Vm;
