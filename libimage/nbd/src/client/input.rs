//! Reading answers: headers through a small buffer, payload past it into the memory of the one who asked.

use std::io;

use super::error::{Error, Result};
use crate::stream::Stream;
use crate::wire::{ChunkHeader, EXTENDED_CHUNK};

/// Several small answers come with one call; of a large one at most this much is copied.
const BUFFER: usize = 8 * 1024;

/// What was received and not yet looked at.
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Input { buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until at least `wanted` bytes, which the buffer can hold, are there.
    fn fill(&mut self, stream: &Stream, wanted: usize) -> io::Result<()> {
        while self.end - self.start < wanted {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match stream.read(self.buffer.get_mut(self.end..).unwrap_or_default())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.end += n,
            }
        }
        Ok(())
    }

    /// The next header, of one of the forms that were agreed upon.
    pub(super) fn header(
        &mut self,
        stream: &Stream,
        structured: bool,
        extended: bool,
    ) -> Result<ChunkHeader> {
        let failed = |source| Error::io("read reply", source);
        self.fill(stream, 4).map_err(failed)?;
        let mut magic = [0; 4];
        magic.copy_from_slice(self.rest().get(..4).unwrap_or(&[0; 4]));
        let unexpected =
            || Error::protocol(format!("unexpected reply magic 0x{:x}", u32::from_be_bytes(magic)));
        let size = ChunkHeader::size(magic).ok_or_else(unexpected)?;
        if extended != (size == EXTENDED_CHUNK) {
            return Err(unexpected());
        }
        self.fill(stream, size).map_err(failed)?;
        let header = ChunkHeader::decode(self.rest()).ok_or_else(unexpected)?;
        self.start += size;
        if !structured && matches!(header, ChunkHeader::Chunk { .. }) {
            return Err(Error::protocol("a structured reply, though none were agreed upon"));
        }
        Ok(header)
    }

    /// Fills `buf`.
    pub(super) fn read_exact(&mut self, stream: &Stream, buf: &mut [u8]) -> Result<()> {
        let take = buf.len().min(self.end - self.start);
        let (now, later) = buf.split_at_mut(take);
        now.copy_from_slice(self.rest().get(..take).unwrap_or_default());
        self.start += take;
        stream.read_exact(later).map_err(|source| Error::io("read payload", source))
    }

    /// A whole payload of `length` bytes, which the caller has found to be reasonable.
    pub(super) fn payload(&mut self, stream: &Stream, length: usize) -> Result<Vec<u8>> {
        let mut payload = vec![0; length];
        self.read_exact(stream, &mut payload)?;
        Ok(payload)
    }
}
