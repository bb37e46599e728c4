//! Which blocks were used, in which order, so that the ones that were not used for longest can be given up.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Blocks in the order of their last use.
pub(super) struct Recent {
    /// When each was used last, and which was used at that time.
    times: HashMap<u64, u64>,
    blocks: BTreeMap<u64, u64>,
    now: u64,
    /// Blocks are given up from the second number of them on, until there is only the first.
    low: usize,
    high: usize,
    shrinking: bool,
}

impl Recent {
    pub(super) fn new(low: usize, high: usize) -> Self {
        let high = high.max(1);
        Recent {
            times: HashMap::new(),
            blocks: BTreeMap::new(),
            now: 0,
            low: low.min(high),
            high,
            shrinking: false,
        }
    }

    pub(super) fn used(&mut self, block: u64) {
        self.now += 1;
        if let Some(before) = self.times.insert(block, self.now) {
            self.blocks.remove(&before);
        }
        self.blocks.insert(self.now, block);
    }

    /// The block that should go next, if one should. It is forgotten here.
    pub(super) fn take_oldest(&mut self) -> Option<u64> {
        self.shrinking = self.times.len() > if self.shrinking { self.low } else { self.high };
        if !self.shrinking {
            return None;
        }
        let (_, block) = self.blocks.pop_first()?;
        self.times.remove(&block);
        Some(block)
    }

    pub(super) fn forget(&mut self, blocks: Range<u64>) {
        for block in blocks {
            if let Some(time) = self.times.remove(&block) {
                self.blocks.remove(&time);
            }
        }
    }
}
