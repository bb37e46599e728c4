//! Access control lists: from the forms that file systems store to the one that the kernel shows.

/// Version of the form in `system.posix_acl_access`.
const SHOWN: u32 = 2;
/// Version of the short form, in which only entries with a name have a number.
const SHORT: u32 = 1;
/// Tags of entries with a number: a user, a group.
const NAMED: [u16; 2] = [0x02, 0x08];
const NOBODY: u32 = u32::MAX;

/// An entry: tag, permissions, and the number of who it is for.
type Entry = (u16, u16, u32);

/// From the form of ext2 and its kin: little-endian, entries for owners without a number.
pub(super) fn from_short_form(stored: &[u8]) -> Option<Vec<u8>> {
    let (version, mut rest) = stored.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != SHORT {
        return None;
    }
    let mut entries = Vec::new();
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let (tag, permissions) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        rest = after;
        let mut number = NOBODY;
        if NAMED.contains(&tag) {
            let (bytes, after) = rest.split_first_chunk::<4>()?;
            (number, rest) = (u32::from_le_bytes(*bytes), after);
        }
        entries.push((tag, permissions, number));
    }
    rest.is_empty().then(|| shown(&entries))
}

/// The form of `getxattr`.
pub(super) fn shown(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = SHOWN.to_le_bytes().to_vec();
    for (tag, permissions, number) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        let number = if NAMED.contains(tag) { *number } else { NOBODY };
        bytes.extend(number.to_le_bytes());
    }
    bytes
}
