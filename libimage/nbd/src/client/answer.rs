//! The answer to one request, put together from its chunks; every one of them is checked.

use std::ops::Range;

use super::coverage::Coverage;
use super::error::{Error, Result, ServerError};
use super::export::Context;
use super::input::Input;
use crate::stream::Stream;
use crate::wire::{ChunkHeader, ERROR_HEADER, Errno, MAX_STRING, be16, be32, be64, chunk};

/// The most extents of one context in one answer, as the document limits it.
const MAX_EXTENTS: u64 = 1 << 20;
/// The most errors in one answer.
const MAX_ERRORS: u32 = 1 << 10;

/// A run of bytes that are alike in one metadata context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusExtent {
    /// Bytes.
    pub length: u64,
    /// What the context says about them.
    pub flags: u64,
}

/// The extents of one metadata context, the first of which begins where the question began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextExtents {
    /// The context's place among those that were agreed upon.
    pub context: usize,
    /// At least one.
    pub extents: Vec<StatusExtent>,
}

/// What an answer has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// No payload.
    Done,
    /// Bytes of this range; in one piece or not.
    Data(Range<u64>),
    /// Extents of this range, in an export of so many bytes.
    Status(Range<u64>, u64),
}

/// How far the answer has come.
#[derive(Debug)]
pub(super) struct Answer {
    expected: Expected,
    covered: Coverage,
    statuses: Vec<ContextExtents>,
    error: Option<(Errno, String)>,
    errors: u32,
    pub(super) is_done: bool,
    /// Bytes that were read for somebody else, who has not fetched them yet.
    pub(super) staged: Vec<u8>,
}

/// Where chunks come from.
pub(super) struct Source<'a> {
    pub(super) stream: &'a Stream,
    pub(super) input: &'a mut Input,
    pub(super) structured: bool,
    pub(super) contexts: &'a [Context],
}

impl Answer {
    pub(super) fn to(expected: Expected) -> Self {
        Answer {
            expected,
            covered: Coverage::default(),
            statuses: Vec::new(),
            error: None,
            errors: 0,
            is_done: false,
            staged: Vec::new(),
        }
    }

    /// Bytes that the one who asked has memory for.
    pub(super) fn data_length(&self) -> usize {
        match &self.expected {
            Expected::Data(range) => usize::try_from(range.end - range.start).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// Takes the payload that follows `header`; bytes of a read go to `buf`, which is as long as the range.
    ///
    /// # Errors
    /// When the connection breaks, or the server does what it may not: the connection is of no use then.
    pub(super) fn take(
        &mut self,
        header: ChunkHeader,
        source: &mut Source<'_>,
        buf: &mut [u8],
    ) -> Result<()> {
        match header {
            ChunkHeader::Simple { error, .. } => {
                self.simple(error, source, buf)?;
                self.is_done = true;
            }
            ChunkHeader::Chunk { flags, kind, length, .. } => {
                let is_last = flags & chunk::DONE != 0;
                self.chunk(kind, is_last, length, source, buf)?;
                if is_last {
                    self.check_whole()?;
                    self.is_done = true;
                }
            }
        }
        Ok(())
    }

    fn simple(&mut self, error: u32, source: &mut Source<'_>, buf: &mut [u8]) -> Result<()> {
        if error != 0 {
            return self.fail(error, String::new());
        }
        if source.structured && self.expected != Expected::Done {
            return Err(Error::protocol("a simple reply where a structured one was agreed upon"));
        }
        if let Expected::Data(range) = &self.expected {
            self.covered.add(range.clone());
            source.input.read_exact(source.stream, buf)
        } else {
            Ok(())
        }
    }

    fn chunk(
        &mut self,
        kind: u16,
        is_last: bool,
        length: u64,
        source: &mut Source<'_>,
        buf: &mut [u8],
    ) -> Result<()> {
        match (kind, &self.expected) {
            (chunk::NONE, _) if length == 0 && is_last => Ok(()),
            (chunk::NONE, _) => Err(Error::protocol("an empty chunk that has a payload, or is not the last")),
            (chunk::OFFSET_DATA, Expected::Data(range)) => {
                let range = range.clone();
                self.data(range, length, source, buf)
            }
            (chunk::OFFSET_HOLE, Expected::Data(range)) => {
                let range = range.clone();
                self.hole(range, length, source, buf)
            }
            (chunk::BLOCK_STATUS | chunk::BLOCK_STATUS_EXT, Expected::Status(range, size)) => {
                let (range, size) = (range.clone(), *size);
                self.status(kind == chunk::BLOCK_STATUS_EXT, range, size, length, source)
            }
            (kind, _) if kind & chunk::ERROR_BIT != 0 => self.error(kind, length, source),
            (kind, _) => {
                Err(Error::protocol(format!("a chunk of type {kind}, which answers another question")))
            }
        }
    }

    fn data(
        &mut self,
        range: Range<u64>,
        length: u64,
        source: &mut Source<'_>,
        buf: &mut [u8],
    ) -> Result<()> {
        if length <= 8 || length - 8 > range.end - range.start {
            return Err(Error::protocol(format!("a data chunk of {length} bytes")));
        }
        let mut offset = [0; 8];
        source.input.read_exact(source.stream, &mut offset)?;
        let place = self.place(&range, u64::from_be_bytes(offset), length - 8, buf)?;
        source.input.read_exact(source.stream, place)
    }

    fn hole(
        &mut self,
        range: Range<u64>,
        length: u64,
        source: &mut Source<'_>,
        buf: &mut [u8],
    ) -> Result<()> {
        if length != 12 {
            return Err(Error::protocol(format!("a hole chunk of {length} bytes")));
        }
        let mut payload = [0; 12];
        source.input.read_exact(source.stream, &mut payload)?;
        self.place(&range, be64(&payload, 0), u64::from(be32(&payload, 8)), buf)?.fill(0);
        Ok(())
    }

    /// The part of `buf` for a chunk at `offset`, which has to lie in the range and be new.
    fn place<'b>(
        &mut self,
        range: &Range<u64>,
        offset: u64,
        length: u64,
        buf: &'b mut [u8],
    ) -> Result<&'b mut [u8]> {
        let end = offset.checked_add(length).filter(|&end| offset >= range.start && end <= range.end);
        let end = end.ok_or_else(|| Error::protocol("a chunk outside of what was asked for"))?;
        if !self.covered.add(offset..end) {
            return Err(Error::protocol("a chunk that is empty, or overlaps another one"));
        }
        let (from, to) = (offset - range.start, end - range.start);
        usize::try_from(from)
            .ok()
            .zip(usize::try_from(to).ok())
            .and_then(|(from, to)| buf.get_mut(from..to))
            .ok_or_else(|| Error::protocol("a chunk outside of what was asked for"))
    }

    fn status(
        &mut self,
        wide: bool,
        range: Range<u64>,
        size: u64,
        length: u64,
        source: &mut Source<'_>,
    ) -> Result<()> {
        let (head, each) = if wide { (8, 16) } else { (4, 8) };
        let body = length.saturating_sub(head);
        if body == 0 || !body.is_multiple_of(each) || body / each > MAX_EXTENTS {
            return Err(Error::protocol(format!("a status chunk of {length} bytes")));
        }
        let payload = source.input.payload(source.stream, length as usize)?;
        let id = be32(&payload, 0);
        if wide && u64::from(be32(&payload, 4)) != body / each {
            return Err(Error::protocol("a status chunk with another number of extents than it says"));
        }
        let context = source.contexts.iter().position(|context| context.id == id);
        let context = context.ok_or_else(|| Error::protocol(format!("a status chunk of context {id}")))?;
        if self.statuses.iter().any(|status| status.context == context) {
            return Err(Error::protocol(format!("two status chunks of context {id}")));
        }
        let mut extents = Vec::with_capacity((body / each) as usize);
        let mut at = range.start;
        for extent in payload.get(head as usize..).unwrap_or_default().chunks_exact(each as usize) {
            let (length, flags) = match wide {
                true => (be64(extent, 0), be64(extent, 8)),
                false => (u64::from(be32(extent, 0)), u64::from(be32(extent, 4))),
            };
            if length == 0 {
                return Err(Error::protocol("an extent of no bytes"));
            }
            // Only the last one may reach past the range: what follows is not wanted.
            if at < range.end {
                let end = at.saturating_add(length).min(size.max(range.end));
                extents.push(StatusExtent { length: end - at, flags });
                at = end;
            }
        }
        self.statuses.push(ContextExtents { context, extents });
        Ok(())
    }

    fn error(&mut self, kind: u16, length: u64, source: &mut Source<'_>) -> Result<()> {
        let tail = if kind == chunk::ERROR_OFFSET { 8 } else { 0 };
        if length < (ERROR_HEADER + tail) as u64 || length > (ERROR_HEADER + 2 * MAX_STRING + tail) as u64 {
            return Err(Error::protocol(format!("an error chunk of {length} bytes")));
        }
        let payload = source.input.payload(source.stream, length as usize)?;
        let message = usize::from(be16(&payload, 4));
        let text = payload
            .get(ERROR_HEADER..payload.len() - tail)
            .and_then(|rest| rest.get(..message))
            .ok_or_else(|| Error::protocol("an error chunk whose message is longer than the chunk"))?;
        self.fail(be32(&payload, 0), String::from_utf8_lossy(text).into_owned())
    }

    /// The first error counts.
    fn fail(&mut self, number: u32, message: String) -> Result<()> {
        self.errors += 1;
        if self.errors > MAX_ERRORS {
            return Err(Error::protocol("errors without end"));
        }
        self.error.get_or_insert((Errno::received(number), message));
        Ok(())
    }

    /// After the last chunk: a read has all its bytes, or an error.
    fn check_whole(&self) -> Result<()> {
        match &self.expected {
            Expected::Data(range) if self.error.is_none() && !self.covered.is(range) => {
                Err(Error::protocol("an answer to a read that lacks bytes"))
            }
            _ => Ok(()),
        }
    }

    /// What came of it.
    pub(super) fn result(self) -> Result<Vec<ContextExtents>> {
        match self.error {
            Some((errno, message)) => Err(Error::Server { errno: ServerError(errno), message }),
            None => Ok(self.statuses),
        }
    }
}
