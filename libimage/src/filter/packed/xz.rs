//! xz (file format 1.2.1): streams of blocks, with an index at the end of each stream that says where its blocks are.

use std::io::{Cursor, Read};
use std::sync::Arc;

use lzma_rust2::XzReader;

use super::pieces::{Piece, Pieces, Unpack};
use super::stream::{Stream, bytes_at};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::job::zero::is_zero;

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// Bytes of the header of a stream, and of its footer.
const HEADER: u64 = 12;
/// Bytes of an index, streams of a file, and blocks of it, at most: what takes more memory is not an image.
const MAX_INDEX: u64 = 64 << 20;
const MAX_STREAMS: u32 = 1 << 16;
const MAX_BLOCKS: usize = 1 << 22;
/// Zeroes between streams, in bytes, at most.
const MAX_PADDING: u64 = 64 << 20;
/// Memory for a decoder beside what it unpacks, in bytes: the dictionary of `xz -9`.
const DECODER: u64 = 65 << 20;

/// What is accepted, and what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of an unpacked block, at most.
    pub max_block: u64,
    /// Unpacked blocks that are kept.
    pub max_depth: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_block: 512 << 20, max_depth: 8 }
    }
}

/// Blocks are unpacked as if each were the only one of a stream, so their checksums are looked at too.
struct Xz {
    /// KiB.
    memory: u32,
}

/// The length of a block without its padding follows from its detail: `flags << 2 | padding`.
fn detail(flags: [u8; 2], padding: u64) -> u64 {
    u64::from(u16::from_le_bytes(flags)) << 2 | padding
}

impl Unpack for Xz {
    fn reader<'a>(&self, below: &'a dyn Block, piece: &Piece) -> Result<Box<dyn Read + 'a>> {
        let flags = ((piece.detail >> 2) as u16).to_le_bytes();
        let unpadded = (piece.packed.end - piece.packed.start).saturating_sub(piece.detail & 3);
        let mut header = HEADER_MAGIC.to_vec();
        header.extend(flags);
        header.extend(crc32fast::hash(&flags).to_le_bytes());
        let mut index = vec![0, 1];
        put_number(&mut index, unpadded);
        put_number(&mut index, piece.length);
        index.resize(index.len().next_multiple_of(4), 0);
        index.extend(crc32fast::hash(&index).to_le_bytes());
        let mut footer = ((index.len() / 4 - 1) as u32).to_le_bytes().to_vec();
        footer.extend(flags);
        index.extend(crc32fast::hash(&footer).to_le_bytes());
        index.extend(footer);
        index.extend(FOOTER_MAGIC);
        let whole =
            Cursor::new(header).chain(Stream::new(below, piece.packed.clone())).chain(Cursor::new(index));
        Ok(Box::new(XzReader::new_mem_limit(whole, false, self.memory)))
    }
}

/// A number in groups of seven bits, the lowest first (section 1.2).
fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Takes such a number off the beginning of `bytes`. It has nine bytes at most, and no more than it needs.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for group in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return (byte != 0 || group == 0).then_some(number);
        }
    }
    None
}

/// A block as the index of its stream has it.
struct Record {
    unpadded: u64,
    length: u64,
}

/// Understands an index, without its checksum.
fn records(index: &[u8]) -> Option<Vec<Record>> {
    let mut rest = index.strip_prefix(&[0])?;
    let count = take_number(&mut rest)?;
    // Each has two bytes at least.
    if count > rest.len() as u64 / 2 || count > MAX_BLOCKS as u64 {
        return None;
    }
    let mut records = Vec::new();
    for _ in 0..count {
        let record = Record { unpadded: take_number(&mut rest)?, length: take_number(&mut rest)? };
        if record.unpadded < 5 {
            return None;
        }
        records.push(record);
    }
    (rest.len() < 4 && is_zero(rest)).then_some(records)
}

/// Reads the indexes of all streams, from the end of the file to its beginning.
struct Walk<'a> {
    below: &'a dyn Block,
    max_block: u64,
    /// From the last block to the first; where each begins is not known yet.
    pieces: Vec<Piece>,
}

impl Walk<'_> {
    fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::corrupt_at(self.below.name(), offset, what)
    }

    /// Where the stream ends that only zeroes follow up to `end`.
    fn skip_padding(&self, end: u64) -> Result<u64> {
        let mut at = end;
        let mut buf = vec![0; 64 * 1024];
        while at > 0 {
            let count = at.min(buf.len() as u64);
            let part = buf.get_mut(..count as usize).unwrap_or_default();
            self.below.read_at(part, at - count)?;
            if let Some(last) = part.iter().rposition(|&byte| byte != 0) {
                let stream_end = (at - count + last as u64 + 1).next_multiple_of(4);
                return Ok(stream_end.min(end));
            }
            at -= count;
            if end - at > MAX_PADDING {
                return Err(self.corrupt(at, "too many zeroes follow a stream"));
            }
        }
        Ok(0)
    }

    /// Notes the blocks of the stream that ends at `end`; where it begins.
    fn stream(&mut self, end: u64) -> Result<u64> {
        let below = self.below;
        let footer_at = end.checked_sub(HEADER).ok_or_else(|| self.corrupt(0, "not an xz file"))?;
        let footer: [u8; HEADER as usize] = bytes_at(below, footer_at)?;
        let [c0, c1, c2, c3, b0, b1, b2, b3, f0, f1, magic @ ..] = footer;
        if magic != FOOTER_MAGIC {
            return Err(self.corrupt(footer_at, "not an xz file"));
        }
        if crc32fast::hash(&[b0, b1, b2, b3, f0, f1]) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(self.corrupt(footer_at, "the footer of a stream has a wrong checksum"));
        }
        let index_bytes = (u64::from(u32::from_le_bytes([b0, b1, b2, b3])) + 1) * 4;
        if index_bytes > MAX_INDEX {
            return Err(self.corrupt(footer_at, "the index of a stream is too large"));
        }
        let bad_index = |walk: &Self| walk.corrupt(footer_at, "the index of a stream makes no sense");
        let index_at = footer_at.checked_sub(index_bytes).ok_or_else(|| bad_index(self))?;
        let mut index = vec![0; index_bytes as usize];
        below.read_at(&mut index, index_at)?;
        let (index, sum) = index.split_last_chunk::<4>().ok_or_else(|| bad_index(self))?;
        if crc32fast::hash(index) != u32::from_le_bytes(*sum) {
            return Err(self.corrupt(index_at, "the index of a stream has a wrong checksum"));
        }
        let mut at = index_at;
        for record in records(index).ok_or_else(|| bad_index(self))?.iter().rev() {
            let padded = record.unpadded.checked_next_multiple_of(4).ok_or_else(|| bad_index(self))?;
            let start = at.checked_sub(padded).ok_or_else(|| bad_index(self))?;
            if record.length > self.max_block {
                let what = format!(
                    "it has a block of {} bytes, and at most {} are accepted: use xz --block-size, or raise xz-max-block",
                    record.length, self.max_block
                );
                return Err(Error::unsupported(below.name(), what));
            }
            if record.length > 0 {
                if self.pieces.len() >= MAX_BLOCKS {
                    return Err(Error::unsupported(
                        below.name(),
                        format!("it has more than {MAX_BLOCKS} blocks"),
                    ));
                }
                let detail = detail([f0, f1], padded - record.unpadded);
                self.pieces.push(Piece { packed: start..at, start: 0, length: record.length, detail });
            }
            at = start;
        }
        let header_at = at.checked_sub(HEADER).ok_or_else(|| bad_index(self))?;
        let header: [u8; HEADER as usize] = bytes_at(below, header_at)?;
        let (begin, sum) = header.split_at(8);
        let right = begin.strip_prefix(&HEADER_MAGIC) == Some(&[f0, f1])
            && crc32fast::hash(&[f0, f1]).to_le_bytes() == sum;
        if right { Ok(header_at) } else { Err(self.corrupt(header_at, "no stream begins where one should")) }
    }
}

/// Shows what a file is when unpacked.
///
/// # Errors
/// When it is no xz file, damaged, or has blocks that are too large.
pub fn open(below: Arc<dyn Block>, options: Options) -> Result<Arc<dyn Block>> {
    let mut walk = Walk { below: &*below, max_block: options.max_block, pieces: Vec::new() };
    let magic_is_there = below.size() >= HEADER && bytes_at::<6>(&*below, 0)? == HEADER_MAGIC;
    if !magic_is_there {
        return Err(Error::corrupt(below.name(), "not an xz file"));
    }
    let mut end = below.size();
    for number in 0.. {
        if number >= MAX_STREAMS {
            return Err(Error::unsupported(below.name(), format!("it has more than {MAX_STREAMS} streams")));
        }
        end = walk.stream(walk.skip_padding(end)?)?;
        if end == 0 {
            break;
        }
    }
    let mut pieces = walk.pieces;
    pieces.reverse();
    let mut start = 0_u64;
    for piece in &mut pieces {
        piece.start = start;
        start = start
            .checked_add(piece.length)
            .filter(|&end| end <= i64::MAX as u64)
            .ok_or_else(|| Error::corrupt(below.name(), "it is too large when unpacked"))?;
    }
    let memory = u32::try_from((options.max_block.saturating_add(DECODER)) / 1024).unwrap_or(u32::MAX - 1);
    let depth = options.max_depth.max(1) as usize;
    Ok(Arc::new(Pieces::new(below, Xz { memory }, pieces, depth)))
}
