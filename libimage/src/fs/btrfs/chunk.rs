//! Chunks: which addresses lie where on the devices, in which profile.

use super::super::system::{FsError, Result};
use super::key::{FIRST_FREE, KEY, Key, kind};
use super::pool::Pool;
use super::superblock::{Superblock, id};
use crate::fields::Fields;

/// Bytes of a chunk's item before its stripes, and of a stripe.
const CHUNK: usize = 48;
const STRIPE: usize = 32;
/// Bytes that lie in a row on a device before it is the next one's turn.
const STRIPE_LENGTH: u64 = 64 << 10;
/// Bits of a chunk's type: what it is for.
pub(super) const DATA: u64 = 1;
const SYSTEM: u64 = 2;
pub(super) const METADATA: u64 = 4;

/// How what a chunk holds is spread over devices. Of several profiles in one file system, later ones here are
/// preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Profile {
    Single,
    Raid0,
    Dup,
    Raid1,
    Raid10,
    Raid5,
    Raid1c3,
    Raid6,
    Raid1c4,
}

impl Profile {
    /// From the bits of a chunk's type.
    fn new(bits: u64) -> Option<Profile> {
        Some(match bits & !(DATA | SYSTEM | METADATA) {
            0 => Profile::Single,
            0x8 => Profile::Raid0,
            0x10 => Profile::Raid1,
            0x20 => Profile::Dup,
            0x40 => Profile::Raid10,
            0x80 => Profile::Raid5,
            0x100 => Profile::Raid6,
            0x200 => Profile::Raid1c3,
            0x400 => Profile::Raid1c4,
            _ => return None,
        })
    }

    /// Whole copies of everything; parity is none.
    pub(super) fn copies(self) -> usize {
        match self {
            Profile::Single | Profile::Raid0 | Profile::Raid5 | Profile::Raid6 => 1,
            Profile::Dup | Profile::Raid1 | Profile::Raid10 => 2,
            Profile::Raid1c3 => 3,
            Profile::Raid1c4 => 4,
        }
    }

    /// Whether a chunk can have so many stripes.
    fn can_have(self, stripes: usize) -> bool {
        match self {
            Profile::Single => stripes == 1,
            Profile::Raid0 => stripes >= 1,
            Profile::Raid10 => stripes >= 2 && stripes.is_multiple_of(2),
            Profile::Raid5 => stripes >= 2,
            Profile::Raid6 => stripes >= 3,
            _ => stripes == self.copies(),
        }
    }
}

/// A place on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the pool's members.
    pub(super) member: usize,
    /// In bytes.
    pub(super) offset: u64,
}

/// A chunk.
pub(super) struct Chunk {
    /// Its first address, and how many there are.
    pub(super) start: u64,
    pub(super) length: u64,
    /// What it is for.
    pub(super) bits: u64,
    pub(super) profile: Profile,
    stripes: Vec<Place>,
}

impl Chunk {
    /// Where the byte at an address lies in one of its copies, and how many follow it there.
    pub(super) fn place(&self, address: u64, copy: usize) -> Option<(Place, u64)> {
        let inside = address.checked_sub(self.start)?;
        let left = self.length.checked_sub(inside)?;
        let count = self.stripes.len() as u64;
        let copy = copy.min(self.profile.copies() - 1);
        let (row, within) = (inside / STRIPE_LENGTH, inside % STRIPE_LENGTH);
        let (stripe, row) = match self.profile {
            Profile::Single | Profile::Dup | Profile::Raid1 | Profile::Raid1c3 | Profile::Raid1c4 => {
                let stripe = self.stripes.get(copy)?;
                let offset = stripe.offset.checked_add(inside)?;
                return Some((Place { offset, ..*stripe }, left));
            }
            Profile::Raid0 => (row % count, row / count),
            Profile::Raid10 => (row % (count / 2) * 2 + copy as u64, row / (count / 2)),
            Profile::Raid5 => rotated(row, count, 1),
            Profile::Raid6 => rotated(row, count, 2),
        };
        let stripe = self.stripes.get(stripe as usize)?;
        let offset = stripe.offset.checked_add(row.checked_mul(STRIPE_LENGTH)?)?.checked_add(within)?;
        Some((Place { offset, ..*stripe }, left.min(STRIPE_LENGTH - within)))
    }
}

/// Which stripe a row of data lies in, and how deep: parity wanders from stripe to stripe.
fn rotated(row: u64, count: u64, parity: u64) -> (u64, u64) {
    let data = count - parity;
    let depth = row / data;
    ((row % data + depth % count) % count, depth)
}

impl Pool {
    /// The chunks that the superblock lists.
    pub(super) fn first_chunks(&mut self, superblock: &Superblock) -> Result<()> {
        let mut rest = &superblock.first_chunks[..];
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (key, item) = (Key::read(rest), rest.get(KEY..).unwrap_or_default());
            let length = CHUNK + usize::from(Fields(item).le16(44)) * STRIPE;
            let Some(item) = item.get(..length).filter(|_| key.kind == kind::CHUNK) else {
                return Err(self.corrupt(0, "the list of the first chunks is damaged"));
            };
            chunks.push(self.read_chunk(key, item, superblock.sector)?);
            rest = rest.get(KEY + length..).unwrap_or_default();
        }
        self.take_chunks(chunks)
    }

    /// These chunks are the ones that count from now on.
    pub(super) fn take_chunks(&mut self, mut chunks: Vec<Chunk>) -> Result<()> {
        chunks.sort_by_key(|chunk| chunk.start);
        if chunks.windows(2).any(|pair| matches!(pair, [one, next] if next.start - one.start < one.length)) {
            return Err(self.corrupt(0, "chunks overlap"));
        }
        self.chunks = chunks;
        Ok(())
    }

    /// A chunk from its item.
    pub(super) fn read_chunk(&self, key: Key, item: &[u8], sector: u64) -> Result<Chunk> {
        let wrong = |what: &str| self.corrupt(0, &format!("the chunk at {} {what}", key.offset));
        let fields = Fields(item);
        let (start, length, bits) = (key.offset, fields.le64(0), fields.le64(24));
        let Some(profile) = Profile::new(bits) else {
            return Err(FsError::Unsupported(format!(
                "it has a chunk of a kind that is not known ({bits:#x})"
            )));
        };
        let count = usize::from(fields.le16(44));
        let is_sound = key.object == FIRST_FREE
            && item.len() == CHUNK + count * STRIPE
            && length > 0
            && start.is_multiple_of(sector)
            && length.is_multiple_of(sector)
            && start.checked_add(length).is_some_and(|end| end < 1 << 63)
            && fields.le64(16) == STRIPE_LENGTH
            && bits & (DATA | SYSTEM | METADATA) != 0
            && profile.can_have(count)
            && (profile != Profile::Raid10 || fields.le16(46) == 2);
        if !is_sound {
            return Err(wrong("makes no sense"));
        }
        let mut stripes = Vec::with_capacity(count);
        for index in 0..count {
            let at = CHUNK + index * STRIPE;
            let member = self.find(fields.le64(at), id(item, at + 16));
            let member = member.ok_or_else(|| {
                FsError::Unsupported(format!("its device {} is not there", fields.le64(at)))
            })?;
            stripes.push(Place { member, offset: fields.le64(at + 8) });
        }
        Ok(Chunk { start, length, bits, profile, stripes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the first rows of a chunk lie: which stripe, and how deep there.
    fn rows(profile: Profile, stripes: usize, copy: usize) -> Vec<(usize, u64)> {
        let stripes = (0..stripes).map(|member| Place { member, offset: 0 }).collect();
        let chunk = Chunk { start: 0, length: 1 << 30, bits: DATA, profile, stripes };
        let places = (0..7).filter_map(|row| chunk.place(row * STRIPE_LENGTH + 5, copy));
        places.map(|(place, _)| (place.member, place.offset / STRIPE_LENGTH)).collect()
    }

    #[test]
    fn rows_go_round() {
        assert_eq!(rows(Profile::Raid0, 3, 0), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]);
        assert_eq!(rows(Profile::Raid10, 4, 1), [(1, 0), (3, 0), (1, 1), (3, 1), (1, 2), (3, 2), (1, 3)]);
        assert_eq!(rows(Profile::Raid5, 3, 0), [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2), (0, 3)]);
        assert_eq!(rows(Profile::Raid6, 4, 0), [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]);
        assert_eq!(rows(Profile::Raid1, 2, 1), (0..7).map(|row| (1, row)).collect::<Vec<_>>());
    }
}
