#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use proptest::prelude::*;

fn cow(below: &Arc<dyn Block>, block: u64, keep_read: bool) -> Cow {
    let overlay = Overlay::new(block, Switch::Fixed(keep_read), true).unwrap();
    Cow::new(Arc::clone(below), Arc::new(overlay))
}

proptest! {
    #![proptest_config(model::config(48))]

    #[test]
    fn it_is_written_and_what_is_below_is_not(
        requests in model::requests(),
        block in prop_oneof![Just(4096), Just(65_536)],
        keep_read: bool,
    ) {
        let below: Arc<dyn Block> = model::memory(model::SIZE);
        let mut bytes = model::bytes(model::SIZE);
        model::follow(&cow(&below, block, keep_read), &mut bytes, &requests);
        prop_assert!(model::all(&*below) == model::bytes(model::SIZE));
    }
}

#[test]
fn parts_of_blocks_written_at_once_are_all_kept() {
    let below: Arc<dyn Block> = model::memory(model::SIZE);
    model::crowd(&cow(&below, 65_536, true));
    assert!(model::all(&*below) == model::bytes(model::SIZE));
}

#[test]
fn connections_see_the_same_changes() {
    let below: Arc<dyn Block> = model::memory(model::SIZE);
    let one = cow(&below, 4096, false);
    one.write_at(b"changed", 5000).unwrap();
    let other = Cow::new(below, Arc::clone(&one.overlay));
    assert_eq!(model::read(&other, 5000..5007), b"changed");
}

#[test]
fn a_disk_of_any_size_can_be_zeroed() {
    let below: Arc<dyn Block> = {
        let size = crate::filter::truncate::NewSize { exactly: Some(i64::MAX as u64), ..Default::default() };
        Arc::new(crate::filter::Truncate::new(model::memory(0), size).unwrap())
    };
    let cow = cow(&below, 4096, false);
    cow.write_zeroes(1..i64::MAX as u64, Zero::MayUnmap).unwrap();
    cow.write_at(&[7], 1 << 40).unwrap();
    assert_eq!(model::read(&cow, (1 << 40) - 1..(1 << 40) + 2), [0, 7, 0]);
    let extent = cow.status(4096..1 << 40).unwrap();
    assert_eq!((extent.length, extent.zero), ((1 << 40) - 4096, true));
}

#[test]
fn a_block_is_a_power_of_two() {
    for block in [0, 1, 2048, 4097, 3 << 20, 1 << 32] {
        assert!(Overlay::new(block, Switch::Fixed(false), false).is_err(), "{block}");
    }
}
