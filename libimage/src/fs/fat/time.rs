//! Times: of the clock on the wall, which is taken to be UTC, as Linux does without `tz` where the machine's own
//! zone is UTC.

use super::super::system::Time;

const DAY: i64 = 86400;
/// Days between 1970 and 1980, when counting begins.
const BEGINNING: i64 = 3652;
/// Days of the year before each month; the months 13 to 15, which are none, begin the year.
const BEFORE: [i64; 16] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 0, 0, 0];
/// 2100, which is no leap year.
const YEAR_2100: i64 = 120;

/// From a date, a time of day in steps of two seconds, and hundredths of seconds.
pub(super) fn time(date: u16, time: u16, hundredths: u8) -> Time {
    let (date, time) = (i64::from(date), i64::from(time));
    let (year, month, day) = (date >> 9, (date >> 5 & 0xf).max(1), (date & 0x1f).max(1) - 1);
    let mut leap_days = (year + 3) / 4 - i64::from(year > YEAR_2100);
    if year % 4 == 0 && year != YEAR_2100 && month > 2 {
        leap_days += 1;
    }
    let before = BEFORE.get(month as usize).copied().unwrap_or_default();
    let days = year * 365 + leap_days + before + day + BEGINNING;
    let seconds = (time >> 11) * 3600 + (time >> 5 & 0x3f) * 60 + (time & 0x1f) * 2;
    Time {
        seconds: days * DAY + seconds + i64::from(hundredths / 100),
        nanoseconds: u32::from(hundredths % 100) * 10_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |year: u16, month: u16, day: u16| time((year - 1980) << 9 | month << 5 | day, 0, 0).seconds;
        assert_eq!(at(1980, 1, 1), 315_532_800);
        assert_eq!(at(2000, 2, 29), 951_782_400);
        assert_eq!(at(2000, 3, 1), 951_868_800);
        assert_eq!(at(2024, 12, 31), 1_735_603_200);
        assert_eq!(at(2100, 3, 1), 4_107_542_400);
        assert_eq!(at(2107, 12, 31), 4_354_732_800);
        let late = time(0, 23 << 11 | 59 << 5 | 29, 150);
        assert_eq!((late.seconds, late.nanoseconds), (315_532_800 + 86399, 500_000_000));
    }
}
