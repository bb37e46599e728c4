//! The agent's end of the exchange; see [`guestd_api::exchange`].
//!
//! The disk is read and written past the page cache, so what is there is what the host sees. A piece of the
//! agent's is either free, or held by the one who fills it, or with the host.

use guestd_api::exchange::{PIECE, SECTOR, SERIAL, SLOT, SLOTS, TO_HOST, offset, slot_offset};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The open disk.
#[derive(Debug)]
pub(crate) struct Exchange {
    disk: File,
    /// Pieces that nobody uses.
    free: Mutex<Vec<u32>>,
}

impl Exchange {
    /// The machine's exchange. `None` if it has none.
    pub(crate) fn of_machine() -> Option<Exchange> {
        let disk =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(node()?).ok()?;
        Some(Exchange::new(disk))
    }

    /// An exchange in a file that the host has open too, for an agent that runs outside of a machine.
    pub(crate) fn in_file(path: &Path) -> io::Result<Exchange> {
        OpenOptions::new().read(true).write(true).open(path).map(Exchange::new)
    }

    fn new(disk: File) -> Exchange {
        Exchange { disk, free: Mutex::new(TO_HOST.collect()) }
    }

    fn free(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece to fill, if one is free.
    pub(crate) fn claim(&self) -> Option<u32> {
        self.free().pop()
    }

    /// The piece may be filled again. False if it was not in use.
    pub(crate) fn release(&self, piece: u32) -> bool {
        let mut free = self.free();
        if !TO_HOST.contains(&piece) || free.contains(&piece) {
            return false;
        }
        free.push(piece);
        true
    }

    /// Fills a piece with the first `length` bytes of a buffer.
    pub(crate) fn fill(&self, piece: u32, buffer: &mut Aligned, length: usize) -> io::Result<()> {
        let whole = buffer.sectors(length);
        // What was there before is no business of this stream.
        if let Some(rest) = whole.get_mut(length..) {
            rest.fill(0);
        }
        self.disk.write_all_at(whole, offset(piece))
    }

    /// Takes the first `length` bytes of a piece into a buffer.
    pub(crate) fn take(&self, piece: u32, buffer: &mut Aligned, length: usize) -> io::Result<()> {
        self.disk.read_exact_at(buffer.sectors(length), offset(piece))
    }

    /// Fills a slot that the host has lent with the first `length` bytes of a buffer.
    pub(crate) fn fill_slot(&self, slot: u32, buffer: &mut Aligned, length: usize) -> io::Result<()> {
        self.disk.write_all_at(buffer.sectors(lent(slot, length)?), slot_offset(slot))
    }

    /// Takes the first `length` bytes of a slot that the host has lent into a buffer.
    pub(crate) fn take_slot(&self, slot: u32, buffer: &mut Aligned, length: usize) -> io::Result<()> {
        self.disk.read_exact_at(buffer.sectors(lent(slot, length)?), slot_offset(slot))
    }
}

/// The length, if there is such a slot and it has so many bytes.
fn lent(slot: u32, length: usize) -> io::Result<usize> {
    match slot < SLOTS && length <= SLOT {
        true => Ok(length),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no such slot")),
    }
}

/// The node of the disk with the serial.
pub(crate) fn node() -> Option<PathBuf> {
    let disk = std::fs::read_dir("/sys/block").ok()?.flatten().find(|entry| {
        std::fs::read_to_string(entry.path().join("serial")).is_ok_and(|serial| serial.trim() == SERIAL)
    })?;
    Some(Path::new("/dev").join(disk.file_name()))
}

/// Room at an address that a disk can be read to directly.
#[derive(Debug)]
pub(crate) struct Aligned {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// Room for one piece.
    pub(crate) fn new() -> Self {
        Aligned::of(PIECE)
    }

    /// Room for one slot.
    pub(crate) fn for_slot() -> Self {
        Aligned::of(SLOT)
    }

    fn of(length: usize) -> Self {
        const PAGE: usize = 4096;
        let room = vec![0; length.saturating_add(PAGE)];
        let start = room.as_ptr().align_offset(PAGE).min(PAGE);
        Aligned { room, start, length }
    }

    /// The bytes of the piece or slot.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let end = self.start.saturating_add(self.length);
        self.room.get_mut(self.start..end).unwrap_or_default()
    }

    /// The sectors that so many bytes lie in.
    fn sectors(&mut self, length: usize) -> &mut [u8] {
        let end = length.min(self.length).next_multiple_of(SECTOR);
        self.bytes().get_mut(..end).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_claimed_once_and_carry_their_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(guestd_api::exchange::SIZE).unwrap();
        let exchange = Exchange::in_file(file.path()).unwrap();
        let pieces: Vec<u32> = std::iter::from_fn(|| exchange.claim()).collect();
        assert_eq!(pieces.len(), TO_HOST.count());
        let piece = *pieces.first().unwrap();
        assert!(exchange.release(piece) && !exchange.release(piece) && !exchange.release(0));
        let (mut from, mut to) = (Aligned::new(), Aligned::new());
        from.bytes()[..1000].fill(7);
        from.bytes()[1000..2000].fill(9);
        exchange.fill(piece, &mut from, 1000).unwrap();
        exchange.take(piece, &mut to, 1024).unwrap();
        assert_eq!(to.bytes()[..1000], [7; 1000]);
        assert_eq!(to.bytes()[1000..1024], [0; 24]);

        let (mut from, mut to) = (Aligned::for_slot(), Aligned::for_slot());
        from.bytes().fill(3);
        exchange.fill_slot(SLOTS - 1, &mut from, SLOT).unwrap();
        exchange.take_slot(SLOTS - 1, &mut to, SLOT).unwrap();
        assert_eq!(to.bytes(), from.bytes());
        for (slot, length) in [(SLOTS, 1), (0, SLOT + 1)] {
            assert!(exchange.fill_slot(slot, &mut from, length).is_err());
            assert!(exchange.take_slot(slot, &mut to, length).is_err());
        }
    }
}
