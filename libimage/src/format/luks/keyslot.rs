//! Key slots: how a passphrase opens one, how one is filled and how it is erased.
//!
//! Key material reaches the file before the header says that it is there, and the header says that it is
//! gone before it is overwritten.

use std::time::Duration;

use super::WRONG_PASSWORD;
use super::header::{Header, SLOTS, STRIPES, Slot};
use crate::block::Block;
use crate::crypto::{SECTOR, Secret, random, split};
use crate::error::{Error, Result};

/// Fewer iterations protect nothing.
pub(super) const MIN_ITERATIONS: u32 = 1000;
/// How often key material is overwritten.
const ERASURES: usize = 40;

/// The key that the payload is encrypted with.
#[derive(Clone)]
pub struct MasterKey(Secret);

impl MasterKey {
    /// A new key of `length` bytes.
    pub(super) fn random(length: usize) -> Result<Self> {
        let mut key = Secret::from(vec![0; length]);
        random(&mut key)?;
        Ok(MasterKey(key))
    }

    /// A key from a slot.
    pub(super) fn new(key: Secret) -> Self {
        MasterKey(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Header {
    /// Finds the slot that `password` opens, and the master key in it. `area` is where the header lies.
    ///
    /// # Errors
    /// When it opens none, or the key material cannot be read.
    pub fn unlock(&self, area: &dyn Block, password: &[u8]) -> Result<MasterKey> {
        for index in self.active_slots() {
            if let Some(key) = self.open_slot(area, index, password)? {
                return Ok(key);
            }
        }
        Err(Error::Invalid(WRONG_PASSWORD.to_owned()))
    }

    /// The master key, if slot `index` is in use and `password` opens it.
    pub(super) fn open_slot(
        &self,
        area: &dyn Block,
        index: usize,
        password: &[u8],
    ) -> Result<Option<MasterKey>> {
        let Some(slot) = self.slots.get(index).filter(|slot| slot.active) else { return Ok(None) };
        let slot_key = self.hash.pbkdf2(password, &slot.salt, slot.iterations, self.key_bytes())?;
        let mut material = Secret::from(vec![0; self.material_bytes()]);
        let at = material_offset(slot);
        let there = area.size().saturating_sub(at).min(material.len() as u64) as usize;
        if let Some(part) = material.get_mut(..there).filter(|part| !part.is_empty()) {
            area.read_at(part, at).map_err(|e| e.context("Could not read encryption header"))?;
        }
        self.cipher(&slot_key)?.decrypt(0, &mut material);
        let key = MasterKey::new(split::merge(self.hash, &material, self.key_bytes()));
        Ok((*self.digest_of(&key)? == self.digest).then_some(key))
    }

    /// What tells the right master key from a wrong one.
    pub(super) fn digest_of(&self, key: &MasterKey) -> Result<Secret> {
        self.hash.pbkdf2(key.bytes(), &self.digest_salt, self.digest_iterations, self.digest.len())
    }

    /// Puts `key` into slot `index`, under a passphrase that costs `time` to try.
    ///
    /// # Errors
    /// When there are no random bytes to be had, or the header cannot be written.
    pub(super) fn fill_slot(
        &mut self,
        area: &dyn Block,
        index: usize,
        key: &MasterKey,
        password: &[u8],
        time: Duration,
    ) -> Result<()> {
        let iterations = self.hash.iterations_for(self.key_bytes(), time)?.max(MIN_ITERATIONS);
        let mut salt = [0; 32];
        random(&mut salt)?;
        let slot_key = self.hash.pbkdf2(password, &salt, iterations, self.key_bytes())?;
        let mut material = split::split(self.hash, key.bytes(), STRIPES as usize)?;
        self.cipher(&slot_key)?.encrypt(0, &mut material);
        let slot = self.slot_mut(index)?;
        write(area, &material, material_offset(slot))?;
        area.flush()?;
        *slot = Slot { active: true, iterations, salt, key_offset: slot.key_offset };
        self.store(area)
    }

    /// Destroys what slot `index` holds.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub(super) fn erase_slot(&mut self, area: &dyn Block, index: usize) -> Result<()> {
        let slot = self.slot_mut(index)?;
        *slot = Slot { active: false, iterations: 0, salt: [0; 32], key_offset: slot.key_offset };
        let at = material_offset(slot);
        // Whether or not the header could be written, the key must go.
        let stored = self.store(area);
        let mut noise = vec![0; self.material_bytes()];
        for round in 0..ERASURES {
            random(&mut noise)?;
            write(area, &noise, at)?;
            if round == 0 {
                area.flush()?;
            }
        }
        area.flush()?;
        stored
    }

    /// Writes the header itself, durably.
    pub(super) fn store(&self, area: &dyn Block) -> Result<()> {
        write(area, &self.encode(), 0)?;
        area.flush()
    }

    fn slot_mut(&mut self, index: usize) -> Result<&mut Slot> {
        self.slots.get_mut(index).ok_or_else(|| {
            let last = SLOTS - 1;
            Error::Invalid(format!("Invalid keyslot {index} specified, must be between 0 and {last}"))
        })
    }
}

/// Where the key material of a slot begins, in bytes.
pub(super) fn material_offset(slot: &Slot) -> u64 {
    u64::from(slot.key_offset) * SECTOR as u64
}

fn write(area: &dyn Block, bytes: &[u8], offset: u64) -> Result<()> {
    area.write_at(bytes, offset).map_err(|e| e.context("Could not write encryption header"))
}
