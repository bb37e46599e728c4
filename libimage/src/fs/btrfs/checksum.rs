//! Checksums of metadata and data: one method for the whole file system.

use std::hash::Hasher;

use blake2::Blake2b256;
use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

/// Bytes that each checksum of metadata has room in.
pub(super) const ROOM: usize = 32;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Crc32c,
    XxHash,
    Sha256,
    Blake2b,
}

impl Method {
    pub(super) fn new(number: u16) -> Option<Method> {
        Some(match number {
            0 => Method::Crc32c,
            1 => Method::XxHash,
            2 => Method::Sha256,
            3 => Method::Blake2b,
            _ => return None,
        })
    }

    /// Bytes of a checksum.
    pub(super) fn size(self) -> usize {
        match self {
            Method::Crc32c => 4,
            Method::XxHash => 8,
            Method::Sha256 | Method::Blake2b => 32,
        }
    }

    /// Whether `stored` begins with the checksum of `bytes`.
    pub(super) fn agrees(self, bytes: &[u8], stored: &[u8]) -> bool {
        match self {
            Method::Crc32c => stored.starts_with(&crc32c::crc32c(bytes).to_le_bytes()),
            Method::XxHash => {
                let mut hash = XxHash64::with_seed(0);
                hash.write(bytes);
                stored.starts_with(&hash.finish().to_le_bytes())
            }
            Method::Sha256 => stored.starts_with(&Sha256::digest(bytes)),
            Method::Blake2b => stored.starts_with(&Blake2b256::digest(bytes)),
        }
    }
}
