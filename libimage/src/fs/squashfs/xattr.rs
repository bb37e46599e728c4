//! Extended attributes: lists of names and values, shared by all inodes with the same ones.

use super::super::system::Result;
use super::Squashfs;
use super::metadata::Place;
use super::superblock::ABSENT;
use crate::fields::Fields;

/// The bit in an attribute's type that says that its value is elsewhere.
const ELSEWHERE: u16 = 0x100;
/// The largest value: what the kernel allows.
const MAX_VALUE: usize = 64 << 10;
/// The longest name, prefix included.
const MAX_NAME: usize = 255;

impl Squashfs {
    /// The entry of a list of attributes, and where the lists begin; `None` if there are none at all.
    fn attribute_list(&self, index: u32) -> Result<Option<(Vec<u8>, u64)>> {
        let list = self.superblock.xattr_table;
        if list == ABSENT {
            return Ok(None);
        }
        let wrong = |what: &str| Err(self.device.corrupt(list, what).into());
        if list.saturating_add(16) > self.superblock.bytes_used {
            return wrong("the extended attributes lie behind the end");
        }
        let header = self.device.bytes(list, 16)?;
        let (table, lists) = (Fields(&header).le64(0), Fields(&header).le32(8));
        if index >= lists {
            return wrong("a list of extended attributes is missing");
        }
        Ok(Some((self.table_entry(list + 16, index.into(), 16)?, table)))
    }

    /// Space that a list of attributes counts for, in units of 512 bytes.
    pub(super) fn attribute_sectors(&self, index: u32) -> Result<u64> {
        let list = self.attribute_list(index)?;
        Ok(list.map_or(0, |(entry, _)| u64::from(Fields(&entry).le32(12)).div_ceil(512)))
    }

    /// Calls `each` with the attributes of list number `index`: the name, and where the value is; until it returns
    /// something.
    pub(super) fn find_attribute<T>(
        &self,
        index: u32,
        mut each: impl FnMut(&[u8], Place) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let Some((entry, table)) = self.attribute_list(index)? else { return Ok(None) };
        let wrong = |what: &str| Err(self.device.corrupt(self.superblock.xattr_table, what).into());
        let mut place = Place::of(Fields(&entry).le64(0), table);
        let (count, bytes) = (Fields(&entry).le32(8), u64::from(Fields(&entry).le32(12)));
        // Each takes up eight bytes at least.
        if u64::from(count) * 8 > bytes || bytes > 16 << 20 {
            return wrong("a list of extended attributes has no possible length");
        }
        for _ in 0..count {
            let head = self.take(&mut place, 4)?;
            let (kind, length) = (Fields(&head).le16(0), usize::from(Fields(&head).le16(2)));
            if length > MAX_NAME {
                return wrong("the name of an extended attribute is too long");
            }
            let name = self.take(&mut place, length)?;
            let mut value = place;
            let size = self.value_size(&mut place)?;
            self.take(&mut place, size)?;
            if kind & ELSEWHERE != 0 {
                let reference = self.value(value)?;
                if reference.len() != 8 {
                    return wrong("the place of an extended attribute's value is missing");
                }
                value = Place::of(Fields(&reference).le64(0), table);
            }
            let prefix: &[u8] = match kind & 0xff {
                0 => b"user.",
                1 => b"trusted.",
                2 => b"security.",
                _ => continue,
            };
            if let Some(found) = each(&[prefix, &name].concat(), value)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn value_size(&self, place: &mut Place) -> Result<usize> {
        let at = place.block;
        let size = Fields(&self.take(place, 4)?).le32(0) as usize;
        if size > MAX_VALUE {
            return Err(self.device.corrupt(at, "the value of an extended attribute is too long").into());
        }
        Ok(size)
    }

    /// A value, its length before it.
    pub(super) fn value(&self, mut place: Place) -> Result<Vec<u8>> {
        let size = self.value_size(&mut place)?;
        self.take(&mut place, size)
    }
}
