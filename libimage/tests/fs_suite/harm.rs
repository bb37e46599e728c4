//! Damage: bytes of an image are changed, and whatever a reader then says, it ends in order.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libimage::Block;
use libimage::fs::system::{FileSystem, Result};
use libimage::storage::Memory;

use crate::image::Image;

#[allow(dead_code, reason = "whole disks are walked by other tests")]
#[path = "../shared/walk.rs"]
pub(crate) mod walk;

/// Images that are tried, for each range.
const TRIES: u64 = 100;
/// Files of each that are looked at.
const FILES: usize = 60;
/// What going through one of them may take.
const LONG: Duration = Duration::from_secs(20);

/// Numbers that look random and are always the same.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// Changes bytes in each of the ranges, and goes through what is left.
pub(crate) fn survive(
    image: &Image,
    ranges: &[Range<u64>],
    open: impl Fn(Arc<dyn Block>) -> Result<Arc<dyn FileSystem>>,
) {
    let bytes = std::fs::read(image.path()).unwrap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut opened, mut seen) = (0, 0);
    for range in ranges {
        for _ in 0..TRIES {
            let memory = Memory::new(bytes.len() as u64);
            memory.write_at(&bytes, 0).unwrap();
            for _ in 0..=numbers.below(4) {
                let at = range.start + numbers.below(range.end - range.start);
                let mut change = [0; 4];
                let length = 1 + numbers.below(4) as usize;
                match numbers.below(4) {
                    0 => change = [0xff; 4],
                    1 => {}
                    2 => change.fill_with(|| numbers.below(256) as u8),
                    _ => change = (numbers.below(70) as u32).to_le_bytes(),
                }
                let length = length.min((bytes.len() as u64 - at) as usize);
                memory.write_at(&change[..length], at).unwrap();
            }
            let start = Instant::now();
            if let Ok(fs) = open(Arc::new(memory)) {
                opened += 1;
                seen += walk::tree(&*fs, FILES);
            }
            assert!(start.elapsed() < LONG, "it does not end");
        }
    }
    assert!(opened > 20 && seen > 1000, "of {opened} that opened, {seen} files were seen");
}
