//! A member of a tar archive as a device: where its bytes lie is found by walking over the headers.
//!
//! Headers are those of old tar, of POSIX (ustar, pax) and of GNU tar. Nothing is unpacked, so the member can be
//! written if the archive can; its size stays.

use std::sync::Arc;

use super::slice::Slice;
use crate::block::Block;
use crate::error::{Error, Result};
use crate::job::zero::is_zero;

/// Bytes of a header, of which data are multiples.
const BLOCK: u64 = 512;
/// Bytes of a long name, or of all extended fields of a member, at most.
const MAX_EXTENDED: u64 = 1 << 20;

/// A header, as far as it matters here.
struct Header {
    name: Vec<u8>,
    kind: u8,
    size: u64,
    /// More headers follow that say where the holes are.
    extended: bool,
}

/// What the headers before a member say of it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// A number: octal, or binary where that has too few digits.
fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, rest)) => {
            let (high, low) = rest.split_at(rest.len().saturating_sub(8));
            is_zero(high).then(|| low.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
        }
        Some((first, _)) if first & 0x80 != 0 => None,
        _ => {
            let text = field.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii();
            let text = std::str::from_utf8(text).ok()?;
            if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
        }
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

impl Header {
    /// Understands a block; `None` if it is no header.
    fn parse(block: &[u8; BLOCK as usize]) -> Option<Header> {
        let sum = number(block.get(148..156)?)?;
        let (before, after) = (block.get(..148)?, block.get(156..)?);
        let plain = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
        let signed = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte.cast_signed())).sum::<i64>();
        let blanks = 8 * i64::from(b' ');
        let sum = i64::try_from(sum).ok()?;
        if plain(before) + plain(after) + blanks != sum && signed(before) + signed(after) + blanks != sum {
            return None;
        }
        let mut name = text(block.get(..100)?).to_vec();
        let magic = block.get(257..265)?;
        let prefix = text(block.get(345..500)?);
        if magic == b"ustar\x0000" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let extended = magic == b"ustar  \0" && block.get(482).is_some_and(|&more| more != 0);
        Some(Header { name, kind: *block.get(156)?, size: number(block.get(124..136)?)?, extended })
    }
}

/// Adds what the records `LENGTH KEY=VALUE\n` of a pax header say. `None` if they make no sense.
fn add_records(mut records: &[u8], to: &mut Extended) -> Option<()> {
    while !records.is_empty() && !is_zero(records) {
        let blank = records.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(records.get(..blank)?).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
        records = records.get(length..)?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
        match key {
            b"path" if !to.sparse => to.name = Some(value.to_vec()),
            b"size" => to.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            b"GNU.sparse.name" => (to.name, to.sparse) = (Some(value.to_vec()), true),
            key if key.starts_with(b"GNU.sparse.") => to.sparse = true,
            _ => {}
        }
    }
    Some(())
}

/// An archive that is walked over.
struct Archive<'a> {
    block: &'a dyn Block,
    size: u64,
}

impl Archive<'_> {
    fn corrupt(&self, at: u64, what: &str) -> Error {
        Error::corrupt_at(self.block.name(), at, what)
    }

    fn read(&self, at: u64) -> Result<[u8; BLOCK as usize]> {
        let mut bytes = [0; BLOCK as usize];
        if at.checked_add(BLOCK).is_none_or(|end| end > self.size) {
            return Err(self.corrupt(at, "the tar archive ends within a member"));
        }
        self.block.read_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// The data behind a header that belong to the next one.
    fn extended(&self, at: u64, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENDED || at.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(self.corrupt(at, "the name or the fields of a member are too long"));
        }
        let mut bytes = vec![0; size as usize];
        self.block.read_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Where the bytes of a member lie, and how many there are.
    fn find(&self, wanted: &[u8], limit: Option<u64>) -> Result<Option<(u64, u64)>> {
        let mut at = 0_u64;
        let mut extended = Extended::default();
        while at < self.size {
            if limit.is_some_and(|limit| at >= limit) {
                return Ok(None);
            }
            let block = self.read(at)?;
            if is_zero(&block) {
                return Ok(None);
            }
            let Some(header) = Header::parse(&block) else {
                let what = if at == 0 { "it is no tar archive" } else { "no header is where one should be" };
                return Err(self.corrupt(at, what));
            };
            let start = at + BLOCK;
            let too_long = || self.corrupt(at, "a member is longer than any archive");
            let behind = |size: u64| {
                let padded = size.checked_next_multiple_of(BLOCK)?;
                start.checked_add(padded)
            };
            match header.kind {
                b'L' => {
                    let name = self.extended(start, header.size)?;
                    extended.name = Some(text(&name).to_vec());
                    at = behind(header.size).ok_or_else(too_long)?;
                    continue;
                }
                b'x' | b'X' => {
                    let records = self.extended(start, header.size)?;
                    add_records(&records, &mut extended)
                        .ok_or_else(|| self.corrupt(start, "the fields of a member make no sense"))?;
                    at = behind(header.size).ok_or_else(too_long)?;
                    continue;
                }
                b'K' | b'g' => {
                    at = behind(header.size).ok_or_else(too_long)?;
                    continue;
                }
                _ => {}
            }
            let Extended { name, size, sparse } = std::mem::take(&mut extended);
            let name = name.unwrap_or(header.name);
            // A second name of a file has no data, whatever it says.
            let size = if header.kind == b'1' { 0 } else { size.unwrap_or(header.size) };
            if name == wanted {
                let shown = format!("{}:{}", self.block.name(), String::from_utf8_lossy(wanted));
                return match header.kind {
                    b'S' => Err(Error::unsupported(
                        shown,
                        "a sparse member cannot be a device: pack it without -S",
                    )),
                    b'0' | b'7' | 0 if sparse => Err(Error::unsupported(
                        shown,
                        "a sparse member cannot be a device: pack it without -S",
                    )),
                    b'0' | b'7' | 0 if !name.ends_with(b"/") => Ok(Some((start, size))),
                    _ => Err(Error::unsupported(shown, "only a regular file can be a device")),
                };
            }
            // The map of a sparse file goes on in blocks between its header and its data.
            let mut maps = 0_u64;
            let mut more = header.kind == b'S' && header.extended;
            while more {
                let map = self.read(start + maps)?;
                maps += BLOCK;
                more = map.get(504).is_some_and(|&more| more != 0);
            }
            at = behind(size).and_then(|end| end.checked_add(maps)).ok_or_else(too_long)?;
        }
        Ok(None)
    }
}

/// Shows the member `entry`, whose name is exactly that, of the archive `below`. Only members that begin within
/// `limit` bytes are found.
///
/// # Errors
/// When there is none, it is no regular file, or the archive is damaged before it.
pub fn tar(below: Arc<dyn Block>, entry: &str, limit: Option<u64>) -> Result<Slice> {
    let archive = Archive { block: &*below, size: below.size() };
    let Some((start, size)) = archive.find(entry.as_bytes(), limit)? else {
        return Err(Error::NotFound(format!(
            "There is no member '{entry}' in the archive '{}'",
            below.name()
        )));
    };
    Slice::new(below, start, size)
}

#[cfg(test)]
#[path = "tar_test.rs"]
mod tests;
