//! Whom a certificate is for: its subject as one line of text, in the form in which QEMU compares it (RFC 4514, but with the
//! parts in the order of the certificate).
//!
//! A certificate gets here after it has been verified; what makes no sense all the same has no name.

use std::fmt::Write as _;

/// The tags of DER that a name is made of.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(super) const UTF8_STRING: u8 = 0x0c;
    pub(super) const PRINTABLE_STRING: u8 = 0x13;
    pub(super) const IA5_STRING: u8 = 0x16;
    pub(super) const BMP_STRING: u8 = 0x1e;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const VERSION: u8 = 0xa0;
}

/// The short names of attributes (RFC 4514, section 3, and one that is common all the same).
const ATTRIBUTES: [(&[u8], &str); 10] = [
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x09", "street"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "EMAIL"),
];

/// The subject of a certificate in DER's form; nothing if it has none that can be read.
pub(super) fn of_subject(certificate: &[u8]) -> Option<String> {
    let mut certificate = Values(certificate).next_of(tag::SEQUENCE)?;
    let mut fields = certificate.next_of(tag::SEQUENCE)?;
    if fields.peek() == Some(tag::VERSION) {
        fields.next()?;
    }
    fields.next_of(tag::INTEGER)?;
    // The algorithm of the signature, who signed it, and from when to when.
    for _ in 0..3 {
        fields.next_of(tag::SEQUENCE)?;
    }
    let mut subject = fields.next_of(tag::SEQUENCE)?;
    let mut name = String::new();
    while subject.peek().is_some() {
        let mut set = subject.next_of(tag::SET)?;
        let mut separator = if name.is_empty() { "" } else { "," };
        while set.peek().is_some() {
            let mut pair = set.next_of(tag::SEQUENCE)?;
            let kind = pair.next_of(tag::OBJECT_IDENTIFIER)?.0;
            let whole = pair.0;
            let (tag, value) = pair.next()?;
            name += separator;
            attribute(kind, tag, value, whole, &mut name)?;
            separator = "+";
        }
    }
    Some(name)
}

fn attribute(kind: &[u8], tag: u8, value: &[u8], whole: &[u8], out: &mut String) -> Option<()> {
    let known = ATTRIBUTES.iter().find(|(id, _)| *id == kind);
    match known {
        Some((_, name)) => *out += name,
        None => *out += &dotted(kind)?,
    }
    out.push('=');
    match text(tag, value).filter(|_| known.is_some()) {
        Some(text) => escape(&text, out),
        None => {
            out.push('#');
            for byte in whole {
                // Writing to a string does not fail.
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
    Some(())
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING => String::from_utf8(value.to_vec()).ok(),
        tag::BMP_STRING => {
            let units = value.chunks(2).map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
        }
        _ => None,
    }
}

/// As RFC 4514, section 2.4, has it.
fn escape(text: &str, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (index, char) in text.chars().enumerate() {
        let outside = index == 0 && matches!(char, ' ' | '#') || index == last && char == ' ';
        if outside || matches!(char, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
}

/// An object identifier in digits (X.690, section 8.19).
fn dotted(id: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in id {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let (first, rest) = numbers.split_first()?;
    let root = (first / 40).min(2);
    let mut out = format!("{root}.{}", first - 40 * root);
    for number in rest {
        let _ = write!(out, ".{number}");
    }
    Some(out)
}

/// Values of DER, one after the other.
struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// The tag of the next value.
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// What is in the next value, which has to have this tag.
    fn next_of(&mut self, wanted: u8) -> Option<Values<'a>> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| Values(value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let value = parts.concat();
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [vec![tag, 0x82, length[0], length[1]], value].concat()
    }

    fn part(id: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let pair = [der(tag::OBJECT_IDENTIFIER, &[id.to_vec()]), der(tag, &[value.to_vec()])];
        der(tag::SEQUENCE, &pair)
    }

    fn certificate(subject: &[Vec<u8>]) -> Vec<u8> {
        let empty = || der(tag::SEQUENCE, &[]);
        let number = |tag| der(tag, &[vec![2]]);
        let subject = der(tag::SEQUENCE, subject);
        let fields =
            [number(tag::VERSION), number(tag::INTEGER), empty(), empty(), empty(), subject, empty()];
        der(tag::SEQUENCE, &[der(tag::SEQUENCE, &fields), empty()])
    }

    #[test]
    fn subjects() {
        let one = |parts: &[Vec<u8>]| der(tag::SET, parts);
        let name = |subject: &[Vec<u8>]| of_subject(&certificate(subject));
        let cn = |value: &[u8]| part(b"\x55\x04\x03", tag::UTF8_STRING, value);
        assert_eq!(name(&[]), Some(String::new()));
        assert_eq!(
            name(&[one(&[part(b"\x55\x04\x06", tag::PRINTABLE_STRING, b"GB")]), one(&[cn(b"a, b+c")])]),
            Some(r"C=GB,CN=a\, b\+c".to_owned())
        );
        assert_eq!(name(&[one(&[cn(b" #x "), cn(b"#")])]), Some(r"CN=\ #x\ +CN=\#".to_owned()));
        let wide = part(b"\x55\x04\x0a", tag::BMP_STRING, b"\0O\x20\xac");
        assert_eq!(name(&[one(&[wide])]), Some("O=O€".to_owned()));
        let unknown = part(b"\x2a\x03\x81\x00", tag::UTF8_STRING, b"x");
        assert_eq!(name(&[one(&[unknown])]), Some("1.2.3.128=#0c82000178".to_owned()));
    }

    proptest! {
        #[test]
        fn anything_has_a_name_or_none(bytes: Vec<u8>, at in 0usize..60, byte: u8) {
            let _ = of_subject(&bytes);
            let _ = dotted(&bytes);
            let set = der(tag::SET, &[part(b"\x55\x04\x03", tag::UTF8_STRING, &bytes)]);
            let mut damaged = certificate(&[set]);
            if let Some(place) = damaged.get_mut(at) {
                *place = byte;
            }
            let _ = of_subject(&damaged);
            damaged.truncate(at);
            prop_assert_eq!(of_subject(&damaged), None);
        }
    }
}
