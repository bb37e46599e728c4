//! `Packages.db`: RPM's own simple file. Slots name places in units of 16 bytes, where records lie.

use super::{Broken, le32};

const FILE: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const RECORD: u32 = u32::from_le_bytes(*b"BlbS");

const PAGE: usize = 4096;
const UNIT: usize = 16;
/// The file's header takes the place of the first slots.
const HEADER_SLOTS: usize = 2;

/// The records, in the order of their slots.
pub(super) fn records(file: &[u8]) -> Result<Vec<&[u8]>, Broken> {
    if le32(file, 0) != Some(FILE) {
        return Err("it does not begin as one does");
    }
    if le32(file, 4) != Some(0) {
        return Err("its version is unknown");
    }
    let pages = le32(file, 12).and_then(|pages| usize::try_from(pages).ok());
    let slots = pages.and_then(|pages| pages.checked_mul(PAGE)).and_then(|size| file.get(..size));
    let slots = slots.ok_or("its slots go beyond its end")?;
    let mut left = file.len();
    let mut found = Vec::new();
    for slot in slots.chunks_exact(UNIT).skip(HEADER_SLOTS) {
        if le32(slot, 0) != Some(SLOT) || le32(slot, 4) == Some(0) {
            continue;
        }
        let Some(record) = record(file, slot) else { continue };
        // Records do not overlap, so they are no larger than the file, together.
        left = left.checked_sub(record.len()).ok_or("its records overlap")?;
        found.push(record);
    }
    Ok(found)
}

fn record<'a>(file: &'a [u8], slot: &[u8]) -> Option<&'a [u8]> {
    let number = |at| usize::try_from(le32(slot, at)?).ok();
    let start = number(8)?.checked_mul(UNIT)?;
    let end = start.checked_add(number(12)?.checked_mul(UNIT)?)?;
    let units = file.get(start..end)?;
    if le32(units, 0) != Some(RECORD) || le32(units, 4) != le32(slot, 4) {
        return None;
    }
    let length = usize::try_from(le32(units, 12)?).ok()?;
    units.get(UNIT..UNIT.checked_add(length)?)
}
