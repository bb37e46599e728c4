//! Writing that reaches nobody: what is changed stays in memory, what lies below stays as it is.
//!
//! A command can be tried on such a view, and be forgotten.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::{Block, Extent, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};

const PAGE: u64 = 4096;
/// Changes that are kept at most, in bytes.
const MAX_CHANGES: u64 = 1 << 30;

/// A view of `inner` that can be written.
pub struct Scratch {
    inner: Arc<dyn Block>,
    size: AtomicU64,
    state: Mutex<State>,
}

struct State {
    pages: BTreeMap<u64, Box<[u8]>>,
    /// Below this the inner bytes show where no page is kept; above they were cut off once.
    shown: u64,
}

impl Scratch {
    /// A view that shows what is in `inner` until it is written.
    pub fn new(inner: Arc<dyn Block>) -> Self {
        let size = inner.size();
        Scratch {
            inner,
            size: AtomicU64::new(size),
            state: Mutex::new(State { pages: BTreeMap::new(), shown: size }),
        }
    }

    /// Bytes that were changed, in whole pages.
    pub fn changed(&self) -> u64 {
        self.state().pages.len() as u64 * PAGE
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inner bytes of a page, zeroes where there are none to be shown.
    fn below(&self, state: &State, page: u64) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; PAGE as usize].into_boxed_slice();
        let start = page * PAGE;
        let length = state.shown.saturating_sub(start).min(PAGE) as usize;
        if length > 0 {
            self.inner.read_at(&mut bytes[..length], start)?;
        }
        Ok(bytes)
    }

    /// Calls `change` with each page of the range and the part of it that is meant.
    fn change(&self, range: Range<u64>, mut change: impl FnMut(&mut [u8], Range<u64>)) -> Result<()> {
        let mut state = self.state();
        let mut at = range.start;
        while at < range.end {
            let page = at / PAGE;
            let end = range.end.min((page + 1) * PAGE);
            if !state.pages.contains_key(&page) {
                if (state.pages.len() as u64 + 1) * PAGE > MAX_CHANGES {
                    let what = "too much of it would be changed to be only tried";
                    return Err(Error::unsupported(self.name(), what));
                }
                let bytes = self.below(&state, page)?;
                state.pages.insert(page, bytes);
            }
            let inside = (at % PAGE) as usize..(at % PAGE + (end - at)) as usize;
            if let Some(part) = state.pages.get_mut(&page).and_then(|bytes| bytes.get_mut(inside)) {
                change(part, at..end);
            }
            at = end;
        }
        self.size.fetch_max(range.end, Ordering::AcqRel);
        Ok(())
    }
}

impl Block for Scratch {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let state = self.state();
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let inside = at % PAGE;
            let take = rest.len().min((PAGE - inside) as usize);
            let (now, later) = rest.split_at_mut(take);
            let from = inside as usize..inside as usize + take;
            match state.pages.get(&(at / PAGE)) {
                Some(page) => now.copy_from_slice(&page[from]),
                None => now.copy_from_slice(&self.below(&state, at / PAGE)?[from]),
            }
            rest = later;
            at += take as u64;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .ok_or_else(|| Error::Invalid("Write beyond the largest offset".to_owned()))?;
        self.change(offset..end, |part, at| {
            let from = (at.start - offset) as usize;
            part.copy_from_slice(&buf[from..from + part.len()]);
        })
    }

    fn write_zeroes(&self, range: Range<u64>, _how: Zero) -> Result<()> {
        self.change(range, |part, _| part.fill(0))
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        check_range(self, range.start, range.end.saturating_sub(range.start))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        Ok(Extent::data(length, range.start))
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn resize(&self, size: u64, _preallocation: Preallocation) -> Result<()> {
        let old = self.size();
        if size < old {
            // The rest of the last page that stays; the pages behind it are dropped.
            self.change(size..old.min(size.next_multiple_of(PAGE)), |part, _| part.fill(0))?;
            let mut state = self.state();
            state.pages.split_off(&size.div_ceil(PAGE));
            state.shown = state.shown.min(size);
        }
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn allocated_bytes(&self) -> Option<u64> {
        self.inner.allocated_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn changes_stay_above() {
        let inner = Arc::new(Memory::from_bytes(&[1; 10_000]));
        let scratch = Scratch::new(inner.clone());
        let read = |block: &dyn Block, at: u64| {
            let mut byte = [9];
            block.read_at(&mut byte, at).unwrap();
            byte[0]
        };
        scratch.write_at(&[2; 5000], 4000).unwrap();
        scratch.write_zeroes(8000..8100, Zero::MayUnmap).unwrap();
        assert_eq!([3999, 4000, 8050, 8999, 9000].map(|at| read(&scratch, at)), [1, 2, 0, 2, 1]);
        // Cut off and grown again: zeroes, also where nothing was written.
        scratch.resize(4500, Preallocation::Off).unwrap();
        scratch.write_at(&[3], 20_000).unwrap();
        assert_eq!([4499, 4500, 8500, 9500, 20_000].map(|at| read(&scratch, at)), [2, 0, 0, 0, 3]);
        assert_eq!(scratch.size(), 20_001);
        assert!((0..10_000).all(|at| read(&*inner, at) == 1));
        assert_eq!(inner.size(), 10_000);
    }
}
