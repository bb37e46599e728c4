//! The ELF kernel inside a compressed one.
//!
//! A distribution's `vmlinuz` is a `bzImage`: a boot sector, set-up code, and a compressed `vmlinux`.
//! Unpacking it beforehand saves every guest the work, and lets it start through PVH.
//! (Linux, Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`.)

use std::io::{self, Read};

/// More than any kernel: a bound for what a damaged file could unpack to.
const MAX_KERNEL: u64 = 512 << 20;
const LZ4_BLOCK: usize = 8 << 20;

/// Why there is no ELF kernel to be had from a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not a kernel image at all, or cut short.
    #[error("It is not a bzImage kernel")]
    NotKernel,
    /// The compression is one that is not known here.
    #[error("The kernel is compressed in an unknown way (first bytes {0:02x?})")]
    Compression([u8; 4]),
    /// The compressed kernel is damaged.
    #[error("The compressed kernel is damaged")]
    Damaged(#[source] io::Error),
}

/// Returns the ELF kernel in `image`: itself if it is one, else the unpacked payload.
///
/// # Errors
/// When `image` is no kernel, is damaged, or is compressed in a way that is not known.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>, Error> {
    if image.starts_with(b"\x7fELF") {
        return Ok(image.to_vec());
    }
    let payload = payload(image).ok_or(Error::NotKernel)?;
    let elf = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::new(payload).map_err(Error::Damaged)?;
            read_all(decoder.single_frame())?
        }
        [0x1f, 0x8b, ..] => read_all(flate2::read::GzDecoder::new(payload))?,
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4_legacy(rest)?,
        [a, b, c, d, ..] => return Err(Error::Compression([*a, *b, *c, *d])),
        _ => return Err(Error::NotKernel),
    };
    if elf.starts_with(b"\x7fELF") { Ok(elf) } else { Err(Error::NotKernel) }
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * 512 + usize::try_from(word(0x248)?).ok()?;
    let length = usize::try_from(word(0x24c)?).ok()?;
    image.get(start..start.checked_add(length)?)
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    reader.take(MAX_KERNEL).read_to_end(&mut out).map_err(Error::Damaged)?;
    Ok(out)
}

/// The kernel's own LZ4 framing: blocks of up to 8 MiB, each behind its compressed length. The size of
/// the whole follows the last block, so what does not fit any more is the end.
fn lz4_legacy(mut rest: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(compressed) = after.get(..length).filter(|c| !c.is_empty()) else { break };
        let size = lz4_flex::block::decompress_into(compressed, &mut block)
            .map_err(|e| Error::Damaged(io::Error::new(io::ErrorKind::InvalidData, e)))?;
        out.extend_from_slice(&block[..size]);
        if out.len() as u64 > MAX_KERNEL {
            return Err(Error::Damaged(io::ErrorKind::FileTooLarge.into()));
        }
        rest = &after[length..];
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A bzImage around `payload`, with nothing in it that runs.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn every_known_compression_is_unpacked() {
        let elf = [b"\x7fELF".as_slice(), &[7; 100_000]].concat();
        let zstd = zstd::encode_all(&elf[..], 1).unwrap();
        assert_eq!(vmlinux(&image(&zstd)).unwrap(), elf);
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&elf[..], flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
        assert_eq!(vmlinux(&image(&gzip)).unwrap(), elf);
        let block = lz4_flex::block::compress(&elf);
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        lz4.extend((block.len() as u32).to_le_bytes());
        lz4.extend(block);
        lz4.extend((elf.len() as u32).to_le_bytes());
        assert_eq!(vmlinux(&image(&lz4)).unwrap(), elf);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(matches!(vmlinux(b""), Err(Error::NotKernel)));
        assert!(matches!(vmlinux(&image(b"what?")), Err(Error::Compression(_))));
        let mut cut = zstd::encode_all(&[b"\x7fELF".as_slice(), &[7; 1000]].concat()[..], 1).unwrap();
        cut.truncate(cut.len() - 3);
        assert!(vmlinux(&image(&cut)).is_err());
        let mut lying = image(b"");
        lying[0x24c..0x250].fill(0xff);
        assert!(vmlinux(&lying).is_err());
    }
}
