//! The block ciphers, by the names that QEMU has for them.
//!
//! A keyed cipher is a [`Blocks`]: it works on many blocks at a time, because that is how processors are
//! fast at it. Key lengths are checked when it is made, so that nothing fails later.

use aes::cipher::consts::{U8, U16};
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};

use crate::error::{Error, Result};

/// A cipher and the size of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CipherAlg {
    Aes128,
    Aes192,
    Aes256,
    Cast5,
    Serpent128,
    Serpent192,
    Serpent256,
    Twofish128,
    Twofish192,
    Twofish256,
}

/// A family of ciphers, as LUKS headers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Aes,
    Cast5,
    Serpent,
    Twofish,
}

impl CipherAlg {
    /// All of them, in QEMU's order.
    pub const ALL: [CipherAlg; 10] = [
        CipherAlg::Aes128,
        CipherAlg::Aes192,
        CipherAlg::Aes256,
        CipherAlg::Cast5,
        CipherAlg::Serpent128,
        CipherAlg::Serpent192,
        CipherAlg::Serpent256,
        CipherAlg::Twofish128,
        CipherAlg::Twofish192,
        CipherAlg::Twofish256,
    ];

    /// QEMU's name: `aes-256`.
    pub fn name(self) -> &'static str {
        match self {
            CipherAlg::Aes128 => "aes-128",
            CipherAlg::Aes192 => "aes-192",
            CipherAlg::Aes256 => "aes-256",
            CipherAlg::Cast5 => "cast5-128",
            CipherAlg::Serpent128 => "serpent-128",
            CipherAlg::Serpent192 => "serpent-192",
            CipherAlg::Serpent256 => "serpent-256",
            CipherAlg::Twofish128 => "twofish-128",
            CipherAlg::Twofish192 => "twofish-192",
            CipherAlg::Twofish256 => "twofish-256",
        }
    }

    fn family(self) -> Family {
        match self {
            CipherAlg::Aes128 | CipherAlg::Aes192 | CipherAlg::Aes256 => Family::Aes,
            CipherAlg::Cast5 => Family::Cast5,
            CipherAlg::Serpent128 | CipherAlg::Serpent192 | CipherAlg::Serpent256 => Family::Serpent,
            CipherAlg::Twofish128 | CipherAlg::Twofish192 | CipherAlg::Twofish256 => Family::Twofish,
        }
    }

    /// The name in a LUKS header, which leaves out the size of the key.
    pub fn luks_name(self) -> &'static str {
        match self.family() {
            Family::Aes => "aes",
            Family::Cast5 => "cast5",
            Family::Serpent => "serpent",
            Family::Twofish => "twofish",
        }
    }

    /// The cipher that a LUKS header calls `name`, with a key of `bytes`.
    pub fn by_luks_name(name: &str, bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.luks_name() == name && alg.key_bytes() == bytes)
    }

    /// Bytes of a key.
    pub fn key_bytes(self) -> usize {
        match self {
            CipherAlg::Aes128 | CipherAlg::Cast5 | CipherAlg::Serpent128 | CipherAlg::Twofish128 => 16,
            CipherAlg::Aes192 | CipherAlg::Serpent192 | CipherAlg::Twofish192 => 24,
            CipherAlg::Aes256 | CipherAlg::Serpent256 | CipherAlg::Twofish256 => 32,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        if self.family() == Family::Cast5 { 8 } else { 16 }
    }

    /// The cipher of the same family whose key is as long as a digest, which is what ESSIV encrypts sector
    /// numbers with.
    ///
    /// # Errors
    /// When there is none.
    pub fn for_essiv(self, digest_bytes: usize) -> Result<Self> {
        let family = match self.family() {
            Family::Aes => "AES",
            Family::Serpent => "Serpent",
            Family::Twofish => "Twofish",
            Family::Cast5 => {
                return Err(Error::Invalid(format!("Cipher {} not supported with essiv", self.name())));
            }
        };
        Self::by_luks_name(self.luks_name(), digest_bytes).ok_or_else(|| {
            Error::Invalid(format!("No {family} cipher with key size {digest_bytes} available"))
        })
    }

    /// This cipher with a key, for blocks of 16 bytes.
    pub(super) fn wide(self, key: &[u8]) -> Result<Box<dyn Blocks<16>>> {
        if key.len() != self.key_bytes() {
            return Err(self.wrong_key(key));
        }
        let cipher: Option<Box<dyn Blocks<16>>> = match self {
            CipherAlg::Aes128 => boxed::<aes::Aes128>(key),
            CipherAlg::Aes192 => boxed::<aes::Aes192>(key),
            CipherAlg::Aes256 => boxed::<aes::Aes256>(key),
            CipherAlg::Serpent128 | CipherAlg::Serpent192 | CipherAlg::Serpent256 => {
                boxed::<serpent::Serpent>(key)
            }
            CipherAlg::Twofish128 | CipherAlg::Twofish192 | CipherAlg::Twofish256 => {
                boxed::<twofish::Twofish>(key)
            }
            CipherAlg::Cast5 => None,
        };
        cipher.ok_or_else(|| self.wrong_key(key))
    }

    /// This cipher with a key, for blocks of 8 bytes.
    pub(super) fn narrow(self, key: &[u8]) -> Result<Box<dyn Blocks<8>>> {
        match (self, cast5::Cast5::new_from_slice(key)) {
            (CipherAlg::Cast5, Ok(cipher)) if key.len() == self.key_bytes() => Ok(Box::new(Narrow(cipher))),
            _ => Err(self.wrong_key(key)),
        }
    }

    fn wrong_key(self, key: &[u8]) -> Error {
        Error::Invalid(format!("Cipher key length {} should be {}", key.len(), self.key_bytes()))
    }
}

/// How blocks of a sector are chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CipherMode {
    Ecb,
    Cbc,
    Xts,
    Ctr,
}

impl CipherMode {
    /// All of them, in QEMU's order.
    pub const ALL: [CipherMode; 4] = [CipherMode::Ecb, CipherMode::Cbc, CipherMode::Xts, CipherMode::Ctr];

    /// The name on command lines and in LUKS headers.
    pub fn name(self) -> &'static str {
        match self {
            CipherMode::Ecb => "ecb",
            CipherMode::Cbc => "cbc",
            CipherMode::Xts => "xts",
            CipherMode::Ctr => "ctr",
        }
    }

    /// The mode called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// How many keys of the cipher this mode takes: XTS has one more for its tweaks.
    pub fn keys(self) -> usize {
        if self == CipherMode::Xts { 2 } else { 1 }
    }
}

/// A block cipher with its key.
pub(super) trait Blocks<const N: usize>: Send + Sync {
    /// Encrypts each block on its own.
    fn encrypt(&self, blocks: &mut [[u8; N]]);
    /// Decrypts each block on its own.
    fn decrypt(&self, blocks: &mut [[u8; N]]);
}

struct Wide<C>(C);

impl<C> Blocks<16> for Wide<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, blocks: &mut [[u8; 16]]) {
        self.0.encrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }

    fn decrypt(&self, blocks: &mut [[u8; 16]]) {
        self.0.decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }
}

struct Narrow<C>(C);

impl<C> Blocks<8> for Narrow<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U8> + Send + Sync,
{
    fn encrypt(&self, blocks: &mut [[u8; 8]]) {
        self.0.encrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }

    fn decrypt(&self, blocks: &mut [[u8; 8]]) {
        self.0.decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
    }
}

fn boxed<C>(key: &[u8]) -> Option<Box<dyn Blocks<16>>>
where
    C: BlockCipherEncrypt
        + BlockCipherDecrypt
        + BlockSizeUser<BlockSize = U16>
        + KeyInit
        + Send
        + Sync
        + 'static,
{
    Some(Box::new(Wide(C::new_from_slice(key).ok()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        super::super::hash::tests::hex(hex).try_into().unwrap()
    }

    #[test]
    fn published_vectors() {
        // FIPS 197, appendix C; RFC 2144, B.1; the Serpent and Twofish submissions' first known answers.
        let aes = CipherAlg::Aes256
            .wide(&bytes::<32>("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))
            .unwrap();
        let mut block = [bytes("00112233445566778899aabbccddeeff")];
        aes.encrypt(&mut block);
        assert_eq!(block[0], bytes("8ea2b7ca516745bfeafc49904b496089"));
        aes.decrypt(&mut block);
        assert_eq!(block[0], bytes("00112233445566778899aabbccddeeff"));

        let cast5 = CipherAlg::Cast5.narrow(&bytes::<16>("0123456712345678234567893456789a")).unwrap();
        let mut block = [bytes("0123456789abcdef")];
        cast5.encrypt(&mut block);
        assert_eq!(block[0], bytes("238b4fe5847e44b2"));

        let twofish = CipherAlg::Twofish128.wide(&[0; 16]).unwrap();
        let mut block = [[0; 16]];
        twofish.encrypt(&mut block);
        assert_eq!(block[0], bytes("9f589f5cf6122c32b6bfec2f2ae8c35a"));
    }

    #[test]
    fn keys_of_the_wrong_length_are_refused() {
        for alg in CipherAlg::ALL {
            for length in [0, alg.key_bytes() - 1, alg.key_bytes() + 1, 64] {
                assert!(alg.wide(&vec![0; length]).is_err() && alg.narrow(&vec![0; length]).is_err());
            }
        }
    }
}
