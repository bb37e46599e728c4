//! The superblock of a member of a software RAID, in the formats 0.90, 1.0, 1.1 and 1.2.
//!
//! `Documentation/admin-guide/md.rst` of Linux and `include/uapi/linux/raid/md_p.h` describe both.

use std::sync::Arc;

use crate::block::Block;
use crate::error::{Error, Result};
use crate::fields::Fields;

const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: u64 = 512;
/// Bytes of a superblock of the format 0.90, which lies in the last whole piece of 64 KiB.
const OLD: usize = 4096;
const OLD_PIECE: u64 = 64 << 10;
/// Bytes of a superblock of the formats 1.x before its table of roles, and the most that it may have.
const NEW: usize = 256;
const MAX_ROLES: usize = 1920;
/// Most members of the format 0.90.
const OLD_MEMBERS: usize = 27;
/// What `resync_offset` says of members that agree.
const IN_SYNC: u64 = u64::MAX;

/// Feature of the formats 1.x: the layout of a RAID 0 is said.
const ZONES_ARE_SAID: u32 = 0x1000;
/// Features that change nothing for who reads; the other one is a bitmap.
const HARMLESS: u32 = 0x1 | ZONES_ARE_SAID;
/// The others, with what they say.
const FEATURES: [(u32, &str); 9] = [
    (0x2, "a member is being rebuilt"),
    (0x4, "it is being reshaped"),
    (0x8, "a member has bad blocks"),
    (0x10, "a member is being replaced"),
    (0x20, "it is being reshaped"),
    (0x40, "it is being reshaped"),
    (0x80, "a member is being rebuilt"),
    (0x100, "it belongs to a cluster"),
    (0x200 | 0x400 | 0x800, "it has a journal"),
];

/// Which format a superblock has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 0.90, at the end.
    Old,
    /// 1.0, at the end.
    End,
    /// 1.1, at the beginning.
    Start,
    /// 1.2, 4 KiB behind the beginning.
    Behind,
}

impl Version {
    /// As mdadm writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Old => "0.90",
            Version::End => "1.0",
            Version::Start => "1.1",
            Version::Behind => "1.2",
        }
    }

    /// Where the superblock of a device of so many bytes is.
    fn place(self, size: u64) -> Option<u64> {
        match self {
            Version::Old => (size & !(OLD_PIECE - 1)).checked_sub(OLD_PIECE),
            Version::End => Some((size & !(SECTOR - 1)).checked_sub(16 * SECTOR)? & !0xfff),
            Version::Start => Some(0),
            Version::Behind => Some(4096),
        }
        .filter(|at| size.checked_sub(*at).is_some_and(|left| left >= OLD as u64))
    }
}

/// What a device does in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the member of this place.
    Member(u32),
    /// It stands by.
    Spare,
    /// It failed, or is none.
    Gone,
    /// It keeps the journal.
    Journal,
}

/// What a member says of itself and of its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The format.
    pub version: Version,
    /// The array's identifier.
    pub id: [u8; 16],
    /// The array's name, perhaps after that of its host and a colon.
    pub name: String,
    /// The number that the array had, in the format 0.90.
    pub minor: Option<u32>,
    /// 0, 1, 4, 5, 6, 10, or -1 for devices in a row.
    pub level: i32,
    /// How pieces are arranged; each level has its own numbers.
    pub layout: u32,
    /// Bytes of a piece.
    pub chunk: u64,
    /// Bytes of each member that count, where all are the same; else zero.
    pub size: u64,
    /// How many members there should be.
    pub places: u32,
    /// How often the array changed its state.
    pub events: u64,
    /// The members agree with each other.
    pub is_in_sync: bool,
    /// What this device does.
    pub role: Role,
    /// What every device does.
    pub roles: Vec<Role>,
    /// Where this device's data is, in bytes.
    pub start: u64,
    /// How much of it there is, in bytes.
    pub length: u64,
    /// Why the array is not to be read as it lies there.
    pub oddity: Option<&'static str>,
}

/// Reads the superblock of a device; `None` if it is no member.
///
/// # Errors
/// When the device cannot be read, or has a superblock that is damaged, or more than one.
pub fn read(block: &Arc<dyn Block>) -> Result<Option<Superblock>> {
    let mut found = None;
    for version in [Version::Old, Version::End, Version::Start, Version::Behind] {
        let Some(at) = version.place(block.size()) else { continue };
        let mut bytes = vec![0; OLD];
        block.read_at(&mut bytes, at)?;
        let fields = Fields(&bytes);
        let is_old = version == Version::Old;
        if fields.le32(0) != MAGIC || (fields.le32(4) == 0) != is_old {
            continue;
        }
        let damaged =
            |what: &str| Error::corrupt_at(block.name(), at, format!("the superblock of its RAID {what}"));
        let superblock = if is_old { old(&bytes, at) } else { new(&bytes, at, block.size(), version) };
        let superblock = superblock.map_err(damaged)?;
        if found.replace(superblock).is_some() {
            return Err(damaged("is one of several"));
        }
    }
    Ok(found)
}

/// The sum of all words but one, with what is carried.
fn checksum(words: &[u8], own: usize) -> u32 {
    let mut sum = 0u64;
    for (index, word) in words.chunks(4).enumerate() {
        if index * 4 != own {
            // The last one may be half a word.
            let mut whole = [0; 4];
            whole.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
            sum = sum.wrapping_add(u32::from_le_bytes(whole).into());
        }
    }
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// The member of the format 0.90 with its superblock at `at`.
fn old(bytes: &[u8], at: u64) -> std::result::Result<Superblock, &'static str> {
    const CHECKSUM: usize = 38 * 4;
    const DEVICES: usize = 128 * 4;
    const THIS: usize = 992 * 4;
    let fields = Fields(bytes);
    let word = |index: usize| fields.le32(index * 4);
    if word(2) < 90 || word(2) > 91 {
        return Err("has a version that is not known");
    }
    if checksum(bytes, CHECKSUM) != word(38) {
        return Err("has a wrong checksum");
    }
    let role = |at: usize| {
        let state = fields.le32(at + 16);
        let is_member = state & 0b1001 == 0 && state & 0b110 == 0b110;
        match (is_member, state & 0b1001) {
            (true, _) => Role::Member(fields.le32(at + 12)),
            (false, 0) => Role::Spare,
            _ => Role::Gone,
        }
    };
    let mut id = [0; 16];
    // Its first word was there before the others.
    for (to, index) in id.chunks_exact_mut(4).zip([5usize, 13, 14, 15]) {
        to.copy_from_slice(&word(index).to_be_bytes());
    }
    let state = word(33);
    Ok(Superblock {
        version: Version::Old,
        id,
        name: String::new(),
        minor: Some(word(11)),
        level: word(7) as i32,
        // How zones of a RAID 0 lie is not said in this format.
        layout: if word(7) == 0 { 0 } else { word(64) },
        chunk: word(65).into(),
        size: u64::from(word(8)) * 1024,
        places: word(10),
        events: fields.le64(39 * 4),
        is_in_sync: state & 1 != 0,
        role: role(THIS),
        roles: (0..OLD_MEMBERS).map(|index| role(DEVICES + index * 128)).collect(),
        start: 0,
        length: at,
        oddity: (word(2) == 91).then_some("it is being reshaped"),
    })
}

/// The member of a format 1.x with its superblock at `at`.
fn new(bytes: &[u8], at: u64, size: u64, version: Version) -> std::result::Result<Superblock, &'static str> {
    const CHECKSUM: usize = 216;
    let fields = Fields(bytes);
    if fields.le32(4) != 1 {
        return Err("has a version that is not known");
    }
    if Some(fields.le64(144)) != at.checked_div(SECTOR) {
        return Err("says that it is elsewhere");
    }
    let count = fields.le32(220) as usize;
    if count > MAX_ROLES {
        return Err("has an impossible number of devices");
    }
    let length = NEW + 2 * count;
    if checksum(bytes.get(..length).unwrap_or_default(), CHECKSUM) != fields.le32(CHECKSUM) {
        return Err("has a wrong checksum");
    }
    let role = |index: usize| match fields.le16(NEW + 2 * index) {
        0xffff => Role::Spare,
        0xfffe => Role::Gone,
        0xfffd => Role::Journal,
        place => Role::Member(place.into()),
    };
    let number = fields.le32(160) as usize;
    let bytes_at = |at: usize| fields.le64(at).checked_mul(SECTOR).ok_or("has impossible sizes");
    let (start, data) = (bytes_at(128)?, bytes_at(136)?);
    if start.checked_add(data).is_none_or(|end| end > size) {
        return Err("speaks of more than the device has");
    }
    let features = fields.le32(8);
    let known = FEATURES.iter().fold(HARMLESS, |all, (bits, _)| all | bits);
    let told = FEATURES.iter().find(|(bits, _)| features & bits != 0).map(|(_, what)| *what);
    let name = bytes.get(32..64).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut id = [0; 16];
    id.iter_mut().zip(bytes.iter().skip(16)).for_each(|(to, from)| *to = *from);
    Ok(Superblock {
        version,
        id,
        name: String::from_utf8_lossy(name).into_owned(),
        minor: None,
        level: fields.le32(72) as i32,
        layout: if fields.le32(72) == 0 && features & ZONES_ARE_SAID == 0 { 0 } else { fields.le32(76) },
        chunk: u64::from(fields.le32(88)) * SECTOR,
        size: bytes_at(80)?,
        places: fields.le32(92),
        events: fields.le64(200),
        is_in_sync: fields.le64(208) == IN_SYNC,
        role: if number < count { role(number) } else { Role::Spare },
        roles: (0..count).map(role).collect(),
        start,
        length: data,
        oddity: told.or((features & !known != 0).then_some("it has features that are not known")),
    })
}
