#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use std::sync::atomic::AtomicU32;

use crate::filter::inject::{Injections, inject};

/// A device that fails the first calls to it after each time it was opened, up to a number of openings.
fn unreliable(failing: u32) -> (Open, Arc<AtomicU32>) {
    let opened = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&opened);
    let open = move |read_only: bool| -> Result<Arc<dyn Block>> {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let mut injections = Injections::default();
        for kind in [Kind::Read, Kind::Write] {
            injections.of(kind).probability = if number < failing { 1.0 } else { 0.0 };
        }
        let below: Arc<dyn Block> = model::memory(8192);
        let below = if read_only { Arc::new(crate::filter::without::ReadOnly::new(below)) } else { below };
        Ok(inject(below, injections))
    };
    (Arc::new(open), opened)
}

fn options(retries: u32, read_only: bool) -> Options {
    Options { retries, delay: Duration::from_millis(1), exponential: true, read_only }
}

#[test]
fn what_failed_is_opened_again() {
    let (open, opened) = unreliable(3);
    let block = retry(open, options(5, false)).unwrap();
    assert!(model::all(&*block) == model::bytes(8192));
    assert_eq!(opened.load(Ordering::SeqCst), 4);
    block.write_at(&[1; 10], 0).unwrap();
    assert_eq!(model::read(&*block, 0..10), [1; 10]);
    assert!(block.read_at(&mut [0; 10], 8190).is_err());
    assert_eq!(opened.load(Ordering::SeqCst), 4, "what cannot succeed is not tried again");
}

#[test]
fn it_gives_up() {
    let (open, opened) = unreliable(u32::MAX);
    let block = retry(open, options(2, false)).unwrap();
    let error = block.read_at(&mut [0; 10], 0).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.raw_os_error() == Some(5)), "{error}");
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[test]
fn nothing_is_written_after_a_failure_if_so_asked() {
    let (open, _) = unreliable(1);
    let block = retry(open, options(5, true)).unwrap();
    assert!(!block.is_read_only());
    model::read(&*block, 0..10);
    assert!(block.is_read_only());
    assert!(matches!(block.write_at(&[1], 0), Err(Error::ReadOnly { .. })));
}

#[test]
fn what_cannot_be_opened_is_tried_again_too() {
    let tries = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&tries);
    let open: Open = Arc::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 | 3 | 4 => Err(Error::io("open", "it", io::Error::from(Errno::CONNREFUSED))),
        number => {
            let mut injections = Injections::default();
            injections.of(Kind::Read).probability = if number == 2 { 1.0 } else { 0.0 };
            Ok(inject(model::memory(100), injections))
        }
    });
    let block = retry(open, options(5, false)).unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert!(model::all(&*block) == model::bytes(100));
}

#[test]
fn a_single_request_is_tried_again() {
    let mut injections = Injections::default();
    injections.of(Kind::Read).probability = 0.5;
    let block = retry_request(inject(model::memory(4096), injections), 100, Duration::ZERO);
    for _ in 0..100 {
        model::read(&*block, 0..4096);
    }
}
