//! LUKS version 2, for reading: two copies of a header that says in JSON what version 1 says in fixed fields.
//!
//! Of the copies whose checksum is right the newer one counts. Memory and time that a passphrase may cost are
//! bounded before they are spent. (LUKS2 on-disk format specification 1.1.1.)

use std::collections::BTreeMap;

use serde::Deserialize;
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::WRONG_PASSWORD;
use super::header::{MAGIC, spec_of};
use super::info::{Info, SlotInfo};
use super::keyslot::MasterKey;
use crate::block::Block;
use crate::crypto::{HashAlg, MAX_SECTOR, SECTOR, Secret, SectorCipher, base64, split};
use crate::error::{Error, Result};

const SECOND_MAGIC: [u8; 6] = *b"SKUL\xba\xbe";
/// Bytes of the part of the header that is not JSON.
const BINARY: usize = 4096;
/// Sizes that a header may have, which is also where its copy begins.
const SIZES: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
const CHECKSUM: std::ops::Range<usize> = 448..512;
/// The most memory that a passphrase may cost, in KiB.
const MAX_MEMORY: u32 = 4 << 20;
/// The most work that a passphrase may cost: passes over memory, times KiB.
const MAX_WORK: u64 = 1 << 28;
/// More iterations than anybody waits for.
const MAX_ITERATIONS: u32 = 1 << 28;
const MAX_LANES: u32 = 64;
/// The longest key, in bytes, and the largest number of its stripes.
const MAX_KEY: u32 = 128;
const MAX_STRIPES: u32 = 4000;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 6],
    version: U16,
    size: U64,
    sequence: U64,
    label: [u8; 48],
    checksum_alg: [u8; 32],
    salt: [u8; 64],
    uuid: [u8; 40],
    subsystem: [u8; 48],
    offset: U64,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    keyslots: BTreeMap<String, Keyslot>,
    segments: BTreeMap<String, Segment>,
    digests: BTreeMap<String, Digest>,
    #[serde(default)]
    config: Config,
}

#[derive(Debug, Deserialize)]
struct Keyslot {
    #[serde(rename = "type")]
    kind: String,
    key_size: Option<u32>,
    af: Option<Splitting>,
    area: Option<Area>,
    kdf: Option<Derivation>,
}

#[derive(Debug, Deserialize)]
struct Splitting {
    stripes: Option<u32>,
    hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Area {
    offset: String,
    encryption: Option<String>,
    key_size: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Derivation {
    #[serde(rename = "type")]
    kind: String,
    salt: String,
    hash: Option<String>,
    iterations: Option<u32>,
    time: Option<u32>,
    memory: Option<u32>,
    cpus: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Segment {
    #[serde(rename = "type")]
    kind: String,
    offset: String,
    size: String,
    #[serde(default)]
    iv_tweak: String,
    #[serde(default)]
    encryption: String,
    #[serde(default)]
    sector_size: u32,
    integrity: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Digest {
    #[serde(default)]
    keyslots: Vec<String>,
    #[serde(default)]
    segments: Vec<String>,
    hash: String,
    salt: String,
    digest: String,
    iterations: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    requirements: Requirements,
}

#[derive(Debug, Default, Deserialize)]
struct Requirements {
    #[serde(default)]
    mandatory: Vec<String>,
}

/// A header of version 2.
pub(super) struct Header2 {
    uuid: String,
    metadata: Metadata,
    payload: Payload,
}

/// Where the data lies, and how it is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    /// Bytes from the start of the file.
    pub(super) offset: u64,
    /// Bytes; nothing if it reaches to the end.
    pub(super) size: Option<u64>,
    /// What is added to the number of a sector.
    pub(super) tweak: u64,
    /// Bytes of a sector.
    pub(super) sector: usize,
    encryption: String,
    segment: String,
}

fn refuse<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(what.into()))
}

fn number(text: &str, what: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::Invalid(format!("LUKS2 header: '{text}' is no {what}")))
}

fn hash(name: &str) -> Result<HashAlg> {
    HashAlg::by_name(name).ok_or_else(|| Error::Invalid(format!("Hash algorithm '{name}' not supported")))
}

impl Header2 {
    /// The header in `area`, if it is of version 2; `None` if it is another version, or none.
    pub(super) fn read(area: &dyn Block) -> Result<Option<Self>> {
        let mut copies = Vec::new();
        let first = binary(area, 0)?;
        let is_second_version = first.is_some_and(|raw| raw.magic == MAGIC && raw.version.get() == 2);
        if first.is_some_and(|raw| raw.magic == MAGIC && raw.version.get() == 1) {
            return Ok(None);
        }
        copies.extend(first.filter(|_| is_second_version).and_then(|raw| copy(area, &raw, 0).transpose()));
        for at in SIZES {
            let Some(raw) = binary(area, at)? else { break };
            let fits = raw.magic == SECOND_MAGIC && raw.version.get() == 2 && raw.size.get() == at;
            if fits && let Some(found) = copy(area, &raw, at).transpose() {
                copies.push(found);
                break;
            }
        }
        let best = copies.into_iter().collect::<Result<Vec<_>>>()?.into_iter().max_by_key(|copy| copy.0);
        match best {
            Some((_, uuid, metadata)) => Self::checked(uuid, metadata).map(Some),
            None if is_second_version => refuse("Neither copy of the LUKS2 header has the right checksum"),
            None => Ok(None),
        }
    }

    fn checked(uuid: String, metadata: Metadata) -> Result<Self> {
        if let Some(requirement) = metadata.config.requirements.mandatory.first() {
            return refuse(format!("The volume needs '{requirement}', which is not supported"));
        }
        let mut crypt = metadata.segments.iter().filter(|(_, segment)| segment.kind == "crypt");
        let (Some((name, segment)), None, 1) = (crypt.next(), crypt.next(), metadata.segments.len()) else {
            return refuse("Only LUKS2 volumes with one encrypted segment are supported");
        };
        if segment.integrity.is_some() {
            return refuse("LUKS2 volumes with integrity protection are not supported");
        }
        let payload = Payload {
            offset: number(&segment.offset, "offset")?,
            size: match segment.size.as_str() {
                "dynamic" => None,
                size => Some(number(size, "size")?),
            },
            tweak: if segment.iv_tweak.is_empty() { 0 } else { number(&segment.iv_tweak, "number")? },
            sector: segment.sector_size as usize,
            encryption: segment.encryption.clone(),
            segment: name.clone(),
        };
        if !payload.offset.is_multiple_of(SECTOR as u64) {
            return refuse("LUKS2 header: the segment does not begin at a sector");
        }
        if !payload.sector.is_power_of_two() || !(SECTOR..=MAX_SECTOR).contains(&payload.sector) {
            return refuse(format!("Sectors of {} bytes are not supported", payload.sector));
        }
        Ok(Header2 { uuid, metadata, payload })
    }

    pub(super) fn payload(&self) -> &Payload {
        &self.payload
    }

    /// What encrypts the payload.
    pub(super) fn payload_cipher(&self, key: &MasterKey) -> Result<SectorCipher> {
        cipher(&self.payload.encryption, key.bytes(), self.payload.sector)
    }

    /// The digest that tells the payload's key.
    fn digest(&self) -> Result<&Digest> {
        let found = self.metadata.digests.values().find(|d| d.segments.contains(&self.payload.segment));
        found.ok_or_else(|| Error::Invalid("LUKS2 header: no digest belongs to the segment".to_owned()))
    }

    /// Finds the slot that `password` opens, and the key in it.
    pub(super) fn unlock(&self, area: &dyn Block, password: &[u8]) -> Result<MasterKey> {
        let digest = self.digest()?;
        let expected = base64(digest.digest.as_bytes())?;
        let salt = base64(digest.salt.as_bytes())?;
        bounded(digest.iterations)?;
        // What cannot be tried is told if nothing else opens.
        let mut trouble = None;
        for name in &digest.keyslots {
            let Some(slot) = self.metadata.keyslots.get(name) else { continue };
            match slot.open(area, password) {
                Ok(key) => {
                    let length = expected.len().max(1);
                    let found = hash(&digest.hash)?.pbkdf2(key.bytes(), &salt, digest.iterations, length)?;
                    if *found == *expected {
                        return Ok(key);
                    }
                }
                Err(error) => trouble = Some(error.context(format!("Keyslot {name} cannot be tried"))),
            }
        }
        Err(trouble.unwrap_or_else(|| Error::Invalid(WRONG_PASSWORD.to_owned())))
    }

    pub(super) fn info(&self) -> Result<Info> {
        let digest = self.digest()?;
        let key_bytes = self.metadata.keyslots.values().find_map(|slot| slot.key_size).unwrap_or(0);
        let (alg, mode, ivgen, ivgen_hash) = spec_of(&self.payload.encryption, key_bytes as usize)?;
        let slots = self.metadata.keyslots.values().map(|slot| {
            let kdf = slot.kdf.as_ref();
            let cost = kdf.and_then(|kdf| kdf.iterations.or(kdf.time)).unwrap_or(0);
            let stripes = slot.af.as_ref().and_then(|af| af.stripes).unwrap_or(0);
            let offset = slot.area.as_ref().and_then(|area| area.offset.parse().ok()).unwrap_or(0);
            SlotInfo { active: Some((cost, stripes)), key_offset: offset }
        });
        Ok(Info {
            alg,
            mode,
            ivgen,
            ivgen_hash,
            hash: hash(&digest.hash)?,
            detached_header: self.payload.offset == 0,
            payload_offset: self.payload.offset,
            master_key_iterations: digest.iterations,
            uuid: self.uuid.clone(),
            slots: slots.collect(),
        })
    }
}

impl Keyslot {
    /// The key in this slot, if the password is right; else another one.
    fn open(&self, area: &dyn Block, password: &[u8]) -> Result<MasterKey> {
        let (Some(place), Some(af), Some(kdf), "luks2") =
            (&self.area, &self.af, &self.kdf, self.kind.as_str())
        else {
            return refuse(format!("Its kind '{}' is not supported", self.kind));
        };
        let length = self.key_size.unwrap_or(0);
        let (stripes, slot_key) = (af.stripes.unwrap_or(0), place.key_size.unwrap_or(length));
        if length == 0 || length > MAX_KEY || slot_key > MAX_KEY || stripes == 0 || stripes > MAX_STRIPES {
            return refuse(format!("A key of {length} bytes in {stripes} stripes is not supported"));
        }
        let key = kdf.derive(password, slot_key as usize)?;
        let bytes = (length as usize).saturating_mul(stripes as usize);
        let whole = bytes.next_multiple_of(SECTOR);
        let mut material = Secret::from(vec![0; whole]);
        let at = number(&place.offset, "offset")?;
        let there = area.size().saturating_sub(at).min(whole as u64) as usize;
        if let Some(part) = material.get_mut(..there).filter(|part| !part.is_empty()) {
            area.read_at(part, at)?;
        }
        cipher(place.encryption.as_deref().unwrap_or_default(), &key, SECTOR)?.decrypt(0, &mut material);
        let hash = hash(af.hash.as_deref().unwrap_or_default())?;
        let material = material.get(..bytes).unwrap_or_default();
        Ok(MasterKey::new(split::merge(hash, material, length as usize)))
    }
}

impl Derivation {
    fn derive(&self, password: &[u8], length: usize) -> Result<Secret> {
        let salt = base64(self.salt.as_bytes())?;
        let algorithm = match self.kind.as_str() {
            "pbkdf2" => {
                let iterations = self.iterations.unwrap_or(0);
                bounded(iterations)?;
                let hash = hash(self.hash.as_deref().unwrap_or_default())?;
                return hash.pbkdf2(password, &salt, iterations, length);
            }
            "argon2i" => argon2::Algorithm::Argon2i,
            "argon2id" => argon2::Algorithm::Argon2id,
            other => return refuse(format!("Key derivation by '{other}' is not supported")),
        };
        let (time, memory, lanes) =
            (self.time.unwrap_or(0), self.memory.unwrap_or(0), self.cpus.unwrap_or(0));
        if memory > MAX_MEMORY || lanes > MAX_LANES || u64::from(time) * u64::from(memory) > MAX_WORK {
            return refuse(format!(
                "Its passphrase costs {time} passes over {memory} KiB in {lanes} lanes, which is refused"
            ));
        }
        let wrong = |error: argon2::Error| Error::Invalid(format!("Argon2 cannot be used so: {error}"));
        let params = argon2::Params::new(memory, time, lanes, Some(length)).map_err(wrong)?;
        let blocks = params.block_count();
        let argon2 = argon2::Argon2::new(algorithm, argon2::Version::V0x13, params);
        let mut space = Vec::new();
        space.try_reserve_exact(blocks).map_err(|_| {
            Error::Invalid(format!("There is no memory for the {memory} KiB that its passphrase costs"))
        })?;
        space.resize(blocks, argon2::Block::default());
        let mut key = Secret::from(vec![0; length]);
        argon2.hash_password_into_with_memory(password, &salt, &mut key, &mut space).map_err(wrong)?;
        Ok(key)
    }
}

fn bounded(iterations: u32) -> Result<()> {
    if iterations > MAX_ITERATIONS {
        return refuse(format!(
            "It asks for {iterations} iterations of PBKDF2; more than {MAX_ITERATIONS} are refused"
        ));
    }
    Ok(())
}

/// The cipher that a specification such as `aes-xts-plain64` means, with its key.
fn cipher(spec: &str, key: &[u8], sector: usize) -> Result<SectorCipher> {
    let (alg, mode, ivgen, ivgen_hash) = spec_of(spec, key.len())?;
    SectorCipher::with_sector(alg, mode, ivgen, ivgen_hash, key, sector)
}

/// The fixed part of the header at `at`, if the file has so much.
fn binary(area: &dyn Block, at: u64) -> Result<Option<RawHeader>> {
    if at.saturating_add(BINARY as u64) > area.size() {
        return Ok(None);
    }
    let mut bytes = [0; size_of::<RawHeader>()];
    area.read_at(&mut bytes, at).map_err(|e| e.context("Could not read encryption header"))?;
    Ok(RawHeader::read_from_bytes(&bytes).ok())
}

/// One copy with its sequence number; `None` if its checksum is wrong.
fn copy(area: &dyn Block, raw: &RawHeader, at: u64) -> Result<Option<(u64, String, Metadata)>> {
    let size = raw.size.get();
    if !SIZES.contains(&size) || raw.offset.get() != at || at.saturating_add(size) > area.size() {
        return Ok(None);
    }
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    };
    let hash = hash(&text(&raw.checksum_alg))?;
    let mut bytes = vec![0; size as usize];
    area.read_at(&mut bytes, at)?;
    let stored = bytes.get(CHECKSUM).unwrap_or_default().to_vec();
    if let Some(field) = bytes.get_mut(CHECKSUM) {
        field.fill(0);
    }
    if !stored.starts_with(&hash.digest(&[&bytes])) {
        return Ok(None);
    }
    let json = text(bytes.get(BINARY..).unwrap_or_default());
    let metadata =
        serde_json::from_str(&json).map_err(|error| Error::Invalid(format!("LUKS2 header: {error}")))?;
    Ok(Some((raw.sequence.get(), text(&raw.uuid), metadata)))
}
