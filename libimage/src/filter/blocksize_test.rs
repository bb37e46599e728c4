#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use proptest::prelude::*;

use crate::filter::blocksize_policy::{Constraints, blocksize_policy};

/// Refuses what is not of whole blocks, or too large.
fn picky(size: u64, block: u64, most: u64) -> Arc<dyn Block> {
    let constraints = Constraints {
        minimum: Some(block as u32),
        maximum: Some(most as u32),
        strict: true,
        ..Constraints::default()
    };
    blocksize_policy(model::memory(size), constraints).unwrap()
}

proptest! {
    #![proptest_config(model::config(48))]

    #[test]
    fn only_possible_requests_go_below(requests in model::requests(), more in 0_usize..3) {
        // The size that is shown is the model's: a device that a whole number of blocks make up.
        let block = 1_u64 << [0, 9, 12][more];
        let size = model::SIZE.next_multiple_of(block);
        let below = picky(size + block - 1, block, 2 * block.max(8192));
        let sizes = Sizes { min_block: None, max_data: Some(2 * block.max(8192)), max_length: Some(16 * block.max(512)) };
        let sized: Arc<dyn Block> = Arc::new(BlockSize::new(Arc::clone(&below), sizes).unwrap());
        prop_assert_eq!(sized.size(), size + block - 1 - (size + block - 1) % block);
        let window = crate::filter::Slice::new(sized, 0, model::SIZE).unwrap();
        model::follow(&window, &mut model::bytes(model::SIZE), &requests);
    }
}

#[test]
fn parts_of_blocks_written_at_once_are_all_kept() {
    let below = picky(1 << 20, 4096, 1 << 20);
    model::crowd(&BlockSize::new(below, Sizes::default()).unwrap());
}

#[test]
fn sizes_must_fit_together() {
    let sizes = |min_block, max_data, max_length| Sizes { min_block, max_data, max_length }.check();
    assert!(sizes(Some(4096), Some(8192), Some(12_288)).is_ok());
    for (min, data, length) in [
        (Some(3), None, None),
        (Some(1 << 17), None, None),
        (Some(4096), Some(5000), None),
        (None, Some(0), None),
        (Some(4096), None, Some(100)),
    ] {
        assert!(sizes(min, data, length).is_err(), "{min:?} {data:?} {length:?}");
    }
}
