//! How data is packed: zlib, lzo or zstd, chosen for each extent.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// Bytes of a length in what lzo packed.
const LENGTH: usize = 4;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Zlib,
    Lzo,
    Zstd,
}

impl Packing {
    /// From its number; `None` if it is not packed at all.
    pub(super) fn new(number: u8) -> Result<Option<Packing>> {
        Ok(match number {
            0 => None,
            1 => Some(Packing::Zlib),
            2 => Some(Packing::Lzo),
            3 => Some(Packing::Zstd),
            _ => return Err(FsError::Unsupported(format!("the file is packed by method {number}"))),
        })
    }

    /// Unpacks exactly `length` bytes, with zeroes for those that are not there; `None` if it is damaged. What lies
    /// behind the packed bytes is not looked at.
    pub(super) fn unpack(self, packed: &[u8], length: usize, sector: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self {
            Packing::Zlib => {
                let mut zlib = Decompress::new(true);
                match zlib.decompress(packed, &mut bytes, FlushDecompress::Finish).ok()? {
                    Status::StreamEnd => {}
                    // There may be more than is wanted.
                    _ if zlib.total_out() == length as u64 => {}
                    _ => return None,
                }
            }
            Packing::Lzo => lzo(packed, &mut bytes, sector)?,
            Packing::Zstd => zstd(packed, &mut bytes)?,
        }
        Some(bytes)
    }
}

fn zstd(packed: &[u8], into: &mut [u8]) -> Option<()> {
    let mut decoder = Decoder::new().ok()?;
    let length = into.len();
    let (mut from, mut to) = (InBuffer::around(packed), OutBuffer::around(into));
    loop {
        let before = (from.pos(), to.pos());
        let hint = decoder.run(&mut from, &mut to).ok()?;
        if hint == 0 || to.pos() == length {
            return Some(());
        }
        if (from.pos(), to.pos()) == before {
            return None;
        }
    }
}

/// The length of all, then pieces of up to a sector, each with its length, which never lies in two sectors.
fn lzo(packed: &[u8], into: &mut [u8], sector: usize) -> Option<()> {
    let number = |at: usize| packed.get(at..at + LENGTH).map(|bytes| Fields(bytes).le32(0) as usize);
    let end = number(0).filter(|end| (LENGTH + 1..=packed.len()).contains(end))?;
    let (mut at, mut done) = (LENGTH, 0);
    while at < end && done < into.len() {
        let left = sector - at % sector;
        if left < LENGTH {
            at += left;
            continue;
        }
        let length = number(at)?;
        at += LENGTH;
        let piece = packed.get(at..at.checked_add(length)?)?;
        at += length;
        let rest = into.get_mut(done..)?;
        let room = rest.len().min(sector);
        match lzokay::decompress::decompress(piece, &mut rest[..room]) {
            Ok(count) => done += count,
            // The last piece of a file may be longer than what is wanted of it.
            Err(_) if room < sector => {
                let mut whole = vec![0; sector];
                lzokay::decompress::decompress(piece, &mut whole).ok()?;
                rest.copy_from_slice(&whole[..room]);
                done += room;
            }
            Err(_) => return None,
        }
        if length == 0 {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_none() {
        for packing in [Packing::Zlib, Packing::Lzo, Packing::Zstd] {
            for bytes in [&[][..], &[0; 40], &[0xff; 5000], &[40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]] {
                assert_eq!(packing.unpack(bytes, 4096, 4096), None, "{packing:?} {bytes:?}");
            }
        }
    }
}
