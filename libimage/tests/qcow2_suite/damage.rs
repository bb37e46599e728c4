//! Damaged images: our check must find what QEMU finds, and repairing must leave nothing to find.

use std::path::Path;
use std::sync::Arc;

use libimage::format::qcow2::{CheckReport, Fix, OpenOptions, Qcow2};
use libimage::storage::{FileOptions, Memory};

use crate::tools::{Random, must, run, storage};

const KINDS: [&str; 8] = [
    "cluster_size=4k,data_file=DATA",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=4k,compat=0.10",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=1k,refcount_bits=4",
    "cluster_size=64k",
];

fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

/// An image with data, holes, compressed clusters and a snapshot.
fn sound(file: &str, kind: &str, seed: u64) {
    let mut random = Random::new(seed);
    let data = Path::new(file).with_extension("data");
    let options = kind.replace("DATA", data.to_str().unwrap());
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, file, "2M"]);
    let mut commands = Vec::new();
    for _ in 0..12 {
        let (start, pattern) = (random.below(30) * 65536, random.below(255) + 1);
        commands.push(match random.below(4) {
            0 => format!("write -c -P {pattern} {start} 64k"),
            1 if !kind.contains("0.10") => format!("write -z {start} 20k"),
            _ => format!("write -P {pattern} {start} {}", random.below(40) * 512 + 512),
        });
    }
    let mut args = vec!["-f", "qcow2"];
    commands.iter().for_each(|command| args.extend(["-c", &command[..]]));
    args.push(file);
    run("qemu-io", &args);
    if seed.is_multiple_of(3) && !kind.contains("refcount_bits=4") && !kind.contains("DATA") {
        must("qemu-img", &["snapshot", "-c", "s", file]);
        run("qemu-io", &["-f", "qcow2", "-c", "write -P 3 100k 300k", file]);
    }
}

/// Changes a table entry or two at random.
fn damage(bytes: &mut [u8], random: &mut Random) -> String {
    let (l1, table) = (number(bytes, 40), number(bytes, 48));
    let l1_entries = u32::from_be_bytes(bytes[36..40].try_into().unwrap()) as usize;
    let block = number(bytes, table) & !511;
    let tables: Vec<usize> = (0..l1_entries)
        .map(|i| number(bytes, l1 + 8 * i) & 0x00ff_ffff_ffff_fe00)
        .filter(|&at| at != 0 && at + 512 < bytes.len())
        .collect();
    let cluster = 1 << u32::from_be_bytes(bytes[20..24].try_into().unwrap());
    let mut what = String::new();
    for _ in 0..=random.below(3) {
        let at = match random.below(6) {
            0 => l1 + 8 * random.below(l1_entries as u64) as usize,
            1 => table,
            2 => block + random.below(200) as usize,
            _ if tables.is_empty() => continue,
            _ => {
                tables[random.below(tables.len() as u64) as usize]
                    + 8 * random.below(cluster as u64 / 8) as usize
            }
        };
        // The length of the file is part of the picture: damage lies within.
        if at + 8 > bytes.len() {
            continue;
        }
        let old = number(bytes, at) as u64;
        let new = match random.below(7) {
            0 => 0,
            1 => old ^ 1 << 63,
            2 => old ^ 1 << random.below(64),
            3 => old ^ cluster as u64,
            4 => (1 << 63) | (random.below(bytes.len() as u64 / cluster as u64) * cluster as u64),
            5 => old.wrapping_add(512),
            _ => random.next(),
        };
        bytes[at..at + 8].copy_from_slice(&new.to_be_bytes());
        what += &format!("[{at:#x}: {old:x} -> {new:x}]");
    }
    what
}

/// Corruptions, leaks, errors, or `None` when QEMU gives up.
fn qemu_check(file: &str) -> (Option<i32>, Option<(u64, u64, u64)>, String) {
    let output = run("qemu-img", &["check", "--output=json", "-f", "qcow2", file]);
    let counts = serde_json::from_slice::<serde_json::Value>(&output.stdout).ok().map(|json| {
        let number = |key: &str| json[key].as_u64().unwrap_or(0);
        (number("corruptions"), number("leaks"), number("check-errors"))
    });
    (output.status.code(), counts, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn open_for_check(path: &Path, read_only: bool) -> libimage::Result<Qcow2> {
    let options = OpenOptions { check: true, ..OpenOptions::default() };
    Qcow2::open(Arc::new(storage(path, FileOptions { read_only, ..FileOptions::default() })), options)
}

fn our_check(path: &Path) -> Option<CheckReport> {
    open_for_check(path, true).and_then(|image| image.check()).ok()
}

/// Findings that only one side has, for a message.
fn difference(ours: Option<&CheckReport>, theirs: &str) -> String {
    let Some(ours) = ours else { return format!("we gave up, QEMU: {theirs}") };
    let ours: Vec<&str> = ours.messages.iter().flat_map(|message| message.lines()).collect();
    let theirs: Vec<&str> = theirs.lines().collect();
    let only = |a: &[&str], b: &[&str]| {
        let lines: Vec<_> = a.iter().filter(|line| !b.contains(line)).take(10).copied().collect();
        lines.join("\n  ")
    };
    format!("only ours:\n  {}\nonly QEMU's:\n  {}", only(&ours, &theirs), only(&theirs, &ours))
}

#[test]
fn checks_find_what_qemu_finds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.qcow2");
    let file = path.to_str().unwrap();
    let mut found = 0;
    for (index, kind) in (0..).zip(KINDS) {
        for seed in 0..2 {
            sound(file, kind, index * 10 + seed);
            let bytes = std::fs::read(&path).unwrap();
            let mut random = Random::new(index * 10 + seed);
            for round in 0..10 {
                let mut bad = bytes.clone();
                let what = format!("{kind}, seed {seed}, round {round}: {}", damage(&mut bad, &mut random));
                std::fs::write(&path, &bad).unwrap();
                let (_, theirs, messages) = qemu_check(file);
                let ours = our_check(&path);
                let counts =
                    ours.as_ref().map(|report| (report.corruptions, report.leaks, report.check_errors));
                if messages.contains("Table is not cluster aligned") {
                    // QEMU goes on to take whatever lies there for a table; we do not.
                    assert!(counts.is_none_or(|counts| counts.0 > 0), "{what}");
                } else {
                    assert_eq!(counts, theirs, "{what}\n{}", difference(ours.as_ref(), &messages));
                }
                found += u32::from(counts != Some((0, 0, 0)));

                // Repairing: where QEMU succeeds we do, and QEMU finds nothing afterwards.
                let repaired = open_for_check(&path, false).and_then(|image| {
                    image.repair(Fix::All)?;
                    image.close()
                });
                let after = qemu_check(file);
                std::fs::write(&path, &bad).unwrap();
                run("qemu-img", &["check", "-q", "-r", "all", "-f", "qcow2", file]);
                let theirs = qemu_check(file);
                if theirs.0 == Some(0) {
                    assert!(repaired.is_ok() && after.0 == Some(0), "{what}: {repaired:?} {after:?}");
                }
            }
        }
    }
    assert!(found > 60, "only {found} images were damaged noticeably");
}

#[test]
fn only_leaks_are_repaired_when_only_leaks_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leaky.qcow2");
    let file = path.to_str().unwrap();
    sound(file, "cluster_size=4k", 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let block = number(&bytes, number(&bytes, 48));
    // A cluster used once more than it is.
    bytes[block + 11] += 1;
    std::fs::write(&path, &bytes).unwrap();
    let image = open_for_check(&path, false).unwrap();
    let before = image.check().unwrap();
    assert_eq!(before.leaks, 1);
    let report = image.repair(Fix::Leaks).unwrap();
    assert_eq!((report.leaks_fixed, report.leaks), (1, 0));
    image.close().unwrap();
    assert_eq!(qemu_check(file).0, Some(0));
}

/// Snapshots know nothing of a data file: who finds both says so, as QEMU does.
#[test]
fn snapshots_beside_a_data_file_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("a.qcow2"), dir.path().join("b.qcow2"));
    let data = dir.path().join("data");
    let options = format!("data_file={}", data.to_str().unwrap());
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, path.to_str().unwrap(), "1M"]);
    must("qemu-img", &["create", "-q", "-f", "qcow2", other.to_str().unwrap(), "1M"]);
    must("qemu-img", &["snapshot", "-c", "s", other.to_str().unwrap()]);
    // The other's snapshot table and L1 table, with their counts, in an image of the same layout.
    let (mut bytes, from) = (std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
    bytes.resize(bytes.len().next_multiple_of(65536), 0);
    bytes.extend_from_slice(&from[bytes.len()..]);
    bytes[60..72].copy_from_slice(&from[60..72]);
    let counts = number(&bytes, number(&bytes, 48));
    bytes[counts..counts + 16].copy_from_slice(&from[counts..counts + 16]);
    std::fs::write(&path, &bytes).unwrap();
    let (status, found, messages) = qemu_check(path.to_str().unwrap());
    let ours = our_check(&path).unwrap();
    assert_eq!((status, found), (Some(2), Some((ours.corruptions, ours.leaks, ours.check_errors))));
    assert_eq!(ours.messages, messages.lines().collect::<Vec<_>>());
}

/// Damage that a write meets is remembered in the header, so that nobody goes on writing.
#[test]
fn damage_that_a_write_meets_is_marked() {
    use libimage::Block;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("marked.qcow2");
    let file = path.to_str().unwrap();
    let options = ["cluster_size=4k", "cluster_size=16k,extended_l2=on"];
    for (kind, extended) in options.into_iter().zip([false, true]) {
        must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", kind, file, "2M"]);
        must("qemu-io", &["-f", "qcow2", "-c", "write -P 3 0 1M", file]);
        let bytes = std::fs::read(&path).unwrap();
        let l1 = number(&bytes, 40);
        let table = number(&bytes, l1) & 0x00ff_ffff_ffff_fe00;
        let refcounts = number(&bytes, number(&bytes, 48));
        // Whom the first entry points at instead: the middle of a cluster, the tables, nobody at all.
        let mut cases =
            vec![(table, 0x200u64), (table, 1 << 63 | l1 as u64), (table, 1 << 63 | table as u64)];
        cases.push((table, 1 << 63 | refcounts as u64));
        cases.push((l1, 1 << 63 | 0x200));
        cases.push((l1, 1 << 63 | refcounts as u64));
        if extended {
            cases.push((table + 8, 1 << 32 | 1));
        }
        for (at, value) in cases {
            let mut bad = bytes.clone();
            let value = if value == 0x200 { number(&bad, at) as u64 + value } else { value };
            bad[at..at + 8].copy_from_slice(&value.to_be_bytes());
            std::fs::write(&path, &bad).unwrap();
            let what = format!("{kind}: {value:#x} at {at:#x}");
            let image = crate::tools::open(&path).unwrap();
            let written = image.write_at(&[7; 512], 0).and_then(|()| image.flush());
            assert!(written.is_err(), "{what}");
            assert!(image.write_at(&[8; 512], 1 << 19).is_err(), "{what}: it goes on");
            drop(image);
            let after = std::fs::read(&path).unwrap();
            assert_eq!(after[79] & 2, 2, "{what}: it is not marked");
            // Nothing else has changed.
            let differ =
                bad.iter().zip(&after).enumerate().filter(|(at, (a, b))| *at != 79 && a != b).count();
            assert_eq!(differ, 0, "{what}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}

/// Bits flip anywhere: errors are fine, panics, endless work and foreign bytes are not.
#[test]
fn any_flipped_bits_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hostile.qcow2");
    let file = path.to_str().unwrap();
    for (index, kind) in (0..).zip(KINDS) {
        sound(file, kind, 3 * index);
        let bytes = std::fs::read(&path).unwrap();
        let mut random = Random::new(77 + index);
        for _ in 0..60 {
            let mut bad = bytes.clone();
            for _ in 0..=random.below(4) {
                // Mostly where it hurts: the header and the tables behind it.
                let limit = if random.chance(2) { 120 } else { bad.len() as u64 };
                let at = random.below(limit) as usize;
                bad[at] = if random.chance(2) { random.next() as u8 } else { bad[at] ^ 1 << random.below(8) };
            }
            abuse(&bad, &mut random);
        }
        // Every header byte, at its extremes.
        for at in (4..112).filter(|_| index % 3 == 0) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                abuse(&bad, &mut random);
            }
        }
        for length in [0, 1, 71, 72, 103, 104, 111, 112, 200, 511, 512, 513, 1025, 4097, 65537] {
            abuse(&bytes[..length.min(bytes.len())], &mut random);
        }
    }
}

fn abuse(bytes: &[u8], random: &mut Random) {
    use libimage::Block;
    for check in [false, true] {
        let memory = Arc::new(Memory::from_bytes(bytes));
        let options = OpenOptions { check, ..OpenOptions::default() };
        let Ok(image) = Qcow2::open(Arc::clone(&memory) as Arc<dyn Block>, options) else { continue };
        let size = image.size();
        let mut buf = vec![0; 100_000];
        for _ in 0..4 {
            let at = random.below(size.max(1));
            let length = (size - at.min(size)).min(buf.len() as u64) as usize;
            let _ = image.read_at(&mut buf[..length], at);
            let _ = image.status(at..size);
            let _ = image.write_at(&buf[..length.min(3000)], at);
            let _ = image.discard(at..at + length as u64);
            let _ = image.write_compressed_data(0, &buf[..(image.cluster_size() as usize).min(buf.len())]);
        }
        let _ = image.flush();
        let _ = image.check();
        let _ = image.info();
        let _ = image.create_snapshot("x", std::time::Duration::ZERO);
        let _ = image.apply_snapshot("s");
        let _ = image.delete_snapshot("x");
        let _ = image.repair(Fix::All);
        drop(image);
        assert!(memory.allocated_bytes().unwrap_or(0) < 64 << 20, "a small image has grown large");
        // Nor has it become absurdly long, so that it could no longer be copied.
        assert!(memory.size() < 1 << 30, "the file is {} bytes long", memory.size());
    }
}
