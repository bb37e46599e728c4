//! Sets of entries in a directory: what a file is, where its data lies, and its name, under one checksum.

use super::super::system::{Kind, Time};
use crate::fields::Fields;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// Kinds of entries. The upper bit says that one is in use.
pub(super) mod kind {
    pub(in super::super) const END: u8 = 0;
    pub(in super::super) const BITMAP: u8 = 0x81;
    pub(in super::super) const UPPER_CASE: u8 = 0x82;
    pub(in super::super) const FILE: u8 = 0x85;
    pub(super) const STREAM: u8 = 0xc0;
    pub(super) const NAME: u8 = 0xc1;
}
/// Units of a name in an entry.
const UNITS: usize = 15;
/// Entries that a set can have behind its first.
pub(super) const SECONDARY: std::ops::RangeInclusive<u8> = 2..=18;
const READ_ONLY: u16 = 0x01;
const DIRECTORY: u16 = 0x10;
/// The flag of a stream whose clusters lie in a row, without a chain.
const IN_A_ROW: u8 = 2;
/// Days between year 0 and 1970, as the sum below counts them.
const BEFORE_1970: i64 = 719_499;
const DAY: i64 = 86400;

/// What a set says.
pub(super) struct Set {
    attributes: u16,
    pub(super) name: Vec<u16>,
    pub(super) first: u32,
    pub(super) in_a_row: bool,
    pub(super) size: u64,
    /// What was written of it; the rest reads as zeroes.
    pub(super) valid: u64,
    pub(super) accessed: Time,
    pub(super) modified: Time,
    pub(super) created: Time,
}

impl Set {
    /// From the bytes of all its entries.
    pub(super) fn new(bytes: &[u8]) -> Result<Set, &'static str> {
        let sum = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
        let sum = sum.fold(0u16, |sum, (_, byte)| sum.rotate_right(1).wrapping_add((*byte).into()));
        if sum != Fields(bytes).le16(2) {
            return Err("the checksum of a set of entries is wrong");
        }
        let mut entries = bytes.chunks_exact(ENTRY);
        let (Some(file), Some(stream)) = (entries.next(), entries.next()) else {
            return Err("a set of entries is too short");
        };
        let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or_default();
        if byte(stream, 0) != kind::STREAM {
            return Err("a file has no stream");
        }
        let length = usize::from(byte(stream, 3));
        let mut name = Vec::with_capacity(length);
        for entry in entries.take(length.div_ceil(UNITS)) {
            if byte(entry, 0) != kind::NAME {
                return Err("a part of a name is missing");
            }
            name.extend((0..UNITS).map(|unit| Fields(entry).le16(2 + unit * 2)));
        }
        if name.len() < length || length == 0 {
            return Err("a name is too short");
        }
        name.truncate(length);
        let fields = Fields(stream);
        let (size, valid) = (fields.le64(24), fields.le64(8));
        if valid > size || size > i64::MAX as u64 {
            return Err("a file has no possible size");
        }
        let at = |at: usize, hundredths: u8, zone: usize| {
            time(Fields(file).le16(at + 2), Fields(file).le16(at), hundredths, byte(file, zone))
        };
        Ok(Set {
            attributes: Fields(file).le16(4),
            name,
            first: fields.le32(20),
            in_a_row: byte(stream, 1) & IN_A_ROW != 0,
            size,
            valid,
            created: at(8, byte(file, 20), 22),
            modified: at(12, byte(file, 21), 23),
            accessed: at(16, 0, 24),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        if self.attributes & DIRECTORY != 0 { Kind::Directory } else { Kind::File }
    }

    pub(super) fn permissions(&self) -> u32 {
        let is_read_only = self.attributes & READ_ONLY != 0 && self.kind() == Kind::File;
        if is_read_only { 0o555 } else { 0o755 }
    }
}

/// From a date, a time of day in steps of two seconds, hundredths of seconds, and the distance from UTC in quarters
/// of an hour, if it is marked as known.
fn time(date: u16, time: u16, hundredths: u8, zone: u8) -> Time {
    let (date, time) = (i64::from(date), i64::from(time));
    let (mut year, mut month) = (1980 + (date >> 9), (date >> 5 & 0xf) - 2);
    // The year begins in March, so that the leap day is its last.
    if month <= 0 {
        (year, month) = (year - 1, month + 12);
    }
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + 367 * month / 12 + (date & 0x1f) - BEFORE_1970;
    let seconds = (time >> 11) * 3600 + (time >> 5 & 0x3f) * 60 + (time & 0x1f) * 2;
    // Seven bits with a sign.
    let quarters = if zone & 0x80 == 0 { 0 } else { i64::from((zone << 1).cast_signed() >> 1) };
    Time {
        seconds: days * DAY + seconds + i64::from(hundredths / 100) - quarters * 900,
        nanoseconds: u32::from(hundredths % 100) * 10_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |year: u16, month: u16, day: u16, zone| {
            time((year - 1980) << 9 | month << 5 | day, 0, 0, zone).seconds
        };
        assert_eq!(at(1980, 1, 1, 0), 315_532_800);
        assert_eq!(at(2000, 2, 29, 0x80), 951_782_400);
        assert_eq!(at(2000, 3, 1, 0x84), 951_868_800 - 3600);
        assert_eq!(at(2024, 12, 31, 0xfc), 1_735_603_200 + 3600);
    }
}
