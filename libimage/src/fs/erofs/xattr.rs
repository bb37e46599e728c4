//! Extended attributes: behind the inode, or shared with others.

use super::super::system::Result;
use super::Erofs;
use super::inode::Inode;
use crate::fields::Fields;

/// Bytes before the numbers of shared attributes.
const HEADER: usize = 12;

/// The prefix of a kind of attributes.
fn prefix(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        _ => return None,
    })
}

impl Erofs {
    /// The extended attributes of an inode: names and values.
    pub(super) fn attributes_of(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (start, length) = inode.xattrs;
        let mut found = Vec::new();
        if length == 0 {
            return Ok(found);
        }
        // Less than 256 KiB: their number has 16 bits.
        let bytes = self.device.bytes(start, length as usize)?;
        let wrong = || self.corrupt_inode(inode, "its extended attributes are cut");
        let shared = usize::from(bytes.get(4).copied().unwrap_or_default());
        for index in 0..shared {
            let number =
                bytes.get(HEADER + index * 4..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(wrong)?;
            let at = self.superblock.attributes.saturating_add(u64::from(u32::from_le_bytes(*number)) * 4);
            let head = self.device.bytes(at, 4)?;
            let length = entry_length(&head);
            found.extend(entry(&self.device.bytes(at, length)?));
        }
        let mut rest = bytes.get(HEADER + shared * 4..).ok_or_else(wrong)?;
        while rest.len() >= 4 {
            let length = entry_length(rest);
            found.extend(entry(rest.get(..length).ok_or_else(wrong)?));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(found)
    }
}

fn entry_length(head: &[u8]) -> usize {
    4 + usize::from(head.first().copied().unwrap_or_default()) + usize::from(Fields(head).le16(2))
}

fn entry(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let [length, kind, ..] = *bytes else { return None };
    let (name, value) = bytes.get(4..)?.split_at_checked(length.into())?;
    // What has no known kind is not shown; a kind of zero is room that is not used.
    Some(([prefix(kind)?.as_bytes(), name].concat(), value.to_vec()))
}
