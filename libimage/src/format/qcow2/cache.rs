//! A bounded cache of metadata pages (slices of L2 tables or refcount blocks), by host offset.
//!
//! Looking a page up needs only a shared reference, so that readers do not exclude each other. A dirty
//! page is never dropped: it leaves only after it was written, and counts as clean only once its
//! owner says that the write is safe. A page may be read from the file while nobody holds the cache; it is
//! taken in only if nothing that was here can have reached the file since.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::storage::{read_padded, write_all};
use crate::block::Block;
use crate::error::Result;

/// Neighbouring dirty pages are written together up to this many bytes.
const MAX_WRITE: usize = 1 << 20;

struct Page {
    bytes: Box<[u8]>,
    /// The cache's clock when it was last used.
    used: AtomicU64,
}

/// Spreads offsets over the table with one multiplication. Keys are places in the file that were asked for, and
/// no more of them than the cache holds: nobody gains by choosing them badly.
#[derive(Default)]
struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // The high bits of the product depend on all bits of the key: the table looks at both ends.
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// The cache.
pub(super) struct PageCache {
    page_size: u64,
    /// Pages to hold at most, beyond which [`PageCache::is_full`] says so.
    limit: usize,
    pages: HashMap<u64, Page, BuildHasherDefault<OffsetHasher>>,
    dirty: BTreeSet<u64>,
    /// Advances with every load, so that hits need not write to shared memory most of the time.
    clock: AtomicU64,
    /// Changes whenever what the file holds may differ from what was read of it before.
    version: u64,
}

/// A page that is not here, and what it takes to bring it in without holding the cache meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Absent {
    offset: u64,
    page_size: u64,
    version: u64,
}

impl Absent {
    /// Reads the page.
    pub(super) fn read(&self, file: &dyn Block) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; self.page_size as usize].into_boxed_slice();
        read_padded(file, &mut bytes, self.offset)?;
        Ok(bytes)
    }
}

impl PageCache {
    pub(super) fn new(page_size: u64, limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes / page_size).unwrap_or(usize::MAX).max(16);
        PageCache {
            page_size,
            limit,
            pages: HashMap::default(),
            dirty: BTreeSet::new(),
            clock: AtomicU64::new(0),
            version: 0,
        }
    }

    /// The page at `offset`, if it is here.
    pub(super) fn get(&self, offset: u64) -> Option<&[u8]> {
        let page = self.pages.get(&offset)?;
        let now = self.clock.load(Ordering::Relaxed);
        if page.used.load(Ordering::Relaxed) != now {
            page.used.store(now, Ordering::Relaxed);
        }
        Some(&page.bytes)
    }

    /// Brings the page at `offset` in from `file`, unless it is here.
    pub(super) fn load(&mut self, file: &dyn Block, offset: u64) -> Result<&[u8]> {
        if !self.pages.contains_key(&offset) {
            let bytes = self.absent(offset).read(file)?;
            self.put(offset, bytes);
        }
        Ok(self.get(offset).unwrap_or_default())
    }

    /// What to read for a page that is not here.
    pub(super) fn absent(&self, offset: u64) -> Absent {
        Absent { offset, page_size: self.page_size, version: self.version }
    }

    /// Takes in a page that was read while others may have used the cache. One that is here already stays;
    /// one that may be out of date is read again.
    pub(super) fn insert(&mut self, file: &dyn Block, page: Absent, bytes: Box<[u8]>) -> Result<()> {
        if page.version != self.version {
            return self.load(file, page.offset).map(drop);
        }
        if !self.pages.contains_key(&page.offset) {
            self.put(page.offset, bytes);
        }
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: Box<[u8]>) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        self.pages.insert(offset, Page { bytes, used: AtomicU64::new(now) });
    }

    /// The page at `offset`, brought in where needed, to be changed: it counts as dirty from here on.
    pub(super) fn load_mut(&mut self, file: &dyn Block, offset: u64) -> Result<&mut [u8]> {
        self.load(file, offset)?;
        self.dirty.insert(offset);
        Ok(self.pages.get_mut(&offset).map(|page| &mut *page.bytes).unwrap_or_default())
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Where dirty pages lie.
    pub(super) fn dirty_offsets(&self) -> impl Iterator<Item = u64> {
        self.dirty.iter().copied()
    }

    /// Writes dirty pages, in order of their place. They stay dirty until [`PageCache::set_clean`].
    pub(super) fn write_back(&self, file: &dyn Block) -> Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut start = 0;
        for &offset in &self.dirty {
            let Some(page) = self.pages.get(&offset) else { continue };
            let follows = !run.is_empty() && start + run.len() as u64 == offset && run.len() < MAX_WRITE;
            if !follows {
                write_all(file, &run, start)?;
                run.clear();
                start = offset;
            }
            run.extend_from_slice(&page.bytes);
        }
        write_all(file, &run, start)
    }

    /// What was written is durable, or need not be.
    pub(super) fn set_clean(&mut self) {
        if self.is_dirty() {
            self.version += 1;
        }
        self.dirty.clear();
    }

    /// Forgets pages whose clusters have been given up.
    pub(super) fn forget(&mut self, range: Range<u64>) {
        self.version += 1;
        let pages = (range.end - range.start) / self.page_size;
        if pages > self.pages.len() as u64 {
            self.pages.retain(|offset, _| !range.contains(offset));
            self.dirty.retain(|offset| !range.contains(offset));
            return;
        }
        for offset in range.step_by(self.page_size as usize) {
            if self.pages.remove(&offset).is_some() {
                self.dirty.remove(&offset);
            }
        }
    }

    /// Forgets everything, dirty or not: what lies in the file has been replaced.
    pub(super) fn clear(&mut self) {
        self.version += 1;
        self.pages.clear();
        self.dirty.clear();
    }

    pub(super) fn is_full(&self) -> bool {
        self.pages.len() > self.limit
    }

    /// True when dropping clean pages would not make enough room.
    pub(super) fn is_mostly_dirty(&self) -> bool {
        self.dirty.len() > self.limit / 2
    }

    /// Drops the clean pages that were not used for longest, down to three quarters of the limit.
    pub(super) fn shrink(&mut self) {
        let goal = self.limit - self.limit / 4;
        let Some(excess) = self.pages.len().checked_sub(goal).filter(|&n| n > 0) else { return };
        let mut clean: Vec<(u64, u64)> = self
            .pages
            .iter()
            .filter(|(offset, _)| !self.dirty.contains(offset))
            .map(|(&offset, page)| (page.used.load(Ordering::Relaxed), offset))
            .collect();
        if excess < clean.len() {
            clean.select_nth_unstable(excess);
        }
        for &(_, offset) in clean.iter().take(excess) {
            self.pages.remove(&offset);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn dirty_pages_stay_until_they_are_clean() {
        let file = Memory::new(1 << 20);
        let mut cache = PageCache::new(512, 512 * 16);
        for page in 0..64 {
            cache.load_mut(&file, page * 512).unwrap()[0] = page as u8 + 1;
        }
        assert!(cache.is_full() && cache.is_mostly_dirty());
        cache.shrink();
        assert_eq!(cache.pages.len(), 64);
        cache.write_back(&file).unwrap();
        assert!(cache.is_dirty());
        cache.set_clean();
        cache.shrink();
        assert!(!cache.is_full() && cache.pages.len() <= 16);
        for page in 0..64 {
            assert_eq!(cache.load(&file, page * 512).unwrap()[0], page as u8 + 1);
        }
    }

    #[test]
    fn a_page_read_before_a_change_does_not_hide_it() {
        let file = Memory::new(1 << 20);
        let mut cache = PageCache::new(512, 512 * 16);
        let page = cache.absent(512);
        let old = page.read(&file).unwrap();
        cache.load_mut(&file, 512).unwrap()[0] = 7;
        cache.insert(&file, page, old.clone()).unwrap();
        assert_eq!(cache.get(512).unwrap()[0], 7);
        // Written and evicted: only the file has it.
        cache.write_back(&file).unwrap();
        cache.set_clean();
        cache.pages.clear();
        cache.insert(&file, page, old).unwrap();
        assert_eq!(cache.get(512).unwrap()[0], 7);
    }
}
