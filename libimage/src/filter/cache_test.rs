#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use proptest::prelude::*;

fn options(mode: Mode, keep_read: bool, max_size: Option<u64>) -> Options {
    Options { mode, keep_read: Switch::Fixed(keep_read), min_block: 4096, max_size, ..Options::default() }
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::WriteBack), Just(Mode::WriteThrough), Just(Mode::Unsafe)]
}

proptest! {
    #![proptest_config(model::config(64))]

    #[test]
    fn it_is_as_without_a_cache(
        requests in model::requests(),
        mode in modes(),
        keep_read: bool,
        max_size in prop::option::of(4096_u64..100_000),
    ) {
        let below = model::memory(model::SIZE);
        let mut bytes = model::bytes(model::SIZE);
        let kept = Arc::new(Kept::new(options(mode, keep_read, max_size)).unwrap());
        let cache = Cache::new(below.clone(), Arc::clone(&kept));
        model::follow(&cache, &mut bytes, &requests);
        if mode != Mode::Unsafe {
            cache.flush().unwrap();
            prop_assert!(model::all(&*below) == bytes, "what was flushed is below");
        }
        if let Some(max) = max_size {
            let states = kept.states.read().unwrap();
            let held: u64 = states.within(0..u64::MAX).map(|(run, _)| run.end - run.start).sum();
            prop_assert!(held * 4096 <= max.max(2 * 4096), "{held} blocks of {max} bytes");
        }
    }
}

#[test]
fn parts_of_blocks_written_at_once_are_all_kept() {
    for (mode, max_size) in
        [(Mode::WriteBack, None), (Mode::WriteThrough, None), (Mode::WriteBack, Some(20_000))]
    {
        let below = model::memory(model::SIZE);
        let cache = Cache::new(below.clone(), Arc::new(Kept::new(options(mode, true, max_size)).unwrap()));
        model::crowd(&cache);
        let shown = model::all(&cache);
        drop(cache);
        assert!(model::all(&*below) == shown, "a client that goes leaves what it wrote");
    }
}

#[test]
fn writes_reach_what_is_below_when_they_should() {
    let below = model::memory(model::SIZE);
    let cache = |mode| Cache::new(below.clone(), Arc::new(Kept::new(options(mode, false, None)).unwrap()));
    let back = cache(Mode::WriteBack);
    back.write_at(b"late", 100).unwrap();
    assert_ne!(model::read(&*below, 100..104), b"late");
    assert_eq!(model::read(&back, 100..104), b"late");
    back.flush().unwrap();
    assert_eq!(model::read(&*below, 100..104), b"late");
    cache(Mode::WriteThrough).write_at(b"soon", 100).unwrap();
    assert_eq!(model::read(&*below, 100..104), b"soon");
    let never = cache(Mode::Unsafe);
    never.write_at(b"gone", 100).unwrap();
    never.flush().unwrap();
    drop(never);
    assert_eq!(model::read(&*below, 100..104), b"soon");
}

#[test]
fn what_was_read_is_not_read_again() {
    let below = model::memory(model::SIZE);
    let cache = Cache::new(below.clone(), Arc::new(Kept::new(options(Mode::WriteBack, true, None)).unwrap()));
    let first = model::read(&cache, 5000..90_000);
    cache.prefetch(100_000..150_000).unwrap();
    let early = model::read(&*below, 100_000..150_000);
    below.write_zeroes(0..model::SIZE, Zero::MayUnmap).unwrap();
    assert!(model::read(&cache, 5000..90_000) == first);
    assert!(model::read(&cache, 100_000..150_000) == early);
    assert!(model::read(&cache, 160_000..170_000).iter().all(|&byte| byte == 0));
}

#[test]
fn a_failed_write_below_is_told_and_tried_again() {
    let memory = model::memory(model::SIZE);
    let fault = Arc::new(crate::filter::Fault::new(memory.clone()));
    let cache =
        Cache::new(fault.clone(), Arc::new(Kept::new(options(Mode::WriteBack, false, None)).unwrap()));
    cache.write_at(&[9; 4096], 4096).unwrap();
    fault.arm(0..1, false);
    assert!(cache.flush().is_err());
    cache.flush().unwrap();
    assert_eq!(model::read(&*memory, 4096..8192), [9; 4096]);
}

#[test]
#[allow(clippy::reversed_empty_ranges, reason = "they are what is refused")]
fn options_that_make_no_sense_are_refused() {
    let usual = Options::default();
    for bad in [
        Options { min_block: 512, ..usual.clone() },
        Options { min_block: 5000, ..usual.clone() },
        Options { max_size: Some(1024), ..usual.clone() },
        Options { thresholds: 20..10, ..usual.clone() },
        Options { thresholds: 0..10, ..usual.clone() },
        Options { thresholds: 5..0, ..usual },
    ] {
        assert!(Kept::new(bad.clone()).is_err(), "{bad:?}");
    }
}
