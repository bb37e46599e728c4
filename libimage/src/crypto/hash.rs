//! Digests, and PBKDF2: how a passphrase becomes a key at a price.
//!
//! (RFC 8018, section 5.2.) The price is the number of iterations, measured so that it costs the owner a
//! chosen time; whoever tries passphrases pays it each time.

use std::time::Duration;

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit, Mac};
use rustix::time::{ClockId, clock_gettime};
use zeroize::Zeroize;

use super::Secret;
use crate::error::{Error, Result};

/// A digest, by QEMU's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HashAlg {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Ripemd160,
    Sm3,
}

/// Runs an expression with `$digest` being the type of a digest.
macro_rules! with_digest {
    ($hash:expr, $digest:ident => $body:expr) => {
        match $hash {
            HashAlg::Md5 => {
                type $digest = md5::Md5;
                $body
            }
            HashAlg::Sha1 => {
                type $digest = sha1::Sha1;
                $body
            }
            HashAlg::Sha224 => {
                type $digest = sha2::Sha224;
                $body
            }
            HashAlg::Sha256 => {
                type $digest = sha2::Sha256;
                $body
            }
            HashAlg::Sha384 => {
                type $digest = sha2::Sha384;
                $body
            }
            HashAlg::Sha512 => {
                type $digest = sha2::Sha512;
                $body
            }
            HashAlg::Ripemd160 => {
                type $digest = ripemd::Ripemd160;
                $body
            }
            HashAlg::Sm3 => {
                type $digest = sm3::Sm3;
                $body
            }
        }
    };
}

impl HashAlg {
    /// All of them, in QEMU's order.
    pub const ALL: [HashAlg; 8] = [
        HashAlg::Md5,
        HashAlg::Sha1,
        HashAlg::Sha224,
        HashAlg::Sha256,
        HashAlg::Sha384,
        HashAlg::Sha512,
        HashAlg::Ripemd160,
        HashAlg::Sm3,
    ];

    /// The name on command lines and in LUKS headers.
    pub fn name(self) -> &'static str {
        match self {
            HashAlg::Md5 => "md5",
            HashAlg::Sha1 => "sha1",
            HashAlg::Sha224 => "sha224",
            HashAlg::Sha256 => "sha256",
            HashAlg::Sha384 => "sha384",
            HashAlg::Sha512 => "sha512",
            HashAlg::Ripemd160 => "ripemd160",
            HashAlg::Sm3 => "sm3",
        }
    }

    /// The digest called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Bytes of a digest.
    pub fn digest_bytes(self) -> usize {
        match self {
            HashAlg::Md5 => 16,
            HashAlg::Sha1 | HashAlg::Ripemd160 => 20,
            HashAlg::Sha224 => 28,
            HashAlg::Sha256 | HashAlg::Sm3 => 32,
            HashAlg::Sha384 => 48,
            HashAlg::Sha512 => 64,
        }
    }

    /// The digest of all `parts`, one behind the other.
    pub fn digest(self, parts: &[&[u8]]) -> Secret {
        with_digest!(self, D => {
            let mut digest = <D as sha2::Digest>::new();
            for part in parts {
                sha2::Digest::update(&mut digest, part);
            }
            Secret::from(sha2::Digest::finalize(digest).to_vec())
        })
    }

    /// Derives a key of `length` bytes from a passphrase. Long work on long keys is spread over the
    /// processor's cores.
    ///
    /// # Errors
    /// For zero iterations.
    pub fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32, length: usize) -> Result<Secret> {
        if iterations == 0 {
            return Err(Error::Invalid("A key cannot be derived with no iteration".to_owned()));
        }
        let mut key = Secret::from(vec![0; length]);
        let parallel = iterations > 4096 && length > self.digest_bytes();
        with_digest!(self, D => pbkdf2::<D>(password, salt, iterations, &mut key, parallel));
        Ok(key)
    }

    /// How many iterations one thread does in `time` for a key of `length` bytes.
    ///
    /// # Errors
    /// When they are too many to be written down.
    pub fn iterations_for(self, length: usize, time: Duration) -> Result<u32> {
        const ENOUGH: Duration = Duration::from_millis(20);
        let mut key = vec![0; length];
        let mut count: u32 = 1 << 12;
        let taken = loop {
            let before = thread_time();
            with_digest!(self, D => pbkdf2::<D>(b"password", b"salt", count, &mut key, false));
            let taken = thread_time().saturating_sub(before);
            if taken >= ENOUGH || count > u32::MAX / 2 {
                break taken;
            }
            count *= 2;
        };
        let iterations = f64::from(count) * time.as_secs_f64() / taken.as_secs_f64().max(1e-9);
        if iterations > f64::from(u32::MAX) {
            let text = format!("PBKDF iterations {iterations:.0} larger than {}", u32::MAX);
            return Err(Error::Invalid(text));
        }
        // Not negative, and checked to fit.
        Ok(iterations as u32)
    }
}

/// Processor time of this thread: another program's load does not make keys weaker.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn pbkdf2<D: EagerHash>(password: &[u8], salt: &[u8], iterations: u32, key: &mut [u8], parallel: bool)
where
    Hmac<D>: KeyInit + Mac + Clone + Sync,
{
    // A key of any length makes an HMAC.
    let Ok(mac) = <Hmac<D> as KeyInit>::new_from_slice(password) else { return };
    let width = <Hmac<D> as Mac>::finalize(mac.clone()).into_bytes().len();
    let parts = (1u32..).zip(key.chunks_mut(width));
    if parallel {
        std::thread::scope(|scope| {
            for (index, part) in parts {
                let mac = &mac;
                scope.spawn(move || pbkdf2_block(mac, salt, iterations, index, part));
            }
        });
    } else {
        parts.for_each(|(index, part)| pbkdf2_block(&mac, salt, iterations, index, part));
    }
}

/// The block `index` of the key: the exclusive or of a chain of HMACs.
fn pbkdf2_block<M: Mac + Clone>(mac: &M, salt: &[u8], iterations: u32, index: u32, out: &mut [u8]) {
    let mut first = mac.clone();
    first.update(salt);
    first.update(&index.to_be_bytes());
    let mut link = first.finalize().into_bytes();
    let mut sum = link.clone();
    for _ in 1..iterations {
        let mut next = mac.clone();
        next.update(&link);
        link = next.finalize().into_bytes();
        sum.iter_mut().zip(&link).for_each(|(sum, byte)| *sum ^= byte);
    }
    out.iter_mut().zip(&sum).for_each(|(out, byte)| *out = *byte);
    sum.as_mut_slice().zeroize();
    link.as_mut_slice().zeroize();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_digests_of_abc() {
        let expected = [
            "900150983cd24fb0d6963f7d28e17f72",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
            "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
        ];
        for (hash, expected) in HashAlg::ALL.into_iter().zip(expected) {
            let expected = hex(expected);
            assert_eq!(*hash.digest(&[b"a", b"", b"bc"]), expected, "{hash:?}");
            assert_eq!(hash.digest_bytes(), expected.len());
        }
    }

    #[test]
    fn published_keys() {
        // RFC 6070, and RFC 7914 section 11.
        let cases: [(HashAlg, &str, &str, u32, &str); 5] = [
            (HashAlg::Sha1, "password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
            (HashAlg::Sha1, "password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
            (
                HashAlg::Sha1,
                "passwordPASSWORDpassword",
                "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
            ),
            (
                HashAlg::Sha256,
                "passwd",
                "salt",
                1,
                "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                 49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
            ),
            (
                HashAlg::Sha256,
                "Password",
                "NaCl",
                80000,
                "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56\
                 a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
            ),
        ];
        for (hash, password, salt, iterations, expected) in cases {
            let expected = hex(expected);
            let key = hash.pbkdf2(password.as_bytes(), salt.as_bytes(), iterations, expected.len()).unwrap();
            assert_eq!(*key, expected, "{password} {iterations}");
        }
        assert!(HashAlg::Sha1.pbkdf2(b"", b"", 0, 20).is_err());
    }
}
