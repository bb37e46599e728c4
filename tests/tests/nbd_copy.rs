//! `nbd copy` under its own name and under nbdcopy's, between real servers, files and streams.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use system_tests::programs::program;
use tempfile::TempDir;

struct Room(TempDir);

impl Room {
    /// A directory with a source that has holes, zeroes and data.
    fn new() -> Self {
        let room = Room(tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(program("nbd"), room.0.path().join("nbdcopy")).unwrap();
        std::os::unix::fs::symlink(program("nbd"), room.0.path().join("nbd")).unwrap();
        room.sh(
            "truncate -s 8M src; head -c 1500000 /dev/urandom | dd of=src bs=64k seek=16 conv=notrunc status=none
             head -c 300000 /dev/urandom | dd of=src bs=1000 seek=6001 conv=notrunc status=none
             head -c 1M /dev/zero | dd of=src bs=1M seek=4 conv=notrunc status=none",
        );
        room
    }

    /// Runs a script in which `nbdcopy` and `nbd` are ours, with no more than a minute for all of it.
    fn run(&self, script: &str) -> Output {
        Command::new("timeout")
            .args(["-s", "KILL", "60", "bash", "-c", &format!("PATH=$PWD:$PATH\n{script}")])
            .current_dir(self.0.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    fn sh(&self, script: &str) -> String {
        let output = self.run(&format!("set -e -o pipefail\n{script}"));
        assert!(output.status.success(), "{script}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails with status 1, and says this.
    fn refused(&self, script: &str, said: &str) {
        let output = self.run(script);
        assert_eq!(output.status.code(), Some(1), "{script}\n{output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{script}\n{error}");
    }
}

#[test]
fn from_anywhere_to_anywhere() {
    let room = Room::new();
    room.sh("qemu-img convert -O qcow2 src src.qcow2");
    let sources = [
        "src",
        "[ nbdkit file src ]",
        "[ nbdkit --no-sr file src ]",
        "[ nbdkit -o file src ]",
        "[ nbdkit --filter=blocksize-policy file src blocksize-minimum=4096 blocksize-maximum=64K blocksize-error-policy=error ]",
        "[ qemu-nbd -r -f qcow2 src.qcow2 ]",
        "[ nbd serve -r -f qcow2 src.qcow2 ]",
        "[ qemu-nbd -r -f raw nbd+unix:///?socket=$PWD/s ]",
        "nbd+unix:///?socket=$PWD/s",
        "--no-extents nbd+unix:///?socket=$PWD/s",
        "-S 0 --request-size=32768 -C 3 -R 2 src",
        "--synchronous nbd+unix:///?socket=$PWD/s",
    ];
    let mut script = "nbdkit -U s -P $PWD/pid file src; trap 'kill $(cat pid)' EXIT\n".to_owned();
    for (number, source) in sources.into_iter().enumerate() {
        script += &format!("nbdcopy -- {source} out{number} < /dev/null; cmp src out{number}\n")
            .replace("-- --", "--")
            .replace("-- -S", "-S");
        let stream = source.replace("[", "-- [");
        script += &format!("nbdcopy {stream} - | cmp src\n");
    }
    room.sh(&script.replace("nbdcopy --no-extents --", "nbdcopy --no-extents"));
    // Holes remain holes, whoever tells of them.
    for number in [0, 1, 5, 8] {
        let out = std::fs::metadata(room.0.path().join(format!("out{number}"))).unwrap();
        assert!(out.blocks() * 512 < 3_000_000, "out{number}: {} blocks", out.blocks());
    }
    for destination in [
        "[ qemu-nbd -f qcow2 dst.qcow2 ]",
        "[ nbd serve -f qcow2 dst.qcow2 ]",
        "[ nbdkit nbd uri=nbd+unix:///?socket=$PWD/d ]",
        "nbd+unix:///?socket=$PWD/d",
        "dst.raw",
    ] {
        for source in ["src", "- < src", "[ nbdkit file src ]"] {
            let (source, input) = source.split_once(" <").map_or((source, ""), |(a, b)| (a, b));
            let input = if input.is_empty() { String::new() } else { format!("<{input}") };
            room.sh(&format!(
                "qemu-img create -q -f qcow2 dst.qcow2 8M; head -c 8M /dev/urandom > dst.raw
                 case '{destination}' in *socket*) qemu-nbd -t -e 9 -k $PWD/d --fork --pid-file=pid -f qcow2 dst.qcow2; trap 'kill $(cat pid)' EXIT;; esac
                 nbdcopy --flush -- {source} {destination} {input}
                 case '{destination}' in *socket*) trap - EXIT; kill $(cat pid); while [ -e d ]; do sleep 0.01; done; while kill -0 $(cat pid) 2>/dev/null; do sleep 0.01; done;; esac
                 case '{destination}' in dst.raw) cmp src dst.raw;; *) qemu-img compare -q src dst.qcow2;; esac",
            ));
        }
    }
}

#[test]
fn zeroes_as_they_are_wanted() {
    let room = Room::new();
    room.sh("nbdcopy --allocated src full; cmp src full; test $(stat -c %b full) -ge 16384
         head -c 8M /dev/urandom > old; cp old kept; nbdcopy --destination-is-zero -- src [ nbdkit file kept ]
         cmp -n 1048576 old kept; cmp -i 1048576 -n 1500000 src kept
         cp old over; nbdcopy -- src [ nbdkit file over ]; cmp src over
         nbdcopy -- - streamed < src; cmp src streamed; test $(stat -c %b streamed) -lt 6000
         nbdcopy --sparse=0 - dense < src; cmp src dense; test $(stat -c %b dense) -ge 16384
         cat src | nbdcopy -- - [ nbdkit file over ]; cmp src over
         nbdcopy src null:; nbdcopy -- [ nbdkit file src ] null:; nbdcopy - null: < src");
}

#[test]
fn nothing_that_fails_counts_as_copied() {
    let room = Room::new();
    let broken = "[ nbdkit --filter=error file src error-pread-rate=1 ]";
    for mode in ["", "--synchronous", "--no-extents", "-T 1", "--request-size=4096", "--destination-is-zero"]
    {
        for destination in ["null:", "out", "[ nbdkit memory 8M ]"] {
            room.refused(&format!("nbdcopy {mode} -- {broken} {destination}"), "nbdcopy: read at offset ");
        }
        room.refused(
            &format!("set -o pipefail; nbdcopy {mode} -- {broken} - | cat >/dev/null"),
            "Input/output error",
        );
    }
    room.refused(
        "nbdcopy -- src [ nbdkit --filter=error memory 8M error-pwrite-rate=1 ]",
        "write at offset ",
    );
    room.refused("nbdcopy -- src [ nbdkit --filter=error memory 8M error-zero-rate=1 ]", "write at offset ");
    room.refused(
        "nbdcopy -- - [ nbdkit --filter=error memory 8M error-pwrite-rate=1 ] < src",
        "Input/output error",
    );
    let small = "nbdcopy: error: destination size (1048576) is smaller than source size (8388608)";
    room.refused("nbdcopy -- src [ nbdkit memory 1M ]", small);
    room.refused("nbdcopy -- - [ nbdkit memory 1M ] < src", "smaller than source size");
    room.refused(
        "nbdcopy -- src [ nbdkit -r memory 8M ]",
        "nbdkit: the destination is read-only, cannot write to it",
    );
    room.refused("nbdcopy -- src [ no-such-server ]", "no-such-server");
    room.refused("nbdcopy nosuch null:", "nbdcopy: nosuch: No such file or directory");
    room.refused("nbdcopy null: out", "No such file or directory");
    room.refused("nbdcopy src", "Usage");
    room.refused("nbdcopy -- src [ nbdkit memory 8M", "Usage");
    for (option, said) in [
        ("-C 0", "--connections: could not parse: 0"),
        ("-S 3", "--sparse: must be a power of 2 and >= 512"),
        ("--request-size=64M", "--request-size: must be a power of 2 within 4096-33554432"),
        ("--progress=x", "--progress: could not parse: x"),
    ] {
        room.refused(&format!("nbdcopy {option} src null:"), said);
    }
    room.refused("nbd copy --verify src null:", "--verify");
}

/// Servers end with the copy, however that ends.
#[test]
fn servers_do_not_stay() {
    let room = Room::new();
    for (end, code) in [
        ("null:", 0),
        ("[ nbdkit -P $PWD/two memory 8M ]", 0),
        ("[ nbdkit -P $PWD/two memory 1M ]", 1),
        ("[ nbdkit -P $PWD/two --filter=error memory 8M error-pwrite-rate=1 ]", 1),
        ("/no/such/directory/out", 1),
    ] {
        let script = format!(
            "rm -f one two; nbdcopy -- [ nbdkit -P $PWD/one file src ] {end}; r=$?
             for p in one two; do [ ! -e $p ] || ! kill -0 $(cat $p) 2>/dev/null || exit 77; done; exit $r"
        );
        let output = room.run(&script);
        assert_eq!(output.status.code(), Some(code), "{script}\n{output:?}");
    }
    // A signal in the middle of it.
    let output = room.run(
        "nbdcopy -- [ nbdkit -P $PWD/one --filter=delay file src rdelay=10 ] null: & c=$!
         until [ -s one ]; do sleep 0.01; done; sleep 0.1; kill $c; wait $c
         for n in $(seq 2000); do kill -0 $(cat one) 2>/dev/null || exit 0; sleep 0.01; done; exit 77",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_is_ours_alone() {
    let room = Room::new();
    room.sh(
        "qemu-img convert -O qcow2 src a.qcow2; qemu-img create -q -f qcow2 b.qcow2 9M
         nbd copy --verify a.qcow2 b.qcow2 --source-format qcow2 --destination-format qcow2
         qemu-img compare -q a.qcow2 b.qcow2
         nbd copy --verify -- src [ nbdkit memory 8M ]
         nbd copy --progress=3 src null: 3> told; head -1 told | grep -qx 0/100; tail -1 told | grep -qx 100/100
         nbd copy --verbose --verify src out 2>&1 | grep -q 'both ends have the hash'",
    );
    // A destination that forgets.
    room.refused("nbd copy --verify -- src [ nbdkit null 8M ]", "differs from the source");
}
