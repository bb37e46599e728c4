//! One block request from header to status byte (specification, section 5.2.6).
//!
//! Guest memory may change under our eyes, so data goes through one buffer of our own: the image never
//! sees memory that moves. Every position is checked against the medium before it is used.

use std::ops::Range;
use std::sync::Arc;

use libimage::{Block, Zero};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use super::Shared;
use super::config::{MAX_RANGE_SECTORS, MAX_RANGES, SECTOR, padded_size};
use crate::virtio::device::GuestMemory;
use crate::virtio::queue::{Buffers, Chain};

/// Largest single call into the image; longer requests are cut. What has just been read shall still be in
/// the processor's cache when it is copied: a MiB was a third slower.
const CHUNK: usize = 1 << 18;
/// Bytes of a request header: type, reserved, sector.
const HEADER: usize = 16;
/// Bytes of one range of discard or write zeroes: sector, number of sectors, flags.
const RANGE: u64 = 16;

/// Why a request did not succeed.
enum Failure {
    /// The medium failed, or the request does not fit it.
    Io,
    /// The device does not do this.
    Unsupported,
}

impl From<libimage::Error> for Failure {
    fn from(_: libimage::Error) -> Self {
        Failure::Io
    }
}

impl From<vm_memory::GuestMemoryError> for Failure {
    fn from(_: vm_memory::GuestMemoryError) -> Self {
        Failure::Io
    }
}

/// Serves requests, one at a time, with a buffer that it keeps.
pub(super) struct Server {
    shared: Arc<Shared>,
    bounce: Vec<u8>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Server { shared, bounce: Vec::new() }
    }

    /// Serves `chain`: the bytes written into it, and the bytes of data moved.
    pub(super) fn serve(&mut self, memory: &GuestMemory, mut chain: Chain) -> (u32, u64) {
        let Some(mut status) = chain.writable.split_last(1) else { return (0, 0) };
        let room = chain.writable.len();
        let data = room.saturating_add(chain.readable.len());
        let shared = Arc::clone(&self.shared);
        let outcome = shared.with_medium(|medium| self.execute(memory, &mut chain, medium));
        let code = match outcome {
            Ok(()) => VIRTIO_BLK_S_OK,
            Err(Failure::Io) => VIRTIO_BLK_S_IOERR,
            Err(Failure::Unsupported) => VIRTIO_BLK_S_UNSUPP,
        };
        let written = room - chain.writable.len();
        if status.write(memory, &[code as u8]).is_err() {
            return (0, data);
        }
        // The status lies behind the data; a length that stops before it would be a lie only if the
        // data was not all written, and then the status says so.
        (u32::try_from(written.saturating_add(1)).unwrap_or(u32::MAX), data)
    }

    fn execute(
        &mut self,
        memory: &GuestMemory,
        chain: &mut Chain,
        medium: Option<&dyn Block>,
    ) -> Result<(), Failure> {
        let mut header = [0; HEADER];
        chain.readable.read(memory, &mut header)?;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let sector = u64::from_le_bytes(sector);
        if kind == VIRTIO_BLK_T_GET_ID {
            return self.identify(memory, &mut chain.writable);
        }
        let writes = matches!(kind, VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES);
        if !writes && !matches!(kind, VIRTIO_BLK_T_IN | VIRTIO_BLK_T_FLUSH) {
            return Err(Failure::Unsupported);
        }
        let medium = medium.ok_or(Failure::Io)?;
        if writes && self.shared.config.read_only {
            return Err(Failure::Io);
        }
        match kind {
            VIRTIO_BLK_T_IN => self.read(memory, &mut chain.writable, sector, medium)?,
            VIRTIO_BLK_T_OUT => self.write(memory, &mut chain.readable, sector, medium)?,
            VIRTIO_BLK_T_FLUSH => medium.flush()?,
            _ => self.ranges(memory, &mut chain.readable, kind, medium)?,
        }
        if writes && self.shared.write_through() {
            medium.flush()?;
        }
        Ok(())
    }

    /// The serial number, padded with zeroes to 20 bytes.
    fn identify(&self, memory: &GuestMemory, room: &mut Buffers) -> Result<(), Failure> {
        let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
        for (to, from) in id.iter_mut().zip(self.shared.config.serial.bytes()) {
            *to = from;
        }
        let count = usize::try_from(room.len()).map_or(id.len(), |room| room.min(id.len()));
        Ok(room.write(memory, &id[..count])?)
    }

    /// The byte range of a request, checked: whole sectors within what the guest sees of the medium.
    fn range(&self, sector: u64, length: u64, medium: &dyn Block) -> Result<Range<u64>, Failure> {
        let start = sector.checked_mul(SECTOR).ok_or(Failure::Io)?;
        let end = start.checked_add(length).ok_or(Failure::Io)?;
        if !length.is_multiple_of(SECTOR) || end > padded_size(&self.shared.config, Some(medium)) {
            return Err(Failure::Io);
        }
        Ok(start..end)
    }

    fn read(
        &mut self,
        memory: &GuestMemory,
        room: &mut Buffers,
        sector: u64,
        medium: &dyn Block,
    ) -> Result<(), Failure> {
        let range = self.range(sector, room.len(), medium)?;
        let size = medium.size();
        let mut position = range.start;
        while position < range.end {
            let buffer = bounce(&mut self.bounce, range.end - position);
            // Past an odd end of the medium there is padding.
            let stored = stored(buffer.len(), position, size);
            let (inside, padding) = buffer.split_at_mut(stored);
            if !inside.is_empty() {
                medium.read_at(inside, position)?;
            }
            padding.fill(0);
            room.write(memory, buffer)?;
            position += buffer.len() as u64;
        }
        Ok(())
    }

    fn write(
        &mut self,
        memory: &GuestMemory,
        data: &mut Buffers,
        sector: u64,
        medium: &dyn Block,
    ) -> Result<(), Failure> {
        let range = self.range(sector, data.len(), medium)?;
        let size = medium.size();
        let mut position = range.start;
        while position < range.end {
            let buffer = bounce(&mut self.bounce, range.end - position);
            data.read(memory, buffer)?;
            let (inside, padding) = buffer.split_at(stored(buffer.len(), position, size));
            // Padding cannot be stored: only zeroes may go there without a loss.
            if padding.iter().any(|&byte| byte != 0) {
                return Err(Failure::Io);
            }
            if !inside.is_empty() {
                medium.write_at(inside, position)?;
            }
            position += buffer.len() as u64;
        }
        Ok(())
    }

    /// Discard and write zeroes: a list of ranges.
    fn ranges(
        &mut self,
        memory: &GuestMemory,
        list: &mut Buffers,
        kind: u32,
        medium: &dyn Block,
    ) -> Result<(), Failure> {
        let count = list.len() / RANGE;
        if !list.len().is_multiple_of(RANGE) || count == 0 || count > u64::from(MAX_RANGES) {
            return Err(Failure::Io);
        }
        for _ in 0..count {
            let mut bytes = [0; RANGE as usize];
            list.read(memory, &mut bytes)?;
            let [sector @ .., n0, n1, n2, n3, f0, f1, f2, f3] = bytes;
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            let flags = u32::from_le_bytes([f0, f1, f2, f3]);
            let unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
            let zeroes = kind == VIRTIO_BLK_T_WRITE_ZEROES;
            // Reserved flags, and unmap where it has no meaning (section 5.2.6.2).
            if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 || (unmap && !zeroes) {
                return Err(Failure::Unsupported);
            }
            if sectors > MAX_RANGE_SECTORS {
                return Err(Failure::Io);
            }
            let range = self.range(u64::from_le_bytes(sector), u64::from(sectors) * SECTOR, medium)?;
            let range = range.start.min(medium.size())..range.end.min(medium.size());
            if range.is_empty() {
                continue;
            }
            if !zeroes {
                medium.discard(range)?;
            } else {
                medium.write_zeroes(range, if unmap { Zero::MayUnmap } else { Zero::KeepAllocated })?;
            }
        }
        Ok(())
    }
}

/// How many of `length` bytes at `position` lie inside a medium of `size` bytes.
fn stored(length: usize, position: u64, size: u64) -> usize {
    usize::try_from(size.saturating_sub(position)).map_or(length, |inside| inside.min(length))
}

/// The first bytes of the buffer: as many as wanted, at most [`CHUNK`].
fn bounce(buffer: &mut Vec<u8>, wanted: u64) -> &mut [u8] {
    let length = usize::try_from(wanted).map_or(CHUNK, |wanted| wanted.min(CHUNK));
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}
