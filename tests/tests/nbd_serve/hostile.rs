//! Clients that mean no good: the server goes on serving the others, and its memory stays bounded.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use system_tests::programs::program;
use system_tests::random::Random;

use crate::raw::{EXTENDED, GO, LIST, Raw, SET_META, STRUCTURED, named, queries};
use crate::server::{LONG, Server, directory, shell};

const SIZE: u64 = 8 << 20;

fn server(directory: &std::path::Path, more: &[&str]) -> Server {
    shell(directory, "truncate -s 8M d.raw; printf start | dd of=d.raw conv=notrunc status=none");
    Server::ours(directory, &[more, &["-t", "-f", "raw", "d.raw"]].concat())
}

/// An honest client gets what it asks for.
fn serves(server: &Server) {
    let mut raw = Raw::new(server, 3);
    raw.option(GO, &named(b"", &[])).unwrap();
    raw.send((0, 0, 0, 5), b"", 9).unwrap();
    let answer = raw.read(16 + 5).unwrap();
    assert_eq!(&answer[16..], b"start");
}

/// All that a client says before it reads its first byte of data.
fn conversation() -> Vec<u8> {
    let mut all = 3u32.to_be_bytes().to_vec();
    for (option, data) in [
        (STRUCTURED, Vec::new()),
        (LIST, Vec::new()),
        (SET_META, queries("", &["base:allocation"])),
        (GO, named(b"", &[0, 1, 2, 3])),
    ] {
        all.extend(b"IHAVEOPT");
        all.extend(option.to_be_bytes());
        all.extend((data.len() as u32).to_be_bytes());
        all.extend(data);
    }
    for (command, length) in [(0u16, 5u32), (1, 512), (7, 4096), (3, 0)] {
        all.extend(0x2560_9513u32.to_be_bytes());
        all.extend(0u16.to_be_bytes());
        all.extend(command.to_be_bytes());
        all.extend(1u64.to_be_bytes());
        all.extend((1u64 << 20).to_be_bytes());
        all.extend(length.to_be_bytes());
        if command == 1 {
            all.extend([7; 512]);
        }
    }
    all
}

#[test]
fn a_connection_may_end_after_any_byte() {
    let directory = directory();
    let server = server(directory.path(), &[]);
    let all = conversation();
    for end in (0..all.len()).filter(|end| *end < 300 || end % 16 == 0) {
        let mut stream = server.connect();
        stream.write_all(&all[..end]).unwrap();
        if end % 2 == 0 {
            // Half of it stays open: the server answers what it got, and hangs up.
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        }
    }
    serves(&server);
}

#[test]
fn garbage_ends_a_connection_and_nothing_else() {
    let directory = directory();
    let server = server(directory.path(), &[]);
    let mut random = Random::new(1);
    let good = conversation();
    for round in 0..300 {
        let mut bytes = good.clone();
        // Bytes changed here and there, or nothing but noise.
        for _ in 0..1 + random.below(8) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        if round % 5 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        }
        let mut stream = server.connect();
        // The server may have hung up already.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    serves(&server);
    assert!(server.memory() < 200 << 20);
}

#[test]
fn options_without_end_end() {
    let directory = directory();
    let server = server(directory.path(), &[]);
    let mut raw = Raw::new(&server, 3);
    let mut count = 0;
    while raw.option(LIST, b"").is_ok() {
        count += 1;
        assert!(count < 100_000, "the server listens to options for ever");
    }
    serves(&server);
}

#[test]
fn who_says_nothing_is_sent_away() {
    let directory = directory();
    let server = server(directory.path(), &["--handshake-limit", "1"]);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    serves(&server);
    for stream in &mut silent {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
    assert!(start.elapsed() < LONG);
    serves(&server);
}

#[test]
fn who_never_reads_keeps_nobody_waiting() {
    let directory = directory();
    let server = server(directory.path(), &[]);
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::new(&server, 3);
        raw.option(EXTENDED, b"").unwrap();
        raw.option(GO, &named(b"", &[])).unwrap();
        raw.stream.set_nonblocking(true).unwrap();
        for cookie in 0..1000 {
            if raw.send((0, 0, 0, SIZE), b"", cookie).is_err() {
                break;
            }
        }
        deaf.push(raw);
    }
    for _ in 0..20 {
        serves(&server);
    }
    assert!(server.memory() < 600 << 20, "{} bytes", server.memory());
    drop(deaf);
    serves(&server);
}

/// What is freed while a client reads slowly is used again by others; none of that may come to that client. The file
/// lies where no holes can be made: those would keep the old bytes apart from the new ones.
#[test]
fn what_waits_for_a_client_stays_what_it_was() {
    const LENGTH: u64 = 128 << 10;
    const START: &str =
        "mkdir -p r; mount -t ramfs none r; cp d.qcow2 r; exec \"$0\" serve -t -f qcow2 r/d.qcow2 \"$@\"";
    let directory = directory();
    shell(
        directory.path(),
        "qemu-img create -q -f qcow2 d.qcow2 4M; qemu-io -c 'write -q -P 0xaa 0 1M' d.qcow2",
    );
    let nbd = program("nbd");
    for (frees, ends) in [(4, false), (6, false), (4, true)] {
        let words = ["-m", "sh", "-ec", START, nbd.to_str().unwrap()];
        let server = Server::start("unshare", directory.path(), &words);
        let mut slow = Raw::new(&server, 3);
        slow.option(GO, &named(b"", &[])).unwrap();
        slow.send((0, 0, 0, LENGTH), b"", 1).unwrap();
        if ends {
            slow.send((2, 0, 0, 0), b"", 2).unwrap();
        }
        // It is begun.
        slow.read(16).unwrap();
        let mut other = Raw::new(&server, 3);
        other.option(GO, &named(b"", &[])).unwrap();
        other.request((frees, 0, 0, 1 << 20), b"").unwrap();
        other.request((3, 0, 0, 0), b"").unwrap();
        other.request((1, 0, 2 << 20, 1 << 20), &[0xbb; 1 << 20]).unwrap();
        assert!(
            other.heard.iter().rev().take(3).all(|answer| answer.contains("error 0")),
            "{:?}",
            other.heard
        );
        let bytes = slow.read(LENGTH as usize).unwrap();
        assert!(!bytes.contains(&0xbb), "a slow client was given what another wrote elsewhere");
        let uri = format!("nbd+unix:///?socket={}", server.socket.display());
        shell(directory.path(), &format!("qemu-io -f raw -r -c 'read -P 0xbb 2M 1M' '{uri}' >/dev/null"));
    }
}

#[test]
fn a_server_with_half_open_clients_stops_all_the_same() {
    let directory = directory();
    let mut server = server(directory.path(), &[]);
    let silent: Vec<_> = (0..50).map(|_| server.connect()).collect();
    let mut chosen = Raw::new(&server, 3);
    chosen.option(GO, &named(b"", &[])).unwrap();
    server.signal("-TERM");
    assert!(server.wait().success());
    assert!(!server.socket.exists(), "the socket stays behind");
    drop(silent);
}
