//! Reading and writing the image file as formats need it: zeroes beyond its end, nothing for nothing.

use crate::block::Block;
use crate::error::Result;

/// Reads `buf`; what lies beyond the end of the file is zero (the last cluster may be cut short).
pub(super) fn read_padded(file: &dyn Block, buf: &mut [u8], offset: u64) -> Result<()> {
    let stored = file.size().saturating_sub(offset).min(buf.len() as u64) as usize;
    let (stored, beyond) = buf.split_at_mut(stored);
    beyond.fill(0);
    if stored.is_empty() { Ok(()) } else { file.read_at(stored, offset) }
}

/// Writes `bytes`, if there are any.
pub(super) fn write_all(file: &dyn Block, bytes: &[u8], offset: u64) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { file.write_at(bytes, offset) }
}

/// Reads a table of big-endian 64-bit entries. Memory is taken for what is not zero in it: tables are far
/// larger than what is in use of them.
pub(super) fn read_table(file: &dyn Block, offset: u64, entries: usize) -> Result<Vec<u64>> {
    const STEP: usize = 2048;
    let mut table = vec![0u64; entries];
    let mut bytes = vec![0; STEP.min(entries) * 8];
    let mut at = offset;
    for part in table.chunks_mut(STEP) {
        if at >= file.size() {
            break;
        }
        let Some(bytes) = bytes.get_mut(..part.len() * 8) else { break };
        read_padded(file, bytes, at)?;
        if bytes.iter().any(|&byte| byte != 0) {
            for (entry, bytes) in part.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *entry = u64::from_be_bytes(*bytes);
            }
        }
        at = at.saturating_add(part.len() as u64 * 8);
    }
    Ok(table)
}

/// Big-endian bytes of table entries.
pub(super) fn table_bytes(entries: &[u64]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}
