//! For tests: random requests to a device, held against a list of bytes.

use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;

use crate::block::{Block, Zero};
use crate::storage::Memory;

/// Bytes of the devices that are tried. No multiple of any block.
pub(super) const SIZE: u64 = 200_123;

#[derive(Debug, Clone)]
pub(super) enum Request {
    Write(Range<u64>, u8),
    Zero(Range<u64>),
    Discard(Range<u64>),
    Prefetch(Range<u64>),
    Read(Range<u64>),
    Flush,
}

fn range() -> impl Strategy<Value = Range<u64>> {
    let edge = prop_oneof![
        0..=SIZE,
        (0..=SIZE / 4096).prop_map(|block| block * 4096),
        (0..=SIZE / 65_536).prop_map(|block| block * 65_536),
        Just(SIZE),
    ];
    (edge.clone(), edge).prop_map(|(a, b)| a.min(b)..a.max(b))
}

/// Some requests to a device of [`SIZE`] bytes.
pub(super) fn requests() -> impl Strategy<Value = Vec<Request>> {
    let request = prop_oneof![
        4 => (range(), 1_u8..).prop_map(|(range, byte)| Request::Write(range, byte)),
        2 => range().prop_map(Request::Zero),
        1 => range().prop_map(Request::Discard),
        1 => range().prop_map(Request::Prefetch),
        3 => range().prop_map(Request::Read),
        1 => Just(Request::Flush),
    ];
    prop::collection::vec(request, 1..24)
}

/// Bytes that differ from each other.
pub(super) fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at / 4096) as u8).collect()
}

pub(super) fn memory(size: u64) -> Arc<Memory> {
    Arc::new(Memory::from_bytes(&bytes(size)))
}

pub(super) fn read(block: &dyn Block, range: Range<u64>) -> Vec<u8> {
    let mut buf = vec![0xee; (range.end - range.start) as usize];
    block.read_at(&mut buf, range.start).expect("a read within the device");
    buf
}

pub(super) fn all(block: &dyn Block) -> Vec<u8> {
    read(block, 0..block.size())
}

fn pattern(range: &Range<u64>, byte: u8) -> Vec<u8> {
    range.clone().map(|at| byte.wrapping_add((at / 512) as u8) | 1).collect()
}

/// Does the requests to `block` and to `model`, the bytes it begins with, and compares.
pub(super) fn follow(block: &dyn Block, model: &mut [u8], requests: &[Request]) {
    for request in requests {
        let slice = |range: &Range<u64>| range.start as usize..range.end as usize;
        match request {
            Request::Write(range, byte) => {
                let bytes = pattern(range, *byte);
                block.write_at(&bytes, range.start).expect("a write within the device");
                model[slice(range)].copy_from_slice(&bytes);
            }
            Request::Zero(range) => {
                block.write_zeroes(range.clone(), Zero::MayUnmap).expect("zeroes within the device");
                model[slice(range)].fill(0);
            }
            Request::Discard(range) => {
                block.discard(range.clone()).expect("a discard within the device");
                let found = read(block, range.clone());
                for (old, new) in model[slice(range)].iter_mut().zip(found) {
                    assert!(new == 0 || new == *old, "a discard leaves what was there, or zeroes");
                    *old = new;
                }
            }
            Request::Prefetch(range) => block.prefetch(range.clone()).expect("a hint"),
            Request::Read(range) => assert!(read(block, range.clone()) == model[slice(range)], "{request:?}"),
            Request::Flush => block.flush().expect("a flush"),
        }
    }
    assert!(all(block) == model, "all of it");
    let size = block.size();
    let mut at = 0;
    while at < size {
        let extent = block.status(at..size).expect("a question within the device");
        assert!(extent.length > 0 && extent.length <= size - at);
        let end = at + extent.length;
        assert!(
            !extent.zero || model[at as usize..end as usize].iter().all(|&byte| byte == 0),
            "{at}..{end}"
        );
        at = end;
    }
    assert!(block.read_at(&mut [0; 2], size - 1).is_err());
    assert!(block.write_at(&[0; 2], size - 1).is_err());
    assert!(block.write_zeroes(size - 1..size + 1, Zero::MayUnmap).is_err());
    assert!(block.status(size..size + 1).is_err());
    assert!(block.read_at(&mut [0; 2], u64::MAX - 1).is_err());
    assert!(block.discard(size - 1..u64::MAX).is_err());
}

/// Several threads, each with a part of the device that meets the others in the middle of blocks.
pub(super) fn crowd(block: &dyn Block) {
    const PART: u64 = 10_007;
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            scope.spawn(move || {
                for round in 0..40_u8 {
                    let range = thread * PART..(thread + 1) * PART;
                    let mine = pattern(&range, round);
                    block.write_at(&mine, range.start).expect("a write");
                    assert!(read(block, range.clone()) == mine, "thread {thread}, round {round}");
                    if round % 3 == 0 {
                        block.write_zeroes(range.clone(), Zero::MayUnmap).expect("zeroes");
                        assert!(read(block, range.clone()).iter().all(|&byte| byte == 0));
                    }
                    if round % 7 == 0 {
                        block.flush().expect("a flush");
                    }
                }
            });
        }
    });
}

pub(super) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
