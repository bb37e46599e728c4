//! One request of the ublk driver, carried out on an image.

use std::fs::File;
use std::io;

use libimage::{Block, Error, Zero};
use rustix::io::{Errno, pread, pwrite};

use super::abi::{Descriptor, data_offset, op};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// The most bytes that one request reads or writes.
pub(super) const MAX_BYTES: u32 = 1 << 20;

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) queue: u16,
    pub(super) tag: u16,
}

/// Carries out a request. `device` is where its data is; `buffer` is of use for the next one too. The result is what the
/// driver wants to know: bytes, or the number of an error below zero.
pub(super) fn carry_out(
    block: &dyn Block,
    device: &File,
    place: Place,
    request: Descriptor,
    buffer: &mut Vec<u8>,
) -> i32 {
    match try_to(block, device, place, request, buffer) {
        Ok(bytes) => bytes,
        Err(error) => error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()).saturating_neg(),
    }
}

fn try_to(
    block: &dyn Block,
    device: &File,
    place: Place,
    request: Descriptor,
    buffer: &mut Vec<u8>,
) -> io::Result<i32> {
    let failed = |error: Error| io::Error::from(crate::fuse::errno(&error));
    if request.op_flags & op::MASK == op::FLUSH {
        // It has no place.
        block.flush().map_err(failed)?;
        return Ok(0);
    }
    let start = request.start_sector.checked_mul(SECTOR).ok_or(Errno::INVAL)?;
    let length = u64::from(request.nr_sectors) * SECTOR;
    let end = start.checked_add(length).ok_or(Errno::INVAL)?;
    let done = match request.op_flags & op::MASK {
        op::READ => {
            block.read_at(room(buffer, length)?, start).map_err(failed)?;
            give(device, place, buffer)?
        }
        op::WRITE => {
            let count = take(device, place, room(buffer, length)?)?;
            block.write_at(buffer, start).map_err(failed)?;
            count
        }
        op::DISCARD => {
            block.discard(start..end).map_err(failed)?;
            0
        }
        op::WRITE_ZEROES => {
            let keeps = request.op_flags & op::NO_UNMAP != 0;
            let how = if keeps { Zero::KeepAllocated } else { Zero::MayUnmap };
            block.write_zeroes(start..end, how).map_err(failed)?;
            0
        }
        _ => return Err(Errno::OPNOTSUPP.into()),
    };
    if request.op_flags & op::FUA != 0 {
        block.flush().map_err(failed)?;
    }
    Ok(done)
}

fn room(buffer: &mut Vec<u8>, length: u64) -> io::Result<&mut [u8]> {
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BYTES as usize);
    buffer.resize(length.ok_or(Errno::INVAL)?, 0);
    Ok(buffer)
}

/// Gives data to the driver.
fn give(device: &File, place: Place, data: &[u8]) -> io::Result<i32> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        match pwrite(device, rest, data_offset(place.queue, place.tag) + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => done += count,
        }
    }
    i32::try_from(done).map_err(io::Error::other)
}

/// Takes data from the driver.
fn take(device: &File, place: Place, data: &mut [u8]) -> io::Result<i32> {
    let mut done = 0;
    while let Some(rest) = data.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match pread(device, &mut *rest, data_offset(place.queue, place.tag) + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    i32::try_from(done).map_err(io::Error::other)
}
