//! File systems that find a file under several spellings of its name: what is known of one spelling says nothing of
//! another, so the host must always ask.

use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Those that always do: FAT, exFAT, NTFS, HFS+ and HFS, and what programs serve.
const ALWAYS: [i64; 6] = [0x4d44, 0x2011_bab0, 0x7366_746e, 0x482b, 0x4244, 0x6573_5546];
/// Those that do if they were made so.
const EXT: i64 = 0xef53;
const F2FS: i64 = 0xf2f5_2010;
const XFS: i64 = 0x5846_5342;
const JFS: i64 = 0x3153_464a;
/// Bytes at the beginning of a file system in which it says so.
const HEAD: usize = 64 << 10;

/// Whether the file system of a kind on a device does, or is not known not to.
pub(super) fn has_many(kind: i64, device: (u32, u32)) -> bool {
    match kind {
        EXT | F2FS | XFS | JFS => head(device).map_or(true, |head| is_made_so(kind, &head)),
        kind => ALWAYS.contains(&kind),
    }
}

/// The first bytes of a device.
fn head((major, minor): (u32, u32)) -> Result<Vec<u8>, Errno> {
    let read = || {
        let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
        let name = link.file_name().ok_or(std::io::ErrorKind::NotFound)?;
        let mut head = vec![0; HEAD];
        File::open(Path::new("/dev").join(name))?.read_exact_at(&mut head, 0)?;
        Ok(head)
    };
    read().map_err(|error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Whether a file system says that it does.
fn is_made_so(kind: i64, head: &[u8]) -> bool {
    let bytes = |at: usize| head.get(at..at.saturating_add(4)).and_then(|bytes| bytes.try_into().ok());
    let little = |at| bytes(at).map_or(0, u32::from_le_bytes);
    match kind {
        // Incompatible features in the superblock, casefold among them; its directories may have the flag.
        EXT => little(1024 + 0x60) & 0x2_0000 != 0,
        // The features, after names and versions of fixed length.
        F2FS => little(1024 + 2180) & 0x1000 != 0,
        // The version's bit for names in which the case of ASCII letters makes no difference.
        XFS => bytes(100).is_some_and(|bytes| u32::from_be_bytes(bytes) >> 16 & 0x4000 != 0),
        // The superblock's flag for names as in OS/2.
        JFS => little(0x8000 + 36) & 0x4000_0000 != 0,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn file_systems_say_how_they_were_made() {
        let made = |mkfs: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(320 << 20).unwrap();
            let mut words = mkfs.split(' ');
            let mut command = Command::new(words.next().unwrap());
            let output = command.args(words).arg(file.path()).output().unwrap();
            assert!(output.status.success(), "{mkfs}: {}", String::from_utf8_lossy(&output.stderr));
            let mut head = vec![0; HEAD];
            file.as_file().read_exact_at(&mut head, 0).unwrap();
            head
        };
        for (kind, mkfs, so) in [
            (EXT, "mkfs.ext4 -q -O casefold", true),
            (EXT, "mkfs.ext4 -q", false),
            (F2FS, "mkfs.f2fs -q -O casefold -C utf8", true),
            (F2FS, "mkfs.f2fs -q", false),
            (XFS, "mkfs.xfs -q -n version=ci", true),
            (XFS, "mkfs.xfs -q", false),
        ] {
            assert_eq!(is_made_so(kind, &made(mkfs)), so, "{mkfs}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_taken_for_the_worst() {
        let nowhere = (0xfff, 0xf_ffff);
        assert!(has_many(EXT, nowhere) && has_many(0x4d44, nowhere));
        // btrfs: its device numbers are nobody's.
        assert!(!has_many(0x9123_683e, nowhere));
    }
}
