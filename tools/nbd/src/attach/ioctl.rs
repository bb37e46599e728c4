//! The older way to attach: system calls on the device itself, for where netlink does not lead to the driver.
//!
//! One of the calls returns only when the device is disconnected, so somebody has to stay.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::ioctl::{IntegerSetter, NoArg, Opcode, ioctl};

use super::kernel::Wanted;

/// The numbers in `include/uapi/linux/nbd.h`.
mod number {
    use super::Opcode;

    pub(super) const SET_SOCK: Opcode = 0xab00;
    pub(super) const SET_BLKSIZE: Opcode = 0xab01;
    pub(super) const DO_IT: Opcode = 0xab03;
    pub(super) const CLEAR_SOCK: Opcode = 0xab04;
    pub(super) const SET_SIZE_BLOCKS: Opcode = 0xab07;
    pub(super) const DISCONNECT: Opcode = 0xab08;
    pub(super) const SET_TIMEOUT: Opcode = 0xab09;
    pub(super) const SET_FLAGS: Opcode = 0xab0a;
}

/// Makes a call that has a number with it.
fn set<const CALL: Opcode>(device: &File, value: usize) -> io::Result<()> {
    // SAFETY: the driver takes these calls' argument as a number, and follows no pointer. On what is not a device of its,
    // they are unknown, or no more than numbers either.
    Ok(unsafe { ioctl(device.as_fd(), IntegerSetter::<CALL>::new_usize(value)) }?)
}

/// Makes a call that has nothing with it.
fn call<const CALL: Opcode>(device: &File) -> io::Result<()> {
    // SAFETY: these calls of the driver have no argument.
    Ok(unsafe { ioctl(device.as_fd(), NoArg::<CALL>::new()) }?)
}

/// Tells the device all about its connection.
///
/// # Errors
/// The kernel's; "busy" when it is connected already.
pub(super) fn prepare(device: &File, wanted: &Wanted, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let block_size = usize::try_from(wanted.block_size).map_err(too_large)?;
    let blocks = wanted.size.checked_div(u64::from(wanted.block_size)).unwrap_or(0);
    let one_by_one = || {
        for socket in sockets {
            set::<{ number::SET_SOCK }>(device, usize::try_from(socket.as_raw_fd()).map_err(too_large)?)?;
        }
        set::<{ number::SET_BLKSIZE }>(device, block_size)?;
        set::<{ number::SET_SIZE_BLOCKS }>(device, usize::try_from(blocks).map_err(too_large)?)?;
        set::<{ number::SET_FLAGS }>(device, usize::from(wanted.flags))?;
        match wanted.timeout {
            0 => Ok(()),
            seconds => set::<{ number::SET_TIMEOUT }>(device, usize::try_from(seconds).map_err(too_large)?),
        }
    };
    one_by_one().inspect_err(|error| {
        // The first one fails for a device that is somebody else's.
        if error.kind() != io::ErrorKind::ResourceBusy {
            let _ = call::<{ number::CLEAR_SOCK }>(device);
        }
    })
}

/// Connects the device, and returns when it is disconnected.
///
/// # Errors
/// The kernel's.
pub(super) fn run(device: &File) -> io::Result<()> {
    let ended = call::<{ number::DO_IT }>(device);
    let _ = call::<{ number::CLEAR_SOCK }>(device);
    ended
}

/// Disconnects it.
///
/// # Errors
/// The kernel's.
pub(super) fn disconnect(device: &File) -> io::Result<()> {
    call::<{ number::DISCONNECT }>(device)
}
