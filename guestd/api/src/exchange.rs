//! The exchange: a disk in memory through which large pieces of streams pass.
//!
//! A virtio port moves a stream in buffers of 4 KiB, each of which wakes the guest up; a virtio disk moves half a
//! megabyte per request. So an appliance has a small disk that is nothing but memory of the host. It is cut into
//! pieces. A sender puts bytes into a piece of its own and says so in a frame ([`crate::wire::Frame::Piece`]), in
//! order with the stream's other frames; the receiver takes them out and gives the piece back
//! ([`crate::wire::Frame::Taken`]). Whoever has no piece at hand sends its bytes in the frames themselves.
//!
//! The first half of the pieces belongs to the host, the second to the agent.
//!
//! After them come slots, for the data of mounts on the host ([`crate::fuse::op::WRITE_SLOT`]). They all belong to the
//! host: it lends one with a request, and has it back with the answer.

use std::ops::Range;

/// The serial of the disk.
pub const SERIAL: &str = "dw-exchange";
/// Bytes of a piece: what one request can carry, 126 pages.
pub const PIECE: usize = 126 * 4096;
/// Pieces in each direction.
pub const PIECES: u32 = 8;
/// The disk's sectors, in bytes.
pub const SECTOR: usize = 512;
/// Bytes at either end that are never used: tools that look for file systems and volumes on every disk must not
/// find those inside of what is sent.
const MARGIN: u64 = 1 << 20;

/// Bytes of a slot: the most that one request of a mount reads or writes.
pub const SLOT: usize = crate::fuse::MAX_WRITE as usize;
/// Slots for mounts.
pub const SLOTS: u32 = 8;
/// Where they begin, in bytes.
const FIRST_SLOT: u64 = MARGIN + 2 * PIECES as u64 * PIECE as u64;

/// Size of the disk in bytes.
pub const SIZE: u64 = FIRST_SLOT + SLOTS as u64 * SLOT as u64 + MARGIN;

/// The pieces that the host sends in.
pub const TO_GUEST: Range<u32> = 0..PIECES;
/// The pieces that the agent sends in.
pub const TO_HOST: Range<u32> = PIECES..2 * PIECES;

/// Where a piece lies on the disk, in bytes.
pub fn offset(piece: u32) -> u64 {
    // Far from any overflow: a piece's number is below 16, and half a megabyte times 2^32 fits as well.
    MARGIN.saturating_add(u64::from(piece).saturating_mul(PIECE as u64))
}

/// Where a slot lies on the disk, in bytes.
pub fn slot_offset(slot: u32) -> u64 {
    FIRST_SLOT.saturating_add(u64::from(slot).saturating_mul(SLOT as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_slots_lie_side_by_side_between_the_margins() {
        let mut end = MARGIN;
        for piece in TO_GUEST.chain(TO_HOST) {
            assert_eq!((offset(piece), offset(piece) % SECTOR as u64), (end, 0));
            end += PIECE as u64;
        }
        for slot in 0..SLOTS {
            // A page's border, so that each of its pages is one of the host's.
            assert_eq!((slot_offset(slot), slot_offset(slot) % 4096), (end, 0));
            end += SLOT as u64;
        }
        assert_eq!(end + MARGIN, SIZE);
    }
}
