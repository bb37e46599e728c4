//! What is known about each block of a device, kept as runs: a mark for many blocks costs as much as one for one.

use std::collections::BTreeMap;
use std::ops::Range;

/// Marks of blocks, by number. A block that was never marked has the mark's default.
pub(super) struct Marks<M> {
    /// Each run by its first block: the block behind it, and the mark. None overlap, none are empty.
    runs: BTreeMap<u64, (u64, M)>,
}

impl<M: Copy + PartialEq + Default> Marks<M> {
    pub(super) fn new() -> Self {
        Marks { runs: BTreeMap::new() }
    }

    /// The mark of `block`, and the first block behind it where another run begins; at most `end`.
    pub(super) fn run(&self, block: u64, end: u64) -> (M, u64) {
        if let Some((_, &(until, mark))) = self.runs.range(..=block).next_back()
            && until > block
        {
            return (mark, until.min(end));
        }
        let next = self.runs.range(block..).next().map_or(end, |(&start, _)| start.min(end));
        (M::default(), next)
    }

    /// Gives all of `blocks` a mark.
    pub(super) fn set(&mut self, blocks: Range<u64>, mark: M) {
        if blocks.is_empty() {
            return;
        }
        let mut run = blocks.clone();
        // Runs that touch: what they keep outside is put back, or joined where the mark is the same.
        let touching = self.runs.range(..=blocks.end).rev().take_while(|(_, (end, _))| *end >= blocks.start);
        let touching: Vec<(u64, u64, M)> =
            touching.map(|(&start, &(end, mark))| (start, end, mark)).collect();
        for (start, end, old) in touching {
            self.runs.remove(&start);
            if old == mark {
                run = run.start.min(start)..run.end.max(end);
                continue;
            }
            if start < blocks.start {
                self.runs.insert(start, (blocks.start, old));
            }
            if end > blocks.end {
                self.runs.insert(blocks.end, (end, old));
            }
        }
        if mark != M::default() {
            self.runs.insert(run.start, (run.end, mark));
        }
    }

    /// All runs with a mark within `blocks`.
    pub(super) fn within(&self, blocks: Range<u64>) -> impl Iterator<Item = (Range<u64>, M)> {
        let before = self.runs.range(..blocks.start).next_back();
        let behind = self.runs.range(blocks.clone());
        before.into_iter().chain(behind).filter_map(move |(&start, &(end, mark))| {
            let run = start.max(blocks.start)..end.min(blocks.end);
            (!run.is_empty()).then_some((run, mark))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn marks_are_those_of_a_list(changes in prop::collection::vec((0_u64..40, 0_u64..12, 0_u8..3), 0..40)) {
            let mut marks = Marks::<u8>::new();
            let mut list = [0_u8; 64];
            for (start, length, mark) in changes {
                marks.set(start..start + length, mark);
                list[start as usize..(start + length) as usize].fill(mark);
                for (block, &mark) in list.iter().enumerate() {
                    let (found, end) = marks.run(block as u64, 64);
                    prop_assert_eq!(found, mark);
                    prop_assert!(list[block..end as usize].iter().all(|&other| other == mark));
                }
                let within: u64 = marks.within(10..30).map(|(run, _)| run.end - run.start).sum();
                prop_assert_eq!(within, list[10..30].iter().filter(|&&mark| mark != 0).count() as u64);
            }
        }
    }
}
