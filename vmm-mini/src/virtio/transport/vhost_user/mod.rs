//! Serves a device to a virtual machine in another process (the vhost-user protocol, back-end side).
//!
//! The front-end (User-Mode Linux, QEMU) connects to a Unix socket, hands its memory and its doorbells
//! over as file descriptors, and from then on the device works on the guest's rings by itself. Written
//! for both front-ends: UML pads its memory table, and its interrupt lines are pipes.
//!
//! The front-end is not trusted. Every message is bounded and checked, memory is only reached through
//! checked translation, and a peer that stops talking in the middle is cut off after a while.

mod lines;
mod memory;
mod message;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub use server::Server;

/// Why a connection ended early, or a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The socket or another descriptor failed.
    #[error("Could not {0} over the vhost-user socket")]
    Io(&'static str, #[source] std::io::Error),
    /// The front-end broke the protocol.
    #[error("The vhost-user front-end sent {0}")]
    Protocol(String),
    /// The front-end asked for something that could not be done.
    #[error("Could not {0} for the vhost-user front-end")]
    Refused(&'static str, #[source] std::io::Error),
}
