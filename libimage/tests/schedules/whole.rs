//! What concerns the image as a whole, while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libimage::{Block, Preallocation};

use crate::lab::{CLUSTER, Lab, assert_survives, explore, only, reopen, small, template, thread, writes};

#[test]
fn a_flush_holds_what_was_written_before_it() {
    let empty = template(small(64 << 10), |image| image.write_at(&[9; 4096], 0).unwrap());
    explore(15_000, move || {
        let lab = Lab::new(&empty, None);
        let written = Arc::new(AtomicBool::new(false));
        let (tell, storage) = (Arc::clone(&written), Arc::clone(&lab.storage));
        lab.play([
            thread(move |image| {
                image.write_at(&[1; 1024], 32 << 10).unwrap();
                tell.store(true, Ordering::SeqCst);
                image.write_at(&[2; 700], 0).unwrap();
            }),
            thread(move |image| {
                let before = written.load(Ordering::SeqCst);
                image.flush().unwrap();
                let kept = assert_survives(&storage.durable());
                if before {
                    assert_eq!(only(&kept, 32 << 10..33 << 10), 1, "written, flushed, gone");
                }
            }),
            thread(|image| image.flush().unwrap()),
        ]);
        lab.finish()
    });
}

#[test]
fn a_snapshot_is_taken_among_writers() {
    let full = template(small(64 << 10), |image| image.write_at(&[9; 4096], 0).unwrap());
    explore(12_500, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            writes(1, 0..2 * CLUSTER),
            writes(2, 32 << 10..(32 << 10) + CLUSTER),
            thread(|image| drop(image.create_snapshot("s", Duration::from_secs(1)).unwrap())),
            thread(|image| image.flush().unwrap()),
        ]);
        assert_eq!(only(&*lab.image, 0..2 * CLUSTER), 1);
        assert_eq!(only(&*lab.image, 2 * CLUSTER..4096), 9);
        assert_eq!(only(&*lab.image, 32 << 10..(32 << 10) + CLUSTER), 2);
        let bytes = lab.finish();
        // The snapshot holds each request as a whole, or nothing of it.
        let view = Arc::new(reopen(&bytes)).open_snapshot("s").unwrap();
        assert!([1, 9].contains(&only(&view, 0..2 * CLUSTER)));
        assert_eq!(only(&view, 2 * CLUSTER..4096), 9);
        assert!([0, 2].contains(&only(&view, 32 << 10..(32 << 10) + CLUSTER)));
        bytes
    });
}

#[test]
fn a_snapshot_is_deleted_and_read_by_others() {
    let full = template(small(64 << 10), |image| {
        image.write_at(&[9; 4096], 0).unwrap();
        image.create_snapshot("s", Duration::from_secs(1)).unwrap();
        image.write_at(&[8; 1024], 0).unwrap();
    });
    explore(10_000, move || {
        let lab = Lab::new(&full, None);
        let shared = Arc::clone(&lab.image);
        let reader = shuttle::thread::spawn(move || {
            if let Ok(view) = shared.open_snapshot("s") {
                assert_eq!(only(&view, 0..4096), 9);
            }
        });
        lab.play([
            thread(|image| drop(image.delete_snapshot("s"))),
            writes(1, 512..1024),
            writes(2, 1024..1536),
        ]);
        reader.join().unwrap();
        for (range, byte) in [(0..512, 8), (512..1024, 1), (1024..1536, 2), (1536..4096, 9)] {
            assert_eq!(only(&*lab.image, range), byte);
        }
        lab.finish()
    });
}

#[test]
fn the_disk_changes_its_size_under_writers() {
    let full = template(small(64 << 10), |image| image.write_at(&[9; 64 << 10], 0).unwrap());
    explore(7_500, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            thread(|image| {
                image.resize(40 << 10, Preallocation::Off).unwrap();
                image.resize(128 << 10, Preallocation::Off).unwrap();
            }),
            writes(1, 0..1024),
            // Beyond the end for a while: refused then, and what was stored earlier is cut off.
            thread(|image| drop(image.write_at(&[2; 1024], 50 << 10))),
        ]);
        assert_eq!(lab.image.size(), 128 << 10);
        assert_eq!(only(&*lab.image, 0..1024), 1);
        assert_eq!(only(&*lab.image, 1024..40 << 10), 9);
        assert_eq!(only(&*lab.image, 40 << 10..50 << 10), 0);
        assert!([0, 2].contains(&only(&*lab.image, 50 << 10..51 << 10)));
        assert_eq!(only(&*lab.image, 51 << 10..128 << 10), 0);
        lab.finish()
    });
}
