#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;

use crate::filter::{Event, Trace};

#[test]
fn what_is_lacking_is_replaced() {
    let memory = Arc::new(crate::storage::Memory::new(3 << 20));
    let trace = Arc::new(Trace::new(memory));
    let full = NoExtents::new(trace.clone());
    let extent = full.status(5..2 << 20).unwrap();
    assert_eq!((extent.length, extent.data, extent.zero), ((2 << 20) - 5, true, false));
    assert!(full.status(5..4 << 20).is_err());

    NoZero::new(trace.clone(), Zeroes::Written).write_zeroes(7..(2 << 20) + 9, Zero::MayUnmap).unwrap();
    let written: usize = trace
        .events()
        .iter()
        .map(|event| matches!(event, Event::Write { bytes, .. } if bytes.iter().all(|&b| b == 0)) as usize)
        .sum();
    assert_eq!(written, trace.events().len());
    let bytes: usize = trace
        .events()
        .iter()
        .map(|event| if let Event::Write { bytes, .. } = event { bytes.len() } else { 0 })
        .sum();
    assert_eq!(bytes, (2 << 20) + 2);

    let before = trace.events().len();
    NoFlush::new(trace.clone()).flush().unwrap();
    ReadEarly::new(trace.clone()).prefetch(0..3 << 20).unwrap();
    assert!(NoCache::new(trace.clone()).prefetch(0..(3 << 20) + 1).is_err());
    let only = ReadOnly::new(trace.clone());
    assert!(only.is_read_only());
    assert!(only.write_at(&[1], 0).is_err() && only.discard(0..1).is_err());
    assert!(only.write_zeroes(0..1, Zero::MayUnmap).is_err());
    only.flush().unwrap();
    assert_eq!(trace.events().len(), before);
}
