#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

fn call(kind: Kind, offset: u64, count: u64) -> Call {
    Call { kind, offset, count, may_unmap: false }
}

#[test]
fn the_report_has_the_known_form() {
    let directory = tempfile::tempdir().unwrap();
    let stats = Stats::new(&directory.path().join("stats"), false, 95).unwrap();
    let time = Duration::from_micros(500);
    (0..6).for_each(|_| stats.add(&call(Kind::Read, 512, 512), time));
    (0..3).for_each(|number| stats.add(&call(Kind::Read, number * 4096, 4096), time));
    stats.add(&call(Kind::Write, 0, 3 << 20), Duration::ZERO);
    stats.add(&call(Kind::Cache, 0, 100), Duration::ZERO);
    stats.add(&call(Kind::Flush, 0, 0), time);
    let expected = "\
total: 11 ops, 2.000000 s, 3.01 MiB, 1.51 MiB/s
read: 9 ops, 0.004500 s, 15.00 KiB, 3.26 MiB/s op, 7.50 KiB/s total
  Request size and alignment breakdown:
     9 bits: 66.7% (6 reqs, 3.00 KiB total)
          9 bit aligned: 100.0% (6)
    12 bits: 33.3% (3 reqs, 12.00 KiB total)
         12 bit aligned: 100.0% (3)
         13 bit aligned:  66.7% (2)
         64 bit aligned:  33.3% (1)

write: 1 ops, 0.000000 s, 3.00 MiB, 0 bytes/s op, 1.50 MiB/s total
  Request size and alignment breakdown:
    other sizes: 100.0% (1 reqs, 3.00 MiB total)

cache: 1 ops, 0.000000 s, 100 bytes, 0 bytes/s op, 50 bytes/s total
  Request size and alignment breakdown:
    other sizes: 100.0% (1 reqs, 100 bytes total)

flush: 1 ops, 0.000500 s, 0 bytes, 0 bytes/s op, 0 bytes/s total
";
    assert_eq!(stats.report(Duration::from_secs(2)), expected);
}

#[test]
fn it_is_written_when_the_last_device_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stats");
    for append in [false, true] {
        let counts = Arc::new(Stats::new(&path, append, 0).unwrap());
        let block = super::stats(model::memory(4096), counts);
        block.read_at(&mut [0; 4096], 0).unwrap();
        assert!(block.read_at(&mut [0; 4096], 1).is_err());
        block.status(0..4096).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let first: Vec<&str> = text.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(first, ["total: 2 ops", "read: 1 ops", "extents: 1 ops"].repeat(2));
}
