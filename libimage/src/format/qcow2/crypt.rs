//! Encrypted images: what guest data is encrypted with, and where the keys are.
//!
//! Only guest data is encrypted, never metadata. With LUKS the header and its key slots lie in clusters of
//! their own, which a header extension points at, and a sector is encrypted under its number in the file
//! that holds it. The older method has no header: the passphrase itself is the key of AES-128-CBC, and a
//! sector is encrypted under its number on the disk. (qcow2 specification, "Full disk encryption header
//! pointer"; header field `crypt_method`.)

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::header::{CryptMethod, Header};
use super::image::Qcow2;
use super::meta::Meta;
use super::units::{Geometry, HostOffset};
use crate::block::{Block, Preallocation, Zero};
use crate::crypto::align::{self, Edges, STEP};
use crate::crypto::{CipherAlg, CipherMode, IvGen, SECTOR, Secret, SectorCipher};
use crate::error::{Error, Result};
use crate::filter::Slice;
use crate::format::luks::{self, Amend, MasterKey, NewHeader};

/// How a new image is encrypted.
#[derive(Debug, Clone)]
pub enum Encryption {
    /// The old method; for those who must make images for very old programs.
    Aes {
        /// The key; what is longer than 16 bytes does not count.
        password: Secret,
    },
    /// LUKS version 1.
    Luks {
        /// Ciphers, and what a passphrase costs.
        options: luks::CreateOptions,
        /// Opens the first key slot.
        password: Secret,
    },
}

/// What is to be said about the encryption of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncryptionInfo {
    /// The old method.
    Aes,
    /// LUKS version 1.
    Luks(luks::Info),
}

impl EncryptionInfo {
    /// The name that options have for the method.
    pub fn format(&self) -> &'static str {
        match self {
            EncryptionInfo::Aes => "aes",
            EncryptionInfo::Luks(_) => "luks",
        }
    }
}

/// The encryption of an open image.
pub(super) struct Crypt {
    luks: Option<LuksPart>,
    cipher: OnceLock<SectorCipher>,
    pub(super) edges: Edges,
}

struct LuksPart {
    area: Slice,
    header: Mutex<luks::Header>,
    key: OnceLock<MasterKey>,
}

impl LuksPart {
    fn lock(&self) -> MutexGuard<'_, luks::Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crypt {
    /// What `header` says about encryption; nothing is unlocked yet.
    pub(super) fn load(file: &Arc<dyn Block>, header: &Header) -> Result<Option<Self>> {
        let pointer = header.extensions.encryption_header();
        let luks = match header.crypt {
            CryptMethod::None | CryptMethod::Aes if pointer.is_some() => {
                let what = "CRYPTO header extension only expected with LUKS encryption method";
                return Err(Error::Invalid(what.to_owned()));
            }
            CryptMethod::None => return Ok(None),
            CryptMethod::Aes => None,
            CryptMethod::Luks => {
                let (offset, length) = pointer
                    .ok_or_else(|| Error::Invalid("Missing CRYPTO header for crypt method 2".to_owned()))??;
                check_pointer(header.geometry, offset)?;
                // The last cluster of the file need not be whole.
                let length = length.min(file.size().saturating_sub(offset));
                let area = Slice::new(Arc::clone(file), offset, length)?;
                let header = luks::Header::read(&area, false)?;
                Some(LuksPart { area, header: Mutex::new(header), key: OnceLock::new() })
            }
        };
        Ok(Some(Crypt { luks, cipher: OnceLock::new(), edges: Edges::default() }))
    }

    fn unlock(&self, password: &[u8]) -> Result<()> {
        let cipher = match &self.luks {
            None => aes_cipher(password)?,
            Some(luks) => {
                let header = luks.lock();
                let key = header.unlock(&luks.area, password)?;
                let cipher = header.payload_cipher(&key)?;
                let _ = luks.key.set(key);
                cipher
            }
        };
        let _ = self.cipher.set(cipher);
        Ok(())
    }

    fn cipher(&self, image: &Qcow2) -> Result<&SectorCipher> {
        self.cipher.get().ok_or_else(|| {
            let what = "it is encrypted and was opened without its key, so its data cannot be used";
            Error::unsupported(image.name(), what)
        })
    }

    /// The number that a sector is encrypted under.
    fn sector(&self, host: u64, guest: u64) -> u64 {
        let place = if self.luks.is_some() { host } else { guest };
        place / SECTOR as u64
    }

    /// Reads bytes of `file` at `host`, which the guest sees at `guest`, with `fetch`.
    pub(super) fn read(
        &self,
        image: &Qcow2,
        buf: &mut [u8],
        host: HostOffset,
        guest: u64,
        fetch: impl Fn(&mut [u8], u64) -> Result<()>,
    ) -> Result<()> {
        let cipher = self.cipher(image)?;
        // Both positions are at the same place within a sector: clusters are whole sectors.
        let to_guest = guest.wrapping_sub(host.0);
        align::read(buf, host.0, SECTOR, |buf, at| {
            for (part, at) in buf.chunks_mut(STEP).zip((at..).step_by(STEP)) {
                fetch(part, at)?;
                cipher.decrypt(self.sector(at, at.wrapping_add(to_guest)), part);
            }
            Ok(())
        })
    }

    /// Encrypts whole sectors and hands them to `store`.
    pub(super) fn write(
        &self,
        image: &Qcow2,
        buf: &[u8],
        host: HostOffset,
        guest: u64,
        store: impl Fn(&[u8], u64) -> Result<()>,
    ) -> Result<()> {
        let cipher = self.cipher(image)?;
        let mut encrypted = Vec::with_capacity(buf.len().min(STEP));
        for (part, done) in buf.chunks(STEP).zip((0u64..).step_by(STEP)) {
            encrypted.clear();
            encrypted.extend_from_slice(part);
            cipher.encrypt(self.sector(host.0 + done, guest.wrapping_add(done)), &mut encrypted);
            store(&encrypted, host.0 + done)?;
        }
        Ok(())
    }
}

/// The old method's cipher: the passphrase is the key, cut or filled up with zeroes.
fn aes_cipher(password: &[u8]) -> Result<SectorCipher> {
    let mut key = Secret::from(vec![0; CipherAlg::Aes128.key_bytes()]);
    key.iter_mut().zip(password).for_each(|(key, byte)| *key = *byte);
    SectorCipher::new(CipherAlg::Aes128, CipherMode::Cbc, IvGen::Plain64, None, &key)
}

fn check_pointer(geometry: Geometry, offset: u64) -> Result<()> {
    if offset == 0 || !geometry.is_aligned(offset) {
        let size = geometry.cluster_size();
        return Err(Error::Invalid(format!(
            "Encryption header offset '{offset}' is not a multiple of cluster size '{size}'"
        )));
    }
    Ok(())
}

impl Qcow2 {
    /// True if guest data cannot be used before [`Qcow2::unlock`].
    pub fn needs_key(&self) -> bool {
        self.crypt.as_ref().is_some_and(|crypt| crypt.cipher.get().is_none())
    }

    /// How the image is encrypted, if it is.
    pub fn encryption(&self) -> Option<EncryptionInfo> {
        let crypt = self.crypt.as_ref()?;
        Some(match &crypt.luks {
            None => EncryptionInfo::Aes,
            Some(luks) => EncryptionInfo::Luks(luks.lock().info()),
        })
    }

    /// Makes guest data usable.
    ///
    /// # Errors
    /// When the password opens no key slot. (The old method cannot tell: a wrong one shows noise.)
    pub fn unlock(&self, password: &[u8]) -> Result<()> {
        self.crypt.as_ref().map_or(Ok(()), |crypt| crypt.unlock(password))
    }

    /// Changes key slots.
    ///
    /// # Errors
    /// With QEMU's words when the image has none; else as [`luks::Header::amend`].
    pub fn amend_keys(&self, change: &Amend) -> Result<()> {
        let (_gate, _meta) = self.exclusive()?;
        let Some(crypt) = &self.crypt else {
            return Err(Error::Invalid("Can't amend encryption options - encryption not present".to_owned()));
        };
        let Some(luks) = &crypt.luks else {
            return Err(Error::Invalid("Only LUKS encryption options can be amended".to_owned()));
        };
        crypt.cipher(self)?;
        match luks.key.get() {
            Some(key) => luks.lock().amend(&luks.area, key, change),
            None => Ok(()),
        }
    }

    /// Writes guest data of any length: parts of sectors together with the rest of them.
    pub(super) fn write_range(&self, buf: &[u8], offset: u64) -> Result<()> {
        let Some(crypt) = &self.crypt else { return self.write_pieces(buf, offset) };
        let _right = crypt.edges.enter(offset, buf.len());
        let read = |buf: &mut [u8], at: u64| self.read_view(super::read::View::Active, buf, at);
        align::write(buf, offset, read, |buf, at| self.write_pieces(buf, at))
    }

    /// Makes any bytes read as zeroes: parts of sectors by writing.
    pub(super) fn zero_bytes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let Some(crypt) = &self.crypt else { return self.zero_range(range, how) };
        let sector = SECTOR as u64;
        let start = range.start.saturating_add(sector - 1).div_euclid(sector).saturating_mul(sector);
        let start = start.min(range.end);
        let end = (range.end - range.end % sector).max(start);
        for part in [range.start..start, end..range.end] {
            if !part.is_empty() && !self.reads_as_zero(part.start, part.end - part.start)? {
                self.write_range(&vec![0; (part.end - part.start) as usize], part.start)?;
            }
        }
        let _right = crypt.edges.enter(start, 0);
        if start < end { self.zero_range(start..end, how) } else { Ok(()) }
    }

    /// True if clusters that nobody wrote may be in use: preallocated and encrypted, they do not read as zeroes.
    pub(super) fn shows_noise(&self) -> bool {
        self.crypt.is_some() && !self.meta_read().is_ok_and(|meta| meta.l1.iter().all(|&entry| entry == 0))
    }

    /// Encrypts an image that holds nothing yet. Call on one that nobody else uses.
    pub(super) fn encrypt_new(&mut self, encryption: &Encryption) -> Result<()> {
        let file = Arc::clone(&self.file);
        let password = {
            let mut meta = self.meta_write()?;
            let password = match encryption {
                Encryption::Aes { password } => {
                    meta.header.crypt = CryptMethod::Aes;
                    password
                }
                Encryption::Luks { options, password } => {
                    meta.store_luks(&file, options, password)?;
                    password
                }
            };
            meta.write_header()?;
            password.clone()
        };
        let crypt = Crypt::load(&file, &self.meta_read()?.header)?;
        self.crypt = crypt;
        // Opened anew, not kept: what was written is known to be readable.
        self.unlock(&password)
    }
}

impl Meta {
    /// Writes a new LUKS header to clusters of its own, and notes in the image's header (which is not
    /// written yet) where it lies.
    fn store_luks(
        &mut self,
        file: &Arc<dyn Block>,
        options: &luks::CreateOptions,
        password: &[u8],
    ) -> Result<()> {
        let g = self.geometry;
        let new = NewHeader::generate(options)?;
        let length = new.bytes();
        let run = self.allocate_table(g.clusters_for(length))?;
        let bytes = g.host_bytes(run);
        let prepared = match file.limits().growable {
            true => file.resize(bytes.end.max(file.size()), Preallocation::Off),
            false => Ok(()),
        };
        prepared?;
        file.write_zeroes(bytes.clone(), Zero::KeepAllocated)?;
        let area = Slice::new(Arc::clone(file), bytes.start, length)?;
        new.write(&area, password)?;
        self.commit()?;
        self.header.crypt = CryptMethod::Luks;
        self.header.extensions.set_encryption_header(bytes.start, length);
        Ok(())
    }
}
