//! Checksums, as the programs of coreutils print them.

use std::fmt::Write as _;

use guestd_api::{Failure, GuestString};
use rustix::io::Errno;
use sha2::Digest;

/// A checksum under way.
pub(super) enum Sum {
    Crc(Box<Cksum>),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Sum {
    /// By the name that users have for it.
    pub(super) fn by_name(name: &GuestString) -> Result<Self, Failure> {
        Ok(match name.to_str() {
            Some("crc") => Sum::Crc(Box::new(Cksum::new())),
            Some("md5") => Sum::Md5(md5::Md5::new()),
            Some("sha1") => Sum::Sha1(sha1::Sha1::new()),
            Some("sha224") => Sum::Sha224(sha2::Sha224::new()),
            Some("sha256") => Sum::Sha256(sha2::Sha256::new()),
            Some("sha384") => Sum::Sha384(sha2::Sha384::new()),
            Some("sha512") => Sum::Sha512(sha2::Sha512::new()),
            _ => {
                let why = "unknown checksum type, expecting crc|md5|sha1|sha224|sha256|sha384|sha512";
                return Err(Failure::new(format!("{name}: {why}")).with_errno(Errno::INVAL.raw_os_error()));
            }
        })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        match self {
            Sum::Crc(sum) => sum.add(bytes),
            Sum::Md5(sum) => sum.update(bytes),
            Sum::Sha1(sum) => sum.update(bytes),
            Sum::Sha224(sum) => sum.update(bytes),
            Sum::Sha256(sum) => sum.update(bytes),
            Sum::Sha384(sum) => sum.update(bytes),
            Sum::Sha512(sum) => sum.update(bytes),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Sum::Crc(sum) => sum.finish().to_string(),
            Sum::Md5(sum) => hex(&sum.finalize()),
            Sum::Sha1(sum) => hex(&sum.finalize()),
            Sum::Sha224(sum) => hex(&sum.finalize()),
            Sum::Sha256(sum) => hex(&sum.finalize()),
            Sum::Sha384(sum) => hex(&sum.finalize()),
            Sum::Sha512(sum) => hex(&sum.finalize()),
        }
    }
}

/// Bytes as checksums are written.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Text always takes more text.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The checksum of `cksum` (POSIX): a CRC of the bytes and then of their count.
pub(super) struct Cksum {
    table: [u32; 256],
    state: u32,
    length: u64,
}

impl Cksum {
    fn new() -> Self {
        const POLYNOMIAL: u32 = 0x04c1_1db7;
        let mut table = [0; 256];
        for (entry, byte) in table.iter_mut().zip(0u32..) {
            let step = |value: u32| value << 1 ^ if value >> 31 == 1 { POLYNOMIAL } else { 0 };
            *entry = (0..8).fold(byte << 24, |value, _| step(value));
        }
        Cksum { table, state: 0, length: 0 }
    }

    fn one(&mut self, byte: u8) {
        let [first, ..] = self.state.to_be_bytes();
        self.state = self.state << 8 ^ self.table[usize::from(first ^ byte)];
    }

    fn add(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.one(*byte));
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    fn finish(mut self) -> u32 {
        let mut left = self.length;
        while left > 0 {
            let [byte, ..] = left.to_le_bytes();
            self.one(byte);
            left >>= 8;
        }
        !self.state
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_programs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for size in [0usize, 1, 3, 64, 1000, 70_001] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            for (name, program) in [
                ("crc", "cksum"),
                ("md5", "md5sum"),
                ("sha1", "sha1sum"),
                ("sha224", "sha224sum"),
                ("sha256", "sha256sum"),
                ("sha384", "sha384sum"),
                ("sha512", "sha512sum"),
            ] {
                let output = std::process::Command::new(program).arg(&path).output().unwrap();
                let theirs = String::from_utf8(output.stdout).unwrap();
                let mut sum = Sum::by_name(&name.into()).unwrap();
                bytes.chunks(1000).for_each(|part| sum.add(part));
                assert_eq!(Some(sum.finish().as_str()), theirs.split(' ').next(), "{name} {size}");
            }
        }
        assert!(Sum::by_name(&"crc32".into()).is_err());
    }
}
