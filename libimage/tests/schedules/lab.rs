//! One image in memory, threads whose order shuttle chooses, and what is true afterwards in whatever order.
//!
//! The storage lets others in before and after everything that it does, and in the middle of long writes, so that
//! nothing in the image may count on a request being one step. It remembers what a power cut would leave.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use libimage::format::qcow2::{CreateOptions, OpenOptions, Qcow2};
use libimage::storage::Memory;
use libimage::{Block, Extent, Limits, Preallocation, Result, Zero};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{Config, Runner};

/// Bytes of the clusters of most images here: the smallest, so that tables are many and small.
pub(crate) const CLUSTER: u64 = 512;

/// Lets others in, or goes on at once: it is not a wish to wait, after which one strategy would always prefer others.
fn step() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

/// A storage that lets others in.
pub(crate) struct Stepped {
    bytes: Memory,
    /// What it held when it was last flushed.
    durable: Mutex<Vec<u8>>,
}

impl Stepped {
    fn new(bytes: &[u8]) -> Self {
        Stepped { bytes: Memory::from_bytes(bytes), durable: Mutex::new(bytes.to_vec()) }
    }

    /// Everything, as it is now.
    pub(crate) fn all(&self) -> Vec<u8> {
        read_all(&self.bytes)
    }

    /// Everything that was flushed.
    pub(crate) fn durable(&self) -> Vec<u8> {
        self.durable.lock().unwrap().clone()
    }
}

impl Block for Stepped {
    fn size(&self) -> u64 {
        self.bytes.size()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        step();
        self.bytes.read_at(buf, offset)?;
        step();
        Ok(())
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        step();
        let (first, second) = buf.split_at(buf.len() / 2);
        self.bytes.write_at(first, offset)?;
        step();
        self.bytes.write_at(second, offset + first.len() as u64)
    }
    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        step();
        self.bytes.write_zeroes(range, how)
    }
    fn discard(&self, range: Range<u64>) -> Result<()> {
        step();
        self.bytes.discard(range)
    }
    fn flush(&self) -> Result<()> {
        step();
        *self.durable.lock().unwrap() = self.all();
        Ok(())
    }
    fn status(&self, range: Range<u64>) -> Result<Extent> {
        self.bytes.status(range)
    }
    fn limits(&self) -> Limits {
        self.bytes.limits()
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        step();
        self.bytes.resize(size, preallocation)
    }
    fn name(&self) -> &str {
        "stepped"
    }
}

/// The bytes of a new image, after `prepare`.
pub(crate) fn template(options: CreateOptions, prepare: impl Fn(&Qcow2) + Send + Sync + 'static) -> Vec<u8> {
    let made = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&made);
    // Shuttle's locks work in its threads only.
    let once = move || {
        let file = Arc::new(Memory::new(0));
        let image = Qcow2::create(Arc::<Memory>::clone(&file), &options).unwrap();
        prepare(&image);
        image.close().unwrap();
        *keep.lock().unwrap() = read_all(&*file);
    };
    Runner::new(RandomScheduler::new(1), config()).run(once);
    let bytes = made.lock().unwrap();
    bytes.clone()
}

/// What most images here are made with.
pub(crate) fn small(size: u64) -> CreateOptions {
    CreateOptions { size, cluster_size: CLUSTER, ..CreateOptions::default() }
}

/// An image under test.
pub(crate) struct Lab {
    pub(crate) image: Arc<Qcow2>,
    pub(crate) storage: Arc<Stepped>,
}

impl Lab {
    /// Opens the image in `bytes` with caches as small as they can be.
    pub(crate) fn new(bytes: &[u8], backing: Option<&[u8]>) -> Self {
        let storage = Arc::new(Stepped::new(bytes));
        let options = OpenOptions { cache_bytes: 0, ..OpenOptions::default() };
        let image = Arc::new(Qcow2::open(Arc::<Stepped>::clone(&storage), options).unwrap());
        image.set_backing(backing.map(|bytes| -> Arc<dyn Block> { Arc::new(Stepped::new(bytes)) }));
        Lab { image, storage }
    }

    /// Runs the threads to their ends.
    pub(crate) fn play(&self, threads: impl IntoIterator<Item = Box<dyn FnOnce(&Qcow2) + Send>>) {
        let threads: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                let image = Arc::clone(&self.image);
                shuttle::thread::spawn(move || thread(&image))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Closes the image; it has neither errors nor leaks then, also not for others. Returns the file.
    pub(crate) fn finish(self) -> Vec<u8> {
        let report = self.image.check().unwrap();
        assert!(report.is_clean(), "before closing: {:?}", report.messages);
        let image = Arc::into_inner(self.image).unwrap();
        image.close().unwrap();
        assert_eq!(self.storage.durable(), self.storage.all(), "closed, but not durable");
        let bytes = self.storage.all();
        let report = reopen(&bytes).check().unwrap();
        assert!(report.is_clean(), "after closing: {:?}", report.messages);
        bytes
    }
}

/// Opens bytes of an image anew, over a storage of their own.
pub(crate) fn reopen(bytes: &[u8]) -> Qcow2 {
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    Qcow2::open(Arc::new(Memory::from_bytes(bytes)), options).unwrap()
}

/// What a power cut leaves may have leaks, nothing worse.
pub(crate) fn assert_survives(durable: &[u8]) -> Qcow2 {
    let image = reopen(durable);
    let report = image.check().unwrap();
    assert_eq!((report.check_errors, report.corruptions), (0, 0), "{:?}", report.messages);
    image
}

pub(crate) fn read_all(block: &dyn Block) -> Vec<u8> {
    read(block, 0..block.size())
}

pub(crate) fn read(block: &dyn Block, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0xee; (range.end - range.start) as usize];
    block.read_at(&mut bytes, range.start).unwrap();
    bytes
}

/// All of `range` is one byte: which?
pub(crate) fn only(block: &dyn Block, range: Range<u64>) -> u8 {
    let bytes = read(block, range.clone());
    let first = bytes.first().copied().unwrap();
    let other = bytes.iter().position(|&byte| byte != first);
    assert_eq!(other, None, "{range:x?} is torn: {first:#x} and {:#x}", bytes[other.unwrap_or(0)]);
    first
}

/// Boxes a thread's work.
pub(crate) fn thread(work: impl FnOnce(&Qcow2) + Send + 'static) -> Box<dyn FnOnce(&Qcow2) + Send> {
    Box::new(work)
}

/// A thread that writes one byte all over `range`.
pub(crate) fn writes(byte: u8, range: Range<u64>) -> Box<dyn FnOnce(&Qcow2) + Send> {
    thread(move |image| image.write_at(&vec![byte; (range.end - range.start) as usize], range.start).unwrap())
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config
}

/// Runs a scenario in many orders: half of them anyhow, half with few changes of who runs. It returns the file
/// that it leaves; qemu-img finds no fault with a number of different ones.
pub(crate) fn explore(orders: usize, scenario: impl Fn() -> Vec<u8> + Send + Sync + 'static) {
    let ends = Arc::new(Mutex::new((BTreeSet::new(), Vec::new())));
    let keep = Arc::clone(&ends);
    let scenario = Arc::new(move || {
        let bytes = scenario();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let (seen, list) = &mut *keep.lock().unwrap();
        if seen.insert(hasher.finish()) && list.len() < 6 {
            list.push(bytes);
        }
    });
    let run = Arc::clone(&scenario);
    Runner::new(RandomScheduler::new_from_seed(4, orders / 2), config()).run(move || run());
    Runner::new(PctScheduler::new_from_seed(4, 3, orders / 2), config()).run(move || scenario());
    let ends = ends.lock().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for bytes in &ends.1 {
        let path = directory.path().join("end.qcow2");
        std::fs::write(&path, bytes).unwrap();
        assert_qemu_agrees(&path);
    }
}

fn assert_qemu_agrees(path: &Path) {
    let output = Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(path).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
