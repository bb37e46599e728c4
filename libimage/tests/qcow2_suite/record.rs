//! Mistakes that other implementations made with data, each as a test that fails if we make it too.
//!
//! What concerns headers, constants and host files is in `record_files.rs`.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use libimage::filter::{Fault, Trace};
use libimage::format::qcow2::{CreateOptions, OpenOptions, Qcow2};
use libimage::storage::{FileOptions, FileStorage, Memory};
use libimage::{Block, Zero};

use crate::tools::{Random, assert_clean, assert_content, assert_same, must, read_all, storage};

const CLUSTER: u64 = 4096;

fn options(clusters: u64) -> CreateOptions {
    CreateOptions { cluster_size: CLUSTER, size: CLUSTER * clusters, ..CreateOptions::default() }
}

fn in_memory(options: &CreateOptions) -> (Arc<Memory>, Arc<Fault>, Qcow2) {
    let memory = Arc::new(Memory::new(0));
    let fault = Arc::new(Fault::new(Arc::clone(&memory) as _));
    let image = Qcow2::create(Arc::clone(&fault) as _, options).unwrap();
    (memory, fault, image)
}

fn reopened(memory: &Arc<Memory>) -> Qcow2 {
    Qcow2::open(Arc::clone(memory) as _, OpenOptions::default()).unwrap()
}

/// Writes everything, thread `n` the clusters `n`, `n + 4`, ..., a part of each at a time.
fn write_in_turns(image: &Qcow2, parts: u64) -> Vec<u8> {
    let clusters = image.size() / CLUSTER;
    let part = CLUSTER / parts;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for piece in (thread..clusters * parts).step_by(4) {
                    let bytes = vec![(piece % 251) as u8 + 1; part as usize];
                    image.write_at(&bytes, piece * part).unwrap();
                    let mut back = vec![0; part as usize];
                    image.read_at(&mut back, piece * part).unwrap();
                    assert!(back == bytes, "piece {piece} was read elsewhere than it was written");
                }
            });
        }
    });
    (0..clusters * CLUSTER).map(|at| (at / part % 251) as u8 + 1).collect()
}

/// Cloud Hypervisor #7660, #7665: copies of a file descriptor shared one position, and queues wrote where others had
/// sought to.
#[test]
fn threads_share_no_position() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.qcow2");
    let image = Qcow2::create(Arc::new(FileStorage::create(&path).unwrap()), &options(600)).unwrap();
    let expected = write_in_turns(&image, 1);
    image.close().unwrap();
    assert_clean(&path);
    assert_content(&path, &expected);
}

/// Cloud Hypervisor #8621: with several queues over a backing file, parts of one cluster were lost.
#[test]
fn threads_that_copy_one_cluster_lose_nothing() {
    for round in 0..4 {
        let (memory, _, image) = in_memory(&CreateOptions {
            backing_file: Some("b".to_owned()),
            backing_format: Some("raw".to_owned()),
            ..options(150)
        });
        let backing = Memory::from_bytes(&Random::new(round).bytes(image.size() as usize, false));
        image.set_backing(Some(Arc::new(backing)));
        // Four threads write to each cluster at once.
        let expected = write_in_turns(&image, 8);
        assert_same(&read_all(&image), &expected, "at once");
        image.close().unwrap();
        let image = reopened(&memory);
        assert_same(&read_all(&image), &expected, "later");
        assert!(image.check().unwrap().is_clean());
    }
}

/// Cloud Hypervisor #8358: the allocator gave out the first clusters of a file, and guest data replaced header and L1.
#[test]
fn guest_data_never_lands_on_metadata() {
    let (memory, _, image) = in_memory(&options(400));
    image.write_at(&[5; 8192], 0).unwrap();
    image.close().unwrap();
    let mut block = [0; 16];
    memory.read_at(&mut block[..8], 48).unwrap();
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let table = number(&block);
    memory.read_at(&mut block[..8], table).unwrap();
    let first_block = number(&block);
    // The counts say that nothing is used.
    memory.write_at(&[0; CLUSTER as usize], first_block).unwrap();
    let header = {
        let mut bytes = vec![0; 72];
        memory.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    let image = reopened(&memory);
    for cluster in 2..400 {
        // It may well be refused.
        let _ = image.write_at(&[0xee; CLUSTER as usize], cluster * CLUSTER);
    }
    let _ = image.flush();
    drop(image);
    let mut now = vec![0; 72];
    memory.read_at(&mut now, 0).unwrap();
    assert_eq!(header, now);
    let options = OpenOptions { check: true, ..OpenOptions::default() };
    let image = Qcow2::open(Arc::clone(&memory) as _, options).unwrap();
    let mut kept = vec![0; 8192];
    image.read_at(&mut kept, 0).unwrap();
    assert!(kept == [5; 8192], "old data was overwritten");
}

/// Cloud Hypervisor #8606: when no new L2 table could be had, the old one had been freed already, and was given to
/// somebody else.
#[test]
fn an_error_while_allocating_frees_nothing() {
    let mut failures = 0;
    for number in 0..40 {
        let (memory, fault, image) = in_memory(&options(200));
        let old = Random::new(number).bytes(image.size() as usize, false);
        image.write_at(&old, 0).unwrap();
        // Table and clusters are shared now: the next write copies both.
        image.create_snapshot("s", Duration::ZERO).unwrap();
        fault.arm(number..number + 1, false);
        let failed = image.write_at(&[1; 3000], 100).and_then(|()| image.flush()).is_err();
        failures += u32::from(failed);
        fault.arm(0..0, false);
        // Whatever was freed would be used by these.
        for cluster in 20..60 {
            image.write_at(&[2; CLUSTER as usize], cluster * CLUSTER).unwrap();
        }
        image.flush().unwrap();
        drop(image);
        let image = Arc::new(reopened(&memory));
        let report = image.check().unwrap();
        assert!(report.corruptions == 0, "change {number}: {report:?}");
        assert_same(&read_all(&image.open_snapshot("s").unwrap()), &old, "the snapshot");
        assert_same(&read_all(&*image)[CLUSTER as usize..81_920], &old[CLUSTER as usize..81_920], "the disk");
    }
    assert!(failures > 2, "{failures}");
}

/// Cloud Hypervisor #8624: a discard was answered before the hole was punched; the cluster had another owner by then,
/// whose bytes were erased.
#[test]
fn discard_is_not_deferred_past_reuse() {
    let memory = Arc::new(Memory::new(0));
    let trace = Arc::new(Trace::new(Arc::clone(&memory) as _));
    let image = Qcow2::create(Arc::clone(&trace) as _, &options(256)).unwrap();
    let all: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let image = &image;
            move || {
                let mut random = Random::new(thread);
                let start = thread * 64 * CLUSTER;
                let mut model = vec![0; 64 * CLUSTER as usize];
                for _ in 0..300 {
                    let cluster = random.below(63);
                    let (at, length) = (cluster * CLUSTER, 2 * CLUSTER);
                    let own = &mut model[at as usize..(at + length) as usize];
                    if random.chance(2) {
                        image.discard(start + at..start + at + length).unwrap();
                        own.fill(0);
                    } else {
                        let bytes = random.bytes(length as usize, false);
                        image.write_at(&bytes, start + at).unwrap();
                        own.copy_from_slice(&bytes);
                    }
                    if random.chance(3) {
                        image.flush().unwrap();
                    }
                }
                model
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_same(&read_all(&image), &all.concat(), "at once");
    image.close().unwrap();
    let image = reopened(&memory);
    assert_same(&read_all(&image), &all.concat(), "later");
    assert!(image.check().unwrap().is_clean());
    let reused = trace.events().len();
    assert!(reused > 1000, "{reused}");
}

/// Cloud Hypervisor e737d61a0: zeroing or punching had failed, and the guest was told that it was done.
#[test]
fn failed_zeroing_is_not_called_done() {
    for how in [Zero::MayUnmap, Zero::KeepAllocated] {
        let (memory, fault, image) = in_memory(&options(16));
        image.write_at(&[9; 65_536], 0).unwrap();
        image.flush().unwrap();
        fault.arm(0..u64::MAX, false);
        assert!(image.write_zeroes(100..50_000, how).and_then(|()| image.flush()).is_err());
        assert!(image.discard(0..65_536).and_then(|()| image.flush()).is_err());
        drop(image);
        let bytes = read_all(&reopened(&memory));
        assert!(bytes == [9; 65_536], "nothing reached the file");
    }
}

/// Cloud Hypervisor b68e7f3d9: a machine was paused and its file copied, but metadata was still in memory.
#[test]
fn flush_leaves_nothing_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.qcow2");
    let (memory, _, image) = in_memory(&options(300));
    let mut random = Random::new(1);
    for _ in 0..10 {
        let start = random.below(290) * CLUSTER + 7;
        image.write_at(&random.bytes(30_000, false), start.min(image.size() - 30_000)).unwrap();
        image.flush().unwrap();
        std::fs::write(&path, read_all(&*memory)).unwrap();
        assert_clean(&path);
        assert_content(&path, &read_all(&image));
    }
}

/// Cloud Hypervisor 53ee9ebb7: the first of several users that went away declared the image clean.
#[test]
fn the_dirty_bit_goes_with_the_last_user() {
    let (memory, _, image) = in_memory(&CreateOptions { lazy_refcounts: true, ..options(64) });
    let dirty = || {
        let mut byte = [0];
        memory.read_at(&mut byte, 79).unwrap();
        byte[0] & 1 == 1
    };
    let image = Arc::new(image);
    let other = Arc::clone(&image);
    image.write_at(&[1; 10_000], 0).unwrap();
    image.flush().unwrap();
    assert!(dirty());
    drop(image);
    assert!(dirty(), "there is still a user");
    other.write_at(&[2; 10_000], 50_000).unwrap();
    drop(other);
    assert!(!dirty());
    assert!(reopened(&memory).check().unwrap().is_clean());
}

/// Cloud Hypervisor 7e2e7a164: a disk went away while requests were under way. Here that cannot be, and what was
/// written when an image goes is in the file.
#[test]
fn an_image_that_goes_leaves_all_that_was_written() {
    let (memory, _, image) = in_memory(&options(200));
    let expected = write_in_turns(&image, 2);
    drop(image);
    let image = reopened(&memory);
    assert_same(&read_all(&image), &expected, "later");
    assert!(image.check().unwrap().is_clean());
}

/// Cloud Hypervisor 57f67a543: each flush moved a refcount block and left its cluster behind, counted and unused, so
/// that no check complained.
#[test]
fn flushing_again_and_again_does_not_grow_the_file() {
    let (memory, _, image) = in_memory(&options(64));
    image.write_at(&vec![1; image.size() as usize], 0).unwrap();
    image.flush().unwrap();
    let before = memory.size();
    for round in 0..400u64 {
        let at = round % 63 * CLUSTER;
        image.discard(at..at + CLUSTER).unwrap();
        image.flush().unwrap();
        image.write_at(&[round as u8; 100], at + 5).unwrap();
        image.flush().unwrap();
        if round % 20 == 0 {
            image.create_snapshot("s", Duration::ZERO).unwrap();
            image.delete_snapshot("s").unwrap();
        }
    }
    let after = memory.size();
    assert!(after <= before + 12 * CLUSTER, "it has grown from {before} to {after}");
    image.close().unwrap();
    assert!(reopened(&memory).check().unwrap().is_clean());
}

/// imago's notes: a mapping was there before the data, and readers saw what the cluster had held before.
#[test]
fn no_reader_sees_a_mapping_before_its_data() {
    let (_, _, image) = in_memory(&options(128));
    // Clusters that once held something else.
    image.write_at(&vec![0xee; image.size() as usize], 0).unwrap();
    image.write_zeroes(0..image.size(), Zero::MayUnmap).unwrap();
    image.flush().unwrap();
    let (image, half) = (&image, CLUSTER / 2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for cluster in 0..128 {
                image.write_at(&vec![0x11; half as usize], cluster * CLUSTER + 100).unwrap();
            }
        });
        while !writer.is_finished() {
            let bytes = read_all(image);
            let strange = bytes.iter().position(|byte| ![0, 0x11].contains(byte));
            assert!(strange.is_none(), "stale bytes at {strange:?}");
        }
    });
}

/// qcow2-rs: several tasks that needed one missing L2 table waited for each other for ever.
#[test]
fn writers_that_need_the_same_missing_table_all_return() {
    for round in 0..20 {
        let (memory, _, image) = in_memory(&options(2000));
        let image = Arc::new(image);
        let (done, wait) = mpsc::channel();
        for thread in 0..6 {
            let (image, done) = (Arc::clone(&image), done.clone());
            std::thread::spawn(move || {
                for table in 0..3 {
                    image.write_at(&[thread as u8 + 1; 512], table * 512 * CLUSTER + thread * 512).unwrap();
                }
                done.send(()).unwrap();
            });
        }
        drop(done);
        for _ in 0..6 {
            let returned = wait.recv_timeout(Duration::from_secs(60));
            assert!(returned.is_ok(), "round {round}: {returned:?}");
        }
        while Arc::strong_count(&image) > 1 {
            std::thread::yield_now();
        }
        Arc::into_inner(image).unwrap().close().unwrap();
        assert!(reopened(&memory).check().unwrap().is_clean());
    }
}

/// qcow2-rs: an image that could not grow any more was a panic.
#[test]
fn a_full_image_is_an_error() {
    let (memory, fault, image) = in_memory(&CreateOptions { refcount_bits: 1, ..options(64) });
    image.write_at(&[1; 5000], 0).unwrap();
    image.flush().unwrap();
    // Counts of one bit are full with the first reference.
    assert!(image.create_snapshot("s", Duration::ZERO).unwrap_err().to_string().contains("reference count"));
    fault.arm(0..u64::MAX, false);
    let error = image.write_at(&[2; 200_000], 10_000).and_then(|()| image.flush()).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    fault.arm(0..0, false);
    drop(image);
    let image = reopened(&memory);
    let mut bytes = vec![0; 5000];
    image.read_at(&mut bytes, 0).unwrap();
    assert!(bytes == [1; 5000] && image.check().unwrap().corruptions == 0);
}

/// crosvm: the zero flag was masked off, and clusters that a guest had zeroed showed their old bytes.
#[test]
fn zero_flags_are_honoured() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.qcow2");
    let file = path.to_str().unwrap();
    must("qemu-img", &["create", "-q", "-f", "qcow2", file, "1M"]);
    must("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 256k", "-c", "write -z 64k 64k", file]);
    let options = FileOptions { read_only: true, ..FileOptions::default() };
    let image = Qcow2::open(Arc::new(storage(&path, options)), OpenOptions::default()).unwrap();
    let bytes = read_all(&image);
    let zeroed = 65_536..131_072;
    assert!((0..262_144).all(|at| bytes[at] == if zeroed.contains(&at) { 0 } else { 7 }));
}
