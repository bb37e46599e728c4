//! Answers in the form that was agreed upon.

use super::Mode;
use super::session::Session;
use crate::wire::{ChunkHeader, Errno, Request, chunk};

/// Why a request failed: the number, and words for people.
pub(super) struct Failure {
    pub(super) errno: Errno,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(errno: Errno, text: impl Into<String>) -> Self {
        Failure { errno, text: text.into() }
    }

    /// A failure of the export.
    pub(super) fn of_io(error: &std::io::Error) -> Self {
        Failure::new(Errno::of_io(error), error.to_string())
    }
}

impl Session {
    /// Appends the answer to a request that worked and returns no data.
    pub(super) fn done(&self, request: &Request, out: &mut Vec<u8>) {
        if self.mode == Mode::Extended {
            self.chunk(request, chunk::DONE, chunk::NONE, 0, out);
        } else {
            ChunkHeader::encode_simple(None, request.cookie, out);
        }
    }

    /// Appends the answer to a request that failed.
    pub(super) fn failed(&self, request: &Request, failure: &Failure, out: &mut Vec<u8>) {
        if self.mode == Mode::Simple {
            return ChunkHeader::encode_simple(Some(failure.errno), request.cookie, out);
        }
        // Texts are cut at 4096 bytes, as the protocol has it for all strings.
        let end = failure.text.floor_char_boundary(crate::wire::MAX_STRING);
        let text = failure.text.get(..end).unwrap_or_default();
        self.chunk(request, chunk::DONE, chunk::ERROR, 6 + text.len() as u64, out);
        out.extend_from_slice(&failure.errno.number().to_be_bytes());
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    /// Appends the header of a chunk with a payload of `length` bytes.
    pub(super) fn chunk(&self, request: &Request, flags: u16, kind: u16, length: u64, out: &mut Vec<u8>) {
        let offset = self.is_extended().then_some(request.offset);
        ChunkHeader::encode_chunk(flags, kind, request.cookie, offset, length, out);
    }

    /// Appends what stands in front of `length` bytes that were read at `offset`.
    pub(super) fn data(&self, request: &Request, last: bool, offset: u64, length: usize, out: &mut Vec<u8>) {
        if self.mode == Mode::Simple {
            return ChunkHeader::encode_simple(None, request.cookie, out);
        }
        let flags = if last { chunk::DONE } else { 0 };
        self.chunk(request, flags, chunk::OFFSET_DATA, 8 + length as u64, out);
        out.extend_from_slice(&offset.to_be_bytes());
    }

    /// Appends a hole in what is read.
    pub(super) fn hole(&self, request: &Request, last: bool, offset: u64, length: u32, out: &mut Vec<u8>) {
        let flags = if last { chunk::DONE } else { 0 };
        self.chunk(request, flags, chunk::OFFSET_HOLE, 12, out);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
    }
}
