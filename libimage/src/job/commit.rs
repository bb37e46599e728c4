//! Bringing what an image holds down into one of its backing files.
//!
//! Nothing is taken from the upper images: until the lower one is durable they show the same disk as before, and
//! afterwards too. So a commit that is cut short can simply be done again.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use super::copy::{self, Manner, Plain};
use super::progress::Progress;
use crate::block::{Block, Extent, HostRange, Limits, Preallocation, read_only};
use crate::error::Result;
use crate::storage::FileStorage;

/// The smallest run of zeroes that is worth a hole in a raw image, in bytes.
const SPARSE: usize = 4096;
/// What is copied before the disk is set to work on it, in bytes.
const WRITE_OUT: u64 = 64 << 20;

/// Makes `base`, which is `depth` backing files below `top`, hold what `top` shows. It grows where it is shorter.
/// All of it is durable when this returns; `storage` is the file that it is in, which is written out while more is
/// being copied.
///
/// # Errors
/// When anything cannot be read or written, or the work was cancelled. The upper images are unchanged in any case.
pub fn commit(
    top: Arc<dyn Block>,
    base: &dyn Block,
    storage: Option<&FileStorage>,
    depth: u32,
    manner: &Manner,
    progress: &dyn Progress,
) -> Result<()> {
    let size = top.size();
    if base.size() < size {
        base.resize(size, Preallocation::Off)?;
    }
    let above = Above { inner: top, depth };
    // Pieces of a cluster are no gain, and more work.
    let cluster = base.limits().preferred as usize;
    let sparse = if cluster.is_power_of_two() { cluster.clamp(SPARSE, 64 << 10) } else { SPARSE };
    let target = Plain { block: base, starts_zeroed: false, sparse, over_backing: true };
    let (told, more) = mpsc::channel();
    let counting = Counting { inner: progress, told, done: AtomicU64::new(0) };
    thread::scope(|scope| {
        scope.spawn(move || {
            while more.recv().is_ok() {
                // A file that cannot be written out is found out at the end, when it counts.
                let _ = storage.map(Block::flush);
            }
        });
        let copied = copy::copy(&above, &target, manner, &counting);
        drop(counting);
        copied
    })?;
    base.flush()
}

/// Tells the thread that writes out whenever there is enough to do.
struct Counting<'a> {
    inner: &'a dyn Progress,
    told: mpsc::Sender<()>,
    done: AtomicU64,
}

impl Progress for Counting<'_> {
    fn step(&self, what: &str, units: u64) {
        self.inner.step(what, units);
    }

    fn advance(&self, units: u64) {
        let before = self.done.fetch_add(units, Ordering::Relaxed);
        if before / WRITE_OUT != (before + units) / WRITE_OUT {
            // It listens until this is dropped.
            let _ = self.told.send(());
        }
        self.inner.advance(units);
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

/// A chain, of which only what lies above a certain depth counts as its own.
struct Above {
    inner: Arc<dyn Block>,
    depth: u32,
}

impl Block for Above {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.inner.read_at(buf, offset)
    }

    read_only!();

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let extent = self.inner.status(range)?;
        Ok(Extent { depth: u32::from(extent.depth >= self.depth), ..extent })
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        self.inner.host_range(range)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
