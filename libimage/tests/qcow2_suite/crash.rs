//! The power fails: at any write, with any of the writes since the last flush lost or torn.
//!
//! QEMU must find no corruption in what is left (leaks are allowed), and everything that was flushed must
//! be there.

use std::path::Path;
use std::sync::Arc;

use libimage::filter::{Event, Trace};
use libimage::format::qcow2::{CreateOptions, Fix, OpenOptions, Qcow2};
use libimage::storage::{FileOptions, FileStorage, Memory};
use libimage::{Block, Preallocation};

use crate::script::{Allowed, Mix, step};
use crate::tools::{Random, must, read_all, run, storage};

/// What may be read if the power fails after so many events.
struct Moment {
    events: usize,
    allowed: Allowed,
}

/// Runs a script on a recorded storage.
fn record(options: &CreateOptions, mix: Mix, steps: u32, seed: u64) -> (Vec<Event>, Vec<Moment>) {
    let mut random = Random::new(seed);
    let trace = Arc::new(Trace::new(Arc::new(Memory::new(0))));
    let storage: Arc<dyn Block> = Arc::clone(&trace) as _;
    let image = Qcow2::create(storage, options).unwrap();
    let mut allowed = Allowed::zeroes(image.size());
    let mut moments = vec![Moment { events: trace.len(), allowed: allowed.clone() }];
    for _ in 0..steps {
        // A request that is under way may show; so the moment begins with its first event.
        let before = trace.len();
        step(&image, &mut random, &mut allowed, mix).unwrap();
        moments.push(Moment { events: before, allowed: allowed.clone() });
        if random.chance(6) {
            image.flush().unwrap();
            allowed.settle();
            moments.push(Moment { events: trace.len(), allowed: allowed.clone() });
        }
    }
    drop(image);
    (trace.events(), moments)
}

/// What the file holds if the power fails after `count` events.
fn survivors(events: &[Event], count: usize, random: &mut Random, target: &dyn Block) {
    let events = &events[..count];
    let durable = events.iter().rposition(|event| *event == Event::Flush).map_or(0, |at| at + 1);
    events[..durable].iter().for_each(|event| event.apply(target).unwrap());
    let loss = random.below(4);
    for event in &events[durable..] {
        let lost = match loss {
            0 => false,
            1 => true,
            _ => random.chance(2),
        };
        match event {
            Event::Write { offset, bytes } if !lost && loss == 3 && random.chance(3) => {
                // Torn: whole sectors from the front.
                let keep = (random.below(bytes.len() as u64) / 512 * 512) as usize;
                if keep > 0 {
                    target.write_at(&bytes[..keep], *offset).unwrap();
                }
            }
            // The length of the file is kept consistent by file systems, not by us.
            Event::Resize(_) => event.apply(target).unwrap(),
            _ if !lost => event.apply(target).unwrap(),
            _ => {}
        }
    }
}

fn assert_survives(path: &Path, allowed: &Allowed, strict: bool, what: &str) {
    if strict {
        let output = run("qemu-img", &["check", "-f", "qcow2", "--output=json", path.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{what}: {text}{messages}");
    }
    let options = FileOptions { read_only: true, ..FileOptions::default() };
    let image = Qcow2::open(Arc::new(storage(path, options)), OpenOptions::default()).unwrap();
    allowed.check(&read_all(&image), what);
    drop(image);
    // Repairing gives everything back and changes nothing that can be read.
    let image = Qcow2::open(Arc::new(storage(path, FileOptions::default())), OpenOptions::default()).unwrap();
    let before = read_all(&image);
    let report = image.repair(Fix::All).unwrap();
    assert!(report.is_clean(), "{what}: {report:?}");
    assert!(read_all(&image) == before, "{what}: repairing changed the disk");
    image.close().unwrap();
    must("qemu-img", &["check", "-f", "qcow2", path.to_str().unwrap()]);
}

fn crash(options: &CreateOptions, mix: Mix, steps: u32, seed: u64, samples: u32) {
    let (events, moments) = record(options, mix, steps, seed);
    let mut random = Random::new(seed + 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crashed.qcow2");
    let first = moments[0].events;
    for sample in 0..samples {
        let count = first + random.below((events.len() - first) as u64 + 1) as usize;
        let file = FileStorage::create(&path).unwrap_or_else(|_| {
            let file = storage(&path, FileOptions::default());
            file.resize(0, Preallocation::Off).unwrap();
            file
        });
        survivors(&events, count, &mut random, &file);
        drop(file);
        let moment = moments.iter().rfind(|moment| moment.events <= count).unwrap();
        // The requests after the last moment's: what was under way is part of the moment itself.
        let what = format!("seed {seed}, sample {sample}, {count} of {} events", events.len());
        assert_survives(&path, &moment.allowed, !mix.snapshots && !options.lazy_refcounts, &what);
    }
}

fn options(cluster_size: u64) -> CreateOptions {
    CreateOptions { cluster_size, size: (cluster_size * 90).min(1 << 20), ..CreateOptions::default() }
}

#[test]
fn power_cuts_leave_at_worst_leaks() {
    let mix = Mix { snapshots: false, resize: false };
    for seed in 0..4 {
        crash(&options(512), mix, 120, 100 + seed, 40);
        crash(&options(4096), mix, 120, 200 + seed, 40);
    }
    crash(&options(65536), mix, 80, 300, 40);
    let narrow = CreateOptions { refcount_bits: 64, ..options(512) };
    crash(&narrow, mix, 160, 400, 60);
}

#[test]
fn power_cuts_in_images_with_subclusters() {
    let subclusters = CreateOptions { extended_l2: true, ..options(16384) };
    for seed in 0..3 {
        crash(&subclusters, Mix { snapshots: false, resize: seed == 2 }, 120, 800 + seed, 40);
    }
    crash(&subclusters, Mix { snapshots: true, resize: false }, 100, 810, 40);
}

#[test]
fn power_cuts_with_lazy_refcounts_can_be_repaired() {
    for seed in 0..3 {
        let lazy = CreateOptions { lazy_refcounts: true, ..options(512 << (3 * seed)) };
        crash(&lazy, Mix { snapshots: seed == 1, resize: false }, 120, 820 + seed, 40);
    }
}

#[test]
fn power_cuts_while_resizing() {
    let mix = Mix { snapshots: false, resize: true };
    for seed in 0..3 {
        crash(&options(512), mix, 100, 500 + seed, 40);
    }
}

#[test]
fn power_cuts_around_snapshots_can_be_repaired() {
    let mix = Mix { snapshots: true, resize: false };
    for seed in 0..4 {
        crash(&options(512), mix, 100, 600 + seed, 40);
        crash(&options(4096), mix, 100, 700 + seed, 40);
    }
}
