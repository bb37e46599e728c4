//! `Packages`: a hash of Berkeley DB. Its pages hold keys and values in turn; long values go on in pages of their own.
//!
//! Nothing is looked up, so the hash itself does not matter: every page is visited in the order of the file.

use std::collections::HashSet;

use super::Broken;

/// The magic number of a hash.
const HASH: u32 = 0x0006_1561;
/// Where pages say what they are.
const TYPE: usize = 25;
/// The header of a page.
const HEADER: usize = 26;

/// Types of pages.
const HASH_META: u8 = 8;
const HASH_UNSORTED: u8 = 2;
const HASH_SORTED: u8 = 13;
const OVERFLOW: u8 = 7;

/// Types of items: in the page itself, or elsewhere.
const HERE: u8 = 1;
const ELSEWHERE: u8 = 3;

struct File<'a> {
    bytes: &'a [u8],
    page: usize,
    big: bool,
}

/// The values, but for that of key 0, which is a counter.
pub(super) fn records(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    let mut file = File { bytes, page: 0, big: false };
    file.big = match (file.word(bytes, 12), bytes.get(12..16)) {
        (Some(HASH), _) => false,
        (_, Some(magic)) if magic == HASH.to_be_bytes() => true,
        _ => return Err("it is no hash of Berkeley DB"),
    };
    if bytes.get(TYPE) != Some(&HASH_META) || bytes.get(24) != Some(&0) {
        return Err("it does not begin as one does, or is encrypted");
    }
    let page = file.word(bytes, 20).filter(|page| page.is_power_of_two() && (512..=65536).contains(page));
    file.page = page.and_then(|page| page.try_into().ok()).ok_or("the size of its pages makes no sense")?;
    let (mut left, mut seen) = (bytes.len(), HashSet::new());
    let mut found = Vec::new();
    for page in bytes.chunks_exact(file.page).skip(1) {
        if !matches!(page.get(TYPE), Some(&(HASH_UNSORTED | HASH_SORTED))) {
            continue;
        }
        let count = file.half(page, 20).unwrap_or(0);
        for pair in 0..count / 2 {
            let key = file.item(page, pair * 2);
            if key.is_none_or(|key| key.starts_with(&[HERE, 0, 0, 0, 0])) {
                continue;
            }
            let Some(value) =
                file.item(page, pair * 2 + 1).and_then(|item| file.value(item, left, &mut seen))
            else {
                continue;
            };
            // No value shares its pages with another, so all are no larger than the file.
            left = left.saturating_sub(value.len());
            found.push(value);
        }
    }
    Ok(found)
}

impl<'a> File<'a> {
    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    fn half(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let half = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(usize::from(if self.big { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) }))
    }

    /// An item of a page, its type first. Items fill a page from its end on.
    fn item(&self, page: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let place = |index: usize| self.half(page, HEADER.checked_add(index.checked_mul(2)?)?);
        let end = if index == 0 { page.len() } else { place(index - 1)? };
        page.get(place(index)?..end)
    }

    /// The bytes of a value, which may be no longer than `most`, and share no page with what was seen.
    fn value(&self, item: &[u8], most: usize, seen: &mut HashSet<u32>) -> Option<Vec<u8>> {
        match *item.first()? {
            HERE => item.get(1..).filter(|value| value.len() <= most).map(<[u8]>::to_vec),
            ELSEWHERE => {
                let length = usize::try_from(self.word(item, 8)?).ok().filter(|&length| length <= most)?;
                let mut value = Vec::new();
                let mut next = self.word(item, 4)?;
                while value.len() < length {
                    let start =
                        usize::try_from(next).ok().filter(|&next| next > 0)?.checked_mul(self.page)?;
                    let page = self.bytes.get(start..start.checked_add(self.page)?)?;
                    let used = self.half(page, 22)?;
                    if page[TYPE] != OVERFLOW || !seen.insert(next) {
                        return None;
                    }
                    value.extend_from_slice(page.get(HEADER..HEADER + used)?);
                    next = self.word(page, 16)?;
                }
                (value.len() == length).then_some(value)
            }
            _ => None,
        }
    }
}
