//! New headers, and new images made of them, laid out as QEMU does it: slots from byte 4096 on, each
//! rounded up to 4 KiB, and the payload right behind the last.

use std::sync::Arc;
use std::time::Duration;

use super::header::{HEADER_SECTORS, Header, SLOTS, Slot, slot_sectors};
use super::image::Luks;
use super::keyslot::{MIN_ITERATIONS, MasterKey};
use crate::block::{Block, Preallocation};
use crate::crypto::{CipherAlg, CipherMode, HashAlg, IvGen, SECTOR, SectorCipher, random};
use crate::error::{Error, Result};

/// What is encrypted how, and how dear a passphrase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateOptions {
    /// The cipher.
    pub alg: CipherAlg,
    /// Its mode.
    pub mode: CipherMode,
    /// How sectors' numbers enter into it.
    pub ivgen: IvGen,
    /// What ESSIV digests the key with; SHA-256 if not given.
    pub ivgen_hash: Option<HashAlg>,
    /// What PBKDF2 and the splitting of keys use.
    pub hash: HashAlg,
    /// Processor time that trying a passphrase should take.
    pub iter_time: Duration,
}

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions {
            alg: CipherAlg::Aes256,
            mode: CipherMode::Xts,
            ivgen: IvGen::Plain64,
            ivgen_hash: None,
            hash: HashAlg::Sha256,
            iter_time: DEFAULT_ITER_TIME,
        }
    }
}

/// The time that QEMU and cryptsetup take by default.
pub(super) const DEFAULT_ITER_TIME: Duration = Duration::from_millis(2000);

/// Ciphers that QEMU knows by name but LUKS has no use for.
const NOT_IN_LUKS: [&str; 3] = ["des", "3des", "sm4"];

impl CreateOptions {
    /// Takes the option `name` (`cipher-alg`, `iter-time`, ...) as it stands on a command line. False if
    /// there is none of that name.
    ///
    /// # Errors
    /// With QEMU's words for a value that is none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        let bad = || Error::Invalid(format!("Parameter '{name}' does not accept value '{value}'"));
        match name {
            "cipher-alg" if NOT_IN_LUKS.contains(&value) => {
                return Err(Error::Invalid(format!("Algorithm '{value}' not supported")));
            }
            "cipher-alg" => {
                let named = CipherAlg::ALL.into_iter().find(|alg| alg.name() == value);
                self.alg = named.ok_or_else(bad)?;
            }
            "cipher-mode" => self.mode = CipherMode::by_name(value).ok_or_else(bad)?,
            "ivgen-alg" => self.ivgen = IvGen::by_name(value).ok_or_else(bad)?,
            "ivgen-hash-alg" => self.ivgen_hash = Some(HashAlg::by_name(value).ok_or_else(bad)?),
            "hash-alg" => self.hash = HashAlg::by_name(value).ok_or_else(bad)?,
            "iter-time" => self.iter_time = iter_time(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Bytes of a header of these options, key slots included: where the payload begins.
    pub fn header_bytes(&self) -> u64 {
        let key_bytes = (self.alg.key_bytes() * self.mode.keys()) as u32;
        (u64::from(HEADER_SECTORS) + SLOTS as u64 * slot_sectors(key_bytes)) * SECTOR as u64
    }
}

/// Milliseconds, as `iter-time` takes them.
pub(super) fn iter_time(value: &str) -> Result<Duration> {
    let number =
        value.parse().map_err(|_| Error::Invalid("Parameter 'iter-time' expects a number".to_owned()))?;
    Ok(Duration::from_millis(number))
}

/// A header that is not in any file yet, with the key that it is going to hold.
pub struct NewHeader {
    header: Header,
    key: MasterKey,
    iter_time: Duration,
}

impl NewHeader {
    /// Makes a header and a random key.
    ///
    /// # Errors
    /// With QEMU's words when the options do not fit together; when the system has no random bytes.
    pub fn generate(options: &CreateOptions) -> Result<Self> {
        let ivgen_hash = match options.ivgen {
            IvGen::Essiv => Some(options.ivgen_hash.unwrap_or(HashAlg::Sha256)),
            // Without use, but kept: dm-crypt does the same.
            IvGen::Plain | IvGen::Plain64 => options.ivgen_hash,
        };
        let key_bytes = options.alg.key_bytes() * options.mode.keys();
        let length = slot_sectors(key_bytes as u32);
        let payload = options.header_bytes() / SECTOR as u64;
        let sectors = |number: u64| {
            u32::try_from(number).map_err(|_| Error::Invalid("The LUKS header is too long".to_owned()))
        };
        let mut offsets = [0; SLOTS];
        for (index, offset) in (0u64..).zip(&mut offsets) {
            *offset = sectors(u64::from(HEADER_SECTORS) + index * length)?;
        }
        let key = MasterKey::random(key_bytes)?;
        let mut header = Header {
            alg: options.alg,
            mode: options.mode,
            ivgen: options.ivgen,
            ivgen_hash,
            hash: options.hash,
            payload_offset: sectors(payload)?,
            digest: [0; 20],
            digest_salt: [0; 32],
            digest_iterations: 1,
            uuid: uuid::Uuid::new_v4().to_string(),
            slots: offsets.map(|key_offset| Slot { active: false, iterations: 0, salt: [0; 32], key_offset }),
        };
        // Also finds out whether the parts fit together.
        header.cipher(key.bytes())?;
        random(&mut header.digest_salt)?;
        // An eighth: even if all slots are in use, checking them costs no more than opening one.
        let iterations = header.hash.iterations_for(header.digest.len(), options.iter_time)? / 8;
        header.digest_iterations = iterations.max(MIN_ITERATIONS);
        let digest = header.digest_of(&key)?;
        header.digest.iter_mut().zip(digest.iter()).for_each(|(slot, byte)| *slot = *byte);
        Ok(NewHeader { header, key, iter_time: options.iter_time })
    }

    /// Bytes of the header with its slots.
    pub fn bytes(&self) -> u64 {
        self.header.payload_offset()
    }
    /// Writes the header to the start of `area`, with `password` for its first slot.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, area: &dyn Block, password: &[u8]) -> Result<(Header, MasterKey)> {
        self.header.fill_slot(area, 0, &self.key, password, self.iter_time)?;
        Ok((self.header, self.key))
    }
}

impl Header {
    /// What encrypts the payload.
    ///
    /// # Errors
    /// When the key is not this header's.
    pub fn payload_cipher(&self, key: &MasterKey) -> Result<SectorCipher> {
        self.cipher(key.bytes())
    }
}

impl Luks {
    /// Makes `file` a new image with a payload of `size` bytes. What the file held is gone.
    ///
    /// # Errors
    /// With QEMU's words for options that do not go together; then nothing was written. And when the file
    /// cannot be written.
    pub fn create(
        file: Arc<dyn Block>,
        size: u64,
        preallocation: Preallocation,
        options: &CreateOptions,
        password: &[u8],
    ) -> Result<Self> {
        let new = NewHeader::generate(options)?;
        let total = new.bytes().checked_add(size).filter(|&total| total <= i64::MAX as u64);
        let total = total.ok_or_else(|| Error::Invalid("The image is too large".to_owned()))?;
        file.resize(0, Preallocation::Off)?;
        let preallocation = match preallocation {
            // There is none.
            Preallocation::Metadata => Preallocation::Off,
            other => other,
        };
        file.resize(total, preallocation)?;
        let (header, key) = new.write(&*file, password)?;
        Self::assemble(file, None, header, Some(key), false)
    }
}
