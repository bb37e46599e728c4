//! Streams, archives, programs, and what happens when things go wrong in the middle.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::actions::archive::{TarInOptions, TarOutOptions};
use guestd_api::prelude::*;
use guestd_api::{Error, Progress};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::Agent;

/// Bytes that do not repeat in any way a block size could hide.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn streams_carry_every_byte() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    for length in [0, 1, 65535, 65536, 65537, (1 << 20) + 1, 9_000_001] {
        let bytes = noise(length);
        g.upload(&bytes[..], "/x").unwrap();
        assert!(std::fs::read(agent.host("x")).unwrap() == bytes, "up {length}");
        let mut back = Vec::new();
        g.download("/x", &mut back).unwrap();
        assert!(back == bytes, "down {length}");
        assert!(g.read_file("/x").unwrap() == bytes, "read {length}");
    }
    g.upload_offset(&b"abc"[..], "/x", 10).unwrap();
    let mut piece = Vec::new();
    g.download_offset("/x", &mut piece, 9, 5).unwrap();
    assert_eq!((piece.len(), piece.get(1..4)), (5, Some(&b"abc"[..])));
    assert!(
        g.download_offset("/x", &mut piece, 9_000_000, 5).unwrap_err().to_string().contains("short read")
    );
    assert_eq!(
        g.download("/no", &mut piece).unwrap_err().to_string(),
        "download: /no: No such file or directory"
    );
    assert_eq!(
        g.upload(&b""[..], "/no/x").unwrap_err().to_string(),
        "upload: /no/x: No such file or directory"
    );
    // A failed upload leaves the connection in order even if the host sends on for a while.
    assert!(g.upload(&noise(5_000_000)[..], "/no/x").is_err());
    g.ping_daemon().unwrap();
}

#[test]
fn many_calls_at_once_and_a_slow_stream_in_nobodys_way() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let bytes = noise(8 << 20);
    g.upload(&bytes[..], "/big").unwrap();

    /// Takes the first bytes and then waits for a sign.
    struct Slow<'a>(Vec<u8>, &'a std::sync::Barrier, bool);
    impl Write for Slow<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.2 {
                self.2 = true;
                self.1.wait();
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let mut out = Slow(Vec::new(), &barrier, false);
            g.download("/big", &mut out).unwrap();
            out.0
        });
        let busy: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..50 {
                        let path = format!("/t{thread}");
                        g.write(&path, format!("{round}")).unwrap();
                        assert_eq!(g.cat(&path).unwrap(), format!("{round}").as_str());
                    }
                })
            })
            .collect();
        busy.into_iter().for_each(|thread| thread.join().unwrap());
        barrier.wait();
        assert!(slow.join().unwrap() == bytes);
    });
}

#[test]
fn cancelling_ends_a_call_and_nothing_else() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let token = CancelToken::new();
    let cancelled = |result: Result<_, Error>| matches!(result, Err(Error::Cancelled { .. }));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| With::new(g).cancel(&token).sleep(600));
        let stream = scope.spawn(|| With::new(g).cancel(&token).upload(io::repeat(7), "/endless"));
        std::thread::sleep(Duration::from_millis(100));
        token.cancel();
        assert!(cancelled(call.join().unwrap()) && cancelled(stream.join().unwrap()));
    });
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(cancelled(With::new(g).cancel(&token).ping_daemon()));
    g.ping_daemon().unwrap();
    // A stream of the host that fails is told as such.
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    assert!(matches!(g.upload(Broken, "/x"), Err(Error::Input { .. })));
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(g.download("/endless", Full), Err(Error::Output { .. })));
    g.ping_daemon().unwrap();
}

#[test]
fn progress_is_reported_to_its_end() {
    let agent = Agent::over_directory();
    let seen = RefCell::new(Vec::new());
    let report = |progress: Progress| seen.borrow_mut().push(progress);
    With::new(&agent.client).progress(&report).fill(1, 20 << 20, "/x").unwrap();
    let seen = seen.into_inner();
    assert_eq!(seen.last(), Some(&Progress { position: 20 << 20, total: 20 << 20 }));
    assert!(seen.is_sorted_by_key(|progress| progress.position));
}

#[test]
fn archives_go_in_and_out() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("d")).unwrap();
    std::fs::write(source.path().join("d/f"), noise(300_000)).unwrap();
    std::fs::write(source.path().join("d/skip.tmp"), "x").unwrap();
    std::os::unix::fs::chown(source.path().join("d/f"), Some(123), Some(45)).unwrap();
    let mut tar = Command::new("tar");
    let mut tar = tar.args(["-cz", "-C"]).arg(source.path()).arg(".").stdout(Stdio::piped()).spawn().unwrap();
    g.mkdir("/in").unwrap();
    // The directory is reached by a link that a program outside of the guest would follow elsewhere.
    std::os::unix::fs::symlink("/in", agent.host("link")).unwrap();
    g.tar_in(tar.stdout.take().unwrap(), "/link", TarInOptions::default().compress("gzip")).unwrap();
    assert!(tar.wait().unwrap().success());
    let file = agent.host("in/d/f");
    assert_eq!((std::fs::read(&file).unwrap(), file.metadata().unwrap().uid()), (noise(300_000), 123));
    let mut archive = Vec::new();
    g.tar_out("/in", &mut archive, TarOutOptions::default().excludes(&["*.tmp"]).numericowner(true)).unwrap();
    let mut list =
        Command::new("tar").args(["-t"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    list.stdin.take().unwrap().write_all(&archive).unwrap();
    let names = String::from_utf8(list.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["./", "./d/", "./d/f"]);
    let broken = g.tar_in(&b"not an archive, and long enough to be looked at"[..], "/in", Default::default());
    assert!(broken.unwrap_err().to_string().starts_with("tar_in: tar subcommand failed on directory: /"));
    assert!(
        g.tar_out("/in/d/f", io::sink(), Default::default())
            .unwrap_err()
            .to_string()
            .contains("not a directory")
    );
    assert!(
        g.tar_out("/in", io::sink(), TarOutOptions::default().compress("zip"))
            .unwrap_err()
            .to_string()
            .contains("zip")
    );
}

#[test]
fn programs_run_in_the_guest() {
    let agent = Agent::over_directory();
    let g = &agent.client;
    for directory in ["/bin", "/dev", "/proc", "/sys"] {
        g.mkdir(directory).unwrap();
    }
    let busybox = std::fs::File::open("/bin/busybox").unwrap();
    g.upload(busybox, "/bin/busybox").unwrap();
    g.chmod(0o755, "/bin/busybox").unwrap();
    g.ln_s("busybox", "/bin/sh").unwrap();
    assert_eq!(g.command(&["/bin/busybox", "echo", "a  b"]).unwrap(), "a  b\n");
    assert_eq!(g.sh_lines("for i in 1 2; do echo $i; done").unwrap(), ["1", "2"]);
    // The guest's root, with what programs need in it, and nothing of it left behind.
    let seen =
        g.sh("busybox ls /; busybox test -c /dev/null && busybox test -d /proc/self && echo there").unwrap();
    assert_eq!(seen, "bin\ndev\nproc\nsys\nthere\n");
    assert_eq!(g.ls("/proc").unwrap(), [""; 0]);
    assert_eq!(g.sh("echo out; echo went wrong >&2; exit 3").unwrap_err().to_string(), "sh: went wrong");
    assert_eq!(g.sh("exit 3").unwrap_err().to_string(), "sh: command exited with status 3 and no message");
    assert_eq!(g.command(&["/none"]).unwrap_err().to_string(), "command: /none: No such file or directory");
    assert_eq!(g.command(&[""; 0]).unwrap_err().to_string(), "command: passed an empty list");
    // More than a pipe holds, on both outputs.
    let long = g.sh("busybox seq 1 30000; busybox seq 1 30000 >&2").unwrap();
    assert_eq!(long.as_bytes().iter().filter(|byte| **byte == b'\n').count(), 30000);
    let token = CancelToken::new();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| With::new(g).cancel(&token).sh("busybox sleep 600 & busybox sleep 600"));
        std::thread::sleep(Duration::from_millis(200));
        token.cancel();
        assert!(matches!(call.join().unwrap(), Err(Error::Cancelled { .. })));
    });
}

#[test]
fn a_dead_agent_is_an_error_for_every_call() {
    let mut agent = Agent::over_directory();
    std::thread::scope(|scope| {
        let client = &agent.client;
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| client.sleep(600))).collect();
        let token = CancelToken::new();
        let with_token = scope.spawn(move || With::new(client).cancel(&token).sleep(600));
        std::thread::sleep(Duration::from_millis(100));
        agent.child.kill().unwrap();
        for call in calls.into_iter().chain([with_token]) {
            assert!(matches!(call.join().unwrap(), Err(Error::Disconnected(_))));
        }
        assert!(matches!(client.ping_daemon(), Err(Error::Disconnected(_))));
    });
}

#[test]
fn nonsense_ends_the_connection_and_is_no_crash() {
    use guestd_api::wire::{self, Frame, HELLO};
    let raw = |frame: &Frame<'_>| {
        let mut bytes = Vec::new();
        wire::write_frame(&mut bytes, frame, &mut Vec::new()).unwrap();
        bytes
    };
    let hello = raw(&HELLO);
    let with_hello = |rest: Vec<u8>| [hello.clone(), rest].concat();
    let endless =
        wire::encode(&guestd_api::Call::from(guestd_api::actions::system::Call::sleep { secs: 600 }))
            .unwrap();
    let call = raw(&Frame::Call { id: 1, last: true, part: &endless });
    let cases: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        vec![0xff; 64],
        raw(&Frame::Hello { version: 99, table: 0 }),
        with_hello(vec![3, 0, 0, 0, 0xff, 0xff, 0xff]),
        with_hello(raw(&Frame::Reply { id: 1, last: true, part: b"" })),
        with_hello([call.clone(), call.clone()].concat()),
        with_hello(
            [
                call.clone(),
                (0..20).flat_map(|_| raw(&Frame::Data { id: 1, bytes: &[0; wire::CHUNK] })).collect(),
            ]
            .concat(),
        ),
    ];
    let guest = tempfile::tempdir().unwrap();
    for (number, bytes) in cases.into_iter().enumerate() {
        let (mut stream, mut child) = Agent::spawn(guest.path(), &[], true);
        // The agent may hang up before it has read all.
        let _ = stream.write_all(&bytes);
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers);
        assert_eq!(child.wait().unwrap().code(), Some(1), "case {number}");
    }
    // A call that cannot be decoded costs that call only, and calls past the limit are refused one by one.
    let (mut stream, mut child) = Agent::spawn(guest.path(), &[], true);
    let mut bytes = with_hello(raw(&Frame::Call { id: 7, last: true, part: &[0xff; 9] }));
    for id in 100..100 + u32::try_from(wire::MAX_CALLS).unwrap() + 1 {
        bytes.extend(raw(&Frame::Call { id, last: true, part: &endless }));
    }
    stream.write_all(&bytes).unwrap();
    let mut refused = Vec::new();
    let mut buffer = Vec::new();
    // In any order: a call that cannot be decoded may take a place until it has said so.
    while refused.len() < 2 || !refused.contains(&7) {
        if let Frame::Error { id, .. } = wire::read_frame(&mut stream, &mut buffer).unwrap().unwrap() {
            refused.push(id);
        }
    }
    assert!(refused.iter().all(|id| *id == 7 || *id >= 163), "{refused:?}");
    drop(stream);
    assert!(child.wait().unwrap().success());
}
