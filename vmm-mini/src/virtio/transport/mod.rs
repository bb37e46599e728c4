//! Ways to show a device to a guest.

pub mod pci;
pub mod vhost_user;
