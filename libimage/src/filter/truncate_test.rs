#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use proptest::prelude::*;

fn truncate(below: &Arc<dyn Block>, size: NewSize) -> Truncate {
    Truncate::new(Arc::clone(below), size).unwrap()
}

proptest! {
    #![proptest_config(model::config(32))]

    #[test]
    fn a_shorter_one_is_the_beginning(requests in model::requests(), extra in 0_u64..9000) {
        let below: Arc<dyn Block> = model::memory(model::SIZE + extra);
        let mut bytes = model::bytes(model::SIZE);
        let behind = model::read(&*below, model::SIZE..model::SIZE + extra);
        let size = NewSize { exactly: Some(model::SIZE), ..NewSize::default() };
        model::follow(&truncate(&below, size), &mut bytes, &requests);
        prop_assert!(model::read(&*below, model::SIZE..model::SIZE + extra) == behind);
    }
}

#[test]
fn a_longer_one_ends_in_zeroes_that_stay() {
    let below: Arc<dyn Block> = model::memory(1000);
    let longer = truncate(&below, NewSize { up_to: Some(512), ..NewSize::default() });
    assert_eq!(longer.size(), 1024);
    longer.write_at(&[vec![5; 10], vec![0; 24]].concat(), 990).unwrap();
    let error = longer.write_at(&[vec![6; 10], vec![1; 24]].concat(), 990).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(model::read(&longer, 990..1024), [vec![5; 10], vec![0; 24]].concat());
    longer.write_zeroes(995..1024, Zero::MayUnmap).unwrap();
    longer.discard(1000..1024).unwrap();
    assert_eq!(model::read(&longer, 994..1000), [5, 0, 0, 0, 0, 0]);
    let extent = longer.status(1000..1024).unwrap();
    assert_eq!((extent.length, extent.zero, extent.data), (24, true, false));
    assert_eq!(below.size(), 1000);
}

#[test]
fn sizes_are_applied_in_order() {
    let below: Arc<dyn Block> = model::memory(1000);
    let size = |exactly, up_to, down_to| truncate(&below, NewSize { exactly, up_to, down_to }).size();
    assert_eq!(size(None, None, Some(512)), 512);
    assert_eq!(size(Some(5000), Some(4096), None), 8192);
    assert_eq!(size(Some(5000), Some(4096), Some(16_384)), 0);
    assert!(
        Truncate::new(below, NewSize { exactly: Some(i64::MAX as u64), up_to: Some(512), down_to: None })
            .is_err()
    );
}
