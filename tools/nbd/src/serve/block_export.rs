//! An image as an export.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use libimage::filter::named::Stack;
use libimage::format::qcow2::{DirtyBits, Qcow2};
use libimage::open::Image;
use libimage::{Block, Error, Preallocation, Zero};
use nbd_protocol::server::{Export, Hold, STATE_HOLE, STATE_ZERO, Span, Stored, Transit, Zeroes};
use nbd_protocol::wire::{BlockSizes, Flags};

/// What a metadata context tells.
pub(super) enum Context {
    /// `base:allocation`
    Allocation,
    /// `qemu:allocation-depth`
    Depth,
    /// `qemu:dirty-bitmap:NAME`
    Bitmap {
        /// What it is called in the image.
        name: String,
        /// What it says.
        bits: DirtyBits,
        /// The image, if it goes on recording what is written.
        live: Option<Arc<Qcow2>>,
        /// Where on the disk that it tells of the export begins.
        start: u64,
    },
}

impl Context {
    fn name(&self) -> String {
        match self {
            Context::Allocation => "base:allocation".to_owned(),
            Context::Depth => "qemu:allocation-depth".to_owned(),
            Context::Bitmap { name, .. } => format!("qemu:dirty-bitmap:{name}"),
        }
    }
}

/// How what is read goes out.
pub(super) enum Sending {
    /// Through memory.
    Copied,
    /// From the file: bytes that are stored somewhere stay there.
    FromFile,
    /// From the file, with an eye on what is on its way: clusters that are freed may be used again, and an answer would
    /// change into something else.
    Counted(Arc<Transit>),
}

/// Serves a [`Block`].
pub(super) struct BlockExport {
    pub(super) block: Arc<dyn Block>,
    pub(super) read_only: bool,
    pub(super) description: Option<String>,
    pub(super) contexts: Vec<Context>,
    /// How what is read goes out.
    pub(super) sending: Sending,
    /// Bytes that zeroes are cheap for: clusters of a format, or any number.
    pub(super) granule: u64,
    /// The page cache is passed by.
    pub(super) direct: bool,
    /// Clients may change its size.
    pub(super) resizable: bool,
    /// What it does not do, though it could.
    pub(super) withheld: Flags,
    /// Zeroes are never fast.
    pub(super) refuses_fast_zeroes: bool,
    /// Requests may wait for something else than a disk of this machine.
    pub(super) may_wait: bool,
    /// Keeps the files of the image open, and locked, unless somebody else does.
    pub(super) _image: Option<Image>,
    /// What the block goes through; some write a report at the end.
    pub(super) filters: Stack,
}

impl BlockExport {
    /// Has to be held while clusters may be freed.
    fn hold(&self) -> Option<Hold> {
        self.transit().map(|transit| transit.hold())
    }

    /// Writing zeroes to `range` takes no writing of data: it is made of whole clusters, or is zero already.
    fn zeroes_fast(&self, range: &Range<u64>) -> io::Result<bool> {
        let whole = |at: u64| at.is_multiple_of(self.granule) || at == self.block.size();
        if whole(range.start) && whole(range.end) {
            return Ok(true);
        }
        let mut at = range.start;
        while at < range.end {
            let extent = answer(self.block.status(at..range.end))?;
            if !extent.zero {
                return Ok(false);
            }
            at += extent.length.max(1);
        }
        Ok(true)
    }
}

/// What the server tells clients of an error: the system's words, or those of the library where the system has none.
fn system(error: &Error) -> io::Error {
    let system = io::Error::from(error.errno());
    match error {
        Error::Io { .. } | Error::Context { .. } => system,
        _ => io::Error::new(system.kind(), libimage::error::describe(error)),
    }
}

fn answer<T>(result: libimage::Result<T>) -> io::Result<T> {
    result.map_err(|error| system(&error))
}

impl Export for BlockExport {
    fn size(&self) -> u64 {
        self.block.size()
    }

    fn flags(&self) -> Flags {
        let both = Flags::FLUSH | Flags::FUA | Flags::CACHE | Flags::MULTI_CONN;
        if self.read_only {
            return (both | Flags::READ_ONLY).without(self.withheld);
        }
        let both = both.with(Flags::RESIZE, self.resizable);
        (both | Flags::TRIM | Flags::WRITE_ZEROES | Flags::FAST_ZERO).without(self.withheld)
    }

    fn description(&self) -> Option<String> {
        self.description.clone()
    }

    fn block_sizes(&self) -> BlockSizes {
        let alignment = self.block.limits().alignment.clamp(1, 64 * 1024);
        let minimum = if alignment.is_power_of_two() { alignment } else { 1 };
        let usual = BlockSizes::default();
        BlockSizes { minimum, preferred: usual.preferred.max(minimum), ..usual }
    }

    fn may_wait(&self) -> bool {
        self.may_wait
    }

    fn writes_side_by_side(&self) -> bool {
        self.may_wait || self.direct
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        answer(self.block.read_at(buf, offset))
    }

    fn write(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        answer(self.block.write_at(buf, offset))
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zeroes) -> io::Result<()> {
        if how.fast && (self.refuses_fast_zeroes || !self.zeroes_fast(&range)?) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let hold = if how.may_unmap { self.hold() } else { None };
        let may_unmap = how.may_unmap && hold.as_ref().is_none_or(Hold::is_clear);
        let how = if may_unmap { Zero::MayUnmap } else { Zero::KeepAllocated };
        answer(self.block.write_zeroes(range, how))
    }

    fn trim(&self, range: Range<u64>) -> io::Result<()> {
        match self.hold() {
            // A client that does not read its answers: what is a hint only can be left undone.
            Some(hold) if !hold.is_clear() => Ok(()),
            _hold => answer(self.block.discard(range)),
        }
    }

    fn cache(&self, range: Range<u64>) -> io::Result<()> {
        answer(self.block.prefetch(range))
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        answer(self.block.flush())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        answer(self.block.resize(size, Preallocation::Off))
    }

    fn contexts(&self) -> Vec<String> {
        self.contexts.iter().map(Context::name).collect()
    }

    fn status(&self, context: usize, range: Range<u64>) -> io::Result<Span> {
        let span = match self.contexts.get(context) {
            Some(Context::Bitmap { name, live: Some(image), start, .. }) => {
                return Ok(dirt(&answer(image.bitmap(name))?, *start, range));
            }
            Some(Context::Bitmap { bits, start, .. }) => return Ok(dirt(bits, *start, range)),
            Some(Context::Depth) => {
                let extent = answer(self.block.status(range))?;
                let depth = if extent.present { u64::from(extent.depth) + 1 } else { 0 };
                Span { length: extent.length, flags: depth }
            }
            _ => {
                let extent = answer(self.block.status(range))?;
                let hole = if extent.data { 0 } else { STATE_HOLE };
                let zero = if extent.zero { STATE_ZERO } else { 0 };
                Span { length: extent.length, flags: hole | zero }
            }
        };
        Ok(span)
    }

    fn zeroes(&self, range: Range<u64>) -> io::Result<(bool, u64)> {
        let extent = answer(self.block.status(range))?;
        Ok((extent.zero, extent.length))
    }

    fn transit(&self) -> Option<&Arc<Transit>> {
        match &self.sending {
            Sending::Counted(transit) => Some(transit),
            Sending::Copied | Sending::FromFile => None,
        }
    }

    fn stored(&self, range: Range<u64>) -> Option<Stored> {
        if matches!(self.sending, Sending::Copied) {
            return None;
        }
        let stored = self.block.host_range(range).ok().flatten()?;
        Some(Stored { file: stored.file, offset: stored.offset, length: stored.length })
    }
}

/// What a bitmap says of the beginning of `range`, which is counted from `start`.
fn dirt(bits: &DirtyBits, start: u64, range: Range<u64>) -> Span {
    let (first, end) = (range.start + start, range.end + start);
    match bits.next_dirty(first) {
        Some(dirty) if dirty.start <= first => Span { length: dirty.end.min(end) - first, flags: 1 },
        Some(dirty) => Span { length: dirty.start.min(end) - first, flags: 0 },
        None => Span { length: end - first, flags: 0 },
    }
}
