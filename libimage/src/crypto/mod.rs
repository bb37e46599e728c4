//! Encryption of sectors, and the passphrases that protect its keys.
//!
//! Everything here works on bytes in memory and knows nothing of images: what is encrypted where is the
//! affair of the formats ([`luks`](crate::format::luks), [`qcow2`](crate::format::qcow2)). Keys and
//! passphrases are overwritten when they are dropped.
//!
//! Where to read on: [`SectorCipher`] is what formats use; [`cipher`] has the block ciphers, [`hash`] the
//! digests and PBKDF2, [`split`] LUKS's anti-forensic splitting.

pub(crate) mod align;
mod base64;
pub mod cipher;
pub mod hash;
mod modes;
mod sector;
pub mod split;
mod xts;

pub(crate) use base64::base64;
pub use cipher::{CipherAlg, CipherMode};
pub use hash::HashAlg;
pub use sector::{IvGen, MAX_SECTOR, SECTOR, SectorCipher};

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes that nobody else should see: overwritten when dropped, and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Decrypts a whole message of blocks that are chained to each other, the first one to `iv`.
///
/// # Errors
/// When the key does not fit the cipher.
pub(crate) fn decrypt_cbc(alg: CipherAlg, key: &[u8], iv: &[u8; 16], data: &mut [u8]) -> Result<()> {
    let cipher = alg.wide(key)?;
    if !data.is_empty() {
        let whole = data.len();
        modes::cbc_decrypt(&*cipher, data, whole, |_| *iv);
    }
    Ok(())
}

/// Fills `buf` with bytes from the system's generator.
///
/// # Errors
/// When the system has none to give.
pub fn random(buf: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buf.len() {
        let rest = buf.get_mut(filled..).unwrap_or_default();
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("get random bytes from", "the system", errno.into())),
        }
    }
    Ok(())
}
