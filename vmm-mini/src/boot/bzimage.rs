//! The compressed kernel: the bzImage header, and the ELF kernel inside.
//!
//! Linux boot protocol, `Documentation/arch/x86/boot.rst`: a setup header at 0x1f1, then the setup sectors,
//! then protected-mode code that carries the compressed kernel at `payload_offset`.

use std::io::{self, Read};

use super::{BootError, le};

/// Largest bzImage that is read.
pub const MAX_FILE: u64 = 256 << 20;
/// Largest kernel that is unpacked.
const MAX_KERNEL: u64 = 1 << 30;
/// `XLF_KERNEL_64`: there is a 64-bit entry point at 0x200 of the protected-mode code.
const XLF_KERNEL_64: u64 = 1;

/// What the setup header says, as far as booting needs it.
#[derive(Clone, Debug)]
pub struct Header {
    /// Boot protocol, major version in the high byte.
    pub protocol: u16,
    /// Offset of the protected-mode code in the file.
    pub code: usize,
    /// Offset and length of the compressed kernel in the file.
    pub payload: std::ops::Range<usize>,
    /// Address the kernel would like.
    pub pref_address: u64,
    /// Memory it needs from there.
    pub init_size: u64,
    /// The raw header, from 0x1f1.
    pub raw: Vec<u8>,
}

impl Header {
    /// Reads the setup header.
    ///
    /// # Errors
    /// When the image is no bzImage of protocol 2.12 or later for 64-bit processors.
    pub fn parse(image: &[u8]) -> Result<Header, BootError> {
        if image.get(0x202..0x206) != Some(b"HdrS") || le::<2>(image, 0x1fe) != Some(0xaa55) {
            return Err(BootError::NotAKernel);
        }
        let short = BootError::Malformed("bzImage header");
        let fields = || -> Option<_> {
            let setup_sectors = le::<1>(image, 0x1f1)?;
            let setup_sectors = if setup_sectors == 0 { 4 } else { setup_sectors };
            let code = usize::try_from((setup_sectors + 1) * 512).ok()?;
            let start = code.checked_add(usize::try_from(le::<4>(image, 0x248)?).ok()?)?;
            let end = start.checked_add(usize::try_from(le::<4>(image, 0x24c)?).ok()?)?;
            let raw_end = 0x202 + usize::try_from(le::<1>(image, 0x201)?).ok()?;
            let protocol = u16::try_from(le::<2>(image, 0x206)?).ok()?;
            Some((protocol, code, start..end, image.get(0x1f1..raw_end)?.to_vec()))
        };
        let (protocol, code, payload, raw) = fields().ok_or(short)?;
        let flags = le::<2>(image, 0x236).unwrap_or(0);
        if protocol < 0x20c || flags & XLF_KERNEL_64 == 0 {
            return Err(BootError::Not64Bit(protocol));
        }
        if image.get(payload.clone()).is_none() || image.get(code..).is_none() {
            return Err(BootError::Malformed("bzImage: the payload lies outside the file"));
        }
        let pref_address = le::<8>(image, 0x258).unwrap_or(0);
        let init_size = le::<4>(image, 0x260).unwrap_or(0);
        Ok(Header { protocol, code, payload, pref_address, init_size, raw })
    }
}

/// Unpacks the ELF kernel of a bzImage: zstd, gzip or LZ4. An image that is an ELF kernel already comes back
/// as it is.
///
/// The result can be kept in a file and booted as it is, which saves the work the next time.
///
/// # Errors
/// When the image is malformed or its compression is not one of these.
pub fn vmlinux(image: &[u8]) -> Result<Vec<u8>, BootError> {
    if image.starts_with(super::elf::MAGIC) {
        return Ok(image.to_vec());
    }
    let header = Header::parse(image)?;
    let payload = image.get(header.payload).unwrap_or_default();
    // The build appends the unpacked size to payloads whose format does not carry it.
    let expected = payload.len().checked_sub(4).and_then(|at| le::<4>(payload, at)).unwrap_or(0);
    let capacity = usize::try_from(expected.min(MAX_KERNEL)).unwrap_or(0);
    let unpack = |format| move |source| BootError::Unpack { format, source };
    let kernel = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let reader = zstd::stream::read::Decoder::new(payload).map_err(unpack("zstd"))?;
            read_all(reader.single_frame(), capacity).map_err(unpack("zstd"))?
        }
        [0x1f, 0x8b, ..] => {
            read_all(flate2::read::GzDecoder::new(payload), capacity).map_err(unpack("gzip"))?
        }
        [0x02, 0x21, 0x4c, 0x18, ..] => unpack_lz4_legacy(payload, capacity).map_err(unpack("LZ4"))?,
        other => return Err(BootError::UnknownCompression(other.get(..4).unwrap_or(other).to_vec())),
    };
    if kernel.starts_with(super::elf::MAGIC) {
        Ok(kernel)
    } else {
        Err(BootError::Malformed("bzImage: the payload is not an ELF kernel"))
    }
}

fn read_all(reader: impl Read, capacity: usize) -> io::Result<Vec<u8>> {
    // The size at the payload's end is only a hint: it may not allocate more than a kernel's usual size.
    let mut kernel = Vec::with_capacity(capacity.min(128 << 20));
    reader.take(MAX_KERNEL).read_to_end(&mut kernel)?;
    Ok(kernel)
}

/// LZ4's first frame format, which the kernel build still uses: blocks of 8 MiB, each after its packed size.
fn unpack_lz4_legacy(payload: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let mut rest = payload.get(4..).unwrap_or_default();
    let mut kernel = Vec::with_capacity(capacity.min(128 << 20));
    let mut block = vec![0; BLOCK];
    // What follows the last block is the unpacked size, four bytes: no room for a block.
    while rest.len() > 4 {
        let length = le::<4>(rest, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        let packed = rest.get(4..).and_then(|rest| rest.get(..length));
        let packed = packed.ok_or_else(|| io::Error::other("a block lies outside the payload"))?;
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block).map_err(io::Error::other)?;
        kernel.extend_from_slice(block.get(..unpacked).unwrap_or_default());
        if kernel.len() as u64 > MAX_KERNEL {
            return Err(io::Error::other("the kernel is too large"));
        }
        rest = rest.get(4 + length..).unwrap_or_default();
    }
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x201] = 0x6a;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x236] = 1;
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn kernel() -> Vec<u8> {
        let mut kernel = b"\x7fELF".to_vec();
        kernel.extend((0..10_000_000_u32).map(|n| u8::try_from(n / 1000 % 251).unwrap()));
        kernel
    }

    fn with_size(mut packed: Vec<u8>, kernel: &[u8]) -> Vec<u8> {
        packed.extend_from_slice(&u32::try_from(kernel.len()).unwrap().to_le_bytes());
        packed
    }

    #[test]
    fn unpacks_each_compression() {
        let kernel = kernel();
        let zstd = with_size(zstd::encode_all(&kernel[..], 1).unwrap(), &kernel);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&kernel).unwrap();
        let mut lz4 = b"\x02\x21\x4c\x18".to_vec();
        for block in kernel.chunks(8 << 20) {
            let packed = lz4_flex::block::compress(block);
            lz4.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
            lz4.extend_from_slice(&packed);
        }
        for payload in [zstd, gzip.finish().unwrap(), with_size(lz4, &kernel)] {
            let unpacked = vmlinux(&image(&payload)).unwrap();
            assert!(unpacked == kernel, "payload {:02x?}", &payload[..4]);
        }
    }

    #[test]
    fn says_what_it_cannot_unpack() {
        let error = vmlinux(&image(b"\xfd7zXZ\0rest")).unwrap_err();
        assert!(matches!(error, BootError::UnknownCompression(magic) if magic == b"\xfd7zX"));
        assert!(matches!(vmlinux(b"MZ"), Err(BootError::NotAKernel)));
        let mut lying = image(b"\x02\x21\x4c\x18\xff\xff\xff\xffabc");
        assert!(matches!(vmlinux(&lying), Err(BootError::Unpack { .. })));
        lying[0x24c] = 0xff;
        assert!(matches!(vmlinux(&lying), Err(BootError::Malformed(_))));
    }
}
