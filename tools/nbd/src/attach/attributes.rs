//! The attributes of a netlink message: a type, a length and a value each, filled up to four bytes.

/// The value is a list of attributes.
const NESTED: u16 = 1 << 15;
/// The type without what is said about its value.
const TYPE: u16 = 0x3fff;
/// Bytes of the type and the length.
const HEAD: usize = 4;

/// Attributes in the making.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds bytes.
    #[must_use]
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Nothing here is longer than a name; what is cut is refused by the kernel.
        let value = value.get(..usize::from(u16::MAX) - HEAD).unwrap_or(value);
        let length = (HEAD + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number of 32 bits.
    #[must_use]
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a number of 64 bits.
    #[must_use]
    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a text.
    #[must_use]
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds a list of attributes.
    #[must_use]
    pub(super) fn list(self, kind: u16, value: Attributes) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }

    /// The whole, as it stands in a message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads attributes one after the other; ends at the first that is not whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The value of the first attribute of that type.
    pub(super) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// A number of 32 bits.
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// A text.
    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.find(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    /// A list of attributes; empty if it is not there.
    pub(super) fn list(self, kind: u16) -> Reader<'a> {
        Reader(self.find(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..HEAD)?.try_into().ok()?) & TYPE;
        let value = self.0.get(HEAD..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_found_and_what_is_cut_ends_it() {
        let inner = Attributes::default().u32(1, 7).u32(1, 8);
        let all = Attributes::default().text(2, "disk").list(3, inner).u64(4, 1 << 40);
        let reader = Reader(all.as_bytes());
        assert_eq!((reader.text(2), reader.find(9)), (Some("disk"), None));
        assert_eq!(reader.list(3).map(|(_, value)| value[0]).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(reader.find(4).unwrap(), (1u64 << 40).to_ne_bytes());
        for length in 0..all.as_bytes().len() {
            let cut = Reader(&all.as_bytes()[..length]);
            assert!(cut.count() < 3);
        }
        // A length of less than its own head.
        assert_eq!(Reader(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }
}
