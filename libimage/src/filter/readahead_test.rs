#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use proptest::prelude::*;

use crate::filter::delay::{Delays, delay};

proptest! {
    #![proptest_config(model::config(24))]

    #[test]
    fn it_shows_what_there_is(requests in model::requests()) {
        let below = Arc::new(crate::filter::Slice::new(model::memory(model::SIZE), 0, model::SIZE).unwrap());
        let ahead = ReadAhead::new(below, Arc::default());
        model::follow(&ahead, &mut model::bytes(model::SIZE), &requests);
    }
}

#[test]
fn writes_by_others_are_seen_while_it_reads_on() {
    let below: Arc<dyn Block> = model::memory(4 << 20);
    let siblings = Arc::new(Siblings::default());
    let reader = ReadAhead::new(Arc::clone(&below), Arc::clone(&siblings));
    let writer = ReadAhead::new(Arc::clone(&below), siblings);
    for at in (0..4 << 20).step_by(65_536) {
        let byte = (at >> 16) as u8;
        writer.write_at(&[byte; 512], at + 700).unwrap();
        assert_eq!(model::read(&reader, at + 700..at + 1212), [byte; 512]);
        let range = at + 1212..at + 65_536;
        assert!(model::read(&reader, range.clone()) == model::read(&*below, range));
    }
    model::crowd(&reader);
}

#[test]
fn what_follows_is_fetched_before_it_is_asked_for() {
    let memory: Arc<dyn Block> = model::memory(4 << 20);
    let mut delays = Delays::default();
    delays.set(crate::filter::CallKind::Read, std::time::Duration::from_millis(1));
    let slow = delay(memory, delays);
    let ahead = ReadAhead::new(slow, Arc::default());
    let mut found = 0;
    for at in (0..2 << 20).step_by(65_536) {
        let part = model::read(&ahead, at..at + 65_536);
        assert!(part == model::bytes(4 << 20)[at as usize..at as usize + 65_536]);
        let state = lock(&ahead.shared.state);
        found += usize::from(!state.pieces.is_empty() || !state.wanted.is_empty());
    }
    assert!(found > 16, "{found}");
}
