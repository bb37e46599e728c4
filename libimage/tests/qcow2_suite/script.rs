//! A repeatable mix of requests, whose effect on every byte is known even if some of them fail.

use std::time::Duration;

use libimage::format::qcow2::Qcow2;
use libimage::{Block, Preallocation, Result, Zero};

use crate::tools::Random;

/// Bytes that are compared at once.
const PART: usize = 512;

/// What each byte of a disk may read as.
#[derive(Clone)]
pub(crate) struct Allowed {
    /// Values, oldest first; any of them will do.
    pub(crate) values: Vec<Vec<u8>>,
}

impl Allowed {
    pub(crate) fn zeroes(size: u64) -> Self {
        Allowed { values: vec![vec![0; size as usize]] }
    }

    pub(crate) fn newest(&self) -> &[u8] {
        self.values.last().unwrap()
    }

    /// Everything but the newest is impossible from now on.
    pub(crate) fn settle(&mut self) {
        self.values.drain(..self.values.len() - 1);
    }

    fn push(&mut self, start: u64, bytes: &[u8]) {
        let mut next = self.newest().to_vec();
        next[start as usize..][..bytes.len()].copy_from_slice(bytes);
        self.values.push(next);
    }

    fn resize(&mut self, size: usize) {
        let mut next = self.newest().to_vec();
        next.resize(size, 0);
        self.values.push(next);
    }

    /// Every byte that exists in both is one of those allowed.
    pub(crate) fn check(&self, found: &[u8], what: &str) {
        assert!(self.values.iter().any(|value| value.len() == found.len()), "{what}: length {}", found.len());
        for (start, part) in (0..).step_by(PART).zip(found.chunks(PART)) {
            // Most parts are of one age.
            if self.values.iter().rev().any(|value| value.get(start..start + part.len()) == Some(part)) {
                continue;
            }
            for (at, byte) in (start..).zip(part) {
                let allowed = self.values.iter().any(|value| value.get(at).unwrap_or(&0) == byte);
                assert!(allowed, "{what}: {byte:#x} at {at:#x} was never written there");
            }
        }
    }
}

/// Which requests a script makes.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) snapshots: bool,
    pub(crate) resize: bool,
}

/// Does the next thing; `allowed` tells what may be read afterwards, whether it failed or not.
pub(crate) fn step(image: &Qcow2, random: &mut Random, allowed: &mut Allowed, mix: Mix) -> Result<()> {
    let cluster = image.cluster_size();
    let size = image.size();
    let start = random.below(size);
    let length = (random.below(6 * cluster) + 1).min(size - start);
    match random.below(16) {
        0..=5 => {
            let bytes = random.bytes(length as usize, true);
            allowed.push(start, &bytes);
            image.write_at(&bytes, start)
        }
        6..=7 => {
            allowed.push(start, &vec![0; length as usize]);
            let how = if random.chance(2) { Zero::MayUnmap } else { Zero::KeepAllocated };
            image.write_zeroes(start..start + length, how)
        }
        8..=9 => {
            // Zeroes or what was there: the image decides.
            allowed.push(start, &vec![0; length as usize]);
            let result = image.discard(start..start + length);
            let mut now = vec![0; size as usize];
            image.read_at(&mut now, 0)?;
            allowed.check(&now, "after a discard");
            if result.is_ok() {
                allowed.values.push(now);
            }
            result
        }
        // Nothing is compressed in data files.
        10..=12 if image.info()?.data_file.is_none() => {
            let start = start - start % cluster;
            let bytes = random.bytes(cluster.min(size - start) as usize, true);
            allowed.push(start, &bytes);
            image.write_compressed_data(start, &bytes)
        }
        13 if mix.snapshots => {
            let name = format!("s{}", random.below(3));
            let existing = image.snapshots()?.iter().any(|snapshot| snapshot.name == name);
            match existing {
                true => image.delete_snapshot(&name),
                false => image.create_snapshot(&name, Duration::from_secs(1)).map(drop),
            }
        }
        14 if mix.resize => {
            let new =
                (size / 512 + random.below(2 * cluster / 512) + 1).saturating_sub(cluster / 512).max(8) * 512;
            allowed.resize(new as usize);
            image.resize(new, Preallocation::Off)
        }
        _ => image.flush(),
    }
}
