//! What there is to say about a LUKS header, for `info`.

use super::header::Header;
use super::keyslot::material_offset;
use crate::crypto::{CipherAlg, CipherMode, HashAlg, IvGen};

/// Everything that `info` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The cipher.
    pub alg: CipherAlg,
    /// Its mode.
    pub mode: CipherMode,
    /// How sectors' numbers enter into it.
    pub ivgen: IvGen,
    /// What ESSIV digests the key with.
    pub ivgen_hash: Option<HashAlg>,
    /// What PBKDF2 uses.
    pub hash: HashAlg,
    /// The payload lies in another file.
    pub detached_header: bool,
    /// Where the payload begins, in bytes.
    pub payload_offset: u64,
    /// Iterations of the master key's digest.
    pub master_key_iterations: u32,
    /// The volume's name for itself.
    pub uuid: String,
    /// All key slots.
    pub slots: Vec<SlotInfo>,
}

/// One key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Iterations and stripes, if it is in use.
    pub active: Option<(u32, u32)>,
    /// Where its key material begins, in bytes from the header's start.
    pub key_offset: u64,
}

impl Header {
    /// All about this header.
    pub fn info(&self) -> Info {
        Info {
            alg: self.alg,
            mode: self.mode,
            ivgen: self.ivgen,
            ivgen_hash: self.ivgen_hash.filter(|_| self.ivgen == IvGen::Essiv),
            hash: self.hash,
            detached_header: self.payload_offset == 0,
            payload_offset: self.payload_offset(),
            master_key_iterations: self.digest_iterations,
            uuid: self.uuid.clone(),
            slots: self
                .slots
                .iter()
                .map(|slot| SlotInfo {
                    active: slot.active.then_some((slot.iterations, super::header::STRIPES)),
                    key_offset: material_offset(slot),
                })
                .collect(),
        }
    }
}
