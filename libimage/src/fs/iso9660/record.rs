//! Directory records: the name of a file, where its data lies, and behind that what extensions say.

use super::super::system::{Result, Time};
use super::Iso;
use crate::fields::Fields;

/// Bytes before the name.
const HEADER: usize = 33;
/// Flags.
const DIRECTORY: u8 = 0x02;
const ASSOCIATED: u8 = 0x04;
const GOES_ON: u8 = 0x80;
/// Years before 1970, as the sum below counts days.
const BEFORE_1970: i64 = 719_499;
const DAY: i64 = 86400;
/// The furthest zone from UTC, in quarters of an hour.
const MAX_ZONE: i64 = 52;

/// A record, and where it lies.
pub(super) struct Record {
    pub(super) at: u64,
    bytes: Vec<u8>,
}

impl Record {
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    fn has(&self, flag: u8) -> bool {
        self.byte(25) & flag != 0
    }

    pub(super) fn is_directory(&self) -> bool {
        self.has(DIRECTORY)
    }

    /// Belongs to another file, and is not shown.
    pub(super) fn is_associated(&self) -> bool {
        self.has(ASSOCIATED)
    }

    /// The next record is of the same file.
    pub(super) fn goes_on(&self) -> bool {
        self.has(GOES_ON)
    }

    pub(super) fn is_interleaved(&self) -> bool {
        self.byte(26) != 0 || self.byte(27) != 0
    }

    /// The block that its data begins in.
    pub(super) fn extent(&self) -> u64 {
        u64::from(Fields(&self.bytes).le32(2)) + u64::from(self.byte(1))
    }

    pub(super) fn size(&self) -> u64 {
        Fields(&self.bytes).le32(10).into()
    }

    pub(super) fn time(&self) -> Time {
        short_time(self.bytes.get(18..25).unwrap_or_default())
    }

    pub(super) fn name(&self) -> &[u8] {
        let length = usize::from(self.byte(32));
        self.bytes.get(HEADER..HEADER + length).unwrap_or_default()
    }

    /// `.` and `..`.
    pub(super) fn is_dots(&self) -> bool {
        matches!(self.name(), [0 | 1])
    }

    /// What extensions say: behind the name, at an even place.
    pub(super) fn system_use(&self) -> &[u8] {
        let start = (HEADER + usize::from(self.byte(32))).next_multiple_of(2);
        self.bytes.get(start..).unwrap_or_default()
    }

    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Iso {
    /// The record at a byte of the device; `None` where the block has no more.
    pub(super) fn record(&self, at: u64) -> Result<Option<Record>> {
        let left = self.volume.block_size - at % self.volume.block_size;
        if left < HEADER as u64 + 1 {
            return Ok(None);
        }
        let head = self.device.bytes(at, HEADER)?;
        let (length, name) = match (head.first(), head.last()) {
            (Some(&0), _) => return Ok(None),
            (Some(&length), Some(&name)) => (u64::from(length), u64::from(name)),
            _ => (0, 0),
        };
        if length > left || length < HEADER as u64 + name || name == 0 {
            return Err(self.device.corrupt(at, "a directory record has no possible length").into());
        }
        Ok(Some(Record { at, bytes: self.device.bytes(at, length as usize)? }))
    }
}

/// A time of seven bytes, the last of which is the distance from UTC in quarters of an hour.
pub(super) fn short_time(bytes: &[u8]) -> Time {
    let [year, month, day, hour, minute, second, zone] = *bytes else { return Time::default() };
    let parts = [month, day, hour, minute, second].map(i64::from);
    time(1900 + i64::from(year), parts, zone)
}

/// A time of seventeen bytes: digits, down to hundredths of a second, and the same zone.
pub(super) fn long_time(bytes: &[u8]) -> Time {
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range).unwrap_or_default();
        digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit.saturating_sub(b'0').min(9)))
    };
    let parts = [number(4..6), number(6..8), number(8..10), number(10..12), number(12..14)];
    time(number(0..4), parts, bytes.get(16).copied().unwrap_or_default())
}

fn time(mut year: i64, [month, day, hour, minute, second]: [i64; 5], zone: u8) -> Time {
    // The year begins in March, so that the leap day is its last.
    let mut month = month - 2;
    if month <= 0 {
        (year, month) = (year - 1, month + 12);
    }
    let days = year * 365 + year / 4 - year / 100 + year / 400 + 367 * month / 12 + day - BEFORE_1970;
    let zone = i64::from(zone.cast_signed());
    let zone = if zone.abs() <= MAX_ZONE { zone } else { 0 };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - zone * 900;
    Time { seconds, nanoseconds: 0 }
}
