//! Bytes from a peer, taken apart: nothing is taken that is not there.

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Parser<'a>(&'a [u8]);

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Parser(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What follows a length of one byte.
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// What follows a length of two bytes.
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Numbers of two bytes, to the end.
    pub(super) fn numbers(self) -> impl Iterator<Item = u16> {
        self.0.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
    }
}

/// Appends a length of two bytes and what `fill` appends, which must be less than 64 KiB.
pub(super) fn long(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    fill(out);
    let length = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// A handshake message: a type, a length of three bytes, and what `fill` appends, which must be less than 16 MiB.
pub(super) fn message(kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    fill(&mut out);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(1..4) {
        place.copy_from_slice(length.get(1..).unwrap_or_default());
    }
    out
}
