//! Access control lists: the kernel's form of them in an extended attribute, and text.
//!
//! A list that was parsed from text is sorted, and [`is_valid`] says whether it is complete: the kernel insists
//! on both.

use crate::{Failure, GuestString};
use std::fmt::Write as _;

const ENOENT: i32 = 2;
const EINVAL: i32 = 22;

/// Version 2 of the attribute is the only one.
const VERSION: u32 = 2;
/// The number of an entry that is not of one user or group.
const NOBODY: u32 = u32::MAX;

/// Whom an entry is about, in the order of the kernel's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The file's owner.
    Owner,
    /// A user.
    User(u32),
    /// The file's group.
    OwningGroup,
    /// A group.
    Group(u32),
    /// Not a person: what all but the owner and others can have at most.
    Mask,
    /// Everybody else.
    Other,
}

/// What somebody may do: bits 4 read, 2 write, 1 execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Whom it is about.
    pub who: Who,
    /// Bits: 4 read, 2 write, 1 execute.
    pub permissions: u8,
}

/// The list that permissions alone amount to.
pub fn from_mode(mode: u32) -> [Entry; 3] {
    let bits = |shift: u32| u8::try_from(mode >> shift & 7).unwrap_or_default();
    [
        Entry { who: Who::Owner, permissions: bits(6) },
        Entry { who: Who::OwningGroup, permissions: bits(3) },
        Entry { who: Who::Other, permissions: bits(0) },
    ]
}

/// Reads the kernel's form.
///
/// # Errors
/// When it is damaged.
pub fn parse_xattr(bytes: &[u8]) -> Result<Vec<Entry>, Failure> {
    let broken = || Failure::new("The access control list is damaged").with_errno(EINVAL);
    let (version, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
    let (entries, rest) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return Err(broken());
    }
    let entry = |[tag0, tag1, perm0, _, id @ ..]: &[u8; 8]| {
        let id = u32::from_le_bytes(*id);
        let who = match u16::from_le_bytes([*tag0, *tag1]) {
            0x01 => Who::Owner,
            0x02 => Who::User(id),
            0x04 => Who::OwningGroup,
            0x08 => Who::Group(id),
            0x10 => Who::Mask,
            0x20 => Who::Other,
            _ => return Err(broken()),
        };
        Ok(Entry { who, permissions: perm0 & 7 })
    };
    entries.iter().map(entry).collect()
}

/// Makes the kernel's form.
pub fn to_xattr(list: &[Entry]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in list {
        let (tag, id) = match entry.who {
            Who::Owner => (0x01u16, NOBODY),
            Who::User(id) => (0x02, id),
            Who::OwningGroup => (0x04, NOBODY),
            Who::Group(id) => (0x08, id),
            Who::Mask => (0x10, NOBODY),
            Who::Other => (0x20, NOBODY),
        };
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&u16::from(entry.permissions).to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// One line per entry, in the long form, users and groups as numbers.
pub fn to_text(list: &[Entry]) -> String {
    let mut text = String::new();
    for entry in list {
        let who = match entry.who {
            Who::Owner => "user:".to_owned(),
            Who::User(id) => format!("user:{id}"),
            Who::OwningGroup => "group:".to_owned(),
            Who::Group(id) => format!("group:{id}"),
            Who::Mask => "mask:".to_owned(),
            Who::Other => "other:".to_owned(),
        };
        let letter = |bit: u8, letter: char| if entry.permissions & bit == 0 { '-' } else { letter };
        let _ = writeln!(text, "{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x'));
    }
    text
}

/// Reads text in the long or the short form, entries separated by commas or newlines; `#` starts a comment.
///
/// # Errors
/// When it is no such text.
pub fn parse_text(text: &GuestString) -> Result<Vec<Entry>, Failure> {
    let broken = || {
        let why = "acl_from_text: No such file or directory";
        Failure::new(format!("could not parse acl string: {text}: {why}")).with_errno(ENOENT)
    };
    let mut list = Vec::new();
    for line in text.to_str().ok_or_else(broken)?.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for piece in line.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            list.push(parse_entry(piece).ok_or_else(broken)?);
        }
    }
    list.sort_unstable();
    Ok(list)
}

fn parse_entry(text: &str) -> Option<Entry> {
    let mut fields = text.split(':').map(str::trim);
    let tag = fields.next()?;
    let (who, permissions) = match (fields.next()?, fields.next(), fields.next()) {
        (name, Some(permissions), None) => (name, permissions),
        // `mask` and `other` have no name and may do without its field.
        (permissions, None, None) if matches!(tag, "m" | "mask" | "o" | "other") => ("", permissions),
        _ => return None,
    };
    let number = |name: &str| name.parse().ok();
    let who = match (tag, who) {
        ("u" | "user", "") => Who::Owner,
        ("u" | "user", name) => Who::User(number(name)?),
        ("g" | "group", "") => Who::OwningGroup,
        ("g" | "group", name) => Who::Group(number(name)?),
        ("m" | "mask", "") => Who::Mask,
        ("o" | "other", "") => Who::Other,
        _ => return None,
    };
    let bit = |letter: char| match letter {
        'r' => Some(4),
        'w' => Some(2),
        'x' => Some(1),
        '-' => Some(0),
        _ => None,
    };
    let permissions = permissions.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?))?;
    Some(Entry { who, permissions })
}

/// Each entry once, the three that must be there, and a mask if there is somebody it is for.
pub fn is_valid(sorted: &[Entry]) -> bool {
    let has = |who: Who| sorted.iter().any(|entry| entry.who == who);
    let named = sorted.iter().any(|entry| matches!(entry.who, Who::User(_) | Who::Group(_)));
    let twice = sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.who == b.who));
    has(Who::Owner) && has(Who::OwningGroup) && has(Who::Other) && !twice && (!named || has(Who::Mask))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_text_and_the_kernels() {
        let short = parse_text(&"u::rwx,g::r-x,o::-,m:rwx,u:500:rwx,g:0:w".into()).unwrap();
        let text = "user::rwx\nuser:500:rwx\ngroup::r-x\ngroup:0:-w-\nmask::rwx\nother::---\n";
        assert_eq!(to_text(&short), text);
        assert_eq!(parse_text(&text.into()).unwrap(), short);
        assert_eq!(parse_xattr(&to_xattr(&short)).unwrap(), short);
        for bad in
            ["", "x", "u::rwx,g::r,o::q", "u::r,g::r", "u::r,g::r,o::r,u:5:r", "u::r,u::r,g::r,o::r", "u:x:r"]
        {
            assert!(!parse_text(&bad.into()).is_ok_and(|list| is_valid(&list)), "{bad}");
        }
        assert!(parse_xattr(&[2, 0, 0, 0, 1]).is_err() && parse_xattr(&[]).is_err());
    }
}
