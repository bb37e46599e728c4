//! What lies where in a disk: its extents from beginning to end, neighbours that are alike put together.
//!
//! Large disks are looked at in segments by several threads; the extents are handed out in order all the same, and
//! only a few segments wait at a time.

use std::ops::Range;

use super::ordered::ordered;
use crate::block::{Block, Extent};
use crate::error::Result;

/// What one thread looks at, at a time, in bytes.
const SEGMENT: u64 = 1 << 30;

/// Calls `each` with every extent of `range`, in order, and where it starts. No two neighbours could be one extent.
///
/// # Errors
/// An error of the disk, or of `each`; what was told until then is right.
pub fn map(
    block: &dyn Block,
    range: Range<u64>,
    workers: usize,
    each: &mut dyn FnMut(u64, Extent) -> Result<()>,
) -> Result<()> {
    let mut merged = Merged { pending: None, each };
    if range.end.saturating_sub(range.start) <= SEGMENT || workers < 2 {
        scan(block, range, &mut |at, extent| merged.add(at, extent))?;
        return merged.finish();
    }
    let segments = (range.end - range.start).div_ceil(SEGMENT);
    let look = |index: u64| {
        let start = range.start + index * SEGMENT;
        let mut list: Vec<Extent> = Vec::new();
        scan(block, start..range.end.min(start + SEGMENT), &mut |_, extent| {
            match list.last_mut() {
                Some(last) if continues(last, &extent) => last.length += extent.length,
                _ => list.push(extent),
            }
            Ok(())
        })?;
        Ok(list)
    };
    let mut at = range.start;
    ordered(segments, workers, look, |list| {
        for extent in list {
            merged.add(at, extent)?;
            at += extent.length;
        }
        Ok(())
    })?;
    merged.finish()
}

/// The extents of a range as the disk tells them.
fn scan(block: &dyn Block, range: Range<u64>, each: &mut dyn FnMut(u64, Extent) -> Result<()>) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let extent = block.status(at..range.end)?;
        // An extent is never empty; should one be, the rest is not worth an endless loop.
        let length = extent.length.clamp(1, range.end - at);
        each(at, extent.with_length(length))?;
        at += length;
    }
    Ok(())
}

/// True if `next` lies right behind `extent` and is the same kind of thing.
pub fn continues(extent: &Extent, next: &Extent) -> bool {
    let offsets = match (extent.offset, next.offset) {
        (Some(a), Some(b)) => a.checked_add(extent.length) == Some(b),
        (None, None) => true,
        _ => false,
    };
    offsets && Extent { length: 0, offset: None, ..*extent } == Extent { length: 0, offset: None, ..*next }
}

/// Puts alike neighbours together.
struct Merged<'a> {
    pending: Option<(u64, Extent)>,
    each: &'a mut dyn FnMut(u64, Extent) -> Result<()>,
}

impl Merged<'_> {
    fn add(&mut self, at: u64, extent: Extent) -> Result<()> {
        match &mut self.pending {
            Some((_, so_far)) if continues(so_far, &extent) => so_far.length += extent.length,
            _ => {
                if let Some((start, done)) = self.pending.replace((at, extent)) {
                    (self.each)(start, done)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        match self.pending.take() {
            Some((start, extent)) => (self.each)(start, extent),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::storage::Memory;

    fn all(block: &dyn Block, range: Range<u64>, workers: usize) -> Vec<(u64, Extent)> {
        let mut list = Vec::new();
        map(block, range, workers, &mut |at, extent| {
            list.push((at, extent));
            Ok(())
        })
        .unwrap();
        list
    }

    #[test]
    fn threads_find_what_one_finds() {
        let size = 20 * SEGMENT + 12_345;
        let disk = Memory::new(size);
        for at in [0, SEGMENT - 100, 7 * SEGMENT, 7 * SEGMENT + (10 << 20), size - 1] {
            disk.write_at(&[1], at).unwrap();
        }
        let one = all(&disk, 3..size, 1);
        assert_eq!(one, all(&disk, 3..size, 3));
        assert_eq!(one.iter().map(|(_, extent)| extent.length).sum::<u64>(), size - 3);
        assert!(one.windows(2).all(|pair| !continues(&pair[0].1, &pair[1].1)));
        assert!(one.windows(2).all(|pair| pair[0].0 + pair[0].1.length == pair[1].0));
    }

    #[test]
    fn whoever_asks_can_end_it() {
        let disk = Memory::new(100 * SEGMENT);
        for segment in 0..100 {
            disk.write_at(&[1], segment * SEGMENT).unwrap();
        }
        let mut seen = 0;
        let result = map(&disk, 0..disk.size(), 2, &mut |_, _| {
            seen += 1;
            if seen == 3 { Err(Error::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(result, Err(Error::Cancelled)) && seen == 3);
    }
}
