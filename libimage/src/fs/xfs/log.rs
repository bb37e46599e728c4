//! The log: whether it was brought to its end before the file system was let go.
//!
//! It is written round and round. Each sector begins with the number of the round in which it was written, so the place
//! where the next record would go is where that number changes. After an orderly unmount, what lies before it is a
//! record that says so.

use super::super::device::Device;
use super::superblock::Superblock;
use crate::error::Result;
use crate::fields::Fields;

const SECTOR: u64 = 512;
/// How a record begins.
const MAGIC: u32 = 0xfeed_babe;
/// As much as may be under way at once: eight buffers of 256 KiB. Only in there can sectors be missing.
const WINDOW: u64 = 8 * (256 << 10) / SECTOR;
/// Bytes of a record for which one header sector has room.
const PER_HEADER: u32 = 32 << 10;
/// Of an operation: it is the one at an unmount.
const UNMOUNT: u8 = 0x20;

struct Log<'a> {
    device: &'a Device,
    /// Where it lies on the device.
    start: u64,
    /// In sectors.
    length: u64,
}

/// Whether nothing of the log has to be replayed. What is not certain is not clean.
pub(super) fn is_clean(device: &Device, superblock: &Superblock) -> Result<bool> {
    let (start, length) = superblock.log(device)?;
    Log { device, start, length: length / SECTOR }.is_clean()
}

/// The round in which a sector was written. Headers of records begin with their magic number, and then say it.
fn round(sector: &[u8]) -> u32 {
    let fields = Fields(sector);
    if fields.be32(0) == MAGIC { fields.be32(4) } else { fields.be32(0) }
}

impl Log<'_> {
    fn sectors(&self, first: u64, count: u64) -> Result<Vec<u8>> {
        self.device.bytes(self.start + first * SECTOR, (count * SECTOR) as usize)
    }

    fn round_of(&self, sector: u64) -> Result<u32> {
        Ok(round(&self.sectors(sector, 1)?))
    }

    fn is_clean(&self) -> Result<bool> {
        let (first, last) = (self.round_of(0)?, self.round_of(self.length - 1)?);
        if first == 0 {
            // Nothing was ever written.
            return Ok(true);
        }
        let head = if first == last { self.length } else { self.first_of_round(last)? };
        // Everything that was written lately must be there: first what the last round left, then this one.
        let window = WINDOW.min(self.length);
        let before = window.saturating_sub(head);
        let mut bytes = self.sectors(self.length - before, before)?;
        bytes.extend(self.sectors(head.saturating_sub(window), window.min(head))?);
        let mut rounds = bytes.chunks_exact(SECTOR as usize).map(round);
        let is_whole = rounds.by_ref().take(before as usize).all(|round| round == last)
            && rounds.all(|round| round == first);
        Ok(is_whole && ends_with_unmount(&bytes))
    }

    /// The first sector of the older round, which is that of the log's end.
    fn first_of_round(&self, last: u32) -> Result<u64> {
        let (mut other, mut found) = (0, self.length - 1);
        while found - other > 1 {
            let middle = other.midpoint(found);
            if self.round_of(middle)? == last { found = middle } else { other = middle }
        }
        Ok(found)
    }
}

/// Whether the last record in a piece of the log fills it to its end, and is the one at an unmount.
fn ends_with_unmount(bytes: &[u8]) -> bool {
    let sectors: Vec<&[u8]> = bytes.chunks_exact(SECTOR as usize).collect();
    let Some(at) = sectors.iter().rposition(|sector| Fields(sector).be32(0) == MAGIC) else { return false };
    let fields = Fields(sectors.get(at).copied().unwrap_or_default());
    let (version, length, operations, size) =
        (fields.be32(8), fields.be32(12), fields.be32(40), fields.be32(320));
    let headers = if version & 2 != 0 && size > PER_HEADER { size.div_ceil(PER_HEADER) } else { 1 };
    let data = at + headers as usize;
    let end = data + length.div_ceil(SECTOR as u32) as usize;
    let flags = sectors.get(data).and_then(|operation| operation.get(9)).copied().unwrap_or_default();
    end == sectors.len() && operations == 1 && flags & UNMOUNT != 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::block::Block;
    use crate::storage::Memory;

    const LENGTH: u64 = 8192;

    /// A log in which sectors before `head` are of `round`, those after it of the one before, with a record of two
    /// sectors up to the head.
    fn log(head: u64, round: u32, operations: u32, flags: u8) -> Memory {
        let memory = Memory::new(LENGTH * SECTOR);
        let write = |sector: u64, at: u64, bytes: &[u8]| {
            memory.write_at(bytes, sector % LENGTH * SECTOR + at).unwrap();
        };
        for sector in 0..LENGTH {
            let round = if sector < head { round } else { round - 1 };
            write(sector, 0, &round.to_be_bytes());
        }
        let header = head + LENGTH - 2;
        let of_header = if header % LENGTH < head { round } else { round - 1 };
        write(header, 0, &[MAGIC.to_be_bytes(), of_header.to_be_bytes(), 2u32.to_be_bytes()].concat());
        write(header, 12, &512u32.to_be_bytes());
        write(header, 40, &operations.to_be_bytes());
        write(header + 1, 9, &[flags]);
        memory
    }

    fn verdict(memory: Memory) -> bool {
        let device = Device::new(Arc::new(memory));
        Log { device: &device, start: 0, length: LENGTH }.is_clean().unwrap()
    }

    #[test]
    fn only_an_unmount_at_the_head_is_clean() {
        for head in [2, 3, 100, 5000, LENGTH - 1, LENGTH, 1] {
            for round in [1, 2, 77] {
                // In the first round there is nothing to reach back to.
                if head > 1 || round > 1 {
                    assert!(verdict(log(head, round, 1, UNMOUNT)), "{head} {round}");
                    assert!(!verdict(log(head, round, 2, UNMOUNT)), "{head} {round}");
                    assert!(!verdict(log(head, round, 1, 0)), "{head} {round}");
                }
            }
        }
        assert!(verdict(Memory::new(LENGTH * SECTOR)));
    }

    #[test]
    fn missing_sectors_are_not_clean() {
        let memory = log(5000, 7, 1, UNMOUNT);
        memory.write_at(&6u32.to_be_bytes(), 4000 * SECTOR).unwrap();
        assert!(!verdict(memory));
        // A record after the one at the unmount.
        let memory = log(5000, 7, 1, UNMOUNT);
        memory.write_at(&7u32.to_be_bytes(), 5000 * SECTOR).unwrap();
        assert!(!verdict(memory));
    }
}
