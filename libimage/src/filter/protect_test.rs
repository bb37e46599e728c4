#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

fn errno(result: Result<()>) -> Option<i32> {
    match result {
        Err(Error::Io { source, .. }) => source.raw_os_error(),
        Err(error) => panic!("{error}"),
        Ok(()) => None,
    }
}

#[test]
fn protected_bytes_stay() {
    let below = model::memory(8192);
    let ranges = [Protected { start: 100, last: Some(199), complement: false }];
    let block = Protect::new(below.clone(), &ranges);
    let perm = Some(Errno::PERM.raw_os_error());
    assert_eq!(errno(block.write_at(&[0xff; 200], 50)), perm);
    assert_eq!(errno(block.write_zeroes(199..300, Zero::MayUnmap)), perm);
    assert_eq!(errno(block.discard(0..8192)), perm);
    assert!(model::all(&*below) == model::bytes(8192));
    assert_eq!(errno(block.write_at(&[1; 100], 0)), None);
    assert_eq!(errno(block.write_zeroes(200..300, Zero::MayUnmap)), None);
    let same = model::read(&block, 50..250);
    assert_eq!(errno(block.write_at(&same, 50)), None);
    // All but a part.
    let ranges = [Protected { start: 4096, last: Some(5000), complement: true }];
    let block = Protect::new(below.clone(), &ranges);
    assert_eq!(errno(block.write_at(&[0xff; 10], 4090)), perm);
    assert_eq!(errno(block.write_at(&[0xff; 10], 4992)), perm);
    assert_eq!(errno(block.write_at(&[0xff; 905], 4096)), None);
    // Beyond the end there is nothing to protect.
    let block = Protect::new(below, &[Protected { start: 9000, last: None, complement: false }]);
    assert_eq!(errno(block.write_at(&[7; 8192], 0)), None);
}

#[test]
fn only_what_is_there_can_be_written() {
    let below = model::memory(3 << 20);
    below.write_zeroes(1 << 20..2 << 20, Zero::MayUnmap).unwrap();
    let before = model::all(&*below);
    let block = CheckWrite::new(below.clone());
    assert_eq!(errno(block.write_at(&before, 0)), None);
    assert_eq!(errno(block.write_zeroes(1 << 20..2 << 20, Zero::MayUnmap)), None);
    let io = Some(Errno::IO.raw_os_error());
    let mut other = before.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(errno(block.write_at(&other, 0)), io);
    assert_eq!(errno(block.write_zeroes(1 << 20..(2 << 20) + 2, Zero::MayUnmap)), io);
    assert_eq!(errno(block.discard(0..10)), io);
    assert!(model::all(&*below) == before);
}
