//! How blocks are packed: one method for the whole file system.

use flate2::{Decompress, FlushDecompress, Status};

use super::super::system::{FsError, Result};

/// A method that can be unpacked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressor {
    Zlib,
    Lz4,
    Zstd,
}

impl Compressor {
    pub(super) fn new(number: u16) -> Result<Compressor> {
        let name = match number {
            1 => return Ok(Compressor::Zlib),
            5 => return Ok(Compressor::Lz4),
            6 => return Ok(Compressor::Zstd),
            2 => "lzma",
            3 => "lzo",
            4 => "xz",
            _ => return Err(FsError::Unsupported(format!("it is packed by method {number}"))),
        };
        Err(FsError::Unsupported(format!("it is packed with {name}")))
    }

    /// Unpacks what gives at most `most` bytes; `None` if it is damaged.
    pub(super) fn unpack(self, packed: &[u8], most: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; most];
        let length = match self {
            Compressor::Zlib => {
                let mut zlib = Decompress::new(true);
                match zlib.decompress(packed, &mut bytes, FlushDecompress::Finish) {
                    Ok(Status::StreamEnd) => zlib.total_out() as usize,
                    _ => return None,
                }
            }
            Compressor::Lz4 => lz4_flex::block::decompress_into(packed, &mut bytes).ok()?,
            Compressor::Zstd => zstd::bulk::decompress_to_buffer(packed, &mut bytes).ok()?,
        };
        bytes.truncate(length);
        Some(bytes)
    }
}
