//! The power fails while an image is written to: at any write, with any of the writes since the last flush lost or torn.
//!
//! States are tried by the thousand (see `states.rs`), more of them with `DISKWRIGHT_SOAK=N`.

use std::sync::Arc;

use libimage::Block;
use libimage::filter::Trace;
use libimage::format::qcow2::{CreateOptions, Qcow2};
use libimage::storage::Memory;

use crate::script::{Allowed, Mix, step};
use crate::states::{Effort, Recording};
use crate::survive::{DATA_FILE, Judge};
use crate::tools::{Random, read_all};

const WRITES: Mix = Mix { snapshots: false, resize: false };

/// What may be read if the power fails after so many events.
struct Moment {
    events: usize,
    allowed: Allowed,
}

/// Runs a script on a recorded image, whose data is in a file of its own if it has two names.
fn record(
    options: &CreateOptions,
    mix: Mix,
    steps: u32,
    seed: u64,
    files: usize,
) -> (Recording, Vec<Moment>) {
    let mut random = Random::new(seed);
    let memories: Vec<Arc<Memory>> = (0..files).map(|_| Arc::new(Memory::new(0))).collect();
    let trace = Trace::new(Arc::clone(&memories[0]) as _);
    // The image is the last one.
    let last = files - 1;
    let file = Arc::new(trace.beside(Arc::clone(&memories[last]) as _, last)) as Arc<dyn Block>;
    let data =
        (files > 1).then(|| Arc::new(trace.beside(Arc::clone(&memories[0]) as _, 0)) as Arc<dyn Block>);
    let image = Qcow2::create_with_data(file, data, options).unwrap();
    image.flush().unwrap();
    let before = memories.iter().map(|memory| read_all(&**memory)).collect();
    let first = trace.len();
    let mut allowed = Allowed::zeroes(image.size());
    let mut moments = vec![Moment { events: 0, allowed: allowed.clone() }];
    for _ in 0..steps {
        // A request that is under way may show; so the moment begins with its first event.
        let events = trace.len() - first;
        step(&image, &mut random, &mut allowed, mix).unwrap();
        moments.push(Moment { events, allowed: allowed.clone() });
        if random.chance(6) {
            image.flush().unwrap();
            allowed.settle();
            moments.push(Moment { events: trace.len() - first, allowed: allowed.clone() });
        }
    }
    drop(image);
    let events = trace.record_of_all().split_off(first);
    (Recording { before, events }, moments)
}

/// Plays a script and judges what power cuts may leave of it. Returns how many states there were.
fn crash(options: &CreateOptions, mix: Mix, steps: u32, seed: u64, effort: Effort) -> usize {
    let names: &[&str] =
        if options.data_file.is_some() { &[DATA_FILE, "disk.qcow2"] } else { &["disk.qcow2"] };
    let (recording, moments) = record(options, mix, steps, seed, names.len());
    let judge = Judge {
        names,
        unmarked: options.version < 3 && mix.snapshots,
        qemu: 120,
        look: &|image, state| {
            let moment = moments.iter().rfind(|moment| moment.events <= state.events).unwrap();
            moment.allowed.check(&read_all(&**image), &format!("seed {seed}, {}", state.name));
        },
    };
    judge.all(&recording, effort, seed)
}

fn options(cluster_size: u64) -> CreateOptions {
    CreateOptions { cluster_size, size: (cluster_size * 90).min(1 << 20), ..CreateOptions::default() }
}

fn effort() -> Effort {
    Effort::new(40, 12)
}

#[test]
fn power_cuts_leave_at_worst_leaks() {
    let mut states = 0;
    for seed in 0..3 {
        states += crash(&options(512), WRITES, 120, 100 + seed, effort());
        states += crash(&options(4096), WRITES, 120, 200 + seed, effort());
    }
    states += crash(&options(65536), WRITES, 60, 300, effort());
    assert!(states > 1000, "{states}");
}

#[test]
fn power_cuts_with_other_widths_and_versions() {
    let mut states = 0;
    for (seed, refcount_bits) in [(400, 64), (401, 1), (402, 2), (403, 8)] {
        states += crash(&CreateOptions { refcount_bits, ..options(512) }, WRITES, 120, seed, effort());
    }
    states += crash(&CreateOptions { version: 2, ..options(512) }, WRITES, 120, 410, effort());
    states += crash(&CreateOptions { version: 2, ..options(4096) }, WRITES, 100, 411, effort());
    assert!(states > 1000, "{states}");
}

#[test]
fn power_cuts_in_images_with_subclusters() {
    let subclusters = CreateOptions { extended_l2: true, ..options(16384) };
    for seed in 0..2 {
        crash(&subclusters, Mix { snapshots: false, resize: seed == 1 }, 100, 800 + seed, effort());
    }
    crash(&subclusters, Mix { snapshots: true, resize: false }, 80, 810, effort());
}

#[test]
fn power_cuts_with_lazy_refcounts_can_be_repaired() {
    for seed in 0..3 {
        let lazy = CreateOptions { lazy_refcounts: true, ..options(512 << (3 * seed)) };
        crash(&lazy, Mix { snapshots: seed == 1, resize: false }, 100, 820 + seed, effort());
    }
}

#[test]
fn power_cuts_while_resizing() {
    for seed in 0..3 {
        crash(&options(512), Mix { snapshots: false, resize: true }, 100, 500 + seed, effort());
    }
}

#[test]
fn power_cuts_around_snapshots_can_be_repaired() {
    let mix = Mix { snapshots: true, resize: false };
    for seed in 0..3 {
        crash(&options(512), mix, 80, 600 + seed, effort());
        crash(&options(4096), mix, 80, 700 + seed, effort());
    }
    crash(&CreateOptions { version: 2, ..options(512) }, mix, 80, 710, effort());
}

/// The order counts across files: an entry must not be there before the data that it is about.
#[test]
fn power_cuts_with_data_files() {
    for (seed, cluster_size, extended_l2, data_file_raw) in
        [(900, 512, false, false), (901, 4096, false, true), (902, 16384, true, false)]
    {
        let data_file = Some(DATA_FILE.to_owned());
        let options = CreateOptions { data_file, data_file_raw, extended_l2, ..options(cluster_size) };
        crash(&options, WRITES, 100, seed, effort());
    }
}
