//! Requests that meet in a cluster or in a table.

use libimage::format::qcow2::CreateOptions;
use libimage::{Block, Zero};

use crate::lab::{CLUSTER, Lab, explore, only, read, reopen, small, template, thread, writes};

#[test]
fn two_writers_of_one_unallocated_cluster() {
    let empty = template(small(64 << 10), |_| ());
    explore(15_000, move || {
        let lab = Lab::new(&empty, None);
        // Both parts count: neither may be lost with the cluster that the other takes.
        lab.play([writes(1, 0..200), writes(2, 200..CLUSTER - 50), writes(3, CLUSTER - 50..CLUSTER + 50)]);
        assert_eq!(only(&*lab.image, 0..200), 1);
        assert_eq!(only(&*lab.image, 200..CLUSTER - 50), 2);
        assert_eq!(only(&*lab.image, CLUSTER - 50..CLUSTER), 3);
        assert_eq!(only(&*lab.image, CLUSTER..CLUSTER + 50), 3);
        assert_eq!(only(&*lab.image, CLUSTER + 50..2 * CLUSTER), 0);
        lab.finish()
    });
}

#[test]
fn writers_of_neighbours_that_share_a_new_table() {
    let empty = template(small(64 << 10), |_| ());
    explore(15_000, move || {
        let lab = Lab::new(&empty, None);
        lab.play((0..3u8).map(|i| {
            let at = u64::from(i) * CLUSTER;
            // The last one reaches into the next table.
            writes(i + 1, at..if i == 2 { 66 * CLUSTER } else { at + CLUSTER })
        }));
        let bytes = lab.finish();
        let image = reopen(&bytes);
        assert_eq!([0, 1].map(|i| only(&image, i * CLUSTER..(i + 1) * CLUSTER)), [1, 2]);
        assert_eq!(only(&image, 2 * CLUSTER..66 * CLUSTER), 3);
        bytes
    });
}

#[test]
fn a_reader_meets_copy_on_write() {
    let overlay = template(small(8 << 10), |_| ());
    let backing = vec![9; 8 << 10];
    explore(15_000, move || {
        let lab = Lab::new(&overlay, Some(&backing));
        let reader = || {
            thread(|image| {
                // Around what is written nothing ever changes.
                let bytes = read(image, 0..2 * CLUSTER);
                assert!(bytes[..100].iter().chain(&bytes[300..]).all(|&byte| byte == 9), "around the write");
                assert!(bytes[100..300].iter().all(|byte| [1, 9].contains(byte)), "neither old nor new");
            })
        };
        lab.play([writes(1, 100..300), reader(), reader()]);
        assert_eq!(only(&*lab.image, 100..300), 1);
        assert_eq!(only(&*lab.image, 300..8 << 10), 9);
        lab.finish()
    });
}

/// A slow discard must not give back space that has its next owner by then.
#[test]
fn a_discarded_cluster_is_written_again_and_others_take_its_place() {
    let full = template(small(64 << 10), |image| image.write_at(&[9; 4096], 0).unwrap());
    explore(20_000, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            thread(|image| {
                image.discard(0..2 * CLUSTER).unwrap();
                image.flush().unwrap();
            }),
            writes(1, 0..CLUSTER),
            thread(|image| {
                // A new table among them: it may get what was just given up.
                image.flush().unwrap();
                image.write_at(&[2; 1024], 40 << 10).unwrap();
                image.flush().unwrap();
            }),
            thread(|image| {
                let bytes = read(image, CLUSTER..2 * CLUSTER);
                assert!(bytes.iter().all(|byte| [0, 9].contains(byte)), "read through to another owner");
            }),
        ]);
        assert!([0, 1].contains(&only(&*lab.image, 0..CLUSTER)));
        assert_eq!(only(&*lab.image, CLUSTER..2 * CLUSTER), 0);
        let bytes = lab.finish();
        let image = reopen(&bytes);
        assert_eq!(only(&image, 40 << 10..41 << 10), 2);
        assert_eq!(only(&image, 2 * CLUSTER..4096), 9);
        bytes
    });
}

/// With one bit for a count and the smallest clusters a refcount block covers 4096 clusters, with 64 bits 64.
#[test]
fn two_allocators_need_a_new_refcount_block() {
    let options = CreateOptions { refcount_bits: 64, ..small(256 << 10) };
    let nearly = template(options, |image| image.write_at(&[9; 53 * 512], 0).unwrap());
    explore(7_500, move || {
        let lab = Lab::new(&nearly, None);
        lab.play([
            writes(1, 64 << 10..68 << 10),
            writes(2, 128 << 10..132 << 10),
            writes(3, 200 << 10..201 << 10),
        ]);
        assert_eq!(only(&*lab.image, 64 << 10..68 << 10), 1);
        assert_eq!(only(&*lab.image, 128 << 10..132 << 10), 2);
        assert_eq!(only(&*lab.image, 200 << 10..201 << 10), 3);
        assert_eq!(only(&*lab.image, 0..53 * 512), 9);
        lab.finish()
    });
}

#[test]
fn writers_of_subclusters_of_one_cluster() {
    let options = CreateOptions { cluster_size: 16384, extended_l2: true, ..small(128 << 10) };
    let empty = template(options, |_| ());
    let backing = vec![9; 128 << 10];
    explore(10_000, move || {
        let lab = Lab::new(&empty, Some(&backing));
        lab.play([
            writes(1, 512..1024),
            writes(2, 1024..1400),
            thread(|image| image.write_zeroes(2048..3072, Zero::MayUnmap).unwrap()),
        ]);
        for (range, byte) in [(0..512, 9), (512..1024, 1), (1024..1400, 2), (1400..2048, 9), (2048..3072, 0)]
        {
            assert_eq!(only(&*lab.image, range), byte);
        }
        assert_eq!(only(&*lab.image, 3072..32768), 9);
        lab.finish()
    });
}

#[test]
fn zeroes_meet_writes() {
    let full = template(small(64 << 10), |image| image.write_at(&[9; 4096], 0).unwrap());
    explore(10_000, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            thread(|image| image.write_zeroes(100..3 * CLUSTER, Zero::KeepAllocated).unwrap()),
            writes(1, CLUSTER..CLUSTER + 100),
            thread(|image| image.write_zeroes(CLUSTER..2 * CLUSTER, Zero::MayUnmap).unwrap()),
        ]);
        assert_eq!(only(&*lab.image, 0..100), 9);
        assert_eq!(only(&*lab.image, 100..CLUSTER), 0);
        assert!([0, 1].contains(&only(&*lab.image, CLUSTER..CLUSTER + 100)));
        assert_eq!(only(&*lab.image, CLUSTER + 100..3 * CLUSTER), 0);
        assert_eq!(only(&*lab.image, 3 * CLUSTER..4096), 9);
        lab.finish()
    });
}
