//! Runs: where the clusters of an attribute lie, unpacked from the list that its record has.

/// More runs than this are not kept for one attribute.
const MAX_RUNS: usize = 1 << 18;

/// Clusters in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first one, counted from the beginning of the attribute.
    pub(super) first: u64,
    /// Where it lies; `None` for a hole.
    pub(super) at: Option<u64>,
    /// How many they are, one at least.
    pub(super) count: u64,
}

/// All runs of an attribute, without gaps between them.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Adds the runs of a packed list, on a volume of so many clusters.
    pub(super) fn unpack(&mut self, packed: &[u8], clusters: u64) -> Result<(), &'static str> {
        let mut rest = packed;
        let mut last = 0i64;
        loop {
            let (head, after) = rest.split_first().ok_or("its list of clusters has no end")?;
            if *head == 0 {
                return Ok(());
            }
            let (count_width, place_width) = (usize::from(head & 15), usize::from(head >> 4));
            let cut = "its list of clusters is cut";
            let (count, after) = after.split_at_checked(count_width).ok_or(cut)?;
            let (distance, after) = after.split_at_checked(place_width).ok_or(cut)?;
            rest = after;
            let count =
                number(count).filter(|count| *count > 0).ok_or("a run of its clusters has no length")?;
            let count = count.cast_unsigned();
            let first = self.end();
            first.checked_add(count).filter(|end| *end < 1 << 48).ok_or("it has too many clusters")?;
            let mut at = None;
            if place_width > 0 {
                let outside = "its clusters lie outside of the volume";
                last = number(distance).and_then(|distance| last.checked_add(distance)).ok_or(outside)?;
                let start = u64::try_from(last).map_err(|_| outside)?;
                if start.checked_add(count).is_none_or(|end| end > clusters) {
                    return Err(outside);
                }
                at = Some(start);
            }
            if self.0.len() >= MAX_RUNS {
                return Err("it has more runs of clusters than are read");
            }
            self.0.push(Run { first, at, count });
        }
    }

    /// How many clusters are mapped.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.first + run.count)
    }

    /// The run that has a cluster, from that on.
    pub(super) fn from(&self, cluster: u64) -> Option<Run> {
        let index = self.0.partition_point(|run| run.first + run.count <= cluster);
        let run = self.0.get(index)?;
        let skip = cluster - run.first;
        Some(Run { first: cluster, at: run.at.map(|at| at + skip), count: run.count - skip })
    }

    pub(super) fn has_holes(&self) -> bool {
        self.0.iter().any(|run| run.at.is_none())
    }
}

/// A number with a sign, of up to eight bytes.
fn number(bytes: &[u8]) -> Option<i64> {
    let is_negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut all = [if is_negative { 0xff } else { 0 }; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found() {
        let mut runs = Runs::default();
        // 48 clusters at 100, a hole of 16, 3 at 90, then from another record 2 at 10.
        runs.unpack(&[0x11, 48, 100, 0x01, 16, 0x11, 3, 0xf6, 0], 1000).unwrap();
        runs.unpack(&[0x21, 2, 10, 0, 0, 9, 9], 1000).unwrap();
        assert_eq!(runs.end(), 69);
        assert_eq!(runs.from(47), Some(Run { first: 47, at: Some(147), count: 1 }));
        assert_eq!(runs.from(50), Some(Run { first: 50, at: None, count: 14 }));
        assert_eq!(runs.from(65), Some(Run { first: 65, at: Some(91), count: 2 }));
        assert_eq!(runs.from(68), Some(Run { first: 68, at: Some(11), count: 1 }));
        assert_eq!(runs.from(69), None);
    }

    #[test]
    fn lies_are_refused() {
        for packed in [
            &[][..],
            &[0x11, 1],
            &[0x11, 1, 5],
            &[0x10, 5, 0],
            &[0x11, 0, 5, 0],
            &[0x11, 0x80, 5, 0],
            &[0x11, 1, 0x80, 0],
            &[0x21, 2, 0xe7, 3, 0],
            &[0x91, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        ] {
            assert!(Runs::default().unpack(packed, 1000).is_err(), "{packed:?}");
        }
    }
}
