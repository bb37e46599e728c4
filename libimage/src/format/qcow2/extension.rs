//! Header extensions: the backing format, the names of feature bits, and whatever others may add.
//!
//! Extensions that this code does not know are kept byte for byte and written back in their order.
//! (qcow2 specification, "Header extensions".)

use std::fmt::Write as _;

use crate::error::{Error, Result};

const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const FEATURE_NAMES: u32 = 0x6803_f857;
const BITMAPS: u32 = 0x2385_2875;
const DATA_FILE: u32 = 0x4441_5441;
const ENCRYPTION: u32 = 0x0537_be77;

const FEATURE_ENTRY: usize = 48;

/// One extension as it lies in the header, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extension {
    id: u32,
    data: Vec<u8>,
}

/// All extensions of an image, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    list: Vec<Extension>,
}

/// Which extension begins at `at`, and the length of its data in bytes.
fn head(area: &[u8], at: usize) -> Option<(u32, usize)> {
    let [a, b, c, d, e, f, g, h] = *area.get(at..)?.first_chunk::<8>()?;
    Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize))
}

impl Extensions {
    /// Parses the extension area; `base` is its position in the file, for messages.
    pub(super) fn parse(area: &[u8], base: u64, file: &str) -> Result<Self> {
        let mut list: Vec<Extension> = Vec::new();
        let mut at = 0;
        while let Some((id, length)) = head(area, at) {
            if id == END {
                break;
            }
            let data = area.get(at + 8..).and_then(|rest| rest.get(..length));
            let Some(data) = data else {
                let what =
                    format!("header extension {id:#x} is longer ({length} bytes) than the header's cluster");
                return Err(Error::corrupt_at(file, base + at as u64, what));
            };
            if list.iter().any(|seen| seen.id == id) {
                return Err(Error::corrupt_at(
                    file,
                    base + at as u64,
                    format!("header extension {id:#x} occurs twice"),
                ));
            }
            list.push(Extension { id, data: data.to_owned() });
            at = (at + 8 + length).next_multiple_of(8);
        }
        let extensions = Extensions { list };
        if extensions.find(BACKING_FORMAT).is_some_and(|data| data.len() > 15) {
            return Err(Error::corrupt(file, "the backing format's name is longer than 15 bytes"));
        }
        Ok(extensions)
    }

    /// True if the extensions that begin `area` end inside it.
    pub(super) fn end_in(area: &[u8]) -> bool {
        let mut at: usize = 0;
        while let Some((id, length)) = head(area, at) {
            if id == END {
                return true;
            }
            at = (at + 8).saturating_add(length).next_multiple_of(8);
        }
        false
    }

    /// Header bytes, with the end marker.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for extension in &self.list {
            bytes.extend_from_slice(&extension.id.to_be_bytes());
            bytes.extend_from_slice(&(extension.data.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&extension.data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    fn find(&self, id: u32) -> Option<&[u8]> {
        self.list.iter().find(|extension| extension.id == id).map(|extension| &extension.data[..])
    }

    /// The format that the backing file was said to have.
    pub(super) fn backing_format(&self) -> Option<&str> {
        self.find(BACKING_FORMAT)
            .and_then(|data| std::str::from_utf8(data).ok())
            .filter(|name| !name.is_empty())
    }

    /// Replaces, or removes, the backing format.
    pub(super) fn set_backing_format(&mut self, format: Option<&str>) {
        self.list.retain(|extension| extension.id != BACKING_FORMAT);
        if let Some(format) = format {
            let data = format.as_bytes().to_owned();
            self.list.insert(0, Extension { id: BACKING_FORMAT, data });
        }
    }

    /// Where the LUKS header lies, and its length, if there is one; or why that cannot be told.
    pub(super) fn encryption_header(&self) -> Option<Result<(u64, u64)>> {
        let data = self.find(ENCRYPTION)?;
        let parsed = data.split_first_chunk::<8>().and_then(|(offset, length)| {
            let length: [u8; 8] = length.try_into().ok()?;
            Some((u64::from_be_bytes(*offset), u64::from_be_bytes(length)))
        });
        Some(parsed.ok_or_else(|| {
            Error::Invalid(format!("CRYPTO header extension size {}, but expected size 16", data.len()))
        }))
    }

    /// Says where the LUKS header lies, and its length.
    pub(super) fn set_encryption_header(&mut self, offset: u64, length: u64) {
        self.list.retain(|extension| extension.id != ENCRYPTION);
        // QEMU has it before the names of feature bits.
        let place = self.list.iter().position(|extension| extension.id == FEATURE_NAMES);
        let data = [offset.to_be_bytes(), length.to_be_bytes()].concat();
        self.list.insert(place.unwrap_or(self.list.len()), Extension { id: ENCRYPTION, data });
    }

    /// The name of the file that holds guest data.
    pub(super) fn data_file(&self) -> Option<&str> {
        self.find(DATA_FILE).and_then(|data| std::str::from_utf8(data).ok()).filter(|name| !name.is_empty())
    }

    /// Replaces, or removes, the name of the data file.
    pub(super) fn set_data_file(&mut self, name: Option<&str>) {
        let position = self.list.iter().position(|extension| extension.id == DATA_FILE);
        self.list.retain(|extension| extension.id != DATA_FILE);
        if let Some(name) = name {
            // QEMU has it behind the backing format.
            let after_format = usize::from(self.find(BACKING_FORMAT).is_some());
            let data = name.as_bytes().to_owned();
            self.list.insert(position.unwrap_or(after_format), Extension { id: DATA_FILE, data });
        }
    }

    /// True if the image says that it has persistent bitmaps.
    pub(super) fn has_bitmaps(&self) -> bool {
        self.find(BITMAPS).is_some()
    }

    /// Number of bitmaps, bytes and position of their directory.
    pub(super) fn bitmap_directory(&self) -> Option<(u32, u64, u64)> {
        let [a, b, c, d, _, _, _, _, rest @ ..] = self.find(BITMAPS)?.first_chunk::<24>()?;
        let (size, offset) = rest.split_first_chunk::<8>()?;
        let offset = offset.first_chunk::<8>()?;
        Some((u32::from_be_bytes([*a, *b, *c, *d]), u64::from_be_bytes(*size), u64::from_be_bytes(*offset)))
    }

    /// Replaces, or removes, the same.
    pub(super) fn set_bitmap_directory(&mut self, directory: Option<(u32, u64, u64)>) {
        let position = self.list.iter().position(|extension| extension.id == BITMAPS);
        self.list.retain(|extension| extension.id != BITMAPS);
        if let Some((count, length, offset)) = directory {
            let mut data = Vec::with_capacity(24);
            data.extend_from_slice(&count.to_be_bytes());
            data.extend_from_slice(&[0; 4]);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(&offset.to_be_bytes());
            self.list.insert(position.unwrap_or(self.list.len()), Extension { id: BITMAPS, data });
        }
    }

    /// The names of feature bits as later readers want to print them.
    pub(super) fn add_feature_names(&mut self) {
        if self.find(FEATURE_NAMES).is_some() {
            return;
        }
        const NAMES: [(u8, u8, &str); 8] = [
            (0, 0, "dirty bit"),
            (0, 1, "corrupt bit"),
            (0, 2, "external data file"),
            (0, 3, "compression type"),
            (0, 4, "extended L2 entries"),
            (1, 0, "lazy refcounts"),
            (2, 0, "bitmaps"),
            (2, 1, "raw external data"),
        ];
        let mut data = Vec::with_capacity(NAMES.len() * FEATURE_ENTRY);
        for (kind, bit, name) in NAMES {
            data.extend_from_slice(&[kind, bit]);
            data.extend_from_slice(name.as_bytes());
            data.resize(data.len().next_multiple_of(FEATURE_ENTRY), 0);
        }
        self.list.push(Extension { id: FEATURE_NAMES, data });
    }

    /// Names for the bits set in `bits` of feature set `kind` (0: incompatible), for a message. Names come
    /// from the image, so that only printable ones are passed on.
    pub(super) fn feature_names(&self, kind: u8, bits: u64) -> String {
        let table = self.find(FEATURE_NAMES).unwrap_or_default();
        let mut text = String::new();
        let mut unknown = 0;
        for bit in (0..64).filter(|bit| bits & 1 << bit != 0) {
            let separator = if text.is_empty() { "" } else { ", " };
            let name = table.chunks_exact(FEATURE_ENTRY).find_map(|entry| {
                let (head, name) = entry.split_first_chunk::<2>()?;
                let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
                let name = std::str::from_utf8(name.get(..end)?).ok()?;
                (*head == [kind, bit] && !name.is_empty() && !name.contains(char::is_control)).then_some(name)
            });
            match name {
                Some(name) => {
                    let _ = write!(text, "{separator}{name}");
                }
                None => unknown |= 1u64 << bit,
            }
        }
        if unknown != 0 {
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{separator}Unknown incompatible feature: {unknown:x}");
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_extensions_survive_and_bad_lengths_do_not() {
        let mut area = Vec::new();
        area.extend_from_slice(&0x1234_5678u32.to_be_bytes());
        area.extend_from_slice(&5u32.to_be_bytes());
        area.extend_from_slice(b"hello\0\0\0");
        area.extend_from_slice(&[0; 8]);
        let mut parsed = Extensions::parse(&area, 112, "f").unwrap();
        assert_eq!(parsed.encode(), area);
        parsed.set_backing_format(Some("raw"));
        let again = Extensions::parse(&parsed.encode(), 112, "f").unwrap();
        assert_eq!(again.backing_format(), Some("raw"));
        assert_eq!(again.find(0x1234_5678), Some(&b"hello"[..]));
        area[7] = 200;
        assert!(Extensions::parse(&area, 112, "f").is_err());
    }

    #[test]
    fn feature_bits_are_named() {
        let mut extensions = Extensions::default();
        assert_eq!(extensions.feature_names(0, 1 << 9), "Unknown incompatible feature: 200");
        extensions.add_feature_names();
        assert_eq!(extensions.feature_names(0, 0b1_1000), "compression type, extended L2 entries");
    }
}
