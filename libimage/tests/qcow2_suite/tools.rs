//! QEMU's programs and other helpers. A missing program is a failure, not a reason to skip.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use libimage::format::qcow2::{OpenOptions, Qcow2};
use libimage::storage::{FileOptions, FileStorage};
use libimage::{Block, Result};

/// A small generator of repeatable numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// Bytes that do not compress, or that do.
    pub(crate) fn bytes(&mut self, length: usize, dull: bool) -> Vec<u8> {
        if dull {
            let (a, b) = (self.next() as u8 | 1, self.below(50) + 3);
            return (0..length as u64).map(|i| if i % b == 0 { a } else { (i / 300) as u8 }).collect();
        }
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Runs a program. A file that this process closed just now may still be locked by another program that a
/// test is starting: it holds all open files until it has begun.
pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    let mut tries = 0;
    loop {
        let output = Command::new(program).args(args).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
        let locked = String::from_utf8_lossy(&output.stderr).contains("Is another process using the image");
        tries += 1;
        if !locked || tries == 300 {
            return output;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Runs a program that must succeed; returns what it printed.
pub(crate) fn must(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {:?}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// QEMU finds neither errors nor leaks.
pub(crate) fn assert_clean(path: &Path) {
    must("qemu-img", &["check", "-f", "qcow2", path.to_str().unwrap()]);
}

/// QEMU reads exactly these bytes.
pub(crate) fn assert_content(path: &Path, expected: &[u8]) {
    let raw = path.with_extension("expected");
    std::fs::write(&raw, expected).unwrap();
    let output = run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "qcow2", raw.to_str().unwrap(), path.to_str().unwrap()],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    std::fs::remove_file(raw).unwrap();
}

pub(crate) fn open(path: &Path) -> Result<Qcow2> {
    with_data_file(path, FileOptions::default())
}

/// Opens an image, and the data file that it names.
pub(crate) fn with_data_file(path: &Path, options: FileOptions) -> Result<Qcow2> {
    let image = Qcow2::open(Arc::new(storage(path, options)), OpenOptions::default())?;
    if image.lacks_data_file() {
        let name = image.data_file_name()?.unwrap();
        image.set_data_file(Arc::new(storage(Path::new(&name), options)))?;
    }
    Ok(image)
}

/// Opens a file that this process may have closed just now: a program that another test is starting holds
/// all open files, and so their locks, until it has begun.
pub(crate) fn storage(path: &Path, options: FileOptions) -> FileStorage {
    for _ in 0..500 {
        match FileStorage::open(path, options) {
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Ok(storage) => return storage,
        }
    }
    FileStorage::open(path, options).unwrap()
}

pub(crate) fn read_all(block: &dyn Block) -> Vec<u8> {
    let mut bytes = vec![0xee; block.size() as usize];
    block.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Where two byte strings first differ, for messages.
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
        panic!("{what}: differs at {at:#x}: {:#x} instead of {:#x}", found[at], expected[at]);
    }
}
