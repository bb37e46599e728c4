//! Tables that do not fit the cache: pages come and go while others change them.

use libimage::Block;

use crate::lab::{CLUSTER, Lab, explore, only, small, template, thread};

/// What one L2 table maps.
const TABLE: u64 = 64 * CLUSTER;
/// More tables than the cache has room for.
const TABLES: u64 = 24;

fn many_tables() -> Vec<u8> {
    template(small(TABLES * TABLE), |image| {
        for table in 0..TABLES {
            image.write_at(&[table as u8 + 1; 1024], table * TABLE).unwrap();
        }
    })
}

/// Reads one cluster of each of many tables, so that others are driven out.
fn reads_all(image: &dyn Block, from: u64) {
    for table in (from..TABLES).chain(0..from) {
        assert_eq!(only(image, table * TABLE..table * TABLE + CLUSTER), table as u8 + 1, "table {table}");
    }
}

#[test]
fn pages_are_driven_out_while_they_change() {
    let full = many_tables();
    explore(2_000, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            thread(|image| {
                for table in [0, 1, 2] {
                    let at = table * TABLE + 8 * CLUSTER;
                    image.write_at(&[0xaa; 512], at).unwrap();
                    image.flush().unwrap();
                    assert_eq!(only(image, at..at + CLUSTER), 0xaa, "own write");
                }
            }),
            thread(|image| reads_all(image, 0)),
            thread(|image| reads_all(image, 12)),
        ]);
        for table in [0, 1, 2] {
            let at = table * TABLE + 8 * CLUSTER;
            assert_eq!(only(&*lab.image, at..at + CLUSTER), 0xaa, "table {table}");
        }
        reads_all(&*lab.image, 0);
        lab.finish()
    });
}

/// A page that was read before a change, and arrives after the change has been written and driven out.
#[test]
fn a_page_arrives_late() {
    let full = many_tables();
    explore(7_500, move || {
        let lab = Lab::new(&full, None);
        lab.play([
            thread(|image| {
                let byte = only(image, 8 * CLUSTER..9 * CLUSTER);
                assert!([0, 0xaa].contains(&byte));
            }),
            thread(|image| {
                image.write_at(&[0xaa; 512], 8 * CLUSTER).unwrap();
                image.flush().unwrap();
                // Drives the changed table out again.
                for table in 1..20 {
                    assert_eq!(only(image, table * TABLE..table * TABLE + CLUSTER), table as u8 + 1);
                }
                assert_eq!(only(image, 8 * CLUSTER..9 * CLUSTER), 0xaa, "own write");
                image.write_at(&[0xbb; 512], 9 * CLUSTER).unwrap();
            }),
        ]);
        assert_eq!(only(&*lab.image, 8 * CLUSTER..9 * CLUSTER), 0xaa);
        assert_eq!(only(&*lab.image, 9 * CLUSTER..10 * CLUSTER), 0xbb);
        lab.finish()
    });
}

#[test]
fn more_dirty_pages_than_fit() {
    let full = many_tables();
    explore(1_500, move || {
        let lab = Lab::new(&full, None);
        lab.play((0..2u64).map(|i| {
            thread(move |image| {
                for table in (i..TABLES).step_by(2) {
                    image.write_at(&[0xcc; 512], table * TABLE + 2 * CLUSTER).unwrap();
                }
            })
        }));
        for table in 0..TABLES {
            let at = table * TABLE;
            assert_eq!(only(&*lab.image, at + 2 * CLUSTER..at + 3 * CLUSTER), 0xcc, "table {table}");
        }
        reads_all(&*lab.image, 0);
        lab.finish()
    });
}
