//! Disks that were damaged on purpose: every reader of volumes and file systems ends in order, whatever it
//! finds. The damage is the same in every run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "shared/walk.rs"]
mod walk;

use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::storage::Memory;

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below.max(1)
    }
}

/// Reads everything that can be read of a disk, as far as `budget` files go.
fn read_all(disk: &Arc<dyn Block>, budget: u32) -> usize {
    walk::disk(disk, budget as usize).0
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is needed by this test (make deps): {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A file system with a tree, in memory.
fn file_system(make: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
    std::fs::write(tree.join("a/file"), vec![1; 200_000]).unwrap();
    std::fs::write(tree.join("small"), "x").unwrap();
    std::os::unix::fs::symlink("a/file", tree.join("link")).unwrap();
    std::os::unix::fs::symlink("../".repeat(40), tree.join("a/long")).unwrap();
    for number in 0..200 {
        std::fs::write(tree.join(format!("a/b/a-longer-name-for-an-entry-{number}")), "").unwrap();
    }
    let image = directory.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    let image = image.to_str().unwrap();
    run("mke2fs", &[make, &["-q", "-F", "-d", tree.to_str().unwrap(), image]].concat());
    let _ = Command::new("e2fsck").args(["-fyD", image]).output().unwrap();
    std::fs::read(image).unwrap()
}

/// A disk with the file system in partition `number`.
fn disk(label: &str, content: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(9 << 20).unwrap();
    let path = file.path().to_str().unwrap();
    let parts = match label {
        "gpt" => "label: gpt\nstart=2048,size=8192\nsize=1024\n",
        _ => "label: dos\nstart=2048,size=8192\ntype=5\nsize=512\nsize=512\n",
    };
    run("sh", &["-c", &format!("printf '{parts}' | sfdisk -q {path}")]);
    let mut bytes = std::fs::read(path).unwrap();
    bytes[1 << 20..][..content.len()].copy_from_slice(content);
    bytes
}

/// Damages bytes that mean something, a few at a time; some become what numbers lie with.
fn damaged(whole: &[u8], meaning: &[usize], numbers: &mut Numbers) -> Arc<dyn Block> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + numbers.next(6) {
        let at = meaning[numbers.next(meaning.len())];
        match numbers.next(4) {
            0 => bytes[at] = 0xff,
            1 => bytes[at] = 0,
            2 => bytes[at] = numbers.next(256) as u8,
            _ => bytes[at] ^= 1 << numbers.next(8),
        }
    }
    // A disk that ends early.
    if numbers.next(10) == 0 {
        bytes.truncate(numbers.next(bytes.len()));
    }
    Arc::new(Memory::from_bytes(&bytes))
}

#[test]
fn damage_is_survived() {
    let mut numbers = Numbers(0x005e_ed0f_d15c);
    // Without checksums, which stop most of the damage at the door, and with.
    for (label, make) in [
        ("gpt", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"][..]),
        ("dos", &["-t", "ext2", "-b", "1024"]),
        ("gpt", &["-t", "ext3", "-b", "1024", "-J", "size=1"]),
        ("dos", &["-t", "ext4", "-b", "4096", "-O", "^has_journal"]),
    ] {
        let whole = disk(label, &file_system(make));
        let sound = read_all(&(Arc::new(Memory::from_bytes(&whole)) as Arc<dyn Block>), 10_000);
        assert!(sound > 200, "{make:?}: {sound} entries");
        // All that is neither nothing nor the contents of a file.
        let meaning: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| !matches!(byte, 0 | 1)).map(|(at, _)| at).collect();
        let superblock: Vec<usize> = (0..256).map(|at| (1 << 20) + 1024 + at).collect();
        let tables: Vec<usize> = (440..2048).chain((1 << 20) - 512..1 << 20).collect();
        for round in 0..150 {
            let places = match round % 4 {
                0 => &superblock,
                1 => &tables,
                _ => &meaning,
            };
            read_all(&damaged(&whole, places, &mut numbers), 2000);
        }
    }
}

/// Noise with a right signature, and nothing else right.
#[test]
fn noise_is_survived() {
    let mut numbers = Numbers(0xbad);
    let signatures: [(usize, &[u8]); 14] = [
        (510, &[0x55, 0xaa]),
        (512, b"EFI PART"),
        (1080, &[0x53, 0xef]),
        (0, b"XFSB"),
        (65_600, b"_BHRfS_M"),
        (0, b"LUKS\xba\xbe\0\x02"),
        (512, b"LABELONE"),
        (4086, b"SWAPSPACE2"),
        (0, b"hsqs"),
        (32_769, b"CD001"),
        (3, b"NTFS    "),
        (3, b"EXFAT   "),
        (1024, &[0x10, 0x20, 0xf5, 0xf2]),
        (82, b"FAT32   "),
    ];
    for round in 0..600 {
        let mut bytes: Vec<u8> = (0..70_000).map(|_| numbers.next(256) as u8).collect();
        let (at, signature) = signatures[round % signatures.len()];
        bytes[at..at + signature.len()].copy_from_slice(signature);
        if round % 3 == 0 {
            bytes[536..544].copy_from_slice(b"LVM2 001");
            bytes[446..510].fill(0);
            bytes[450] = 0xee;
            bytes[454] = 1;
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        }
        // Cut through every signature's reach.
        bytes.truncate(numbers.next(bytes.len() * 2).min(bytes.len()));
        read_all(&(Arc::new(Memory::from_bytes(&bytes)) as Arc<dyn Block>), 1000);
    }
}

/// Sizes that no device has are refused before memory is taken for them.
#[test]
fn lies_about_size_cost_nothing() {
    let whole = file_system(&["-t", "ext2", "-b", "1024"]);
    for (at, lie) in [
        (4, u32::MAX), // blocks
        (0x20, 1),     // blocks in a group
        (0x20, 0),
        (0x18, 0xffff_ffff), // the size of a block
        (0x28, 1),           // inodes in a group
        (0x58, 0xffff),      // the size of an inode
        (0xfe, 0xffff),      // the size of a descriptor
    ] {
        let mut bytes = whole.clone();
        let width = if at >= 0x58 { 2 } else { 4 };
        bytes[1024 + at..][..width].copy_from_slice(&lie.to_le_bytes()[..width]);
        if at == 4 {
            bytes[1024 + 0x20..][..4].copy_from_slice(&1_u32.to_le_bytes());
        }
        read_all(&(Arc::new(Memory::from_bytes(&bytes)) as Arc<dyn Block>), 1000);
    }
}
