//! Names: short ones of eight and three letters, and long ones in the entries before them.

/// The kind of the entries that long names are in.
pub(super) const LONG: u8 = 0x0f;
/// Flags of an entry that say that its short name is shown in lower case: before the dot, and behind it.
const LOWER: [u8; 2] = [0x08, 0x10];
/// Letters of a long name in an entry, and where they are.
const LETTERS: usize = 13;
const PLACES: [usize; LETTERS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const MAX_SLOTS: u8 = 20;
/// The mark of the first entry of a long name, which has its end.
const FIRST: u8 = 0x40;

/// What a byte from 0x80 on stands for in code page 437.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A long name as far as it was seen.
pub(super) struct Long {
    units: Vec<u16>,
    /// Entries that are still to come.
    left: u8,
    /// The checksum of the short name that it belongs to.
    sum: u8,
}

impl Long {
    /// With one entry more: the name that it goes on with, or a new one, or none where the entry makes no sense.
    pub(super) fn with(long: Option<Long>, entry: &[u8]) -> Option<Long> {
        let (&id, &sum) = (entry.first()?, entry.get(13)?);
        let slot = id & !FIRST;
        let mut long = match long {
            Some(long) if long.left > 0 && long.left == slot && long.sum == sum => long,
            _ if id & FIRST != 0 && (1..=MAX_SLOTS).contains(&slot) => {
                Long { units: vec![0; usize::from(slot) * LETTERS], left: slot, sum }
            }
            _ => return None,
        };
        long.left -= 1;
        let start = usize::from(long.left) * LETTERS;
        for (unit, place) in long.units.get_mut(start..)?.iter_mut().zip(PLACES) {
            *unit = super::Fields(entry).le16(place);
        }
        Some(long)
    }

    /// The name, if it is whole and belongs to this short one.
    pub(super) fn of(self, short: &[u8]) -> Option<Vec<u8>> {
        let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        (self.left == 0 && self.sum == sum).then(|| utf8(&self.units))
    }
}

/// As UTF-8, up to a zero. Halves of letters are left out, as Linux does.
pub(in crate::fs) fn utf8(units: &[u16]) -> Vec<u8> {
    let units = units.iter().copied().take_while(|unit| *unit != 0);
    char::decode_utf16(units).filter_map(Result::ok).collect::<String>().into_bytes()
}

fn letter(byte: u8, is_lower: bool) -> char {
    let found = match byte {
        ..0x80 => char::from(byte),
        _ => CODE_PAGE.chars().nth(usize::from(byte - 0x80)).unwrap_or('?'),
    };
    let mut lower = found.to_lowercase();
    match (is_lower, lower.next(), lower.next()) {
        // Only what the code page has as well.
        (true, Some(lower), None) if lower.is_ascii() || CODE_PAGE.contains(lower) => lower,
        _ => found,
    }
}

/// The short name of an entry, as it is shown: with a dot, and in lower case where flags say so.
pub(super) fn short(entry: &[u8]) -> Vec<u8> {
    let flags = entry.get(12).copied().unwrap_or_default();
    let part = |range: std::ops::Range<usize>, flag: u8| {
        let bytes = entry.get(range.clone()).unwrap_or_default();
        let bytes = bytes.iter().copied().take_while(|byte| *byte != 0);
        let letters = bytes.enumerate().map(|(index, byte)| {
            // 0xe5 marks what was removed; a name that begins with it has 0x05 there.
            let byte = if range.start + index == 0 && byte == 0x05 { 0xe5 } else { byte };
            letter(byte, flags & flag != 0)
        });
        letters.collect::<String>().trim_end_matches(' ').to_owned()
    };
    let (base, extension) = (part(0..8, LOWER[0]), part(8..11, LOWER[1]));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }.into_bytes()
}

/// True if two names are the same to Linux: it tells apart neither case, as far as ASCII goes, nor dots at the end.
pub(super) fn same(wanted: &[u8], name: &[u8]) -> bool {
    without_dots(wanted).eq_ignore_ascii_case(name)
}

/// Without dots at the end.
pub(in crate::fs) fn without_dots(name: &[u8]) -> &[u8] {
    let length = name.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    name.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_shown_as_linux_shows_them() {
        let shown = |name: &[u8; 11], flags: u8| {
            let mut entry = [0; 32];
            entry[..11].copy_from_slice(name);
            entry[12] = flags;
            String::from_utf8(short(&entry)).unwrap_or_default()
        };
        assert_eq!(CODE_PAGE.chars().count(), 128);
        assert_eq!(shown(b"README  TXT", 0), "README.TXT");
        assert_eq!(shown(b"README  TXT", 0x18), "readme.txt");
        assert_eq!(shown(b"README  TXT", 0x10), "README.txt");
        assert_eq!(shown(b"KERNEL     ", 0x08), "kernel");
        assert_eq!(shown(b"\x05BC     A B", 0), "σBC.A B");
        assert_eq!(shown(b"\x80T\x99     \x90  ", 0x18), "çtö.é");
    }
}
