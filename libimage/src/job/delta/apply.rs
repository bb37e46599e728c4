//! Applying a delta in place: first everything is verified, then written.

use std::io::Read;

use super::super::progress::Progress;
use super::{Action, Header, Reader, Record, UNIT, hash};
use crate::block::{Block, Preallocation, Zero};
use crate::error::{Error, Result};

/// Reads a delta to its end, and compares its hashes with `disk` as it is. Units that hold already what the
/// delta would write count as right: an earlier attempt may have been interrupted.
///
/// # Errors
/// When the delta is damaged or cut short, or was made from another disk.
pub fn verify(input: impl Read, name: &str, disk: &dyn Block, progress: &dyn Progress) -> Result<Header> {
    let mut reader = Reader::new(input, name)?;
    let header = reader.header;
    if disk.size() != header.old_size && disk.size() != header.new_size {
        let what = format!(
            "'{name}' was made for a disk of {} bytes, and this one has {}; nothing was changed",
            header.old_size,
            disk.size()
        );
        return Err(Error::unsupported(disk.name(), what));
    }
    progress.step("Verifying", header.new_size);
    let mut done = 0;
    while let Some((_, record)) = reader.next()? {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        matches(&record, &header, name, disk)?;
        progress.advance(record.offset + record.length - done);
        done = record.offset + record.length;
    }
    Ok(header)
}

fn matches(record: &Record, header: &Header, name: &str, disk: &dyn Block) -> Result<()> {
    let mut unit = vec![0; UNIT as usize];
    let end = record.offset + record.length;
    for (expected, offset) in record.hashes.iter().zip((record.offset..end).step_by(UNIT as usize)) {
        // As much of the unit as the old disk had, also if an earlier attempt has made it longer.
        let known = end.min(header.old_size).min(disk.size());
        let length = UNIT.min(known.saturating_sub(offset)) as usize;
        let bytes = &mut unit[..length];
        if length > 0 {
            disk.read_at(bytes, offset)?;
        }
        let new = match &record.action {
            Action::Zero => bytes.iter().all(|byte| *byte == 0),
            Action::Data(data) => {
                let at = (offset - record.offset) as usize;
                data.get(at..data.len().min(at + length)) == Some(&*bytes)
            }
        };
        if !new && hash(bytes) != *expected {
            let what = format!(
                "it is not the disk that '{name}' was made from: it differs at offset {offset}; nothing was changed"
            );
            return Err(Error::unsupported(disk.name(), what));
        }
    }
    Ok(())
}

/// Writes what the delta says to `disk`, which was [verified](verify) before. Afterwards it is durable.
///
/// # Errors
/// When the delta cannot be read or the disk not be written; applying it again completes it then.
pub fn apply(input: impl Read, name: &str, disk: &dyn Block, progress: &dyn Progress) -> Result<()> {
    let mut reader = Reader::new(input, name)?;
    let Header { new_size, .. } = reader.header;
    progress.step("Writing", new_size);
    if new_size > disk.size() {
        disk.resize(new_size, Preallocation::Off)?;
    }
    let mut done = 0;
    while let Some((_, record)) = reader.next()? {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let end = record.offset + record.length;
        match &record.action {
            Action::Zero => disk.write_zeroes(record.offset..end, Zero::MayUnmap)?,
            Action::Data(data) => disk.write_at(data, record.offset)?,
        }
        progress.advance(end - done);
        done = end;
    }
    if new_size < disk.size() {
        disk.resize(new_size, Preallocation::Off)?;
    }
    disk.flush()
}
