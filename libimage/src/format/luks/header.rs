//! The header of LUKS version 1: which cipher, where the payload begins, and the state of eight key slots.
//!
//! A [`Header`] has passed all checks: its strings are known names, its slots lie apart from each other and
//! before the payload, and the work that they ask for is bounded. (LUKS on-disk format, section 2.1.)

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::block::Block;
use crate::crypto::{CipherAlg, CipherMode, HashAlg, IvGen, SECTOR, SectorCipher};
use crate::error::{Error, Result};

/// Key slots of a header.
pub const SLOTS: usize = 8;
pub(super) const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
/// Where key material may begin, in sectors: the header has the space before it for itself.
pub(super) const HEADER_SECTORS: u32 = 8;
/// Into how many pieces a key is split.
pub(super) const STRIPES: u32 = 4000;
/// More iterations than anybody waits for: a header that asks for them is not meant to be opened.
const MAX_ITERATIONS: u32 = 1 << 28;

const ENABLED: u32 = 0x00ac_71f3;
const DISABLED: u32 = 0x0000_dead;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawSlot {
    active: U32,
    iterations: U32,
    salt: [u8; 32],
    key_offset: U32,
    stripes: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 6],
    version: U16,
    cipher_name: [u8; 32],
    cipher_mode: [u8; 32],
    hash_spec: [u8; 32],
    payload_offset: U32,
    key_bytes: U32,
    digest: [u8; 20],
    digest_salt: [u8; 32],
    digest_iterations: U32,
    uuid: [u8; 40],
    slots: [RawSlot; SLOTS],
}

/// A place for the master key.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) active: bool,
    pub(super) iterations: u32,
    pub(super) salt: [u8; 32],
    /// Sectors from the start of the header.
    pub(super) key_offset: u32,
}

/// A checked header.
#[derive(Debug, Clone)]
pub struct Header {
    pub(super) alg: CipherAlg,
    pub(super) mode: CipherMode,
    pub(super) ivgen: IvGen,
    pub(super) ivgen_hash: Option<HashAlg>,
    pub(super) hash: HashAlg,
    /// Sectors; 0 if the payload lies in another file.
    pub(super) payload_offset: u32,
    pub(super) digest: [u8; 20],
    pub(super) digest_salt: [u8; 32],
    pub(super) digest_iterations: u32,
    pub(super) uuid: String,
    pub(super) slots: [Slot; SLOTS],
}

fn invalid<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(what.into()))
}

impl Header {
    /// Reads the header at the start of `area` and checks it. With a `detached` header the payload is somewhere
    /// else, and cannot get in the way of the slots.
    ///
    /// # Errors
    /// With QEMU's words when it is no header of LUKS version 1, is damaged, or asks for what is not known.
    pub fn read(area: &dyn Block, detached: bool) -> Result<Self> {
        let mut bytes = [0; size_of::<RawHeader>()];
        let there = area.size().min(bytes.len() as u64) as usize;
        area.read_at(bytes.get_mut(..there).unwrap_or_default(), 0)
            .map_err(|e| e.context("Could not read encryption header"))?;
        let Ok(raw) = RawHeader::read_from_bytes(&bytes) else {
            return invalid("Volume is not in LUKS format");
        };
        Self::parse(&raw, detached)
    }

    fn parse(raw: &RawHeader, detached: bool) -> Result<Self> {
        if raw.magic != MAGIC {
            return invalid("Volume is not in LUKS format");
        }
        if raw.version.get() != 1 {
            return invalid(format!("LUKS version {} is not supported", raw.version));
        }
        let cipher_name = text(&raw.cipher_name, "LUKS header cipher name is not NUL terminated")?;
        let spec = text(&raw.cipher_mode, "LUKS header cipher mode is not NUL terminated")?;
        let hash_spec = text(&raw.hash_spec, "LUKS header hash spec is not NUL terminated")?;
        let payload = raw.payload_offset.get();
        if !detached && payload < HEADER_SECTORS {
            return invalid("LUKS payload is overlapping with the header");
        }
        if raw.digest_iterations.get() == 0 {
            return invalid("LUKS key iteration count is zero");
        }
        check_slots(raw, detached)?;

        let (alg, mode, ivgen, ivgen_hash) =
            mode_of(&cipher_name, &spec, raw.key_bytes.get() as usize, || {
                by_name(HashAlg::by_name, "Hash algorithm", &hash_spec).map(drop)
            })?;
        let hash = by_name(HashAlg::by_name, "Hash algorithm", &hash_spec)?;
        bounded("The master key", raw.digest_iterations.get())?;
        let header = Header {
            alg,
            mode,
            ivgen,
            ivgen_hash,
            hash,
            payload_offset: payload,
            digest: raw.digest,
            digest_salt: raw.digest_salt,
            digest_iterations: raw.digest_iterations.get(),
            uuid: String::from_utf8_lossy(&raw.uuid).trim_end_matches('\0').to_owned(),
            slots: raw.slots.map(|slot| Slot {
                active: slot.active.get() == ENABLED,
                iterations: slot.iterations.get(),
                salt: slot.salt,
                key_offset: slot.key_offset.get(),
            }),
        };
        for (index, slot) in header.slots.iter().enumerate().filter(|(_, slot)| slot.active) {
            bounded(&format!("Keyslot {index}"), slot.iterations)?;
        }
        Ok(header)
    }

    /// The header as it lies on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let raw = RawHeader {
            magic: MAGIC,
            version: 1.into(),
            cipher_name: padded(self.alg.luks_name()),
            cipher_mode: padded(&self.mode_spec()),
            hash_spec: padded(self.hash.name()),
            payload_offset: self.payload_offset.into(),
            key_bytes: (self.key_bytes() as u32).into(),
            digest: self.digest,
            digest_salt: self.digest_salt,
            digest_iterations: self.digest_iterations.into(),
            uuid: padded(&self.uuid),
            slots: self.slots.clone().map(|slot| RawSlot {
                active: if slot.active { ENABLED } else { DISABLED }.into(),
                iterations: slot.iterations.into(),
                salt: slot.salt,
                key_offset: slot.key_offset.into(),
                stripes: STRIPES.into(),
            }),
        };
        raw.as_bytes().to_owned()
    }

    /// The mode of the cipher as the header spells it: `cbc-essiv:sha256`.
    pub(super) fn mode_spec(&self) -> String {
        let (mode, ivgen) = (self.mode.name(), self.ivgen.name());
        match self.ivgen_hash {
            Some(hash) => format!("{mode}-{ivgen}:{}", hash.name()),
            None => format!("{mode}-{ivgen}"),
        }
    }

    /// Bytes of the master key.
    pub fn key_bytes(&self) -> usize {
        self.alg.key_bytes() * self.mode.keys()
    }

    /// Where the payload begins, in bytes; 0 if it lies in another file.
    pub fn payload_offset(&self) -> u64 {
        u64::from(self.payload_offset) * SECTOR as u64
    }

    /// Bytes of one slot's key material.
    pub(super) fn material_bytes(&self) -> usize {
        self.key_bytes() * STRIPES as usize
    }

    /// What encrypts sectors under `key`, which may be the master key or a slot's.
    pub(super) fn cipher(&self, key: &[u8]) -> Result<SectorCipher> {
        SectorCipher::new(self.alg, self.mode, self.ivgen, self.ivgen_hash, key)
    }

    /// Indices of the slots that hold a key.
    pub(super) fn active_slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.active).map(|(index, _)| index)
    }
}

/// A cipher with all that belongs to it.
pub(super) type CipherSpec = (CipherAlg, CipherMode, IvGen, Option<HashAlg>);

/// What a specification such as `aes-xts-plain64` means for a key of so many bytes.
pub(super) fn spec_of(spec: &str, key_bytes: usize) -> Result<CipherSpec> {
    let Some((name, mode)) = spec.split_once('-') else {
        return invalid(format!("Unexpected cipher string format '{spec}'"));
    };
    mode_of(name, mode, key_bytes, || Ok(()))
}

/// What a cipher's name and a mode such as `cbc-essiv:sha256` mean. `between` is checked before the numbers are,
/// so that of several mistakes the same one is told as elsewhere.
fn mode_of(
    name: &str,
    spec: &str,
    key_bytes: usize,
    between: impl FnOnce() -> Result<()>,
) -> Result<CipherSpec> {
    let Some((mode, ivgen)) = spec.split_once('-') else {
        return invalid(format!("Unexpected cipher mode string format '{spec}'"));
    };
    let (ivgen, ivgen_hash) = match ivgen.split_once(':') {
        Some((ivgen, hash)) => (ivgen, Some(by_name(HashAlg::by_name, "Hash algorithm", hash)?)),
        None => (ivgen, None),
    };
    let mode = by_name(CipherMode::by_name, "Cipher mode", mode)?;
    let key_bytes = key_bytes / mode.keys();
    let Some(alg) = CipherAlg::by_luks_name(name, key_bytes) else {
        return invalid(format!("Algorithm '{name}' with key size {key_bytes} bytes not supported"));
    };
    between()?;
    let ivgen = by_name(IvGen::by_name, "IV generator", ivgen)?;
    if ivgen == IvGen::Essiv {
        let Some(hash) = ivgen_hash else { return invalid("Missing IV generator hash specification") };
        alg.for_essiv(hash.digest_bytes())?;
    }
    Ok((alg, mode, ivgen, ivgen_hash))
}

/// Sectors that a slot of a key of `key_bytes` takes: a multiple of the header's own size.
pub(super) fn slot_sectors(key_bytes: u32) -> u64 {
    (u64::from(key_bytes) * u64::from(STRIPES))
        .div_ceil(SECTOR as u64)
        .next_multiple_of(HEADER_SECTORS.into())
}

/// Slots must be apart from the header, the payload and each other.
fn check_slots(raw: &RawHeader, detached: bool) -> Result<()> {
    let length = slot_sectors(raw.key_bytes.get());
    let payload = u64::from(raw.payload_offset.get());
    for (i, slot) in raw.slots.iter().enumerate() {
        let start = u64::from(slot.key_offset.get());
        if slot.stripes.get() != STRIPES {
            return invalid(format!("Keyslot {i} is corrupted (stripes {} != {STRIPES})", slot.stripes));
        }
        if ![ENABLED, DISABLED].contains(&slot.active.get()) {
            return invalid(format!("Keyslot {i} state (active/disable) is corrupted"));
        }
        if slot.active.get() == ENABLED && slot.iterations.get() == 0 {
            return invalid(format!("Keyslot {i} iteration count is zero"));
        }
        if start < u64::from(HEADER_SECTORS) {
            return invalid(format!("Keyslot {i} is overlapping with the LUKS header"));
        }
        if !detached && start + length > payload {
            return invalid(format!("Keyslot {i} is overlapping with the encrypted payload"));
        }
        for (j, other) in raw.slots.iter().enumerate().skip(i + 1) {
            if start.abs_diff(other.key_offset.get().into()) < length {
                return invalid(format!("Keyslots {i} and {j} are overlapping in the header"));
            }
        }
    }
    Ok(())
}

fn bounded(what: &str, iterations: u32) -> Result<()> {
    if iterations > MAX_ITERATIONS {
        return invalid(format!(
            "{what} asks for {iterations} iterations of PBKDF2; more than {MAX_ITERATIONS} are refused"
        ));
    }
    Ok(())
}

fn by_name<T>(find: impl Fn(&str) -> Option<T>, kind: &str, name: &str) -> Result<T> {
    find(name).ok_or_else(|| Error::Invalid(format!("{kind} '{name}' not supported")))
}

fn text(bytes: &[u8], unterminated: &str) -> Result<String> {
    let Some(end) = bytes.iter().position(|&byte| byte == 0) else { return invalid(unterminated) };
    Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
    bytes
}
