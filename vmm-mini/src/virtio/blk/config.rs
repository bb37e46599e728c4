//! The configuration space of a block device (specification, section 5.2.4), built from what it shows.
//!
//! Its layout lives here and nowhere else.

use libimage::Block;

use super::{BlkConfig, QUEUE_SIZE};

/// Bytes of one sector, the unit of every position and length in the protocol.
pub(super) const SECTOR: u64 = 512;
/// Offset of the `writeback` field, the only one that a driver may write.
pub(super) const WRITE_BACK: u64 = 32;
/// Segments of one request: the ring less the header and the status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 / 2 - 2;
/// A range of discard or write zeroes is at most 1 GiB: it costs little, and ends soon enough when the
/// image has to write zeroes for it.
pub(super) const MAX_RANGE_SECTORS: u32 = 1 << 21;
/// Ranges in one discard or write zeroes request.
pub(super) const MAX_RANGES: u32 = 16;
const SIZE: usize = 60;

/// The size that the guest sees: an odd end is padded to a whole logical block.
pub(super) fn padded_size(config: &BlkConfig, medium: Option<&dyn Block>) -> u64 {
    let step = u64::from(config.block_size);
    medium.map_or(0, |medium| {
        let size = medium.size();
        size.checked_next_multiple_of(step).unwrap_or(size - size % step)
    })
}

/// The whole space, little endian.
pub(super) fn space(config: &BlkConfig, medium: Option<&dyn Block>, write_back: bool) -> [u8; SIZE] {
    let mut space = [0; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(field) = space.get_mut(offset..offset + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    let blocks_to_sectors = config.block_size / SECTOR as u32;
    put(0, &(padded_size(config, medium) / SECTOR).to_le_bytes());
    put(12, &SEG_MAX.to_le_bytes());
    put(20, &config.block_size.to_le_bytes());
    put(WRITE_BACK as usize, &[u8::from(write_back)]);
    put(34, &config.queues.to_le_bytes());
    put(36, &MAX_RANGE_SECTORS.to_le_bytes());
    put(40, &MAX_RANGES.to_le_bytes());
    put(44, &blocks_to_sectors.to_le_bytes());
    put(48, &MAX_RANGE_SECTORS.to_le_bytes());
    put(52, &MAX_RANGES.to_le_bytes());
    put(56, &[1]);
    space
}
