//! A hash of what a disk shows to its guest: the same for every format, however it is stored.
//!
//! The construction, so that anybody can repeat it. The disk is cut into leaves of 64 KiB, the last one padded
//! with zeroes. H is the hash function (SHA-256 unless told otherwise).
//!
//! ```text
//! leaf  = H(0x00, 65536 bytes)
//! node  = H(0x01, left child, right child)
//! chunk = the root of a perfect binary tree over 64 leaves (4 MiB; leaves beyond the end are zero)
//! disk  = the root of a perfect binary tree over the chunks, their number rounded up to a power of two
//!         by chunks that are zero
//! hash  = H(0x02, the disk's size in bytes as 8 bytes, the most significant first, disk)
//! ```
//!
//! The hash of a tree of zeroes of each height is known beforehand, so what is known to be zero costs nothing.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256, Sha512};

use super::parallel::{Division, each_segment};
use super::progress::Progress;
use super::zero::is_zero;
use crate::block::Block;
use crate::error::{Error, Result};

const LEAF: usize = 64 << 10;
const CHUNK: u64 = 4 << 20;
/// Levels of a chunk's tree above its leaves: 2^6 leaves.
const CHUNK_LEVEL: usize = 6;
/// Chunks of 2^22 bytes, at most 2^42 of them: no tree is higher.
const MAX_LEVEL: usize = CHUNK_LEVEL + 42;

/// The hash functions on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The function called `name`.
    ///
    /// # Errors
    /// For a name that is none.
    pub fn by_name(name: &str) -> Result<Self> {
        match name {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(Error::Invalid(format!("Unknown hash algorithm '{name}': use sha256 or sha512"))),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// Hashes all of `disk` with `workers` threads.
///
/// # Errors
/// The first failing read, or [`Error::Cancelled`].
pub fn hash(
    disk: &dyn Block,
    algorithm: Algorithm,
    workers: usize,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    match algorithm {
        Algorithm::Sha256 => tree::<Sha256>(disk, workers, progress),
        Algorithm::Sha512 => tree::<Sha512>(disk, workers, progress),
    }
}

fn tree<D: Digest>(disk: &dyn Block, workers: usize, progress: &dyn Progress) -> Result<Vec<u8>> {
    let size = disk.size();
    progress.step("Hashing", size);
    let zeroes = zeroes::<D>();
    // Only what is not zero: memory grows with the data, not with the size.
    let chunks: Mutex<Vec<(u64, Vec<u8>)>> = Mutex::new(Vec::new());
    let skip = |at: u64| {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let extent = disk.status(at..size)?;
        let end = at + extent.length;
        let end = if end == size { end } else { end - end % CHUNK };
        if !extent.zero || end <= at {
            return Ok(at);
        }
        progress.advance(end - at);
        Ok(end)
    };
    let work = |range: Range<u64>, buffer: &mut Vec<u8>| {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(root) = chunk::<D>(disk, range.clone(), buffer, &zeroes)? {
            let index = range.start / CHUNK;
            chunks.lock().unwrap_or_else(PoisonError::into_inner).push((index, root));
        }
        progress.advance(range.end - range.start);
        Ok(())
    };
    each_segment(&Division { size, segment: CHUNK, workers }, &skip, &work)?;
    let mut level: Vec<(u64, Vec<u8>)> = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
    level.sort_unstable_by_key(|(index, _)| *index);
    let heights = size.div_ceil(CHUNK).max(1).next_power_of_two().trailing_zeros() as usize;
    for zero in zeroes.iter().skip(CHUNK_LEVEL).take(heights) {
        level = parents::<D>(level, zero);
    }
    let zero = zeroes.get(CHUNK_LEVEL + heights);
    let root = level.first().map(|(_, root)| root).or(zero).map(Vec::as_slice).unwrap_or_default();
    Ok(D::new().chain_update([2]).chain_update(size.to_be_bytes()).chain_update(root).finalize().to_vec())
}

/// The root of one chunk; `None` if it is all zero.
fn chunk<D: Digest>(
    disk: &dyn Block,
    range: Range<u64>,
    buffer: &mut Vec<u8>,
    zeroes: &[Vec<u8>],
) -> Result<Option<Vec<u8>>> {
    buffer.resize(LEAF, 0);
    let mut level: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let extent = disk.status(at..range.end)?;
        let index = (at - range.start) / LEAF as u64;
        let whole = extent.length - extent.length % LEAF as u64;
        let rest = at + extent.length == range.end;
        if extent.zero && (whole > 0 || rest) {
            at += if rest { extent.length } else { whole };
            continue;
        }
        let length = (range.end - at).min(LEAF as u64) as usize;
        let (bytes, padding) = buffer.split_at_mut(length);
        disk.read_at(bytes, at)?;
        padding.fill(0);
        if !is_zero(bytes) {
            level.push((index, leaf::<D>(buffer)));
        }
        at += length as u64;
    }
    for zero in zeroes.iter().take(CHUNK_LEVEL) {
        level = parents::<D>(level, zero);
    }
    Ok(level.pop().map(|(_, root)| root))
}

/// The next level of a tree of which only the nodes that are not zero are given, in order.
fn parents<D: Digest>(nodes: Vec<(u64, Vec<u8>)>, zero: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut level = Vec::with_capacity(nodes.len().div_ceil(2));
    let mut nodes = nodes.into_iter().peekable();
    while let Some((index, hash)) = nodes.next() {
        let parent = if index % 2 == 1 {
            node::<D>(zero, &hash)
        } else {
            let right = nodes.next_if(|(next, _)| *next == index + 1);
            node::<D>(&hash, right.as_ref().map_or(zero, |(_, right)| right))
        };
        level.push((index / 2, parent));
    }
    level
}

fn leaf<D: Digest>(bytes: &[u8]) -> Vec<u8> {
    D::new().chain_update([0]).chain_update(bytes).finalize().to_vec()
}

fn node<D: Digest>(left: &[u8], right: &[u8]) -> Vec<u8> {
    D::new().chain_update([1]).chain_update(left).chain_update(right).finalize().to_vec()
}

/// The hashes of trees of zeroes, by height.
fn zeroes<D: Digest>() -> Vec<Vec<u8>> {
    let first = leaf::<D>(&vec![0; LEAF]);
    std::iter::successors(Some(first), |below| Some(node::<D>(below, below))).take(MAX_LEVEL + 1).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::Silent;
    use crate::storage::Memory;

    /// The construction as it is written down, without shortcuts.
    fn plainly(bytes: &[u8]) -> Vec<u8> {
        let chunks = (bytes.len() as u64).div_ceil(CHUNK).max(1).next_power_of_two();
        let mut padded = bytes.to_vec();
        padded.resize((chunks * CHUNK) as usize, 0);
        let mut level: Vec<Vec<u8>> = padded.chunks(LEAF).map(leaf::<Sha256>).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| node::<Sha256>(&pair[0], &pair[1])).collect();
        }
        let head = Sha256::new().chain_update([2]).chain_update((bytes.len() as u64).to_be_bytes());
        head.chain_update(&level[0]).finalize().to_vec()
    }

    #[test]
    fn shortcuts_do_not_change_the_result() {
        let mut seed = 5u64;
        for size in [0, 1, 512, LEAF, LEAF + 1, CHUNK as usize, 3 * CHUNK as usize + 99] {
            let mut bytes = vec![0; size];
            for _ in 0..size / 100_000 + 1 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if size > 0 {
                    bytes[(seed >> 20) as usize % size] = 1;
                }
            }
            let disk = Memory::from_bytes(&bytes);
            let found = hash(&disk, Algorithm::Sha256, 3, &Silent).unwrap();
            assert_eq!(found, plainly(&bytes), "{size}");
            // Zeroes that are stored are the same as none.
            let sparse = Memory::new(size as u64);
            for (start, part) in (0..).step_by(4096).zip(bytes.chunks(4096)) {
                if !is_zero(part) {
                    sparse.write_at(part, start).unwrap();
                }
            }
            assert_eq!(hash(&sparse, Algorithm::Sha256, 1, &Silent).unwrap(), found);
        }
    }

    #[test]
    fn huge_and_empty_takes_no_time() {
        let disk = Memory::new(i64::MAX as u64);
        disk.write_at(b"x", 1 << 60).unwrap();
        let one = hash(&disk, Algorithm::Sha512, 2, &Silent).unwrap();
        disk.write_at(b"y", 1 << 60).unwrap();
        assert_ne!(one, hash(&disk, Algorithm::Sha512, 2, &Silent).unwrap());
        assert_eq!(one.len(), 64);
    }
}
