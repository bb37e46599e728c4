//! Ways to show a device to a guest.

pub mod vhost_user;
