//! Signatures of file systems, on those that the real tools make. A program of its own, because it starts
//! others: a lock on a file lasts until the last copy of its descriptor is closed, in children too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::Command;

use libimage::fs::detect;

/// Makes a file system with the real tool and compares with the real `blkid`.
fn same_as_blkid(make: &[&str], size: u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    let (program, arguments) = make.split_first().unwrap();
    let made = Command::new(program).args(arguments).arg(file.path()).output();
    let made =
        made.unwrap_or_else(|e| panic!("{program} is needed by this test (make deps installs it): {e}"));
    assert!(made.status.success(), "{make:?}: {}", String::from_utf8_lossy(&made.stderr));
    let tell = |tag: &str| {
        let output = Command::new("blkid").args(["-p", "-o", "value", "-s", tag]).arg(file.path()).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let storage = libimage::storage::FileStorage::open(file.path(), Default::default()).unwrap();
    let found = detect(&storage).unwrap().unwrap();
    assert_eq!(Some(&found.kind), tell("TYPE").as_ref(), "{make:?}");
    assert_eq!(found.label, tell("LABEL"), "{make:?}");
    assert_eq!(found.uuid, tell("UUID"), "{make:?}");
}

#[test]
fn agrees_with_blkid() {
    same_as_blkid(&["mkfs.ext2", "-q", "-F", "-L", "one"], 8 << 20);
    same_as_blkid(&["mkfs.ext3", "-q", "-F"], 16 << 20);
    same_as_blkid(&["mkfs.ext4", "-q", "-F", "-L", "sixteen-bytes-ok"], 16 << 20);
    same_as_blkid(&["mkfs.xfs", "-q", "-f", "-L", "x"], 320 << 20);
    same_as_blkid(&["mkfs.btrfs", "-q", "-f", "-L", "a longer label"], 128 << 20);
    same_as_blkid(&["mkfs.vfat", "-n", "LABEL"], 64 << 20);
    same_as_blkid(&["mkfs.vfat", "-F", "32"], 64 << 20);
    same_as_blkid(&["mkswap", "-q", "-L", "sw"], 1 << 20);
}
