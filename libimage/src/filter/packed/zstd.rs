//! zstd (RFC 8878): frames that say how long they are can be unpacked one by one; other files only as a whole.
//!
//! Frames are found by their table, where a file has one at its end (zstd's seekable format), or by walking over the
//! headers of their blocks.

use std::io::Read;
use std::sync::Arc;

use super::pieces::{Piece, Pieces, Unpack};
use super::stream::{Stream, bytes_at, failure};
use super::unpacked::{Unpacked, Whole};
use crate::block::Block;
use crate::error::{Error, Result};

const MAGIC: u32 = 0xfd2f_b528;
/// Frames with these numbers, but for the last four bits, hold something else.
const SKIPPED: u32 = 0x184d_2a50;
/// The frame of a table of frames, and the last bytes of it.
const TABLE: u32 = 0x184d_2a5e;
const TABLE_END: u32 = 0x8f92_eab1;
const TABLE_FOOTER: u64 = 9;
/// Frames of a file, at most.
const MAX_FRAMES: usize = 1 << 22;

/// What is accepted, and what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of an unpacked frame up to which frames are unpacked one by one.
    pub max_frame: u64,
    /// Unpacked frames that are kept.
    pub max_depth: u32,
    /// Bytes of what is unpacked as a whole, at most.
    pub max_size: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_frame: 64 << 20, max_depth: 8, max_size: i64::MAX as u64 }
    }
}

struct Zstd;

impl Unpack for Zstd {
    fn reader<'a>(&self, below: &'a dyn Block, piece: &Piece) -> Result<Box<dyn Read + 'a>> {
        let stream = Stream::new(below, piece.packed.clone());
        let decoder = zstd::stream::read::Decoder::with_buffer(stream);
        Ok(Box::new(decoder.map_err(|error| Error::io("make a decoder for", below.name(), error))?))
    }
}

/// Reads small things that follow each other closely.
struct Walk<'a> {
    below: &'a dyn Block,
    size: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl Walk<'_> {
    fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::corrupt_at(self.below.name(), offset, what)
    }

    /// The number in the next `bytes` (up to 8) at `offset`, the lowest byte first.
    fn number(&mut self, offset: u64, bytes: u64) -> Result<u64> {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.size);
        let end = end.ok_or_else(|| self.corrupt(offset, "a frame of zstd ends too early"))?;
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            self.buffer.resize((self.size - offset).min(4096) as usize, 0);
            self.below.read_at(&mut self.buffer, offset)?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let found = self.buffer.get(from..from + bytes as usize).unwrap_or_default();
        Ok(found.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Where the frame at `offset` ends, and how long it is unpacked, if it says so.
    fn frame(&mut self, offset: u64) -> Result<(u64, Option<u64>)> {
        let magic = self.number(offset, 4)? as u32;
        if magic & !0xf == SKIPPED {
            let end = offset + 8 + self.number(offset + 4, 4)?;
            return if end <= self.size {
                Ok((end, Some(0)))
            } else {
                Err(self.corrupt(offset, "a frame that is to be skipped ends too early"))
            };
        }
        if magic != MAGIC {
            return Err(self.corrupt(offset, "no frame of zstd begins where one should"));
        }
        let descriptor = self.number(offset + 4, 1)?;
        if descriptor & 8 != 0 {
            return Err(self.corrupt(offset, "a frame of zstd uses what is reserved"));
        }
        let single = descriptor & 0x20 != 0;
        let mut at = offset + 5 + u64::from(!single) + [0, 1, 2, 4][descriptor as usize & 3];
        let length = match descriptor >> 6 {
            0 if !single => None,
            0 => Some((1, 0)),
            1 => Some((2, 256)),
            2 => Some((4, 0)),
            _ => Some((8, 0)),
        };
        let length = match length {
            None => None,
            Some((bytes, more)) => {
                let length = self.number(at, bytes)?.checked_add(more);
                at += bytes;
                Some(length.ok_or_else(|| self.corrupt(offset, "a frame of zstd is too long"))?)
            }
        };
        loop {
            let header = self.number(at, 3)?;
            let stored = match header >> 1 & 3 {
                1 => 1,
                3 => return Err(self.corrupt(at, "a block of zstd is of no known kind")),
                _ => header >> 3,
            };
            at += 3 + stored;
            if header & 1 != 0 {
                break;
            }
        }
        at += if descriptor & 4 != 0 { 4 } else { 0 };
        if at > self.size {
            return Err(self.corrupt(offset, "a frame of zstd ends too early"));
        }
        Ok((at, length))
    }

    /// The frames, if all of them say how long they are and none is longer than `most`.
    fn frames(&mut self, most: u64) -> Result<Option<Vec<Piece>>> {
        let mut pieces = Vec::new();
        let (mut at, mut start) = (0, 0_u64);
        while at < self.size {
            let (end, length) = self.frame(at)?;
            match length {
                Some(0) => {}
                Some(length) if length <= most && pieces.len() < MAX_FRAMES => {
                    pieces.push(Piece { packed: at..end, start, length, detail: 0 });
                    start += length;
                }
                _ => return Ok(None),
            }
            at = end;
        }
        Ok(Some(pieces))
    }

    /// The frames by the table at the end of the file, if there is one that makes sense.
    fn table(&mut self, most: u64) -> Result<Option<Vec<Piece>>> {
        let Some(footer) = self.size.checked_sub(TABLE_FOOTER) else { return Ok(None) };
        let (count, descriptor) = (self.number(footer, 4)?, self.number(footer + 4, 1)?);
        let end = self.number(footer + 5, 4)?;
        if end != u64::from(TABLE_END) || descriptor & 0x7c != 0 || count > MAX_FRAMES as u64 {
            return Ok(None);
        }
        let entry = if descriptor & 0x80 != 0 { 12 } else { 8 };
        let content = count * entry + TABLE_FOOTER;
        let Some(table) = self.size.checked_sub(content + 8) else { return Ok(None) };
        if self.number(table, 4)? != u64::from(TABLE) || self.number(table + 4, 4)? != content {
            return Ok(None);
        }
        let mut pieces = Vec::new();
        let (mut at, mut start) = (0_u64, 0_u64);
        for number in 0..count {
            let place = table + 8 + number * entry;
            let (packed, length) = (self.number(place, 4)?, self.number(place + 4, 4)?);
            if length > most {
                return Ok(None);
            }
            if length > 0 {
                pieces.push(Piece { packed: at..at + packed, start, length, detail: 0 });
            }
            (at, start) = (at + packed, start + length);
        }
        Ok((at == table).then_some(pieces))
    }
}

/// Shows what a file is when unpacked; what can only be unpacked as a whole may be there as a `whole` already.
///
/// # Errors
/// When it is no zstd file, damaged, or too large.
pub fn open(below: Arc<dyn Block>, options: Options, whole: &Whole) -> Result<Arc<dyn Block>> {
    let size = below.size();
    let magic = if size >= 4 { u32::from_le_bytes(bytes_at(&*below, 0)?) } else { 0 };
    if magic != MAGIC && magic & !0xf != SKIPPED {
        return Err(Error::corrupt(below.name(), "not a zstd file"));
    }
    let mut walk = Walk { below: &*below, size, buffer: Vec::new(), start: 0 };
    let pieces = match walk.table(options.max_frame)? {
        Some(pieces) => Some(pieces),
        None => walk.frames(options.max_frame)?,
    };
    if let Some(pieces) = pieces {
        return Ok(Arc::new(Pieces::new(below, Zstd, pieces, options.max_depth.max(1) as usize)));
    }
    whole.or_unpack(|| {
        let decoder = zstd::stream::read::Decoder::with_buffer(Stream::new(&*below, 0..size));
        let decoder = decoder.map_err(|error| failure(below.name(), 0, "it cannot be unpacked", error))?;
        Unpacked::new(decoder, below.name(), options.max_size)
    })
}
