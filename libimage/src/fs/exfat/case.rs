//! The table of upper case: names that are the same in it are the same.

use super::super::device::Device;
use super::super::fat::table::Table;
use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// Before a number of letters that stay as they are.
const SAME: u16 = 0xffff;
const LETTERS: usize = 1 << 16;

/// What each letter is in upper case.
pub(super) struct UpperCase(Vec<u16>);

impl UpperCase {
    /// From what its entry in the root directory says.
    pub(super) fn read(device: &Device, table: &Table, entry: &[u8]) -> Result<UpperCase> {
        let fields = Fields(entry);
        let (sum, first, size) = (fields.le32(4), fields.le32(20), fields.le64(24));
        let wrong = |what: &str| FsError::from(device.corrupt(table.place(first), what));
        if size == 0 || size > 2 * LETTERS as u64 {
            return Err(wrong("the table of upper case has no possible size"));
        }
        let mut bytes = vec![0; size as usize];
        table.read(device, &*table.chain(device, first)?, 0, &mut bytes)?;
        let found = bytes.iter().fold(0u32, |sum, byte| sum.rotate_right(1).wrapping_add((*byte).into()));
        if found != sum {
            return Err(wrong("the checksum of the table of upper case is wrong"));
        }
        let mut upper: Vec<u16> = (0..=u16::MAX).collect();
        let (mut letter, mut at) = (0, 0);
        while at < bytes.len() {
            let unit = Fields(&bytes).le16(at);
            at += 2;
            if unit == SAME && at < bytes.len() {
                letter += usize::from(Fields(&bytes).le16(at));
                at += 2;
            } else {
                if let Some(place) = upper.get_mut(letter) {
                    *place = unit;
                }
                letter += 1;
            }
        }
        Ok(UpperCase(upper))
    }

    pub(super) fn same(&self, one: &[u16], other: &[u16]) -> bool {
        let upper = |unit: &u16| self.0.get(usize::from(*unit)).copied().unwrap_or(*unit);
        one.len() == other.len() && one.iter().map(upper).eq(other.iter().map(upper))
    }
}
