//! Records: pieces of metadata that reach the disk whole or not at all.
//!
//! The last two bytes of each sector of a record are replaced by a number that changes with every write; what was
//! there stands in the record's head. Where the numbers are not the same, a write was cut.

use crate::fields::Fields;

/// Bytes between two of those numbers, whatever the sectors of the disk are.
const STRIDE: usize = 512;
/// The end of the attributes.
const END: u32 = 0xffff_ffff;
/// The smallest attribute, in bytes.
const MIN_ATTRIBUTE: usize = 24;

/// Puts the replaced bytes back into a record that begins with `magic`.
pub(super) fn restore(bytes: &mut [u8], magic: &[u8; 4]) -> Result<(), &'static str> {
    if !bytes.starts_with(magic) {
        return Err("there is no record of its kind");
    }
    let start = usize::from(Fields(bytes).le16(4));
    let count = usize::from(Fields(bytes).le16(6));
    if !start.is_multiple_of(2) || count != bytes.len() / STRIDE + 1 || start + count * 2 > STRIDE - 2 {
        return Err("its numbers of writes lie in an impossible place");
    }
    let numbers = bytes.get(start..start + count * 2).ok_or("its numbers of writes lie outside")?.to_vec();
    let (written, originals) = numbers.split_at(2);
    for (sector, original) in bytes.chunks_exact_mut(STRIDE).zip(originals.chunks_exact(2)) {
        let Some(end) = sector.get_mut(STRIDE - 2..) else { continue };
        if end != written {
            return Err("a write of it was cut");
        }
        end.copy_from_slice(original);
    }
    Ok(())
}

/// A record of the file table.
pub(super) struct Record {
    /// Its place in the table.
    pub(super) number: u64,
    bytes: Vec<u8>,
}

impl Record {
    /// From bytes as they are on the disk.
    pub(super) fn new(mut bytes: Vec<u8>, number: u64) -> Result<Record, &'static str> {
        restore(&mut bytes, b"FILE")?;
        Ok(Record { number, bytes })
    }

    /// How often the record was used for another file.
    pub(super) fn sequence(&self) -> u16 {
        Fields(&self.bytes).le16(16)
    }

    /// The names of its file.
    pub(super) fn links(&self) -> u16 {
        Fields(&self.bytes).le16(18)
    }

    pub(super) fn is_in_use(&self) -> bool {
        Fields(&self.bytes).le16(22) & 1 != 0
    }

    pub(super) fn is_directory(&self) -> bool {
        Fields(&self.bytes).le16(22) & 2 != 0
    }

    /// The file to which a record of further attributes belongs; 0 for the first record of a file.
    pub(super) fn base(&self) -> u64 {
        Fields(&self.bytes).le64(32)
    }

    /// Its attributes, in their order; an error comes last.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        let used = (Fields(&self.bytes).le32(24) as usize).min(self.bytes.len());
        Attributes {
            bytes: self.bytes.get(..used).unwrap_or_default(),
            at: Fields(&self.bytes).le16(20).into(),
        }
    }
}

/// Goes through the attributes of a record.
pub(super) struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| rest.len() >= 4);
        let Some(rest) = rest else {
            let over = self.at == usize::MAX;
            self.at = usize::MAX;
            return if over { None } else { Some(Err("its attributes have no end")) };
        };
        if Fields(rest).le32(0) == END {
            self.at = usize::MAX;
            return None;
        }
        let length = Fields(rest).le32(4) as usize;
        let attribute = rest.get(..length).and_then(Attribute::new);
        self.at = if attribute.is_some() { self.at + length } else { usize::MAX };
        Some(attribute.ok_or("an attribute of it is damaged"))
    }
}

/// One attribute, or a part of one that is spread over several records.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    bytes: &'a [u8],
    /// What it is: see [`kind`].
    pub(super) kind: u32,
    /// Its name, in UTF-16.
    pub(super) name: &'a [u8],
    /// Its contents, if they lie in the record.
    pub(super) value: Option<&'a [u8]>,
}

/// Types of attributes.
pub(super) mod kind {
    pub(in super::super) const STANDARD_INFORMATION: u32 = 0x10;
    pub(in super::super) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(in super::super) const FILE_NAME: u32 = 0x30;
    pub(in super::super) const VOLUME_NAME: u32 = 0x60;
    pub(in super::super) const VOLUME_INFORMATION: u32 = 0x70;
    pub(in super::super) const DATA: u32 = 0x80;
    pub(in super::super) const INDEX_ROOT: u32 = 0x90;
    pub(in super::super) const INDEX_ALLOCATION: u32 = 0xa0;
    pub(in super::super) const BITMAP: u32 = 0xb0;
    pub(in super::super) const REPARSE_POINT: u32 = 0xc0;
    pub(in super::super) const EA: u32 = 0xe0;
}

impl<'a> Attribute<'a> {
    fn new(bytes: &'a [u8]) -> Option<Attribute<'a>> {
        if bytes.len() < MIN_ATTRIBUTE || !bytes.len().is_multiple_of(8) {
            return None;
        }
        let fields = Fields(bytes);
        let name_length = usize::from(*bytes.get(9)?) * 2;
        let name = match usize::from(fields.le16(10)) {
            _ if name_length == 0 => &[],
            start => bytes.get(start..start + name_length)?,
        };
        let value = if *bytes.get(8)? == 0 {
            let start = usize::from(fields.le16(20));
            Some(bytes.get(start..start.checked_add(fields.le32(16) as usize)?)?)
        } else if bytes.len() < 64 {
            return None;
        } else {
            None
        };
        Some(Attribute { bytes, kind: fields.le32(0), name, value })
    }

    /// Whether it is compressed, encrypted or sparse.
    pub(super) fn flags(&self) -> u16 {
        Fields(self.bytes).le16(12)
    }

    /// Tells it from others of the same record.
    pub(super) fn instance(&self) -> u16 {
        Fields(self.bytes).le16(14)
    }

    /// The first of its clusters that this part maps.
    pub(super) fn first(&self) -> u64 {
        Fields(self.bytes).le64(16)
    }

    /// The last one; -1 where there are none.
    pub(super) fn last(&self) -> u64 {
        Fields(self.bytes).le64(24)
    }

    /// The packed list of its runs.
    pub(super) fn packed_runs(&self) -> &'a [u8] {
        self.bytes.get(Fields(self.bytes).le16(32).into()..).unwrap_or_default()
    }

    /// The power of two of clusters that are compressed together.
    pub(super) fn compression(&self) -> u16 {
        Fields(self.bytes).le16(34)
    }

    /// Bytes reserved, of which holes count as well.
    pub(super) fn reserved(&self) -> u64 {
        Fields(self.bytes).le64(40)
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        Fields(self.bytes).le64(48)
    }

    /// The bytes of it that were written; zeroes follow.
    pub(super) fn written(&self) -> u64 {
        Fields(self.bytes).le64(56)
    }

    /// Bytes that it takes, where it is compressed or sparse.
    pub(super) fn taken(&self) -> u64 {
        Fields(self.bytes).le64(64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..4].copy_from_slice(b"FILE");
        bytes[4] = 48;
        bytes[6] = 3;
        bytes[48..54].copy_from_slice(&[7, 0, 1, 2, 3, 4]);
        for end in [510, 1022] {
            bytes[end] = 7;
        }
        bytes
    }

    #[test]
    fn cut_writes_are_seen() {
        let mut bytes = record();
        restore(&mut bytes, b"FILE").unwrap();
        assert_eq!((&bytes[510..512], &bytes[1022..]), (&[1, 2][..], &[3, 4][..]));
        for (at, value) in [(0, b'B'), (1022, 8), (4, 49), (4, 255), (5, 255), (6, 2), (6, 200)] {
            let mut bytes = record();
            bytes[at] = value;
            assert!(restore(&mut bytes, b"FILE").is_err(), "{at}");
        }
    }

    #[test]
    fn attributes_end() {
        let mut bytes = record();
        bytes[20] = 56;
        bytes[25] = 4;
        bytes[56..60].copy_from_slice(&0x10u32.to_le_bytes());
        bytes[60] = 24;
        bytes[76] = 24;
        bytes[80..84].copy_from_slice(&END.to_le_bytes());
        let all = |bytes: &[u8]| {
            Record::new(bytes.to_vec(), 0).unwrap().attributes().map(|a| a.is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(all(&bytes), [true]);
        for (at, value, found) in [
            (60, 0, vec![false]),
            (60, 23, vec![false]),
            (63, 255, vec![false]),
            (80, 0, vec![true, false]),
            (25, 0, vec![false]),
        ] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert_eq!(all(&bytes), found, "{at}");
        }
    }
}
