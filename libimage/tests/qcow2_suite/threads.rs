//! Many threads on one image. Each knows what its own bytes must read as, whatever the others do to their
//! neighbours in the same clusters.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use libimage::format::qcow2::{CreateOptions, OpenOptions, Qcow2};
use libimage::storage::{FileStorage, Memory};
use libimage::{Block, Extent, Limits, Preallocation, Result, Zero};

use crate::tools::{Random, assert_clean, assert_same, read_all};

/// A storage whose requests take their time, so that others come in between.
struct Slow {
    inner: Arc<dyn Block>,
    turn: AtomicU64,
}

impl Slow {
    fn wait(&self) {
        let turn = self.turn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 60;
        match turn {
            0..=7 => {}
            8..=13 => std::thread::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(60)),
        }
    }
}

impl Block for Slow {
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.wait();
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.wait();
        self.inner.write_at(buf, offset)?;
        self.wait();
        Ok(())
    }
    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        self.inner.write_zeroes(range, how)
    }
    fn discard(&self, range: Range<u64>) -> Result<()> {
        self.inner.discard(range)
    }
    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }
    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.inner.status(range)
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.inner.resize(size, preallocation)
    }
    fn name(&self) -> &str {
        self.inner.name()
    }
}

const THREADS: u64 = 6;
const STEPS: u32 = 700;

/// One thread's bytes: pieces of `piece` bytes, of which every [`THREADS`]th is its own.
struct Own<'a> {
    image: &'a Qcow2,
    model: Vec<u8>,
    piece: u64,
    thread: u64,
    random: Random,
}

impl Own<'_> {
    fn pick(&mut self) -> Range<u64> {
        let pieces = self.model.len() as u64 / self.piece / THREADS;
        let start = (self.random.below(pieces) * THREADS + self.thread) * self.piece;
        let from = self.random.below(self.piece);
        let to = from + 1 + self.random.below(self.piece - from);
        match self.random.chance(3) {
            true => start..start + self.piece,
            false => start + from..start + to,
        }
    }

    fn step(&mut self) {
        let range = self.pick();
        let own = range.start as usize..range.end as usize;
        let length = own.len();
        let cluster = self.image.cluster_size();
        let whole = range.start.is_multiple_of(cluster) && length as u64 == cluster;
        match self.random.below(10) {
            0..=3 => {
                let bytes = self.random.bytes(length, true);
                self.image.write_at(&bytes, range.start).unwrap();
                self.model[own].copy_from_slice(&bytes);
            }
            4 => {
                self.image.write_zeroes(range, Zero::MayUnmap).unwrap();
                self.model[own].fill(0);
            }
            5 => {
                self.image.write_zeroes(range, Zero::KeepAllocated).unwrap();
                self.model[own].fill(0);
            }
            6 if whole => {
                self.image.discard(range).unwrap();
                self.model[own].fill(0);
            }
            7 if whole => {
                let bytes = self.random.bytes(length, true);
                self.image.write_compressed_data(range.start, &bytes).unwrap();
                self.model[own].copy_from_slice(&bytes);
            }
            _ => {
                let mut found = vec![0; length];
                self.image.read_at(&mut found, range.start).unwrap();
                assert_same(&found, &self.model[own], "own bytes");
            }
        }
    }
}

/// Plays and returns what the disk must hold.
fn play(image: &Qcow2, piece: u64, snapshots: bool, seed: u64) -> Vec<u8> {
    let size = image.size() as usize;
    let done = AtomicBool::new(false);
    let mut whole = vec![0; size];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let random = Random::new(seed * 100 + thread);
                let mut own = Own { image, model: vec![0; size], piece, thread, random };
                scope.spawn(move || {
                    (0..STEPS).for_each(|_| own.step());
                    own.model
                })
            })
            .collect();
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                image.flush().unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let photographer = scope.spawn(|| {
            while snapshots && !done.load(Ordering::Acquire) {
                image.create_snapshot("now", Duration::ZERO).unwrap();
                std::thread::sleep(Duration::from_micros(500));
                image.delete_snapshot("now").unwrap();
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let models: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Release);
        flusher.join().unwrap();
        photographer.join().unwrap();
        for (thread, model) in models.into_iter().enumerate() {
            let model = model.unwrap();
            let stride = (piece * THREADS) as usize;
            for start in (thread * piece as usize..size).step_by(stride) {
                let end = (start + piece as usize).min(size);
                whole[start..end].copy_from_slice(&model[start..end]);
            }
        }
    });
    whole
}

fn stress(cluster_size: u64, piece: u64, snapshots: bool, seed: u64) {
    let options = CreateOptions { cluster_size, ..CreateOptions::default() };
    stress_with(options, piece, snapshots, seed);
}

fn stress_with(options: CreateOptions, piece: u64, snapshots: bool, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shared.qcow2");
    let inner: Arc<dyn Block> = match seed % 2 {
        0 => Arc::new(Memory::new(0)),
        _ => Arc::new(FileStorage::create(&path).unwrap()),
    };
    let slow = Arc::new(Slow { inner: Arc::clone(&inner), turn: AtomicU64::new(seed) });
    let size = (piece * THREADS * 24).next_multiple_of(512);
    let options = CreateOptions { size, ..options };
    drop(Qcow2::create(Arc::clone(&slow) as Arc<dyn Block>, &options).unwrap());
    // The smallest cache: pages come and go all the time.
    let open = OpenOptions { cache_bytes: 0, ..OpenOptions::default() };
    let image = Qcow2::open(slow, open).unwrap();
    let expected = play(&image, piece, snapshots, seed);
    let found = read_all(&image);
    let own = (expected.len() as u64 / piece / THREADS * THREADS * piece) as usize;
    assert_same(&found[..own], &expected[..own], "after all");
    image.close().unwrap();
    if seed.is_multiple_of(2) {
        std::fs::write(&path, read_all(&*inner)).unwrap();
    }
    drop(inner);
    assert_clean(&path);
}

#[test]
fn threads_share_clusters() {
    for seed in 0..4 {
        stress(4096, 1000, false, seed);
        stress(65536, 3000, false, 10 + seed);
    }
}

#[test]
fn threads_own_whole_clusters() {
    for seed in 20..24 {
        stress(512, 512, false, seed);
        stress(4096, 4096, false, 10 + seed);
    }
}

#[test]
fn threads_share_subclusters() {
    let subclusters =
        |cluster_size| CreateOptions { cluster_size, extended_l2: true, ..CreateOptions::default() };
    for seed in 60..63 {
        stress_with(subclusters(16384), 300, false, seed);
        stress_with(subclusters(16384), 512, seed == 61, 10 + seed);
        stress_with(subclusters(65536), 3000, false, 20 + seed);
    }
}

#[test]
fn threads_keep_lazy_refcounts() {
    for seed in 90..92 {
        let options = CreateOptions { cluster_size: 4096, lazy_refcounts: true, ..CreateOptions::default() };
        stress_with(options, 1000, seed == 91, seed);
    }
}

#[test]
fn snapshots_come_and_go_meanwhile() {
    for seed in 40..44 {
        stress(512, 512, true, seed);
        stress(4096, 1000, true, 10 + seed);
    }
}

/// A slow request on a cluster that is discarded meanwhile must not touch, or show, what its next owner
/// stores there.
#[test]
fn slow_requests_never_meet_the_next_owner() {
    const CLUSTER: u64 = 4096;
    const HALF: u64 = 16 * CLUSTER;
    for seed in 0..3 {
        let memory = Arc::new(Memory::new(0));
        let slow =
            Arc::new(Slow { inner: Arc::clone(&memory) as Arc<dyn Block>, turn: AtomicU64::new(seed) });
        let options = CreateOptions { cluster_size: CLUSTER, size: 2 * HALF, ..CreateOptions::default() };
        let image = Qcow2::create(slow, &options).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The first half: written with ones and discarded at the same time, read as either.
            for thread in 0..3 {
                let (image, done) = (&image, &done);
                scope.spawn(move || {
                    let mut random = Random::new(seed * 10 + thread);
                    while !done.load(Ordering::Acquire) {
                        let at = random.below(HALF / CLUSTER) * CLUSTER;
                        image.write_at(&[1; CLUSTER as usize], at).unwrap();
                        let mut found = [0; CLUSTER as usize];
                        image.read_at(&mut found, at).unwrap();
                        assert!(found.iter().all(|&byte| byte < 2), "foreign bytes were read");
                    }
                });
            }
            scope.spawn(|| {
                let mut random = Random::new(seed * 10 + 5);
                while !done.load(Ordering::Acquire) {
                    let at = random.below(HALF / CLUSTER) * CLUSTER;
                    image.discard(at..at + CLUSTER).unwrap();
                    image.flush().unwrap();
                }
            });
            // The second half: whatever was freed ends up here, and must keep what was written.
            let owner = scope.spawn(|| {
                let mut random = Random::new(seed * 10 + 6);
                let mut failure = None;
                for _ in 0..3000 {
                    let at = HALF + random.below(HALF / CLUSTER) * CLUSTER;
                    let value = random.below(200) as u8 + 50;
                    image.write_at(&[value; CLUSTER as usize], at).unwrap();
                    std::thread::yield_now();
                    let mut found = [0; CLUSTER as usize];
                    image.read_at(&mut found, at).unwrap();
                    if found.iter().any(|&byte| byte != value) {
                        failure = Some(at);
                        break;
                    }
                    if random.chance(2) {
                        image.discard(at..at + CLUSTER).unwrap();
                    }
                }
                done.store(true, Ordering::Release);
                failure
            });
            assert_eq!(
                owner.join().unwrap(),
                None,
                "bytes were overwritten by a request for another cluster"
            );
        });
        assert!(image.check().unwrap().corruptions == 0);
    }
}
