#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

fn limit(bits_per_second: u64) -> Limit {
    Limit { bits_per_second, file: None, burst: 0.0 }
}

#[test]
fn what_is_too_fast_has_to_wait() {
    let buckets = Arc::new(Buckets::new(limit(80_000)));
    let block = rate(model::memory(4096), vec![Arc::clone(&buckets)]);
    let began = Instant::now();
    // 2000 bytes at 10000 a second, by two clients at once; the other direction does not count.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| block.read_at(&mut [0; 1000], 0).unwrap());
        }
    });
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(190), "{waited:?}");
    assert!(lock(&buckets.directions[1]).level >= 0.0);
}

#[test]
fn a_full_bucket_is_for_free_and_fills_again() {
    let now = Instant::now();
    let mut bucket = Bucket { rate: 1000, level: 2000.0, filled: now };
    bucket.level -= 5000.0;
    bucket.fill(1000, 2.0, now + Duration::from_secs(1));
    assert_eq!(bucket.level, -2000.0);
    bucket.fill(1000, 2.0, now + Duration::from_secs(100));
    assert_eq!(bucket.level, 2000.0);
    bucket.fill(10, 2.0, now + Duration::from_secs(100));
    assert_eq!(bucket.level, 20.0);
}

#[test]
fn the_limit_is_that_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rate");
    let buckets = Buckets::new(Limit { file: Some(path.clone()), ..limit(5) });
    assert_eq!(buckets.rate(), 5);
    for (text, rate) in [("1M\n", 1 << 20), ("nonsense", 1 << 20), ("0", 0)] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(buckets.rate(), rate, "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(buckets.rate(), 0);
    // No limit: no waiting.
    buckets.pass(0, u64::MAX);
}
