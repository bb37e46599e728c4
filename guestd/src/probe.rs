//! What file system is on a device, by its superblock, for the usual ones.
//!
//! This exists so that a mount need not wait for a tool. It answers only when exactly one signature fits;
//! all else is left to blkid, which knows every format and what to make of several.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Signatures that are all there is to check: type, offset in bytes, bytes.
const SIGNATURES: &[(&str, usize, &[u8])] = &[
    ("xfs", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("vfat", 54, b"FAT1"),
    ("vfat", 82, b"FAT32   "),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("iso9660", 32769, b"CD001"),
    ("btrfs", BTRFS + 64, b"_BHRfS_M"),
];

/// Where btrfs keeps its first superblock.
const BTRFS: usize = 65536;
/// btrfs' incompatible feature of RAID 5 and 6 profiles.
const BTRFS_RAID56: u64 = 0x80;

/// The type of the file system, if exactly one of those known here is recognised.
pub(crate) fn filesystem(device: &File) -> io::Result<Option<&'static str>> {
    let head = head(device)?;
    let at = |offset: usize, signature: &[u8]| {
        offset.checked_add(signature.len()).and_then(|end| head.get(offset..end)) == Some(signature)
    };
    let plain =
        SIGNATURES.iter().filter(|(_, offset, signature)| at(*offset, signature)).map(|(kind, _, _)| *kind);
    let mut found: Vec<&str> = plain.chain(ext(&head)).collect();
    found.dedup();
    Ok(match found.as_slice() {
        [kind] => Some(kind),
        _ => None,
    })
}

/// Which of the ext family: the features of ext4, a journal, or neither.
fn ext(head: &[u8]) -> Option<&'static str> {
    let superblock = head.get(1024..2048)?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(*superblock.get(at..)?.first_chunk()?));
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let (compatible, incompatible, read_only) = (u32_at(92)?, u32_at(96)?, u32_at(100)?);
    if incompatible & 0x8 != 0 {
        // A journal of another file system, not one itself.
        return None;
    }
    // What ext3 knows: filetype, recover, meta_bg; sparse_super, large_file, btree_dir.
    Some(if incompatible & !0x16 != 0 || read_only & !0x7 != 0 {
        "ext4"
    } else if compatible & 0x4 != 0 {
        "ext3"
    } else {
        "ext2"
    })
}

/// True if a btrfs has data or metadata with RAID 5 or 6.
pub(crate) fn btrfs_has_raid56(device: &File) -> io::Result<bool> {
    let head = head(device)?;
    let flags = head.get(BTRFS + 188..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes);
    let is_btrfs = head.get(BTRFS + 64..BTRFS + 72) == Some(b"_BHRfS_M");
    Ok(is_btrfs && flags.unwrap_or_default() & BTRFS_RAID56 != 0)
}

/// How many devices a btrfs consists of, as the superblock on one of them says.
pub(crate) fn btrfs_devices(device: &File) -> io::Result<u64> {
    let head = head(device)?;
    let count = head.get(BTRFS + 136..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes);
    let is_btrfs = head.get(BTRFS + 64..BTRFS + 72) == Some(b"_BHRfS_M");
    Ok(if is_btrfs { count.unwrap_or(1) } else { 1 })
}

/// The first bytes of a device, as many as there are up to what the signatures need.
fn head(device: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; BTRFS + 4096];
    let mut have = 0;
    while let Some(rest @ [_, ..]) = head.get_mut(have..) {
        match device.read_at(rest, have as u64) {
            Ok(0) => break,
            Ok(count) => have = have.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(have);
    Ok(head)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn agrees_with_what_mkfs_made() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("ext2", "mkfs.ext2", &["-q", "-F"]),
            ("ext3", "mkfs.ext3", &["-q", "-F"]),
            ("ext4", "mkfs.ext4", &["-q", "-F"]),
            ("xfs", "mkfs.xfs", &["-q"]),
            ("btrfs", "mkfs.btrfs", &["-q"]),
            ("vfat", "mkfs.vfat", &["-F", "16"]),
            ("vfat", "mkfs.vfat", &["-F", "32"]),
        ];
        for (kind, mkfs, options) in cases {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(400 << 20).unwrap();
            let output = Command::new(mkfs).args(*options).arg(file.path()).output().unwrap();
            assert!(output.status.success(), "{mkfs}: {output:?}");
            assert_eq!(filesystem(file.as_file()).unwrap(), Some(*kind), "{mkfs} {options:?}");
        }
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(filesystem(empty.as_file()).unwrap(), None);
    }

    #[test]
    fn raid6_is_seen() {
        let disks: Vec<_> = (0..4).map(|_| tempfile::NamedTempFile::new().unwrap()).collect();
        disks.iter().for_each(|disk| disk.as_file().set_len(200 << 20).unwrap());
        for (profile, expected) in [("raid6", true), ("raid5", true), ("raid1", false)] {
            let paths = disks.iter().map(|disk| disk.path());
            let output = Command::new("mkfs.btrfs")
                .args(["-q", "-f", "-d", profile, "-m", "raid1"])
                .args(paths)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(btrfs_has_raid56(disks.first().unwrap().as_file()).unwrap(), expected, "{profile}");
        }
    }
}
