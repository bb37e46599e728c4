//! What the fuzz targets of `libimage/fuzz` do, over images that lie and over thousands of mutations that are the same in
//! every run, with any compiler: no panic, no hang, bounded memory.
//!
//! Each target runs in a process of its own, which has 1 GiB of address space and a few seconds of processor time
//! for each input. When it dies, the input is kept where its message says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(unreachable_pub, reason = "the fuzz targets are another crate")]

mod bodies;
mod file_systems;
mod seeds;

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use seeds::Seed;

/// Says to a process of the test which target it is to run, and where to keep its input.
const CHILD: &str = "MUTATIONS_INPUT";
/// Address space of one target, in bytes.
const MEMORY: u64 = 1 << 30;
/// Processor time that one input may take, in seconds.
const SECONDS: u64 = 20;

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 8) % limit.max(1) as u64) as usize
    }
}

/// Changes a few places, mostly such as mean something, to what numbers lie with.
fn mutated(whole: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let meaning: Vec<usize> = (0..bytes.len()).filter(|&at| at < 128 || bytes[at] != 0).collect();
    for _ in 0..1 + numbers.below(4) {
        let at = if meaning.is_empty() { 0 } else { meaning[numbers.below(meaning.len())] };
        let from = if numbers.below(2) == 0 { numbers.below(bytes.len()) } else { at };
        let width = [1, 2, 4, 8][numbers.below(4)];
        let at = if numbers.below(2) == 0 { at - at % width } else { at };
        let word: [u8; 8] = match numbers.below(5) {
            0 => [0xff; 8],
            1 => [0; 8],
            2 => [0x80, 0, 0, 0, 0, 0, 0, 0x80],
            3 => (numbers.0 >> numbers.below(64)).to_be_bytes(),
            _ => std::array::from_fn(|i| bytes.get(from - from % 8 + i).copied().unwrap_or(0)),
        };
        for (place, new) in bytes.iter_mut().skip(at).take(width).zip(word) {
            *place = if numbers.below(20) == 0 { *place ^ (1 << (new % 8)) } else { new };
        }
    }
    if numbers.below(12) == 0 {
        bytes.truncate(numbers.below(bytes.len()));
    }
    bytes
}

/// Runs one target in this process, and leaves its input in `kept` while it is being worked on.
fn run(target: &str, rounds: usize, kept: &Path) {
    let body = bodies::ALL.into_iter().find(|(name, _)| *name == target).unwrap().1;
    let seeds = seeds::of(target);
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) }).unwrap();
    let attempt = |bytes: &[u8]| {
        std::fs::write(kept, bytes).unwrap();
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec as u64;
        let maximum = getrlimit(Resource::Cpu).maximum;
        setrlimit(Resource::Cpu, Rlimit { current: Some(used + SECONDS), maximum }).unwrap();
        body(bytes)
    };
    for Seed { name, bytes, good } in &seeds {
        let understood = attempt(bytes);
        assert!(understood || !good, "{target}: '{name}' should be understood");
    }
    let mut numbers = Numbers(0x5eed);
    let good: Vec<&Seed> = seeds.iter().filter(|seed| seed.good).collect();
    for round in 0..rounds {
        // A lie on top of another one, or a new one.
        let seed = if round % 3 == 0 { &seeds[numbers.below(seeds.len())] } else { good[round % good.len()] };
        attempt(&mutated(&seed.bytes, &mut numbers));
    }
    std::fs::remove_file(kept).unwrap();
}

/// Lets a target run in a process of its own.
fn survives(target: &str, rounds: usize) {
    if let Some(kept) = std::env::var_os(CHILD) {
        return run(target, rounds, Path::new(&kept));
    }
    let kept: PathBuf = std::env::temp_dir().join(format!("mutation-{target}-{}", std::process::id()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", target, "--nocapture", "--test-threads=1"])
        .env(CHILD, &kept)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = text.lines().rev().take(30).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    assert!(
        output.status.success(),
        "{target} ended with {} on the input in {}\n{}",
        output.status,
        kept.display(),
        tail.join("\n")
    );
}

macro_rules! targets {
    ($($name:ident $rounds:literal)*) => {
        $(#[test]
        fn $name() {
            survives(stringify!($name), $rounds);
        })*

        #[test]
        fn every_target_is_here() {
            assert_eq!(bodies::ALL.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

targets! {
    qcow2 2500
    stream 3000
    luks 1500
    disk 1000
    volumes 150
    btrfs 200
    erofs 400
    exfat 200
    ext4 600
    fat 200
    iso9660 300
    ntfs 200
    squashfs 300
    xfs 200
    audit 1500
    delta 2000
    undo 2000
    packed 800
    tar 3000
    options 5000
}

/// Writes the seeds of all targets to the directory that CORPUS names: `make fuzz` begins with them.
#[test]
#[ignore = "make fuzz runs it"]
fn corpus() {
    let directory = PathBuf::from(std::env::var_os("CORPUS").unwrap());
    for (target, _) in bodies::ALL {
        let directory = directory.join(target);
        std::fs::create_dir_all(&directory).unwrap();
        for seed in seeds::of(target) {
            std::fs::write(directory.join(seed.name), seed.bytes).unwrap();
        }
    }
}
