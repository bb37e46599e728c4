//! File systems of the host's kernel that this process serves.
//!
//! [`options`] are what follows `-o`; [`mount`] makes, finds and takes off mount points; [`session`] reads the kernel's requests and answers them. What
//! requests and answers look like is in [`guestd_api::fuse`], because guestd speaks the same protocol.

#![forbid(unsafe_code)]

pub mod mount;
pub mod options;
pub mod session;
