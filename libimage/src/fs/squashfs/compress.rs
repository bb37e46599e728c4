//! How blocks are packed: one method for the whole file system.

use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use lzma_rust2::{LzmaReader, XzReader};

use super::super::system::{FsError, Result};

/// Memory that unpacking xz and lzma may take, in KiB. Their dictionary is as large as a block at most, 1 MiB, and
/// their tables are small.
const MEMORY: u32 = 16 << 10;

/// A method that can be unpacked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressor {
    Zlib,
    Lzma,
    Lzo,
    Xz,
    Lz4,
    Zstd,
}

impl Compressor {
    pub(super) fn new(number: u16) -> Result<Compressor> {
        Ok(match number {
            1 => Compressor::Zlib,
            2 => Compressor::Lzma,
            3 => Compressor::Lzo,
            4 => Compressor::Xz,
            5 => Compressor::Lz4,
            6 => Compressor::Zstd,
            _ => return Err(FsError::Unsupported(format!("it is packed by method {number}"))),
        })
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
            Compressor::Lzma => take_all(LzmaReader::new_mem_limit(packed, MEMORY, None).ok()?, &mut bytes)?,
            Compressor::Lzo => lzokay::decompress::decompress(packed, &mut bytes).ok()?,
            // Filters for machine code are in the stream's own header.
            Compressor::Xz => take_all(XzReader::new_mem_limit(packed, false, MEMORY), &mut bytes)?,
            Compressor::Lz4 => lz4_flex::block::decompress_into(packed, &mut bytes).ok()?,
            Compressor::Zstd => zstd::bulk::decompress_to_buffer(packed, &mut bytes).ok()?,
        };
        bytes.truncate(length);
        Some(bytes)
    }
}

/// Reads a stream to its end, where its checksum is looked at; how long it is. `None` if it is damaged or too long.
fn take_all(mut stream: impl Read, into: &mut [u8]) -> Option<usize> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = into.get_mut(done..) {
        match stream.read(rest).ok()? {
            0 => return Some(done),
            count => done += count,
        }
    }
    (stream.read(&mut [0]).ok()? == 0).then_some(done)
}
