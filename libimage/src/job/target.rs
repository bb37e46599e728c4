//! Where a copy goes, and how it is written there.

use std::ops::Range;

use crate::block::{Block, HostRange, Zero};
use crate::error::Result;
use crate::format::qcow2::{Compressor, Qcow2};

/// The target of a copy.
pub trait Target: Sync {
    /// Writes bytes that are not all zero, as far as that was looked for. `offset` is a multiple of [`granularity`](Self::granularity).
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Makes a range read as zeroes; not called when the target reads as zeroes from the start.
    fn zero(&self, range: Range<u64>) -> Result<()>;

    /// Lets the kernel copy or share bytes of a file; returns how many are done, 0 where that is not possible.
    fn take_over(&self, source: &HostRange, offset: u64) -> Result<u64> {
        let _ = (source, offset);
        Ok(0)
    }

    /// The smallest run of zeroes worth a hole, in bytes: a power of two.
    fn granularity(&self) -> usize;

    /// What was read is looked through for zeroes; otherwise all of it is written.
    fn detects_zeroes(&self) -> bool {
        true
    }

    /// It reads as zeroes wherever nothing was written yet.
    fn starts_zeroed(&self) -> bool;

    /// It shows a backing file where nothing was written yet, so that only what the source's own layer holds
    /// is copied.
    fn over_backing(&self) -> bool;
}

/// A target that is written as it comes.
pub struct Plain<'a> {
    /// Where to.
    pub block: &'a dyn Block,
    /// It is freshly made: what is not written reads as zeroes.
    pub starts_zeroed: bool,
    /// The smallest run of zeroes worth a hole, in bytes; 0 writes them all.
    pub sparse: usize,
    /// It shows a backing file where nothing was written yet.
    pub over_backing: bool,
}

impl Target for Plain<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.block.write_at(bytes, offset)
    }

    fn zero(&self, range: Range<u64>) -> Result<()> {
        let how = if self.sparse == 0 { Zero::KeepAllocated } else { Zero::MayUnmap };
        self.block.write_zeroes(range, how)
    }

    fn take_over(&self, source: &HostRange, offset: u64) -> Result<u64> {
        self.block.copy_from_file(source, offset)
    }

    fn granularity(&self) -> usize {
        self.sparse.max(512)
    }

    fn starts_zeroed(&self) -> bool {
        self.starts_zeroed && self.sparse != 0
    }

    fn over_backing(&self) -> bool {
        self.over_backing
    }
}

/// A qcow2 image whose new clusters are stored compressed.
pub struct Compressed<'a> {
    image: &'a Qcow2,
    compressor: Compressor,
    starts_zeroed: bool,
    over_backing: bool,
}

impl<'a> Compressed<'a> {
    /// Compresses into `image`, with the effort that `level` stands for; `starts_zeroed` if it was freshly made,
    /// `over_backing` if it shows a backing file where nothing was written yet.
    pub fn new(image: &'a Qcow2, level: Option<u32>, starts_zeroed: bool, over_backing: bool) -> Self {
        Compressed { image, compressor: image.compressor(level), starts_zeroed, over_backing }
    }
}

impl Target for Compressed<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let cluster = self.compressor.cluster_size();
        for (piece, at) in bytes.chunks(cluster).zip((offset..).step_by(cluster)) {
            match self.compressor.compress(piece) {
                Some(packed) => self.image.write_compressed_cluster(at, &packed)?,
                None => self.image.write_at(piece, at)?,
            }
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> Result<()> {
        self.image.write_zeroes(range, Zero::MayUnmap)
    }

    fn granularity(&self) -> usize {
        self.compressor.cluster_size()
    }

    fn starts_zeroed(&self) -> bool {
        self.starts_zeroed
    }

    fn over_backing(&self) -> bool {
        self.over_backing
    }
}
