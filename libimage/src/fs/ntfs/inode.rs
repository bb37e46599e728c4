//! Files: a first record, and others where attributes do not fit into that. A list says which lie where.

use std::ops::ControlFlow;

use super::super::system::{Result, Time};
use super::Ntfs;
use super::record::{Attribute, Record, kind};
use crate::fields::Fields;

/// The part of a reference that is the number of a record; above is how often the record was used.
pub(super) const NUMBER: u64 = (1 << 48) - 1;
/// The longest list of attributes, in bytes.
const MAX_LIST: u64 = 256 << 10;
/// The smallest entry of one.
const MIN_ENTRY: usize = 26;
/// Between 1601 and 1970, in seconds.
const EPOCH: i64 = 11_644_473_600;
/// Time goes in steps of 100 nanoseconds.
const STEPS: i64 = 10_000_000;

/// Bits of a file's attributes in the sense of DOS.
pub(super) mod flag {
    pub(in super::super) const HIDDEN: u32 = 0x2;
    pub(in super::super) const SYSTEM: u32 = 0x4;
    pub(in super::super) const REPARSE: u32 = 0x400;
    pub(in super::super) const ENCRYPTED: u32 = 0x4000;
    /// Only in names.
    pub(in super::super) const DIRECTORY: u32 = 0x1000_0000;
}

/// A file, directory or anything else.
pub(super) struct Inode {
    /// Its first record.
    pub(super) record: Record,
    /// See [`flag`].
    pub(super) flags: u32,
    pub(super) modified: Time,
    pub(super) changed: Time,
    pub(super) accessed: Time,
    list: Option<Vec<Listed>>,
}

/// Where an attribute, or a part of one, is.
struct Listed {
    kind: u32,
    name: Vec<u8>,
    reference: u64,
    instance: u16,
}

impl Inode {
    /// From its first record.
    pub(super) fn new(fs: &Ntfs, record: Record) -> Result<Inode> {
        let (mut standard, mut list) = (None, None);
        for attribute in record.attributes() {
            let attribute = attribute.map_err(|what| fs.corrupt(record.number, what))?;
            match attribute.kind {
                kind::STANDARD_INFORMATION => standard = standard.or(attribute.value),
                kind::ATTRIBUTE_LIST if list.is_none() => list = Some(attribute),
                _ => {}
            }
        }
        let Some(standard) = standard.filter(|value| value.len() >= 48) else {
            return Err(fs.corrupt(record.number, "it has no standard information"));
        };
        let fields = Fields(standard);
        let list = list.map(|list| read_list(fs, record.number, &list)).transpose()?;
        let at = |at: usize| time(fields.le64(at));
        let (modified, changed, accessed) = (at(8), at(16), at(24));
        let flags = fields.le32(32);
        Ok(Inode { flags, modified, changed, accessed, list, record })
    }

    pub(super) fn number(&self) -> u64 {
        self.record.number
    }

    /// Calls `each` for all attributes, or parts of them, of a kind and with a name or any, until it breaks.
    pub(super) fn attributes(
        &self,
        fs: &Ntfs,
        kind: u32,
        name: Option<&[u8]>,
        each: &mut dyn FnMut(&Attribute<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let is_wanted = |found: u32, called: &[u8]| found == kind && name.is_none_or(|name| name == called);
        let Some(list) = &self.list else {
            for attribute in self.record.attributes() {
                let attribute = attribute.map_err(|what| fs.corrupt(self.number(), what))?;
                if is_wanted(attribute.kind, attribute.name) && each(&attribute)?.is_break() {
                    break;
                }
            }
            return Ok(());
        };
        let mut other: Option<Record> = None;
        for listed in list.iter().filter(|listed| is_wanted(listed.kind, &listed.name)) {
            let number = listed.reference & NUMBER;
            if number != self.number() && other.as_ref().is_none_or(|other| other.number != number) {
                let record = fs.record(listed.reference)?;
                if record.base() & NUMBER != self.number() || record.base() == 0 {
                    return Err(fs.corrupt(number, "it has attributes of another file"));
                }
                other = Some(record);
            }
            let record = other.as_ref().filter(|_| number != self.number()).unwrap_or(&self.record);
            let mut is_there = false;
            for attribute in record.attributes() {
                let attribute = attribute.map_err(|what| fs.corrupt(number, what))?;
                if attribute.instance() == listed.instance && is_wanted(attribute.kind, attribute.name) {
                    is_there = true;
                    if each(&attribute)?.is_break() {
                        return Ok(());
                    }
                }
            }
            if !is_there {
                return Err(fs.corrupt(number, "it lacks an attribute that is in a list"));
            }
        }
        Ok(())
    }
}

fn read_list(fs: &Ntfs, number: u64, attribute: &Attribute<'_>) -> Result<Vec<Listed>> {
    let wrong = || fs.corrupt(number, "its list of attributes is damaged");
    let bytes = match attribute.value {
        Some(value) => value.to_vec(),
        None if attribute.size() > MAX_LIST => return Err(wrong()),
        None => {
            let mut stream = super::stream::Stream::new(fs, number, attribute)?;
            stream.add(fs, number, attribute)?;
            let mut bytes = vec![0; stream.size as usize];
            fs.read_stream(number, &stream, 0, &mut bytes)?;
            bytes
        }
    };
    let mut list = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let fields = Fields(rest);
        let length = usize::from(fields.le16(4));
        let entry = rest.get(..length).filter(|entry| entry.len() >= MIN_ENTRY).ok_or_else(wrong)?;
        let name_length = usize::from(entry.get(6).copied().unwrap_or(0)) * 2;
        let start = usize::from(entry.get(7).copied().unwrap_or(0));
        let name =
            if name_length == 0 { &[] } else { entry.get(start..start + name_length).ok_or_else(wrong)? };
        list.push(Listed {
            kind: fields.le32(0),
            name: name.to_vec(),
            reference: fields.le64(16),
            instance: fields.le16(24),
        });
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(list)
}

/// From steps since 1601.
fn time(steps: u64) -> Time {
    let steps = steps.cast_signed();
    let (seconds, rest) = (steps.div_euclid(STEPS), steps.rem_euclid(STEPS));
    Time { seconds: seconds - EPOCH, nanoseconds: rest as u32 * 100 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_begin_in_1601() {
        assert_eq!(time(116_444_736_000_000_000), Time::default());
        assert_eq!(time(0), Time { seconds: -EPOCH, nanoseconds: 0 });
        assert_eq!(time(116_444_735_999_999_999), Time { seconds: -1, nanoseconds: 999_999_900 });
    }
}
