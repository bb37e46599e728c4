//! A request of the host's kernel, taken apart with every length checked.

use guestd_api::fuse::{IN_HEADER, InHeader};
use rustix::io::Errno;
use std::ffi::CStr;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// One request.
pub(super) struct Request<'a> {
    pub(super) header: InHeader,
    rest: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the header; the message is one whole request.
    pub(super) fn of(message: &'a [u8]) -> Option<Self> {
        let (header, rest) = InHeader::read_from_prefix(message).ok()?;
        Some(Request { header, rest })
    }

    /// What has not been taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next part.
    pub(super) fn take<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Result<T, Errno> {
        let (part, rest) = T::read_from_prefix(self.rest).map_err(|_| Errno::INVAL)?;
        self.rest = rest;
        Ok(part)
    }

    /// A name or other text up to its NUL.
    pub(super) fn text(&mut self) -> Result<&'a CStr, Errno> {
        let text = CStr::from_bytes_until_nul(self.rest).map_err(|_| Errno::INVAL)?;
        self.rest = self.rest.get(text.count_bytes() + 1..).ok_or(Errno::INVAL)?;
        Ok(text)
    }

    /// A name of a directory's: one that leads nowhere else.
    pub(super) fn name(&mut self) -> Result<&'a CStr, Errno> {
        let name = self.text()?;
        match name.to_bytes() {
            b"" | b"." | b".." => Err(Errno::INVAL),
            bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
            _ => Ok(name),
        }
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: u32) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.rest.split_at_checked(count as usize).ok_or(Errno::INVAL)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// The length that a message says it has, if its header is there. `None` for one that cannot be.
pub(super) fn length(message: &[u8]) -> Option<usize> {
    let (header, _) = InHeader::read_from_prefix(message).ok()?;
    let length = header.len as usize;
    (IN_HEADER..=guestd_api::fuse::MAX_MESSAGE).contains(&length).then_some(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use guestd_api::fuse::RenameIn;
    use zerocopy::IntoBytes;

    #[test]
    fn what_is_too_short_is_refused() {
        let mut message = InHeader { len: 40, ..InHeader::default() }.as_bytes().to_vec();
        assert!(length(&message[..39]).is_none() && length(&message) == Some(40));
        message.extend_from_slice(b"a\0../b\0..\0c");
        let mut request = Request::of(&message).unwrap();
        assert_eq!(request.name().unwrap(), c"a");
        assert!(request.name().is_err() && request.name().is_err());
        assert!(request.text().is_err() && request.bytes(2).is_err());
        assert!(request.take::<RenameIn>().is_err());
        assert_eq!(request.bytes(1).unwrap(), b"c");
    }
}
