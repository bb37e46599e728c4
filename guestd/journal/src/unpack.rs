//! Values that are stored packed: never more of them is made than is asked for, whatever they say of themselves.

use std::io::{self, Read};

use lzma_rust2::XzReader;

use crate::file::{MAX_OBJECT, broken, word};

/// Memory that unpacking xz may take, in KiB: what the strongest presets ask for.
const XZ_MEMORY: u32 = 70 << 10;

/// The largest window of zstd, as a power of two: as large as the largest value.
const ZSTD_WINDOW: u32 = MAX_OBJECT.trailing_zeros();

/// Unpacks LZ4: the length, then one block.
pub(crate) fn lz4(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let length = word(bytes, 0)?;
    if length > MAX_OBJECT {
        return Err(broken("a value of an impossible size"));
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut value =
        lz4_flex::block::decompress(bytes.get(8..).unwrap_or_default(), length).map_err(io::Error::other)?;
    value.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(value)
}

/// Unpacks zstd.
pub(crate) fn zstd(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    decoder.take(limit).read_to_end(&mut value)?;
    Ok(value)
}

/// Unpacks xz.
pub(crate) fn xz(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    XzReader::new_mem_limit(bytes, false, XZ_MEMORY).take(limit).read_to_end(&mut value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn what_xz_packs_is_unpacked() -> io::Result<()> {
        let text = "a line of a journal\n".repeat(5000).into_bytes();
        // journald packs without a sum at the end.
        for check in ["none", "crc32", "crc64", "sha256"] {
            let mut child = Command::new("xz")
                .args(["-c", "--check", check])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            child.stdin.take().ok_or_else(|| broken("xz takes no input"))?.write_all(&text)?;
            let packed = child.wait_with_output()?.stdout;
            assert_eq!(xz(&packed, MAX_OBJECT)?, text);
            assert_eq!(xz(&packed, 7)?, b"a line ");
            assert!(xz(packed.get(..packed.len() / 2).unwrap_or_default(), MAX_OBJECT).is_err());
        }
        Ok(())
    }
}
