//! A part of a device as a stream of bytes, for decoders.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use crate::block::Block;
use crate::error::{Error, Result};

/// Bytes that are read at once.
const BUFFER: u64 = 64 * 1024;

/// Reads a part of a device from its beginning to its end.
pub(super) struct Stream<'a> {
    block: &'a dyn Block,
    /// What was not read yet.
    rest: Range<u64>,
    buffer: Vec<u8>,
    used: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(block: &'a dyn Block, range: Range<u64>) -> Self {
        Stream { block, rest: range, buffer: Vec::new(), used: 0 }
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.buffer.len() && !self.rest.is_empty() {
            let count = BUFFER.min(self.rest.end - self.rest.start);
            self.buffer.resize(count as usize, 0);
            self.used = self.buffer.len();
            self.block.read_at(&mut self.buffer, self.rest.start).map_err(io::Error::other)?;
            self.used = 0;
            self.rest.start += count;
        }
        Ok(self.buffer.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.used = self.used.saturating_add(count).min(self.buffer.len());
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..count), from.get(..count)) {
            into.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

/// What a decoder's error means: that the device could not be read, or that what lies on it is damaged.
pub(super) fn failure(name: &str, offset: u64, what: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::corrupt_at(name, offset, format!("{what}: {error}")),
    }
}

/// Reads exactly what belongs at `offset`.
pub(super) fn bytes_at<const N: usize>(block: &dyn Block, offset: u64) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    block.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
