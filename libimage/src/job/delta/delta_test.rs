//! Deltas between random disks: made, applied, laid over, interrupted, damaged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Arc;

use super::*;
use crate::block::Block;
use crate::filter::Fault;
use crate::job::Silent;
use crate::storage::Memory;

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn bytes(block: &dyn Block) -> Vec<u8> {
    let mut bytes = vec![0; block.size() as usize];
    block.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn disks(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut numbers = Numbers(seed * 7919 + 1);
    let sizes = [1, 4096, 5000, 4 << 20, (5 << 20) + 77, (9 << 20) + 512];
    let mut old = vec![0; sizes[numbers.below(6) as usize]];
    scribble(&mut old, &mut numbers);
    let mut new = old.clone();
    match numbers.below(3) {
        0 => new.resize(sizes[numbers.below(6) as usize], 0),
        1 => new.truncate(1 + numbers.below(new.len() as u64) as usize),
        _ => {}
    }
    scribble(&mut new, &mut numbers);
    (old, new)
}

fn scribble(bytes: &mut [u8], numbers: &mut Numbers) {
    for _ in 0..numbers.below(12) {
        let at = numbers.below(bytes.len() as u64) as usize;
        let most = 1 << numbers.below(21);
        let end = bytes.len().min(at + numbers.below(most) as usize);
        let value = numbers.below(3) as u8;
        bytes[at..end].fill(value * 5);
    }
}

fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (old, new) = (Memory::from_bytes(old), Memory::from_bytes(new));
    let changed = make(&old, &new, None, &mut out, "delta", 3, &Silent).unwrap();
    assert_eq!(changed.delta, out.len() as u64);
    out
}

#[test]
fn the_new_disk_comes_of_the_old_one() {
    for seed in 0..60 {
        let (old, new) = disks(seed);
        let delta = delta(&old, &new);
        let disk = Arc::new(Memory::from_bytes(&old));
        verify(&*delta, "delta", &*disk, &Silent).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &delta).unwrap();
        let view = Patched::new(disk.clone(), file.path()).unwrap();
        assert!(bytes(&view) == new, "{seed}");
        let mut at = 0;
        while at < view.size() {
            let extent = view.status(at..view.size()).unwrap();
            let range = at as usize..(at + extent.length) as usize;
            assert!(
                extent.length > 0 && (!extent.zero || new[range].iter().all(|byte| *byte == 0)),
                "{seed}"
            );
            at += extent.length;
        }
        apply(&*delta, "delta", &*disk, &Silent).unwrap();
        assert!(bytes(&*disk) == new, "{seed}");
        // Once more does no harm.
        verify(&*delta, "delta", &*disk, &Silent).unwrap();
    }
}

#[test]
fn what_was_interrupted_can_be_repeated() {
    for seed in 0..40 {
        let (old, new) = disks(seed);
        let delta = delta(&old, &new);
        for stop in 0..8 {
            let disk = Arc::new(Memory::from_bytes(&old));
            let fault = Fault::new(disk.clone());
            fault.arm(stop..u64::MAX, false);
            let _ = apply(&*delta, "delta", &fault, &Silent);
            verify(&*delta, "delta", &*disk, &Silent).unwrap();
            apply(&*delta, "delta", &*disk, &Silent).unwrap();
            assert!(bytes(&*disk) == new, "{seed} {stop}");
        }
    }
}

#[test]
fn other_disks_and_damaged_deltas_are_refused() {
    let mut old = vec![0; 100_000];
    old[50_000..60_000].fill(3);
    let mut new = old.clone();
    new[55_000] = 9;
    let whole = delta(&old, &new);
    let mut other = old.clone();
    other[55_001] = 7;
    assert!(verify(&*whole, "delta", &Memory::from_bytes(&other), &Silent).is_err());
    assert!(verify(&*whole, "delta", &Memory::from_bytes(&old[1..]), &Silent).is_err());
    let disk = Memory::from_bytes(&old);
    for cut in 0..whole.len() {
        assert!(verify(&whole[..cut], "delta", &disk, &Silent).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            assert!(verify(&*damaged, "delta", &disk, &Silent).is_err(), "{at}");
        }
    }
}

#[test]
fn chosen_ranges_are_taken_as_they_are() {
    let new: Vec<u8> = (0..3_000_000).map(|i| (i / 1000) as u8).collect();
    let (old, disk) = (Memory::new(3_000_000), Memory::from_bytes(&new));
    let ranges = [10..20, 100..3000, 65_536..131_072, 1_500_000..2_999_999, 66_000..140_000];
    let mut out = Vec::new();
    make(&old, &disk, Some(&ranges), &mut out, "delta", 2, &Silent).unwrap();
    let target = Memory::new(3_000_000);
    verify(&*out, "delta", &target, &Silent).unwrap();
    apply(&*out, "delta", &target, &Silent).unwrap();
    let got = bytes(&target);
    for range in ranges {
        let range = range.start as usize..range.end as usize;
        assert!(got[range.clone()] == new[range]);
    }
    assert!(got[4096..65_536].iter().all(|byte| *byte == 0));
}
