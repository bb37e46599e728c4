//! Thin volumes: what a pool has given them, by its metadata (`dm-thin-metadata` of the kernel).
//!
//! A pool's metadata is a superblock and trees: one from a volume's number to the root of its own tree, which maps
//! the volume's chunks to the pool's. What has no chunk reads as zeroes, or as the volume's external origin.

#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::filter::spread::{Layout, Piece, Spread};
use crate::storage::Null;
use tree::{BLOCK, Nodes};

/// Marks a superblock.
const MAGIC: u64 = 27_022_010;
/// What its checksum is combined with.
const SUPERBLOCK_SALT: u32 = 160_774;
/// Formats that are known.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Flag of a superblock: the pool has failed, and wants a check before it is used.
const NEEDS_CHECK: u32 = 1;
/// The lower bits of a mapping tell the time of it.
const TIME_BITS: u32 = 24;
const SECTOR: u64 = 512;

/// A pool of chunks, and what tells whose they are.
pub(super) struct Pool {
    nodes: Arc<Nodes>,
    data: Arc<dyn Block>,
    /// Root of the tree from volumes to their trees.
    volumes: u64,
    /// Bytes of a chunk.
    chunk: u64,
    /// Number of the last change that the pool has committed.
    pub(super) transaction: u64,
}

impl Pool {
    /// Reads a pool's superblock.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or of a kind that is not known; a pool that wants a check is refused.
    pub(super) fn open(metadata: Arc<dyn Block>, data: Arc<dyn Block>) -> Result<Self> {
        let name = metadata.name();
        let mut bytes = [0; BLOCK as usize];
        metadata.read_at(&mut bytes, 0)?;
        let fields = Fields(&bytes);
        if fields.le64(32) != MAGIC || !tree::is_intact(&bytes, SUPERBLOCK_SALT) {
            return Err(Error::corrupt(name, "the thin pool's superblock is damaged"));
        }
        let refuse = |what: &str| Err(Error::unsupported(name, format!("the thin pool {what}")));
        if fields.le32(4) & NEEDS_CHECK != 0 {
            return refuse("needs a check (thin_check, thin_repair)");
        }
        // Features without which nobody should read.
        if !VERSIONS.contains(&fields.le32(40)) || fields.le32(360) != 0 {
            return refuse("has a format that is not known");
        }
        let chunk = u64::from(fields.le32(336)) * SECTOR;
        if chunk == 0 || u64::from(fields.le32(340)) * SECTOR != BLOCK {
            return Err(Error::corrupt(name, "the thin pool's superblock has impossible sizes"));
        }
        let (volumes, transaction) = (fields.le64(320), fields.le64(48));
        Ok(Pool { nodes: Arc::new(Nodes::new(metadata)), data, volumes, chunk, transaction })
    }

    /// The volume of a number, `size` bytes long. Where it has nothing, it reads as `origin`, and as zeroes behind
    /// that.
    ///
    /// # Errors
    /// When there is none, or the metadata is damaged.
    pub(super) fn volume(
        self,
        number: u64,
        size: u64,
        origin: Option<Arc<dyn Block>>,
    ) -> Result<Arc<dyn Block>> {
        let Some(root) = self.nodes.find(self.volumes, number)?.value else {
            let text = format!("the thin pool has no volume {number}");
            return Err(Error::corrupt(self.nodes.name(), text));
        };
        let name = self.data.name().to_owned();
        let zeroes: Arc<dyn Block> = Arc::new(Null::new("null-co", size, true, true)?);
        Ok(Arc::new(Spread::over(Thin { pool: self, root, size, origin, zeroes }, name)))
    }
}

/// Where a thin volume's bytes are.
struct Thin {
    pool: Pool,
    root: u64,
    size: u64,
    origin: Option<Arc<dyn Block>>,
    zeroes: Arc<dyn Block>,
}

impl Layout for Thin {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>> {
        let (number, within) = (offset / self.pool.chunk, offset % self.pool.chunk);
        let found = self.pool.nodes.find(self.root, number)?;
        let left = self.size.saturating_sub(offset);
        if let Some(value) = found.value {
            let start = (value >> TIME_BITS).checked_mul(self.pool.chunk);
            let inside = |start: &u64| {
                start.checked_add(self.pool.chunk).is_some_and(|end| end <= self.pool.data.size())
            };
            let Some(start) = start.filter(inside) else {
                let text = format!("chunk {number} of a thin volume lies outside its pool");
                return Err(Error::corrupt(self.pool.nodes.name(), text));
            };
            let length = (self.pool.chunk - within).min(left);
            return Ok(Some(Piece { block: &self.pool.data, offset: start + within, length }));
        }
        let length = found.empty.saturating_mul(self.pool.chunk).saturating_sub(within).min(left);
        Ok(Some(match &self.origin {
            Some(origin) if offset < origin.size() => {
                Piece { block: origin, offset, length: length.min(origin.size() - offset) }
            }
            _ => Piece { block: &self.zeroes, offset, length },
        }))
    }
}
