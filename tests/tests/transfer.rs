//! Large streams into and out of a booted appliance: whole, side by side, cut short.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use appliance_engine::launch::{Choice, Disk, Running, Settings, launch};
use guestd_api::Error;
use guestd_api::prelude::*;
use libimage::format::raw::Raw;
use libimage::storage::Memory;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use system_tests::fish::output_of;
use system_tests::programs::peer;

const MIB: u64 = 1 << 20;

fn boot(choice: Choice, size: u64) -> Running {
    let disk = Arc::new(Raw::new(Arc::new(Memory::new(size))));
    let g = launch(
        vec![Disk { block: disk, read_only: false, block_size: 512 }],
        Settings { choice, ..Settings::default() },
        &|_| (),
    )
    .unwrap();
    g.mkfs("ext4", "/dev/sda", Default::default()).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut number = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| number()).collect()
}

/// The checksum that another program finds.
fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

/// Gives what it reads in portions of its own choice, as a pipe may.
struct Portions<'b>(&'b [u8], usize);

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        let (now, rest) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = rest;
        Ok(count)
    }
}

#[test]
fn streams_arrive_whole_in_uml() {
    streams_arrive_whole(Choice::Uml);
}

#[test]
fn streams_arrive_whole_in_qemu() {
    streams_arrive_whole(Choice::Tcg);
}

fn streams_arrive_whole(choice: Choice) {
    let g = boot(choice, 200 * MIB);
    // Around the sizes of frames, pieces and windows.
    let piece = guestd_api::exchange::PIECE;
    for length in [0, 1, 511, 16_384, 65_536, 65_537, piece - 1, piece, piece + 1, 20 * piece + 777] {
        let bytes = noise(length, length as u64);
        for portion in [usize::MAX, 65_536, 40_000] {
            g.upload(Portions(&bytes, portion), "/x").unwrap();
            assert_eq!(g.checksum("sha256", "/x").unwrap(), sha256(&bytes).as_str(), "{length} by {portion}");
        }
        let mut back = Vec::new();
        g.download("/x", &mut back).unwrap();
        assert!(back == bytes, "{length} bytes come back");
    }
    let files: Vec<Vec<u8>> = (0..4).map(|number| noise(9 << 20, number + 1)).collect();
    std::thread::scope(|scope| {
        for (number, bytes) in files.iter().enumerate() {
            let g = &g;
            scope.spawn(move || {
                let path = format!("/f{number}");
                g.upload(&bytes[..], &path).unwrap();
                let mut back = Vec::new();
                g.download(&path, &mut back).unwrap();
                assert!(back == *bytes, "{path}");
            });
        }
    });
    let mut archive = Vec::new();
    g.tar_out("/", &mut archive, Default::default()).unwrap();
    g.mkdir("/copy").unwrap();
    g.tar_in(&archive[..], "/copy", Default::default()).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        assert_eq!(g.checksum("sha256", format!("/copy/f{number}")).unwrap(), sha256(bytes).as_str());
    }
    g.shut_down().unwrap();
}

#[test]
fn streams_that_are_cut_short_cost_nothing_afterwards() {
    /// Triggers a token after some bytes.
    struct Cancels<'c>(&'c CancelToken, u64);
    impl Read for Cancels<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.saturating_sub(buffer.len() as u64);
            if self.1 == 0 {
                self.0.cancel();
            }
            buffer.fill(7);
            Ok(buffer.len())
        }
    }
    /// Fails after some bytes.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let g = boot(Choice::Uml, 100 * MIB);
    let bytes = noise(12 << 20, 3);
    g.upload(&bytes[..], "/x").unwrap();
    // Oftener than there are pieces: one that was lost each time would be missed.
    for round in 0..12 {
        let token = CancelToken::new();
        let result = With::new(&g).cancel(&token).upload(Cancels(&token, 8 << 20), "/big");
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{round}: {result:?}");
        let result = g.download("/x", Full(5 << 20));
        assert!(matches!(result, Err(Error::Output { .. })), "{round}: {result:?}");
        // The guest's file system has no room for this.
        let result = g.upload(io::repeat(1).take(200 << 20), "/big");
        assert!(result.unwrap_err().to_string().contains("No space left"), "{round}");
        g.rm("/big").unwrap();
        assert!(g.tar_in(io::repeat(1).take(6 << 20), "/", Default::default()).is_err());
    }
    let mut back = Vec::new();
    g.download("/x", &mut back).unwrap();
    assert!(back == bytes);
    g.upload(&bytes[..], "/y").unwrap();
    assert_eq!(g.checksum("sha256", "/y").unwrap(), sha256(&bytes).as_str());
    g.shut_down().unwrap();
}

/// Trees, as scripts move them; what arrives is judged by the host's own tools.
#[test]
fn trees_arrive_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (here, tree) = (directory.path(), directory.path().join("tree"));
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    for (name, length) in [("empty", 0), ("a/small", 100), ("a/b/odd", 1_234_567), ("a/b/large", 30 << 20)] {
        std::fs::write(tree.join(name), noise(length, 9)).unwrap();
    }
    std::os::unix::fs::symlink("b/odd", tree.join("a/link")).unwrap();
    let sums = |tree: &Path| {
        let line = "find . -type f -exec sha256sum {} + -o -type l -printf '%p -> %l\\n' | sort";
        peer("sh", &["-c", &format!("cd {} && {line}", tree.display())])
    };
    for backend in ["--backend=uml", "--backend=tcg"] {
        let out = here.join(&backend[10..]);
        std::fs::create_dir_all(out.join("tar")).unwrap();
        let script = format!(
            "scratch 200M\nrun\nmkfs ext4 /dev/sda\nmount /dev/sda /\ncopy-in {tree} /\ncopy-out /tree {out}\n\
             tar-out /tree {out}/x.tar\ntgz-out /tree {out}/x.tgz\nmkdir /again\ntgz-in {out}/x.tgz /again\n\
             download /again/a/b/large {out}/large\nupload {out}/large /large\nchecksum sha256 /large\n",
            tree = tree.display(),
            out = out.display()
        );
        let printed = output_of(&[backend], &script);
        let large = std::fs::read(tree.join("a/b/large")).unwrap();
        assert_eq!(printed.trim_end(), sha256(&large), "{backend}");
        assert!(std::fs::read(out.join("large")).unwrap() == large, "{backend}");
        assert_eq!(sums(&out.join("tree")), sums(&tree), "{backend}");
        let (archive, unpacked) = (out.join("x.tar"), out.join("tar"));
        peer("tar", &["-xf", archive.to_str().unwrap(), "-C", unpacked.to_str().unwrap()]);
        assert_eq!(sums(&unpacked), sums(&tree), "{backend}");
    }
}
