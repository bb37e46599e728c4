//! Text from a guest: bytes that are usually, but not surely, UTF-8.
//!
//! A file name is any sequence of bytes without NUL and slash, so nothing that comes from a guest may be
//! forced into a Rust `String`. [`GuestString`] keeps the bytes and makes the usual things easy.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A string of the guest: a file name, a line, a label.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestString(Vec<u8>);

impl GuestString {
    /// The empty string.
    pub const fn new() -> Self {
        GuestString(Vec::new())
    }

    /// The bytes as they are.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The text, if it is UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text with what is not UTF-8 replaced by U+FFFD: for people, never for use as a name again.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The bytes as the operating system's string.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AsRef<[u8]> for GuestString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<OsStr> for GuestString {
    fn as_ref(&self) -> &OsStr {
        self.as_os_str()
    }
}

impl fmt::Display for GuestString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for GuestString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<&str> for GuestString {
    fn from(text: &str) -> Self {
        GuestString(text.as_bytes().to_vec())
    }
}

impl From<String> for GuestString {
    fn from(text: String) -> Self {
        GuestString(text.into_bytes())
    }
}

impl From<Vec<u8>> for GuestString {
    fn from(bytes: Vec<u8>) -> Self {
        GuestString(bytes)
    }
}

impl From<&[u8]> for GuestString {
    fn from(bytes: &[u8]) -> Self {
        GuestString(bytes.to_vec())
    }
}

impl From<OsString> for GuestString {
    fn from(text: OsString) -> Self {
        GuestString(text.into_vec())
    }
}

impl PartialEq<str> for GuestString {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for GuestString {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl Serialize for GuestString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for GuestString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Bytes).map(GuestString)
    }
}

/// Reads bytes in one piece, where serde's own `Vec<u8>` would go byte by byte.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}
