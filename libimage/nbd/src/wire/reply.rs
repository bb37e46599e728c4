//! Answers of the transmission phase: simple ones, and chunks.

use super::{Errno, be16, be32, be64};

/// Bytes of a simple answer's header.
pub const SIMPLE_REPLY: usize = 16;
/// Bytes of a chunk's header.
pub const STRUCTURED_CHUNK: usize = 20;
/// Bytes of a chunk's header when extended headers were agreed upon.
pub const EXTENDED_CHUNK: usize = 32;
/// Bytes of an error chunk's payload in front of its message.
pub const ERROR_HEADER: usize = 6;

const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668e_33ef;
const EXTENDED_MAGIC: u32 = 0x6e8a_278c;

/// Types of chunks, and their one flag.
pub mod chunk {
    /// The last one of the answer.
    pub const DONE: u16 = 1;
    /// Nothing more to say.
    pub const NONE: u16 = 0;
    /// An offset and the bytes there.
    pub const OFFSET_DATA: u16 = 1;
    /// An offset and how many zeroes are there.
    pub const OFFSET_HOLE: u16 = 2;
    /// Extents of a metadata context, 32 bits each.
    pub const BLOCK_STATUS: u16 = 5;
    /// Extents of a metadata context, 64 bits each.
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// The bit that all errors have.
    pub const ERROR_BIT: u16 = 1 << 15;
    /// It failed.
    pub const ERROR: u16 = ERROR_BIT | 1;
    /// It failed at an offset.
    pub const ERROR_OFFSET: u16 = ERROR_BIT | 2;
}

/// The header of an answer, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkHeader {
    /// All there is; data follows if it answers a read.
    Simple {
        /// Zero if it worked.
        error: u32,
        /// The request's.
        cookie: u64,
    },
    /// A part.
    Chunk {
        /// See [`chunk::DONE`].
        flags: u16,
        /// See [`chunk`].
        kind: u16,
        /// The request's.
        cookie: u64,
        /// Bytes of payload that follow.
        length: u64,
    },
}

impl ChunkHeader {
    /// Appends a simple answer to `out`.
    pub fn encode_simple(error: Option<Errno>, cookie: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&SIMPLE_MAGIC.to_be_bytes());
        out.extend_from_slice(&error.map_or(0, Errno::number).to_be_bytes());
        out.extend_from_slice(&cookie.to_be_bytes());
    }

    /// Appends a chunk to `out`; with extended headers if there is the `offset` of the request.
    pub fn encode_chunk(
        flags: u16,
        kind: u16,
        cookie: u64,
        offset: Option<u64>,
        length: u64,
        out: &mut Vec<u8>,
    ) {
        let magic = if offset.is_some() { EXTENDED_MAGIC } else { STRUCTURED_MAGIC };
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&cookie.to_be_bytes());
        match offset {
            Some(offset) => {
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
            }
            None => out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()),
        }
    }

    /// How many bytes the header takes that begins with `magic`; nothing if none does.
    pub fn size(magic: [u8; 4]) -> Option<usize> {
        match u32::from_be_bytes(magic) {
            SIMPLE_MAGIC => Some(SIMPLE_REPLY),
            STRUCTURED_MAGIC => Some(STRUCTURED_CHUNK),
            EXTENDED_MAGIC => Some(EXTENDED_CHUNK),
            _ => None,
        }
    }

    /// Reads the header at the start of `bytes`, which has to be whole; nothing if there is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let magic = be32(bytes, 0);
        if magic == SIMPLE_MAGIC {
            return Some(ChunkHeader::Simple { error: be32(bytes, 4), cookie: be64(bytes, 8) });
        }
        let length = match magic {
            STRUCTURED_MAGIC => u64::from(be32(bytes, 16)),
            EXTENDED_MAGIC => be64(bytes, 24),
            _ => return None,
        };
        Some(ChunkHeader::Chunk {
            flags: be16(bytes, 4),
            kind: be16(bytes, 6),
            cookie: be64(bytes, 8),
            length,
        })
    }

    /// The request's cookie.
    pub fn cookie(&self) -> u64 {
        match *self {
            ChunkHeader::Simple { cookie, .. } | ChunkHeader::Chunk { cookie, .. } => cookie,
        }
    }
}
