#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;

use std::time::Duration;

use crate::block::Zero;
use crate::filter::inject::{Injections, inject};

#[test]
fn days_are_those_of_the_calendar() {
    // As `date -u -d @SECONDS` says it.
    for (seconds, text) in [
        (0, "1970-01-01 00:00:00.000000"),
        (951_782_400, "2000-02-29 00:00:00.000000"),
        (951_868_799, "2000-02-29 23:59:59.000000"),
        (1_596_679_643, "2020-08-06 02:07:23.000000"),
        (1_735_689_599, "2024-12-31 23:59:59.000000"),
        (4_107_542_400, "2100-03-01 00:00:00.000000"),
    ] {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
    }
}

#[test]
fn every_call_has_two_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut injections = Injections::default();
    injections.of(Kind::Trim).probability = 1.0;
    injections.of(Kind::Trim).error = rustix::io::Errno::NOSPC;
    let below = inject(model::memory(0x10_0000), injections);
    let logged = log(below, Arc::new(Log::new(Some(&path), false, None).unwrap()));
    logged.read_at(&mut [0; 0x200], 0).unwrap();
    logged.write_at(&[0; 0x200], 0x400).unwrap();
    logged.write_zeroes(0..0x200, Zero::MayUnmap).unwrap();
    logged.write_zeroes(0..0x200, Zero::KeepAllocated).unwrap();
    assert!(logged.discard(0..0x200).is_err());
    assert!(logged.read_at(&mut [0; 2], 0xf_ffff).is_err());
    logged.prefetch(0..0x200).unwrap();
    logged.status(0..0x1000).unwrap();
    logged.flush().unwrap();
    drop(logged);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| &line[27..]).collect();
    let expected = [
        "connection=1 Connect export=\"\" tls=0 size=0x100000 minsize=0x1 prefsize=0x10000 maxsize=0xffffffff write=1 \
         flush=1 rotational=0 trim=1 zero=2 fua=1 extents=1 cache=2 fast_zero=0",
        "connection=1 Read id=1 offset=0x0 count=0x200 ...",
        "connection=1 ...Read id=1 return=0",
        "connection=1 Write id=2 offset=0x400 count=0x200 fua=0 ...",
        "connection=1 ...Write id=2 return=0",
        "connection=1 Zero id=3 offset=0x0 count=0x200 trim=1 fua=0 fast=0 ...",
        "connection=1 ...Zero id=3 return=0",
        "connection=1 Zero id=4 offset=0x0 count=0x200 trim=0 fua=0 fast=0 ...",
        "connection=1 ...Zero id=4 return=0",
        "connection=1 Trim id=5 offset=0x0 count=0x200 fua=0 ...",
        "connection=1 ...Trim id=5 return=-1 error=ENOSPC",
        "connection=1 Read id=6 offset=0xfffff count=0x2 ...",
        "connection=1 ...Read id=6 return=-1 error=EINVAL",
        "connection=1 Cache id=7 offset=0x0 count=0x200 ...",
        "connection=1 ...Cache id=7 return=0",
        "connection=1 Extents id=8 offset=0x0 count=0x1000 req_one=1 ...",
        "connection=1 ...Extents id=8 extents=(0x0 0x1000 \"\") return=0",
        "connection=1 Flush id=9 ...",
        "connection=1 ...Flush id=9 return=0",
        "connection=1 Disconnect transactions=9",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_script_gets_every_line() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let script = format!("echo $connection $type $act $offset >> {}", out.display());
    let logged = log(model::memory(4096), Arc::new(Log::new(None, false, Some(script)).unwrap()));
    logged.read_at(&mut [0; 16], 32).unwrap();
    drop(logged);
    let text = std::fs::read_to_string(out).unwrap();
    assert_eq!(text, "1 PRINT Connect\n1 ENTER Read 0x20\n1 LEAVE Read\n1 PRINT Disconnect\n");
}
