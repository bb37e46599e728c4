//! The descriptors of ISO 9660 file systems (ECMA-119, 8.4).

use super::regular::about;
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::iso::Server;
use guestd_api::structs::Isoinfo;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where the primary volume descriptor is: the first after the system area.
const DESCRIPTOR: u64 = 32768;

/// Bytes of the descriptor; what is not there is empty.
fn field(sector: &[u8], at: usize, length: usize) -> &[u8] {
    sector.get(at..).and_then(|rest| rest.get(..length)).unwrap_or_default()
}

/// Text padded with blanks.
fn text(sector: &[u8], at: usize, length: usize) -> GuestString {
    let bytes = field(sector, at, length);
    let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
    let bytes = bytes.get(..end).unwrap_or_default();
    // Some programs pad with NUL instead.
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().into()
}

/// A number that is stored in both byte orders; the little-endian one is first.
fn number(sector: &[u8], at: usize, length: usize) -> u32 {
    field(sector, at, length).iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// `YYYYMMDDhhmmsscc` and an offset from UTC in quarters of an hour (8.4.26.1), in seconds since 1970; -1 if it is not
/// given.
fn time(sector: &[u8], at: usize) -> i64 {
    let digits = field(sector, at, 16);
    let number = |from: usize, length: usize| {
        field(digits, from, length)
            .iter()
            .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let parts = [(0, 4), (4, 2), (6, 2), (8, 2), (10, 2), (12, 2)].map(|(from, length)| number(from, length));
    let [Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)] = parts else {
        return -1;
    };
    if year == 0 && month == 0 && day == 0 {
        return -1;
    }
    let zone =
        field(sector, at.saturating_add(16), 1).first().map_or(0, |byte| i64::from(byte.cast_signed()));
    days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone * 900
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469
}

fn descriptor(file: &File, subject: &GuestString) -> Result<Isoinfo, Failure> {
    let mut sector = vec![0; 2048];
    match file.read_exact_at(&mut sector, DESCRIPTOR) {
        Ok(()) if sector.starts_with(b"\x01CD001") => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(Failure::io(subject, &error));
        }
        _ => return Err(Failure::new(format!("{subject}: not an ISO file or CD-ROM"))),
    }
    let sector = sector.as_slice();
    Ok(Isoinfo {
        iso_system_id: text(sector, 8, 32),
        iso_volume_id: text(sector, 40, 32),
        iso_volume_space_size: number(sector, 80, 4),
        iso_volume_set_size: number(sector, 120, 2),
        iso_volume_sequence_number: number(sector, 124, 2),
        iso_logical_block_size: number(sector, 128, 2),
        iso_volume_set_id: text(sector, 190, 128),
        iso_publisher_id: text(sector, 318, 128),
        iso_data_preparer_id: text(sector, 446, 128),
        iso_application_id: text(sector, 574, 128),
        iso_copyright_file_id: text(sector, 702, 37),
        iso_abstract_file_id: text(sector, 739, 37),
        iso_bibliographic_file_id: text(sector, 776, 37),
        iso_volume_creation_t: time(sector, 813),
        iso_volume_modification_t: time(sector, 830),
        iso_volume_expiration_t: time(sector, 847),
        iso_volume_effective_t: time(sector, 864),
    })
}

impl Server for Worker {
    fn isoinfo(&self, isofile: GuestPath) -> Result<Isoinfo, Failure> {
        descriptor(&self.open_regular(&isofile).map_err(about("open"))?, &isofile.as_ref().into())
    }

    fn isoinfo_device(&self, device: Device) -> Result<Isoinfo, Failure> {
        descriptor(&device.open()?, &device.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let at = |text: &[u8]| time(text, 0);
        assert_eq!(at(b"1970010100000000\0"), 0);
        // date -u -d '2024-02-29 12:34:56' +%s
        assert_eq!(at(b"2024022912345600\0"), 1_709_210_096);
        assert_eq!(at(b"2000030100000000\x04"), 951_868_800 - 3600);
        assert_eq!(at(b"0000000000000000\0"), -1);
        assert_eq!(at(b"                \0"), -1);
        assert_eq!(at(b""), -1);
    }
}
