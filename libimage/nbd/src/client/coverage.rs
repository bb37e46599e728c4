//! Which bytes of a request have been answered: each has to be, exactly once.

use std::ops::Range;

/// More pieces than this are no answer but an attack.
const MAX_PIECES: usize = 1 << 16;

/// Bytes that were answered, as ranges in ascending order that do not touch.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pieces: Vec<Range<u64>>,
}

impl Coverage {
    /// Adds a range. False if a part of it is there already, or the pieces are too many.
    pub(super) fn add(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let at = self.pieces.partition_point(|piece| piece.end < range.start);
        // The piece at `at` ends at or after the start of the range: it touches, overlaps, or lies behind.
        let mut merged = range.clone();
        let mut last = at;
        while let Some(piece) = self.pieces.get(last) {
            if piece.start > range.end {
                break;
            }
            if piece.start < range.end && range.start < piece.end {
                return false;
            }
            merged = merged.start.min(piece.start)..merged.end.max(piece.end);
            last += 1;
        }
        self.pieces.splice(at..last, [merged]);
        self.pieces.len() <= MAX_PIECES
    }

    /// All of `range` was answered.
    pub(super) fn is(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.pieces == [range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_meet_and_never_overlap() {
        let mut coverage = Coverage::default();
        for range in [10..20, 30..40, 0..5, 20..30, 5..10] {
            assert!(coverage.add(range));
        }
        assert!(coverage.is(&(0..40)));
        for range in [0..1, 39..50, 5..5, 0..100] {
            assert!(!coverage.add(range));
        }
        assert!(coverage.add(40..41));
        assert!(!coverage.is(&(0..40)));
    }

    #[test]
    fn crumbs_are_refused() {
        let mut coverage = Coverage::default();
        let taken = (0..1u64 << 20).take_while(|n| coverage.add(n * 2..n * 2 + 1)).count();
        assert_eq!(taken, MAX_PIECES);
    }
}
