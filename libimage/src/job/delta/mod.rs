//! The difference between two disks, as a file: what to write where to make the new one of the old one.
//!
//! A delta begins with a header and is a row of records, each with a checksum, up to an end record: one that
//! was cut short is noticed before anything is done with it. For every unit that changes it holds a hash of
//! what was there before, so that it is never applied to another disk, and so that applying it can be
//! repeated after it was interrupted.
//!
//! All numbers are little-endian.
//!
//! ```text
//! header   "DWDELTA" 1 | old size u64 | new size u64 | flags u32 | crc32 of these
//! record   kind u8 | offset u64 | length u64 | payload length u32
//!          | old hash [u8; 8] for each unit of 4096 bytes that begins in the range and in the old disk
//!          | payload | crc32 of these
//! kinds    'D' data, a zstd frame   'R' data as it is   'Z' zeroes   'E' end: offset is the number of records
//! flags    1: there are no hashes, the old disk was not known
//! ```

mod apply;
mod make;
mod view;

use std::io::Read;

use sha2::{Digest, Sha256};

pub use apply::{apply, verify};
pub use make::{Changed, make};
pub use view::Patched;

use crate::error::{Error, Result};
use crate::fields::Fields;

const MAGIC: &[u8; 8] = b"DWDELTA\x01";
/// What is compared, hashed and written together, in bytes.
pub(super) const UNIT: u64 = 4096;
/// Bytes that one record covers at most.
const MAX_RECORD: u64 = 1 << 20;
const HASH: usize = 8;
const NO_HASHES: u32 = 1;
/// The fixed part of a record.
const HEAD: usize = 21;

/// What a delta says of the two disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the old disk.
    pub old_size: u64,
    /// Bytes of the new disk.
    pub new_size: u64,
    /// It holds hashes of what was there before.
    pub hashed: bool,
}

impl Header {
    const LENGTH: usize = 32;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.old_size.to_le_bytes());
        bytes.extend_from_slice(&self.new_size.to_le_bytes());
        bytes.extend_from_slice(&u32::from(!self.hashed).to_le_bytes());
        seal(bytes)
    }

    fn read(input: &mut impl Read, name: &str) -> Result<Self> {
        let mut bytes = [0; Self::LENGTH];
        input.read_exact(&mut bytes).map_err(|_| Error::corrupt(name, "it is too short for a delta"))?;
        let (body, checksum) = bytes.split_at(Self::LENGTH - 4);
        if !body.starts_with(MAGIC) {
            return Err(Error::corrupt(name, "it is no delta made by 'img diff'"));
        }
        let flags = Fields(body).le32(24);
        if crc32fast::hash(body) != Fields(checksum).le32(0) || flags & !NO_HASHES != 0 {
            return Err(Error::corrupt(name, "its header is damaged, or of a later version"));
        }
        Ok(Header { old_size: Fields(body).le64(8), new_size: Fields(body).le64(16), hashed: flags == 0 })
    }
}

/// What a record does to its range.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Data(Vec<u8>),
    Zero,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    offset: u64,
    length: u64,
    hashes: Vec<[u8; HASH]>,
    action: Action,
}

impl Record {
    /// Units of the range that the old disk had.
    fn old_units(header: &Header, offset: u64, length: u64) -> u64 {
        if !header.hashed {
            return 0;
        }
        header.old_size.saturating_sub(offset).min(length).div_ceil(UNIT)
    }

    fn encode(&self) -> Vec<u8> {
        let (kind, payload) = match &self.action {
            Action::Zero => (b'Z', Vec::new()),
            Action::Data(data) => match zstd::bulk::compress(data, 3) {
                Ok(packed) if packed.len() < data.len() => (b'D', packed),
                _ => (b'R', data.clone()),
            },
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend(self.hashes.iter().flatten());
        bytes.extend_from_slice(&payload);
        seal(bytes)
    }

    fn end(count: u64) -> Vec<u8> {
        let mut bytes = vec![b'E'];
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
        seal(bytes)
    }
}

/// Reads a delta from its beginning.
struct Reader<'a, R> {
    input: R,
    name: &'a str,
    header: Header,
    position: u64,
    count: u64,
    after: u64,
    ended: bool,
}

impl<'a, R: Read> Reader<'a, R> {
    fn new(mut input: R, name: &'a str) -> Result<Self> {
        let header = Header::read(&mut input, name)?;
        let position = Header::LENGTH as u64;
        Ok(Reader { input, name, header, position, count: 0, after: 0, ended: false })
    }

    /// The next record and where it begins in the file; `None` at the end record.
    fn next(&mut self) -> Result<Option<(u64, Record)>> {
        if self.ended {
            return Ok(None);
        }
        let at = self.position;
        let bad = |what: &str| Error::corrupt_at(self.name, at, what);
        let cut_short = |_| bad("it ends too early");
        let mut bytes = vec![0; HEAD];
        self.input.read_exact(&mut bytes).map_err(cut_short)?;
        let (kind, offset, length) = (bytes[0], Fields(&bytes).le64(1), Fields(&bytes).le64(9));
        let payload = Fields(&bytes).le32(17) as usize;
        // No more memory is taken than a record can need, whatever this one claims.
        let sane = match kind {
            b'E' => length == 0 && payload == 0,
            b'Z' => payload == 0 && length > 0,
            b'D' | b'R' => length > 0 && length <= MAX_RECORD && payload as u64 <= MAX_RECORD,
            _ => false,
        };
        if !sane {
            return Err(bad("it holds a record that cannot be"));
        }
        let hashes = match kind {
            b'E' => 0,
            _ if length > MAX_RECORD * 1024 => return Err(bad("it holds a record that cannot be")),
            _ => Record::old_units(&self.header, offset, length) as usize,
        };
        bytes.resize(HEAD + hashes * HASH + payload + 4, 0);
        self.input.read_exact(&mut bytes[HEAD..]).map_err(cut_short)?;
        self.position += bytes.len() as u64;
        let (body, checksum) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(body) != Fields(checksum).le32(0) {
            return Err(bad("a record is damaged"));
        }
        if kind == b'E' {
            self.ended = true;
            return if offset == self.count { Ok(None) } else { Err(bad("records are missing")) };
        }
        let end = offset.checked_add(length).filter(|end| *end <= self.header.new_size);
        if offset < self.after || !offset.is_multiple_of(UNIT) || end.is_none() {
            return Err(bad("a record lies where it cannot"));
        }
        self.after = end.unwrap_or(self.header.new_size);
        self.count += 1;
        let (list, payload) = body[HEAD..].split_at(hashes * HASH);
        let action = match kind {
            b'Z' => Action::Zero,
            b'R' => Action::Data(payload.to_vec()),
            _ => Action::Data(
                zstd::bulk::decompress(payload, length as usize).map_err(|_| bad("a record is damaged"))?,
            ),
        };
        if matches!(&action, Action::Data(data) if data.len() as u64 != length) {
            return Err(bad("a record is damaged"));
        }
        let hashes = list.as_chunks::<HASH>().0.to_vec();
        Ok(Some((at, Record { offset, length, hashes, action })))
    }
}

/// What a unit is known by.
fn hash(unit: &[u8]) -> [u8; HASH] {
    let digest = Sha256::digest(unit);
    digest.first_chunk().copied().unwrap_or_default()
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[cfg(test)]
#[path = "delta_test.rs"]
mod tests;
