//! What makes a cipher a disk's: every sector is encrypted on its own, under its number.
//!
//! The same bytes thus look different in each place, and any sector can be read or written alone.

use super::cipher::{Blocks, CipherAlg, CipherMode};
use super::hash::HashAlg;
use super::{modes, xts::Xts};
use crate::error::{Error, Result};

/// Bytes of a sector of LUKS1 and qcow2; offsets and lengths are multiples of it.
pub const SECTOR: usize = 512;
/// The largest sectors of LUKS2, in bytes.
pub const MAX_SECTOR: usize = 4096;

/// How a sector's number becomes an initialisation vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IvGen {
    /// Its lower 32 bits.
    Plain,
    /// All 64 bits.
    Plain64,
    /// Encrypted with a digest of the key.
    Essiv,
}

impl IvGen {
    /// All of them, in QEMU's order.
    pub const ALL: [IvGen; 3] = [IvGen::Plain, IvGen::Plain64, IvGen::Essiv];

    /// The name on command lines and in LUKS headers.
    pub fn name(self) -> &'static str {
        match self {
            IvGen::Plain => "plain",
            IvGen::Plain64 => "plain64",
            IvGen::Essiv => "essiv",
        }
    }

    /// The generator called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ivgen| ivgen.name() == name)
    }
}

enum Engine {
    Xts(Xts),
    Wide(CipherMode, Box<dyn Blocks<16>>),
    Narrow(CipherMode, Box<dyn Blocks<8>>),
}

enum Numbers {
    Short,
    Long,
    Essiv(Box<dyn Blocks<16>>),
}

/// Encrypts and decrypts sectors; usable from any number of threads.
pub struct SectorCipher {
    engine: Engine,
    numbers: Numbers,
    sector: usize,
}

impl SectorCipher {
    /// A cipher for sectors of [`SECTOR`] bytes. `ivgen_hash` is what ESSIV digests the key with.
    ///
    /// # Errors
    /// With QEMU's words when the parts do not fit together, or the key is not as long as they need.
    pub fn new(
        alg: CipherAlg,
        mode: CipherMode,
        ivgen: IvGen,
        ivgen_hash: Option<HashAlg>,
        key: &[u8],
    ) -> Result<Self> {
        Self::with_sector(alg, mode, ivgen, ivgen_hash, key, SECTOR)
    }

    /// The same for sectors of `sector` bytes, which are still numbered as if they had [`SECTOR`].
    ///
    /// # Errors
    /// The same, and for sectors that are not a power of two from [`SECTOR`] to [`MAX_SECTOR`].
    pub fn with_sector(
        alg: CipherAlg,
        mode: CipherMode,
        ivgen: IvGen,
        ivgen_hash: Option<HashAlg>,
        key: &[u8],
        sector: usize,
    ) -> Result<Self> {
        if !sector.is_power_of_two() || !(SECTOR..=MAX_SECTOR).contains(&sector) {
            return Err(Error::Invalid(format!("Sectors of {sector} bytes are not supported")));
        }
        check_mode(alg, mode)?;
        let engine = match mode {
            CipherMode::Xts => {
                let (data, tweak) = key.split_at(key.len() / 2);
                Engine::Xts(Xts::new(alg.wide(data)?, alg.wide(tweak)?))
            }
            _ if alg.block_bytes() == 8 => Engine::Narrow(mode, alg.narrow(key)?),
            _ => Engine::Wide(mode, alg.wide(key)?),
        };
        let numbers = match ivgen {
            IvGen::Plain => Numbers::Short,
            IvGen::Plain64 => Numbers::Long,
            IvGen::Essiv => {
                let hash = ivgen_hash
                    .ok_or_else(|| Error::Invalid("Missing IV generator hash specification".to_owned()))?;
                let salt = hash.digest(&[key]);
                Numbers::Essiv(alg.for_essiv(salt.len())?.wide(&salt)?)
            }
        };
        Ok(SectorCipher { engine, numbers, sector })
    }

    /// Encrypts `data`, whole sectors of which the first has the number `first`.
    pub fn encrypt(&self, first: u64, data: &mut [u8]) {
        let (size, step) = (self.sector, (self.sector / SECTOR) as u64);
        match &self.engine {
            Engine::Xts(xts) => xts.encrypt(data, size, |n| self.wide_iv(first.wrapping_add(n * step))),
            Engine::Wide(mode, cipher) => {
                let (cipher, iv) = (&**cipher, |n| self.wide_iv(first.wrapping_add(n * step)));
                match mode {
                    CipherMode::Ctr => modes::ctr(cipher, data, size, iv),
                    CipherMode::Cbc => modes::cbc_encrypt(cipher, data, size, iv),
                    CipherMode::Ecb | CipherMode::Xts => modes::ecb_encrypt(cipher, data),
                }
            }
            Engine::Narrow(mode, cipher) => {
                let (cipher, iv) = (&**cipher, |n| self.narrow_iv(first.wrapping_add(n * step)));
                match mode {
                    CipherMode::Ctr => modes::ctr(cipher, data, size, iv),
                    CipherMode::Cbc => modes::cbc_encrypt(cipher, data, size, iv),
                    CipherMode::Ecb | CipherMode::Xts => modes::ecb_encrypt(cipher, data),
                }
            }
        }
    }

    /// The reverse of [`SectorCipher::encrypt`].
    pub fn decrypt(&self, first: u64, data: &mut [u8]) {
        let (size, step) = (self.sector, (self.sector / SECTOR) as u64);
        match &self.engine {
            Engine::Xts(xts) => xts.decrypt(data, size, |n| self.wide_iv(first.wrapping_add(n * step))),
            Engine::Wide(mode, cipher) => {
                let (cipher, iv) = (&**cipher, |n| self.wide_iv(first.wrapping_add(n * step)));
                match mode {
                    CipherMode::Ctr => modes::ctr(cipher, data, size, iv),
                    CipherMode::Cbc => modes::cbc_decrypt(cipher, data, size, iv),
                    CipherMode::Ecb | CipherMode::Xts => modes::ecb_decrypt(cipher, data),
                }
            }
            Engine::Narrow(mode, cipher) => {
                let (cipher, iv) = (&**cipher, |n| self.narrow_iv(first.wrapping_add(n * step)));
                match mode {
                    CipherMode::Ctr => modes::ctr(cipher, data, size, iv),
                    CipherMode::Cbc => modes::cbc_decrypt(cipher, data, size, iv),
                    CipherMode::Ecb | CipherMode::Xts => modes::ecb_decrypt(cipher, data),
                }
            }
        }
    }

    fn narrow_iv(&self, sector: u64) -> [u8; 8] {
        match &self.numbers {
            Numbers::Short => (sector & u64::from(u32::MAX)).to_le_bytes(),
            _ => sector.to_le_bytes(),
        }
    }

    fn wide_iv(&self, sector: u64) -> [u8; 16] {
        match &self.numbers {
            Numbers::Short => u128::from(sector & u64::from(u32::MAX)).to_le_bytes(),
            Numbers::Long => u128::from(sector).to_le_bytes(),
            Numbers::Essiv(cipher) => {
                let mut block = [u128::from(sector).to_le_bytes()];
                cipher.encrypt(&mut block);
                let [block] = block;
                block
            }
        }
    }
}

/// Refuses ciphers that cannot work in a mode.
///
/// # Errors
/// With QEMU's words.
fn check_mode(alg: CipherAlg, mode: CipherMode) -> Result<()> {
    if mode == CipherMode::Xts && alg.block_bytes() != 16 {
        return Err(Error::Invalid(format!("Unsupported cipher mode {}", mode.name())));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_restores_and_depends_on_the_place() {
        for alg in CipherAlg::ALL {
            for mode in CipherMode::ALL {
                for ivgen in IvGen::ALL {
                    let key: Vec<u8> = (0..alg.key_bytes() * mode.keys()).map(|i| (i * 5) as u8).collect();
                    let made = SectorCipher::new(alg, mode, ivgen, Some(HashAlg::Sha256), &key);
                    let impossible =
                        alg == CipherAlg::Cast5 && (mode == CipherMode::Xts || ivgen == IvGen::Essiv);
                    assert_eq!(made.is_err(), impossible, "{alg:?} {mode:?} {ivgen:?}");
                    let Ok(cipher) = made else { continue };
                    let plain: Vec<u8> = (0..5 * SECTOR).map(|i| (i / 3) as u8).collect();
                    let mut data = plain.clone();
                    cipher.encrypt(9, &mut data);
                    assert!(data != plain);
                    let mut other = plain.clone();
                    cipher.encrypt(1 << 32 | 9, &mut other);
                    let same = mode == CipherMode::Ecb || ivgen == IvGen::Plain;
                    assert_eq!(data == other, same, "{alg:?} {mode:?} {ivgen:?}");
                    // In parts it is the same as in one piece.
                    cipher.decrypt(9, &mut data[..SECTOR]);
                    cipher.decrypt(10, &mut data[SECTOR..]);
                    assert!(data == plain);
                }
            }
        }
    }
}
