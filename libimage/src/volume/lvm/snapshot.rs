//! Snapshots: an origin, and a volume with the chunks in which it was different (`dm-snap-persistent` of the kernel).
//!
//! The store begins with a header. Areas of a table follow, each one chunk long with the chunks it tells of behind
//! it: pairs of the origin's chunk and the store's. The first pair without a chunk in the store ends the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::filter::spread::{Layout, Piece, Spread};

/// Marks a store: `SnAp`.
const MAGIC: u32 = 0x7041_6e53;
/// The one format there is.
const VERSION: u32 = 1;
const SECTOR: u64 = 512;
/// Bytes of a pair.
const PAIR: u64 = 16;
/// Largest chunk.
const MAX_CHUNK: u64 = 1 << 20;
/// Most pairs that are kept in memory.
const MAX_PAIRS: usize = 8 << 20;

/// A snapshot of `origin` whose changed chunks are in `store`.
///
/// # Errors
/// When the store cannot be read or is damaged; a store that is full, or too large for this, is refused.
pub(super) fn open(origin: Arc<dyn Block>, store: Arc<dyn Block>) -> Result<Arc<dyn Block>> {
    let mut header = [0; SECTOR as usize];
    store.read_at(&mut header, 0)?;
    let fields = Fields(&header);
    if fields.le32(0) != MAGIC || fields.le32(8) != VERSION {
        return Err(Error::corrupt(store.name(), "the store of the snapshot has no header"));
    }
    if fields.le32(4) != 1 {
        return Err(Error::unsupported(
            store.name(),
            "the snapshot is not valid any more: its store was full",
        ));
    }
    let chunk = u64::from(fields.le32(12)) * SECTOR;
    if !chunk.is_power_of_two() || chunk > MAX_CHUNK {
        return Err(Error::corrupt(store.name(), "the store of the snapshot has chunks of no size"));
    }
    let chunks = table(&store, chunk)?;
    let name = origin.name().to_owned();
    Ok(Arc::new(Spread::over(Snapshot { origin, store, chunk, chunks }, name)))
}

/// The origin's chunks that the store has.
fn table(store: &Arc<dyn Block>, chunk: u64) -> Result<BTreeMap<u64, u64>> {
    let broken = |what: &str| Error::corrupt(store.name(), format!("the table of the snapshot {what}"));
    let pairs = chunk / PAIR;
    let mut chunks = BTreeMap::new();
    let mut area = vec![0; usize::try_from(chunk).unwrap_or_default()];
    let mut at = 1u64;
    loop {
        let offset = at.checked_mul(chunk).filter(|offset| offset.saturating_add(chunk) <= store.size());
        // A store whose last area is just full has no room for another.
        let Some(offset) = offset else { return Ok(chunks) };
        store.read_at(&mut area, offset)?;
        for pair in area.chunks_exact(PAIR as usize) {
            let (of_origin, of_store) = (Fields(pair).le64(0), Fields(pair).le64(8));
            if of_store == 0 {
                return Ok(chunks);
            }
            let end = of_store.checked_add(1).and_then(|end| end.checked_mul(chunk));
            if end.is_none_or(|end| end > store.size()) {
                return Err(broken("names a chunk outside the store"));
            }
            chunks.insert(of_origin, of_store);
            if chunks.len() > MAX_PAIRS {
                return Err(Error::unsupported(store.name(), "the snapshot has too many changed chunks"));
            }
        }
        at = at.checked_add(pairs + 1).ok_or_else(|| broken("has no end"))?;
    }
}

/// Where a snapshot's bytes are.
struct Snapshot {
    origin: Arc<dyn Block>,
    store: Arc<dyn Block>,
    chunk: u64,
    chunks: BTreeMap<u64, u64>,
}

impl Layout for Snapshot {
    fn size(&self) -> u64 {
        self.origin.size()
    }

    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>> {
        let (number, within) = (offset / self.chunk, offset % self.chunk);
        let left = self.size().saturating_sub(offset);
        let mut from = self.chunks.range(number..);
        Ok(Some(match from.next() {
            Some((known, place)) if *known == number => {
                let length = (self.chunk - within).min(left);
                Piece { block: &self.store, offset: place * self.chunk + within, length }
            }
            next => {
                let end = next.and_then(|(known, _)| known.checked_mul(self.chunk)).unwrap_or(u64::MAX);
                Piece { block: &self.origin, offset, length: end.saturating_sub(offset).min(left) }
            }
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::storage::Memory;

    const CHUNK: usize = 4096;

    fn memory(bytes: &[u8]) -> Arc<dyn Block> {
        Arc::new(Memory::from_bytes(bytes))
    }

    /// A store with these pairs in its first area and `chunks` chunks in all, each full of its number.
    fn store(chunks: u8, valid: u32, pairs: &[(u64, u64)]) -> Arc<dyn Block> {
        let mut bytes: Vec<u8> = (0..chunks).flat_map(|chunk| [chunk; CHUNK]).collect();
        for (at, value) in [(0, MAGIC), (4, valid), (8, VERSION), (12, (CHUNK / 512) as u32)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[CHUNK..2 * CHUNK].fill(0);
        for (index, (old, new)) in pairs.iter().enumerate() {
            bytes[CHUNK + 16 * index..][..8].copy_from_slice(&old.to_le_bytes());
            bytes[CHUNK + 16 * index + 8..][..8].copy_from_slice(&new.to_le_bytes());
        }
        memory(&bytes)
    }

    #[test]
    fn changed_chunks_are_the_store_s() {
        let origin = memory(&[9; 5 * CHUNK]);
        let snapshot = open(Arc::clone(&origin), store(4, 1, &[(1, 3), (4, 2)])).unwrap();
        let mut bytes = vec![0; 5 * CHUNK];
        snapshot.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes.chunks(CHUNK).map(|chunk| chunk[77]).collect::<Vec<_>>(), [9, 3, 9, 9, 2]);
        assert_eq!(snapshot.status(2 * CHUNK as u64..5 * CHUNK as u64).unwrap().length, 2 * CHUNK as u64);
    }

    #[test]
    fn stores_that_are_full_or_damaged_are_refused() {
        let origin = || memory(&[9; 5 * CHUNK]);
        assert!(open(origin(), store(4, 0, &[])).is_err());
        assert!(open(origin(), store(4, 1, &[(0, 4)])).is_err());
        assert!(open(origin(), store(4, 1, &[(0, u64::MAX)])).is_err());
        assert!(open(origin(), memory(&[0; CHUNK])).is_err());
        assert!(open(origin(), memory(b"SnAp")).is_err());
    }
}
