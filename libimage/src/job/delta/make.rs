//! Making a delta: both disks are read where either holds something, in parallel, and compared unit by unit.

use std::io::Write;
use std::ops::Range;

use super::super::ordered::ordered;
use super::super::progress::Progress;
use super::super::zero::is_zero;
use super::{Action, Header, MAX_RECORD, Record, UNIT, hash};
use crate::block::Block;
use crate::error::{Error, Result};

/// What one worker takes at a time, in bytes.
const SEGMENT: u64 = 4 << 20;

/// How much a delta changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Bytes that differ, in whole units.
    pub bytes: u64,
    /// Bytes of the delta.
    pub delta: u64,
}

/// Writes what makes `new` of `old` to `out`, whose name is for messages. With `ranges`, only these parts of
/// the disk are taken, as they are now, and `old` is not read: what a bitmap says has changed.
///
/// # Errors
/// When either disk cannot be read or `out` not be written, and [`Error::Cancelled`].
pub fn make(
    old: &dyn Block,
    new: &dyn Block,
    ranges: Option<&[Range<u64>]>,
    out: &mut dyn Write,
    name: &str,
    workers: usize,
    progress: &dyn Progress,
) -> Result<Changed> {
    let size = new.size();
    let ranges = ranges.map(|ranges| whole_units(ranges, size));
    let header = Header { old_size: old.size(), new_size: size, hashed: ranges.is_none() };
    let failed = |e| Error::io("write to", name, e);
    let head = header.encode();
    out.write_all(&head).map_err(failed)?;
    let mut changed = Changed { bytes: 0, delta: head.len() as u64 };
    progress.step("Comparing", size);
    let mut count = 0;
    let segment = |number: u64| {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let range = number * SEGMENT..(number + 1).saturating_mul(SEGMENT).min(size);
        let records = match &ranges {
            None => compare(old, new, &header, range.clone())?,
            Some(ranges) => taken(new, ranges, range.clone())?,
        };
        progress.advance(range.end - range.start);
        Ok(records.iter().map(|record| (record.length, record.encode())).collect::<Vec<_>>())
    };
    ordered(size.div_ceil(SEGMENT), workers, segment, |records| {
        for (length, bytes) in records {
            out.write_all(&bytes).map_err(failed)?;
            changed.bytes += length;
            changed.delta += bytes.len() as u64;
            count += 1;
        }
        Ok(())
    })?;
    let end = Record::end(count);
    out.write_all(&end).and_then(|()| out.flush()).map_err(failed)?;
    changed.delta += end.len() as u64;
    Ok(changed)
}

/// Reads a range of a disk that may be shorter; what is missing is zero.
fn read(disk: &dyn Block, range: &Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let there = disk.size().clamp(range.start, range.end) - range.start;
    if there > 0 {
        disk.read_at(&mut bytes[..there as usize], range.start)?;
    }
    Ok(bytes)
}

/// How far from the start of `range` the disk is known to read as zeroes; 0 if not at all.
fn zeroes(disk: &dyn Block, range: &Range<u64>) -> Result<u64> {
    let end = disk.size().min(range.end);
    if range.start >= end {
        return Ok(range.end - range.start);
    }
    let extent = disk.status(range.start..end)?;
    Ok(if extent.zero { extent.length } else { 0 })
}

fn compare(old: &dyn Block, new: &dyn Block, header: &Header, range: Range<u64>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let rest = at..range.end;
        // Where both are known to be zero nothing is read.
        let both = zeroes(old, &rest)?.min(zeroes(new, &rest)?);
        let skip = if at + both == range.end { both } else { both - both % UNIT };
        if skip > 0 {
            at += skip;
            continue;
        }
        let part = at..range.end.min(at + MAX_RECORD);
        runs(&read(old, &part)?, &read(new, &part)?, header, at, &mut records);
        at = part.end;
    }
    Ok(records)
}

/// Adds the records for a part of the disk that was read from both.
fn runs(old: &[u8], new: &[u8], header: &Header, start: u64, records: &mut Vec<Record>) {
    let unit = UNIT as usize;
    let mut open: Option<Record> = None;
    for (index, (before, after)) in old.chunks(unit).zip(new.chunks(unit)).enumerate() {
        let offset = start + (index * unit) as u64;
        // What the old disk did not reach reads as zeroes once it has grown.
        if before == after {
            records.extend(open.take());
            continue;
        }
        let zero = is_zero(after);
        if open.as_ref().is_some_and(|run| (run.action == Action::Zero) != zero) {
            records.extend(open.take());
        }
        let action = if zero { Action::Zero } else { Action::Data(Vec::new()) };
        let run = open.get_or_insert(Record { offset, length: 0, hashes: Vec::new(), action });
        run.length += after.len() as u64;
        if let Action::Data(data) = &mut run.action {
            data.extend_from_slice(after);
        }
        let there = header.old_size.saturating_sub(offset).min(before.len() as u64) as usize;
        if there > 0 {
            run.hashes.push(hash(&before[..there]));
        }
    }
    records.extend(open);
}

/// Ranges in whole units, in order, apart from each other.
fn whole_units(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let units = |range: &Range<u64>| {
        range.start - range.start % UNIT..range.end.min(size).next_multiple_of(UNIT).min(size)
    };
    let mut list: Vec<Range<u64>> =
        ranges.iter().map(units).filter(|range| range.start < range.end).collect();
    list.sort_by_key(|range| range.start);
    list.dedup_by(|next, last| {
        let meets = next.start <= last.end;
        if meets {
            last.end = last.end.max(next.end);
        }
        meets
    });
    list
}

/// Takes the chosen ranges of a segment as they are.
fn taken(new: &dyn Block, ranges: &[Range<u64>], segment: Range<u64>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for range in ranges {
        let end = range.end.min(segment.end);
        let mut at = range.start.max(segment.start);
        while at < end {
            let part = at..end.min(at + MAX_RECORD);
            let data = read(new, &part)?;
            let action = if is_zero(&data) { Action::Zero } else { Action::Data(data) };
            records.push(Record { offset: at, length: part.end - at, hashes: Vec::new(), action });
            at = part.end;
        }
    }
    Ok(records)
}
