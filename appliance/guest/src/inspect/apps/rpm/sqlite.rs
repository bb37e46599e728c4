//! `rpmdb.sqlite`: the table `Packages` of an SQLite database, with what its write-ahead log adds.
//!
//! Only a walk through one table is needed: B-tree pages, records, and the pages that long records go on in. Each
//! page is visited at most once, so the walk ends however the pages point at each other.

use std::collections::{HashMap, HashSet};

use super::{Broken, be32};

const FILE: &[u8] = b"SQLite format 3\0";
/// The header of the file is at the beginning of the first page.
const FILE_HEADER: usize = 100;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// The page size and the two checksum orders of a log.
const LOG: [u32; 2] = [0x377f_0682, 0x377f_0683];
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

struct Database<'a> {
    file: &'a [u8],
    /// Newer pages, from the log.
    newer: HashMap<u32, &'a [u8]>,
    page: usize,
    /// How much of a page is used.
    usable: usize,
}

/// A record, put together.
struct Row {
    payload: Vec<u8>,
}

/// The blobs of the table.
pub(super) fn records(file: &[u8], log: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    let database = Database::open(file, log)?;
    let schema = database.rows(1)?;
    // Type, name, table's name, first page, statement.
    let is_it = |row: &&Row| row.column(0) == Some(b"table") && row.column(1) == Some(b"Packages");
    let table = schema.iter().find(is_it).ok_or("it has no table 'Packages'")?;
    let root = table.column(3).and_then(number).ok_or("its table 'Packages' has no page")?;
    let rows = database.rows(root)?;
    Ok(rows.iter().filter_map(|row| row.column(1)).map(<[u8]>::to_vec).collect())
}

impl<'a> Database<'a> {
    fn open(file: &'a [u8], log: &'a [u8]) -> Result<Self, Broken> {
        if !file.starts_with(FILE) {
            return Err("it does not begin as one of SQLite does");
        }
        let (Some(&[high, low]), Some(&reserved)) = (file.get(16..18), file.get(20)) else {
            return Err("it is too short");
        };
        let page = match usize::from(u16::from_be_bytes([high, low])) {
            1 => 65536,
            page if page.is_power_of_two() && page >= 512 => page,
            _ => return Err("the size of its pages makes no sense"),
        };
        let usable = page - usize::from(reserved);
        if usable < 480 {
            return Err("its pages have no room");
        }
        Ok(Database { file, newer: newer_pages(log, page), page, usable })
    }

    fn page(&self, number: u32) -> Option<&'a [u8]> {
        if let Some(page) = self.newer.get(&number) {
            return Some(page);
        }
        let start = usize::try_from(number.checked_sub(1)?).ok()?.checked_mul(self.page)?;
        self.file.get(start..start.checked_add(self.page)?)
    }

    /// All that a table holds, from the page of its root.
    fn rows(&self, root: u32) -> Result<Vec<Row>, Broken> {
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        // Together, records cannot be longer than all pages that there are.
        let mut left = self.file.len().saturating_add(self.newer.len().saturating_mul(self.page));
        let mut ahead = vec![root];
        while let Some(number) = ahead.pop() {
            if !seen.insert(number) {
                return Err("its pages lead in circles");
            }
            let page = self.page(number).ok_or("it refers to a page that it does not have")?;
            let header = if number == 1 { FILE_HEADER } else { 0 };
            let kind = page.get(header).copied();
            let count = half(page, header + 3).ok_or("a page is too short")?;
            let (cells, rightmost) = match kind {
                Some(LEAF) => (header + 8, None),
                Some(INTERIOR) => (header + 12, be32(page, header + 8)),
                _ => return Err("a page of it is none of a table"),
            };
            ahead.extend(rightmost);
            // The last is taken first.
            for index in (0..count).rev() {
                let cell = half(page, cells + index * 2).ok_or("a page has more cells than room")?;
                if kind == Some(INTERIOR) {
                    ahead.push(be32(page, cell).ok_or("a page refers beyond its end")?);
                    continue;
                }
                // A record that is damaged does not hide the others.
                let Some(payload) = self.payload(page, cell, left, &mut seen) else { continue };
                left = left.saturating_sub(payload.len());
                rows.push(Row { payload });
            }
        }
        Ok(rows)
    }

    /// The record of a cell in a leaf, which may be no longer than `most`, and share no page with what was seen.
    fn payload(&self, page: &[u8], cell: usize, most: usize, seen: &mut HashSet<u32>) -> Option<Vec<u8>> {
        let (length, rest) = varint(page.get(cell..self.usable)?)?;
        let (_row, rest) = varint(rest)?;
        let length = usize::try_from(length).ok().filter(|&length| length <= most)?;
        // The specification's section 1.6 says how much of a long record is in the leaf.
        let limit = self.usable - 35;
        if length <= limit {
            return rest.get(..length).map(<[u8]>::to_vec);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let here = least + (length - least) % (self.usable - 4);
        let here = if here <= limit { here } else { least };
        let mut payload = Vec::new();
        payload.extend_from_slice(rest.get(..here)?);
        let mut next = be32(rest, here)?;
        while payload.len() < length {
            let page = self.page(next).filter(|_| seen.insert(next))?;
            let take = (self.usable - 4).min(length - payload.len());
            payload.extend_from_slice(page.get(4..4 + take)?);
            next = be32(page, 0)?;
        }
        Some(payload)
    }
}

impl Row {
    /// The bytes of a text, a blob or a number.
    fn column(&self, index: usize) -> Option<&[u8]> {
        let (header, mut types) = varint(&self.payload)?;
        let before = self.payload.len() - types.len();
        let header = usize::try_from(header).ok()?;
        types = self.payload.get(before..header)?;
        let mut at = header;
        for column in 0..=index {
            let (kind, rest) = varint(types)?;
            types = rest;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                12.. => (kind - 12) / 2,
                _ => return None,
            };
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            if column == index {
                return self.payload.get(at..end);
            }
            at = end;
        }
        None
    }
}

/// A number of up to four bytes.
fn number(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() || bytes.len() > 4 {
        return None;
    }
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A number of one to nine bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let half = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(half)))
}

/// The pages of a write-ahead log that were committed. What a crash or a copy cut off does not count.
fn newer_pages(log: &[u8], page: usize) -> HashMap<u32, &[u8]> {
    let mut committed = HashMap::new();
    let Some(header) = log.get(..LOG_HEADER) else { return committed };
    let big = match be32(header, 0) {
        Some(magic) if magic == LOG[0] => false,
        Some(magic) if magic == LOG[1] => true,
        _ => return committed,
    };
    let mut sum = checksum(&header[..24], (0, 0), big);
    if be32(header, 8).and_then(|size| usize::try_from(size).ok()) != Some(page) || !ends_with(header, sum) {
        return committed;
    }
    let mut pending = HashMap::new();
    for frame in log[LOG_HEADER..].chunks_exact(FRAME_HEADER + page) {
        let (head, contents) = frame.split_at(FRAME_HEADER);
        sum = checksum(contents, checksum(&head[..8], sum, big), big);
        // An older log goes on behind the end of the newer one that overwrote it.
        if head[8..16] != header[16..24] || !ends_with(head, sum) {
            break;
        }
        let (Some(number), Some(size)) = (be32(head, 0), be32(head, 4)) else { break };
        pending.insert(number, contents);
        if size > 0 {
            committed.extend(pending.drain());
        }
    }
    committed
}

fn ends_with(header: &[u8], sum: (u32, u32)) -> bool {
    header.ends_with(&[sum.0.to_be_bytes(), sum.1.to_be_bytes()].concat())
}

/// The running checksum of the log, over pairs of words.
fn checksum(bytes: &[u8], mut sum: (u32, u32), big: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap_or_default();
        if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        sum.0 = sum.0.wrapping_add(word(&pair[..4])).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(&pair[4..])).wrapping_add(sum.0);
    }
    sum
}
