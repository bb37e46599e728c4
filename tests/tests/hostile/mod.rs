//! What all cases have in common: a host that is looked at afterwards, a healthy disk, and a limit of time.

mod archives;
mod filesystems;
mod odd_files;
mod tables;
mod trees;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use system_tests::fish::{command, output_of};
use tempfile::TempDir;

/// What no case comes near to unless it hangs, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(240);

/// A directory of the host in which guestfish works.
pub(crate) struct Host {
    place: TempDir,
}

/// What a run printed.
pub(crate) struct Told {
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// Numbers that look random and are the same every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % limit
    }
}

/// A disk on which nothing is wrong.
fn healthy() -> &'static Path {
    static DISK: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DISK.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("healthy");
        system_tests::images::format(&path, 8, &["mkfs.ext2", "-q", "-F"]);
        output_of(
            &["--format=raw", "-a", path.to_str().unwrap(), "-m", "/dev/sda"],
            "write /hello healthy\n",
        );
        (place, path)
    });
    path
}

impl Host {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for name in ["work", "tmp", "disks"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        Host { place }
    }

    /// A place for a disk.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.place.path().join("disks").join(name)
    }

    fn left_over(&self) -> Vec<PathBuf> {
        let list = |name: &str| std::fs::read_dir(self.place.path().join(name)).unwrap();
        list("work").chain(list("tmp")).map(|entry| entry.unwrap().path()).collect()
    }

    /// Runs lines with these disks, each line whether it fails or not. Afterwards guestfish must be able to work on
    /// a healthy disk, nothing may lie on the host that no line asked for, and no part may have panicked.
    pub(crate) fn survives(&self, options: &[&str], disks: &[PathBuf], lines: &[String]) -> Told {
        let mut arguments = options.to_vec();
        arguments.extend(["--format=raw"]);
        for disk in disks {
            arguments.extend(["-a", disk.to_str().unwrap()]);
        }
        let mut script = String::from("run\n");
        for (number, line) in lines.iter().enumerate() {
            script.push_str(&format!("echo {MARK}{number}\n-{line}\n"));
        }
        // A new handle: the kernel of the appliance may have died of the disk, which is not for it to decide.
        let disk = healthy().display();
        script.push_str(&format!(
            "reopen\nadd {disk} format:raw readonly:true\nrun\nmount-ro /dev/sda /\ncat /hello\n"
        ));
        let (out, err) = (self.place.path().join("out"), self.place.path().join("err"));
        let mut child = command(&arguments)
            .current_dir(self.place.path().join("work"))
            .env("TMPDIR", self.place.path().join("tmp"))
            .stdin(Stdio::piped())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || pipe.write_all(script.as_bytes()));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{disks:?}: this does not end: {}", last(&out, lines));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let _ = writer.join().unwrap();
        let printed = without_marks(&std::fs::read(&out).unwrap());
        let err = String::from_utf8_lossy(&std::fs::read(&err).unwrap()).into_owned();
        let end = err.lines().rev().take(5).collect::<Vec<_>>();
        assert!(status.success(), "{disks:?}: {status} at {}: {end:?}", last(&out, lines));
        assert!(printed.trim_ascii_end().ends_with(b"healthy"), "{disks:?}: {end:?}");
        assert!(
            !err.contains("panicked") && !err.contains("a thread of the agent failed"),
            "{disks:?}: {err}"
        );
        assert_eq!(self.left_over(), Vec::<PathBuf>::new(), "{disks:?}");
        Told { out: printed, err }
    }
}

/// What a run says before each line.
const MARK: &str = "=-=-=";

/// The line that was carried out last.
fn last(out: &Path, lines: &[String]) -> String {
    let out = std::fs::read(out).unwrap_or_default();
    let out = String::from_utf8_lossy(&out);
    let number = out.rsplit_once(MARK).and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
    number.and_then(|number| lines.get(number)).cloned().unwrap_or_else(|| "the start".to_owned())
}

/// What was printed without the marks, which stand at the ends of what has no line's end too.
fn without_marks(out: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(out.len());
    for piece in out.split_inclusive(|byte| *byte == b'\n') {
        match piece.windows(MARK.len()).position(|window| window == MARK.as_bytes()) {
            Some(at) => left.extend_from_slice(&piece[..at]),
            None => left.extend_from_slice(piece),
        }
    }
    left
}
