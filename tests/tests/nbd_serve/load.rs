//! Many clients at once, and what is left when the server is killed.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use system_tests::random::Random;

use crate::raw::{GO, Raw, named};
use crate::server::{Server, directory, shell};

/// Bytes of one request, and of the part of the disk that belongs to one connection.
const BLOCK: u64 = 4096;
const PART: u64 = 64 * BLOCK;
/// Requests that a client has sent and not heard of.
const IN_FLIGHT: usize = 16;

/// What a block holds after so many writes to it.
fn pattern(connection: u64, block: u64, version: u32) -> [u8; BLOCK as usize] {
    let mut bytes = [0; BLOCK as usize];
    if version > 0 {
        let seed = connection << 40 ^ block << 32 ^ u64::from(version);
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index as u64).to_le_bytes());
        }
    }
    bytes
}

/// One connection: reads and writes to its part of the disk, sixteen at a time, each block by one request at a time. Every
/// read is compared with what was written last.
fn client(server: &Server, connection: u64, until: impl Fn() -> bool) -> u64 {
    let mut raw = Raw::new(server, 3);
    raw.option(GO, &named(b"", &[])).unwrap();
    let mut random = Random::new(connection + 1);
    let mut versions = [0u32; (PART / BLOCK) as usize];
    let mut pending: Vec<(u64, u64, bool)> = Vec::new();
    let (mut cookie, mut done) = (0, 0);
    loop {
        let over = until();
        while !over && pending.len() < IN_FLIGHT {
            let block = random.below(PART / BLOCK);
            if pending.iter().any(|(_, busy, _)| *busy == block) {
                continue;
            }
            let offset = connection * PART + block * BLOCK;
            let writes = random.chance(2);
            cookie += 1;
            if writes {
                versions[block as usize] += 1;
                let bytes = pattern(connection, block, versions[block as usize]);
                raw.send((1, 0, offset, BLOCK), &bytes, cookie).unwrap();
            } else {
                raw.send((0, 0, offset, BLOCK), b"", cookie).unwrap();
            }
            pending.push((cookie, block, writes));
        }
        if pending.is_empty() {
            return done;
        }
        let header = raw.read(16).unwrap();
        assert_eq!(&header[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], "an error or no answer");
        let answered = u64::from_be_bytes(header[8..].try_into().unwrap());
        let index = pending.iter().position(|(cookie, ..)| *cookie == answered).unwrap();
        let (_, block, writes) = pending.swap_remove(index);
        if !writes {
            let bytes = raw.read(BLOCK as usize).unwrap();
            let expected = pattern(connection, block, versions[block as usize]);
            assert!(bytes == expected, "connection {connection}, block {block}: not what was written");
        }
        done += 1;
    }
}

/// As many connections as given, for so long, on a qcow2 image that has to be sound afterwards.
fn load(connections: u64, time: Duration) -> u64 {
    let directory = directory();
    shell(directory.path(), &format!("qemu-img create -q -f qcow2 d.qcow2 {}", connections * PART));
    let mut server = Server::ours(directory.path(), &["-t", "-f", "qcow2", "d.qcow2"]);
    let end = Instant::now() + time;
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for connection in 0..connections {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                done.fetch_add(client(server, connection, || Instant::now() >= end), Ordering::Relaxed)
            });
        }
    });
    assert!(server.memory() < 600 << 20, "{} bytes", server.memory());
    server.signal("-TERM");
    assert!(server.wait().success());
    shell(directory.path(), "qemu-img check -q d.qcow2");
    done.into_inner()
}

#[test]
fn sixty_four_connections_with_sixteen_requests_each() {
    assert!(load(64, Duration::from_secs(3)) > 64);
}

/// Ten minutes of the same; `make soak` runs it.
#[test]
#[ignore = "takes ten minutes: make soak"]
fn ten_minutes_of_sixty_four_connections() {
    let requests = load(64, Duration::from_secs(600));
    println!("{requests} requests");
}

#[test]
fn what_was_flushed_survives_the_server() {
    for round in 0..4u64 {
        let directory = directory();
        shell(directory.path(), "qemu-img create -q -f qcow2 d.qcow2 64M");
        let mut server = Server::ours(directory.path(), &["-t", "-f", "qcow2", "d.qcow2"]);
        let flushed = Arc::new(AtomicU64::new(0));
        let killed = Arc::new(AtomicBool::new(false));
        let mut raw = Raw::new(&server, 3);
        raw.option(GO, &named(b"", &[])).unwrap();
        let (count, over) = (Arc::clone(&flushed), Arc::clone(&killed));
        let writer = thread::spawn(move || {
            for block in 0..10_000u64 {
                let bytes = pattern(1, block, 1);
                if raw.send((1, 0, block * BLOCK, BLOCK), &bytes, block).is_err() || raw.read(16).is_err() {
                    break;
                }
                if block % 8 == 7 {
                    if raw.send((3, 0, 0, 0), b"", block).is_err() || raw.read(16).is_err() {
                        break;
                    }
                    count.store(block + 1, Ordering::SeqCst);
                }
            }
            assert!(over.load(Ordering::SeqCst), "the server hung up by itself");
        });
        while flushed.load(Ordering::SeqCst) < 40 + round * 50 {
            thread::sleep(Duration::from_millis(1));
        }
        killed.store(true, Ordering::SeqCst);
        server.signal("-KILL");
        server.wait();
        writer.join().unwrap();
        let flushed = flushed.load(Ordering::SeqCst);
        // Clusters may be leaked, nothing more.
        shell(
            directory.path(),
            "qemu-img check -q d.qcow2 || [ $? = 3 ]; qemu-img convert -f qcow2 -O raw d.qcow2 d.raw",
        );
        let raw = std::fs::File::open(directory.path().join("d.raw")).unwrap();
        for block in 0..flushed {
            let mut bytes = [0; BLOCK as usize];
            raw.read_exact_at(&mut bytes, block * BLOCK).unwrap();
            assert!(bytes == pattern(1, block, 1), "block {block} of {flushed} that were flushed is lost");
        }
    }
}

#[test]
fn writes_cut_in_the_middle_leave_the_rest_alone() {
    let directory = directory();
    shell(directory.path(), "qemu-img create -q -f qcow2 d.qcow2 1M");
    let mut server = Server::ours(directory.path(), &["-t", "-f", "qcow2", "d.qcow2"]);
    let mut honest = Raw::new(&server, 3);
    honest.option(GO, &named(b"", &[])).unwrap();
    let bytes = pattern(2, 0, 1);
    honest.send((1, 0, 0, BLOCK), &bytes, 1).unwrap();
    honest.read(16).unwrap();
    for cut in [0, 1, 28, 29, 1000, 4123] {
        let mut raw = Raw::new(&server, 3);
        raw.option(GO, &named(b"", &[])).unwrap();
        let mut whole = Vec::new();
        whole.extend(0x2560_9513u32.to_be_bytes());
        whole.extend([0, 0, 0, 1]);
        whole.extend(1u64.to_be_bytes());
        whole.extend(0u64.to_be_bytes());
        whole.extend((BLOCK as u32).to_be_bytes());
        whole.extend([0xff; BLOCK as usize]);
        raw.stream.write_all(&whole[..cut]).unwrap();
        raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        raw.stream.read_to_end(&mut rest).unwrap();
    }
    honest.send((0, 0, 0, BLOCK), b"", 1).unwrap();
    assert!(honest.read(16 + BLOCK as usize).unwrap()[16..] == bytes);
    server.signal("-TERM");
    assert!(server.wait().success());
}

#[test]
fn clients_may_change_the_size_if_they_are_let() {
    let directory = directory();
    shell(directory.path(), "qemu-img create -q -f qcow2 d.qcow2 1M");
    let mut server = Server::ours(directory.path(), &["-t", "-f", "qcow2", "--resizable", "d.qcow2"]);
    let mut raw = Raw::new(&server, 3);
    raw.option(GO, &named(b"", &[])).unwrap();
    raw.request((8, 0, 0, 3 << 20), b"").unwrap();
    raw.request((1, 0, 2 << 20, 512), &[7; 512]).unwrap();
    raw.request((0, 0, 2 << 20, 512), b"").unwrap();
    assert!(raw.heard.iter().rev().take(3).all(|answer| answer.contains("error 0")), "{:?}", raw.heard);
    server.signal("-TERM");
    assert!(server.wait().success());
    shell(
        directory.path(),
        "qemu-img info d.qcow2 | grep -q '3 MiB'; qemu-io -r -c 'read -P 7 2M 512' d.qcow2 >/dev/null; qemu-img check -q d.qcow2",
    );
}
