//! What a PCI function needs of the machine that it is plugged into.

use std::io;

use vmm_sys_util::eventfd::EventFd;

/// A message-signalled interrupt: a write of `data` to an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Low half of the address.
    pub address_low: u32,
    /// High half of the address.
    pub address_high: u32,
    /// What is written.
    pub data: u32,
}

/// Interrupts and doorbells of the machine. Called from any thread.
pub trait Platform: Send + Sync {
    /// Allocates an interrupt vector: from now on a write to `event` sends the message that the vector is
    /// routed to. Returns the vector's number.
    ///
    /// # Errors
    /// When the machine has no more vectors.
    fn new_vector(&self, event: &EventFd) -> io::Result<u32>;

    /// Says which message a vector sends.
    ///
    /// # Errors
    /// When the machine refuses the message.
    fn route_vector(&self, vector: u32, message: Message) -> io::Result<()>;

    /// Holds or releases a level-triggered interrupt line. Functions share lines: a line is asserted while
    /// anyone holds it, and each function must release as often as it has held.
    ///
    /// # Errors
    /// When the machine has no such line.
    fn set_line(&self, line: u32, asserted: bool) -> io::Result<()>;

    /// From now on a write of any length and value to `address` signals `event` instead of reaching the bus.
    ///
    /// # Errors
    /// When the address is taken already.
    fn attach_doorbell(&self, address: u64, event: &EventFd) -> io::Result<()>;

    /// Undoes [`Platform::attach_doorbell`] with the same arguments.
    ///
    /// # Errors
    /// When there is no such doorbell.
    fn detach_doorbell(&self, address: u64, event: &EventFd) -> io::Result<()>;
}
