//! Contents that lie on several block devices, for reading.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, Extent, HostRange, Limits, check_range, read_only};
use crate::error::{Error, Result};

/// How bytes lie on devices.
pub trait Layout: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// What holds the bytes from `offset` on, as far as they are in one piece; `None` if nothing does.
    ///
    /// # Errors
    /// When what tells that cannot be read, or makes no sense.
    fn piece(&self, offset: u64) -> Result<Option<Piece<'_>>>;
}

/// A run of bytes on one device.
pub struct Piece<'a> {
    /// The device.
    pub block: &'a Arc<dyn Block>,
    /// The first byte there.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// The contents of several block devices in the order of a layout.
pub struct Spread<L> {
    layout: L,
    name: String,
}

impl<L: Layout> Spread<L> {
    pub(crate) fn over(layout: L, name: String) -> Self {
        Spread { layout, name }
    }

    fn piece(&self, offset: u64) -> Result<Piece<'_>> {
        // A device may have become shorter.
        let piece = self.layout.piece(offset)?.filter(|piece| piece.length > 0 || offset == self.size());
        piece.ok_or_else(|| Error::OutOfRange {
            file: self.name.clone(),
            offset,
            length: 0,
            size: self.size(),
        })
    }

    /// The device on which a range begins, and the part of it that lies there.
    fn begin(&self, range: &Range<u64>) -> Result<(&Arc<dyn Block>, Range<u64>)> {
        let length = range.end.saturating_sub(range.start);
        check_range(self, range.start, length)?;
        let piece = self.piece(range.start)?;
        Ok((piece.block, piece.offset..piece.offset + piece.length.min(length)))
    }
}

impl<L: Layout> Block for Spread<L> {
    fn size(&self) -> u64 {
        self.layout.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let piece = self.piece(at)?;
            let take = piece.length.min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(take as usize);
            piece.block.read_at(now, piece.offset)?;
            (at, rest) = (at + take, later);
        }
        Ok(())
    }

    read_only!();

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        let (block, range) = self.begin(&range)?;
        block.status(range)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        let (block, range) = self.begin(&range)?;
        block.host_range(range)
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn name(&self) -> &str {
        &self.name
    }
}
