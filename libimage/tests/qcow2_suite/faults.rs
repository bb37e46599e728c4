//! Each write, zeroing, flush or resize of the file fails once: the image must stay sound, and go on where it can.

use std::sync::Arc;

use libimage::filter::Fault;
use libimage::format::qcow2::{CreateOptions, Fix, OpenOptions, Qcow2};
use libimage::storage::Memory;
use libimage::{Block, Preallocation};

use crate::script::{Allowed, Mix, step};
use crate::tools::{Random, must, read_all, run};

const STEPS: u32 = 45;

/// Runs a script in which the changes `failing` fail. Returns how many changes there were.
fn play(options: &CreateOptions, mix: Mix, seed: u64, failing: std::ops::Range<u64>, torn: bool) -> u64 {
    let what = format!("seed {seed}, changes {failing:?} fail");
    let memory = Arc::new(Memory::new(0));
    let fault = Arc::new(Fault::new(Arc::clone(&memory) as Arc<dyn Block>));
    let image = Qcow2::create(Arc::clone(&fault) as Arc<dyn Block>, options).unwrap();
    let mut random = Random::new(seed);
    let mut allowed = Allowed::zeroes(image.size());
    fault.arm(failing, torn);
    for _ in 0..STEPS {
        // Failures are what this is about; what may be read afterwards is still known.
        let _ = step(&image, &mut random, &mut allowed, mix);
        if image.flush().is_ok() {
            let now = read_all(&image);
            allowed.check(&now, &what);
            allowed.values = vec![now];
        }
    }
    let changes = fault.changes();
    fault.arm(0..0, false);
    let flushed = image.flush().is_ok();
    if flushed {
        // It goes on as if nothing had happened.
        let bytes = random.bytes(image.size() as usize, false);
        image.write_at(&bytes, 0).unwrap();
        allowed = Allowed { values: vec![bytes] };
        image.flush().unwrap();
    }
    drop(image);

    let image = Qcow2::open(memory, OpenOptions::default()).unwrap();
    allowed.check(&read_all(&image), &what);
    let report = image.check().unwrap();
    if !mix.snapshots {
        assert!(report.corruptions == 0 && report.check_errors == 0, "{what}: {report:?}");
    }
    image.repair(Fix::All).unwrap();
    allowed.check(&read_all(&image), &what);
    assert!(image.check().unwrap().is_clean(), "{what}");
    drop(image);
    changes
}

fn every_change_fails(options: &CreateOptions, mix: Mix, seed: u64) {
    let changes = play(options, mix, seed, 0..0, false);
    assert!(changes > 100, "the script does too little");
    for number in (0..changes).step_by(3) {
        play(options, mix, seed, number..number + 1, number % 2 == 0);
        play(options, mix, seed, number..number + 4, false);
    }
    // For good: a full disk.
    for number in (0..changes).step_by(17) {
        play(options, mix, seed, number..u64::MAX, true);
    }
}

fn options(cluster_size: u64, refcount_bits: u32) -> CreateOptions {
    CreateOptions { cluster_size, refcount_bits, size: cluster_size * 80, ..CreateOptions::default() }
}

#[test]
fn a_failing_change_harms_nothing() {
    let mix = Mix { snapshots: false, resize: false };
    every_change_fails(&options(512, 16), mix, 1);
    every_change_fails(&options(512, 64), mix, 2);
    every_change_fails(&options(4096, 16), mix, 3);
    every_change_fails(&CreateOptions { lazy_refcounts: true, ..options(512, 16) }, mix, 8);
    every_change_fails(&CreateOptions { extended_l2: true, ..options(16384, 16) }, mix, 9);
}

#[test]
fn a_failing_change_while_resizing() {
    every_change_fails(&options(512, 16), Mix { snapshots: false, resize: true }, 4);
}

#[test]
fn a_failing_change_around_snapshots() {
    every_change_fails(&options(512, 16), Mix { snapshots: true, resize: false }, 5);
    every_change_fails(&options(4096, 2), Mix { snapshots: true, resize: true }, 6);
}

/// QEMU agrees with our own check about what a full disk leaves behind.
#[test]
fn a_full_disk_leaves_an_image_that_qemu_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.qcow2");
    for number in (5..100).step_by(12) {
        let memory = Arc::new(Memory::new(0));
        let fault = Arc::new(Fault::new(Arc::clone(&memory) as Arc<dyn Block>));
        let image = Qcow2::create(Arc::clone(&fault) as Arc<dyn Block>, &options(512, 16)).unwrap();
        let (mut random, mut allowed) = (Random::new(7), Allowed::zeroes(image.size()));
        fault.arm(number..u64::MAX, true);
        for _ in 0..STEPS {
            let _ = step(&image, &mut random, &mut allowed, Mix { snapshots: false, resize: false });
        }
        drop(image);
        std::fs::write(&path, read_all(&*memory)).unwrap();
        let file = path.to_str().unwrap();
        let output = run("qemu-img", &["check", "-f", "qcow2", file]);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
        let raw = dir.path().join("full.raw");
        must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", file, raw.to_str().unwrap()]);
        allowed.check(&std::fs::read(&raw).unwrap(), "as QEMU reads it");
    }
}

#[test]
fn an_image_can_be_made_only_in_full() {
    for number in 0..40 {
        let memory = Arc::new(Memory::new(0));
        let fault = Arc::new(Fault::new(Arc::clone(&memory) as Arc<dyn Block>));
        fault.arm(number..number + 1, true);
        let options = CreateOptions { preallocation: Preallocation::Metadata, ..options(512, 16) };
        match Qcow2::create(Arc::clone(&fault) as Arc<dyn Block>, &options) {
            Ok(image) => assert!(image.check().unwrap().corruptions == 0),
            Err(error) => assert!(error.is_no_space(), "{error}"),
        }
    }
}
