//! File systems with bits turned over: in their superblocks, tables of inodes, directories and trees.
//!
//! Each is looked at with the appliance's kernel and its tools of repair, and, where it is read directly, without.

use super::{Host, Random};
use std::path::Path;

use system_tests::fish::output_of;
use system_tests::programs::peer;

/// A file system: how it is made on /dev/sda, and what tries to mend it or to look into it from outside.
struct Kind {
    name: &'static str,
    mib: u64,
    make: &'static str,
    tools: &'static [&'static str],
}

const EXT: &[&str] =
    &["e2fsck /dev/sdX forceall:true", "tune2fs-l /dev/sdX", "zerofree /dev/sdX", "resize2fs /dev/sdX"];

const KINDS: &[Kind] = &[
    Kind { name: "ext4", mib: 24, make: "mkfs ext4 /dev/sda", tools: EXT },
    Kind { name: "unchecked", mib: 24, make: "mkfs ext4 /dev/sda features:^metadata_csum", tools: EXT },
    Kind { name: "ext2", mib: 16, make: "mkfs ext2 /dev/sda blocksize:1024", tools: EXT },
    Kind {
        name: "xfs",
        mib: 320,
        make: "mkfs xfs /dev/sda",
        tools: &["xfs-info /dev/sdX", "xfs-repair /dev/sdX", "vfs-minimum-size /dev/sdX"],
    },
    Kind {
        name: "btrfs",
        mib: 128,
        make: "mkfs btrfs /dev/sda",
        tools: &["btrfs-filesystem-show /dev/sdX", "btrfs-fsck /dev/sdX", "btrfs-subvolume-list /dev/sdX"],
    },
    Kind { name: "vfat", mib: 16, make: "mkfs vfat /dev/sda", tools: &["fsck vfat /dev/sdX"] },
    Kind {
        name: "ntfs",
        mib: 16,
        make: "mkfs ntfs /dev/sda",
        tools: &["ntfsfix /dev/sdX", "ntfsresize /dev/sdX"],
    },
];

/// Copies that one appliance sees.
const AT_ONCE: u64 = 3;

/// How many appliances see damaged copies of each kind; more where somebody has time.
fn rounds() -> u64 {
    let wanted = std::env::var("DISKWRIGHT_ROUNDS").ok();
    wanted.map_or(1, |wanted| wanted.parse().expect("DISKWRIGHT_ROUNDS is a number"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small tree with everything that a file system stores in ways of its own.
fn fill(disk: &Path, make: &str) {
    let lines = format!(
        "run\n{make}\nmount /dev/sda /\nmkdir-p /d/e/f\n<! for n in $(seq 1 60); do echo write /d/file-with-a-name-$n $n; \
         done\nfill 7 300000 /d/e/long\nwrite /d/e/f/short inside\n-ln-s /d/e/long /link\n-ln /d/e/f/short /hard\n\
         -setxattr user.a b 1 /hard\nmkdir /etc\nwrite /etc/fstab \"/dev/sda / auto defaults 0 0\\n\"\numount-all\n"
    );
    let mut command = system_tests::fish::command(&["--format=raw", "-a", text(disk)]);
    let ran = system_tests::fish::feed(&mut command, lines.as_bytes());
    assert_eq!(ran.code, Some(0), "{make}: {ran:?}");
}

/// Turns some bits over among the sectors in which there is something: half of the times near the start.
fn damage(good: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let used: Vec<usize> = (0..good.len() / 512)
        .filter(|sector| {
            good.get(sector * 512..(sector + 1) * 512).is_some_and(|bytes| bytes.iter().any(|b| *b != 0))
        })
        .collect();
    let near = used.iter().take_while(|sector| **sector < 256).count().max(1);
    let mut bad = good.to_vec();
    for _ in 0..=random.below(24) {
        let among = if random.below(2) == 0 { near } else { used.len() };
        let at = used[random.below(among)] * 512 + random.below(512);
        bad[at] = match random.below(4) {
            0 => 0xff,
            1 => 0,
            _ => bad[at] ^ (1 << random.below(8)),
        };
    }
    bad
}

/// What is done to each damaged file system.
fn visit(device: char, tools: &[&str]) -> Vec<String> {
    let looks = [
        "vfs-type /dev/sdX",
        "vfs-label /dev/sdX",
        "list-filesystems",
        "mount-ro /dev/sdX /",
        "statvfs /",
        "find /",
        "ll /d",
        "lxattrlist / \"d hard link\"",
        "cat /d/e/f/short",
        "checksum md5 /d/e/long",
        "checksums-out md5 / /dev/null",
        "tar-out / /dev/null xattrs:true acls:true",
        "du /",
        "umount-all",
        "mount /dev/sdX /",
        "write /new something",
        "rm-rf /d",
        "mkdir-p /x/y/z",
        "fill 1 100000 /x/y/z/w",
        "sync",
        "umount-all",
        "inspect-os",
        "filesystem-walk /dev/sdX",
    ];
    looks.iter().chain(tools).map(|line| line.replace("sdX", &format!("sd{device}"))).collect()
}

fn survive(host: &Host, name: &str, tools: &[&str], good: &[u8]) {
    for round in 0..rounds() {
        let mut disks = Vec::new();
        let mut lines = Vec::new();
        for (device, seed) in ('a'..).zip(round * AT_ONCE..(round + 1) * AT_ONCE) {
            let disk = host.disk(&format!("{name}-{seed}"));
            std::fs::write(&disk, damage(good, seed)).unwrap();
            disks.push(disk);
            lines.extend(visit(device, tools));
        }
        host.survives(&[], &disks, &lines);
        // What is only read is read without an appliance, as long as that goes.
        let (disk, lines) = (damage(good, round + 1000), visit('a', &[]));
        std::fs::write(&disks[0], disk).unwrap();
        host.survives(&["--ro"], &disks[..1], &lines);
        disks.iter().for_each(|disk| std::fs::remove_file(disk).unwrap());
    }
}

#[test]
fn damaged_file_systems() {
    let host = Host::new();
    for kind in KINDS {
        let good = host.disk("good");
        std::fs::File::create(&good).unwrap().set_len(kind.mib << 20).unwrap();
        fill(&good, kind.make);
        let good = std::fs::read(good).unwrap();
        survive(&host, kind.name, kind.tools, &good);
    }
}

#[test]
fn damaged_images_of_trees() {
    let host = Host::new();
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("d/e/f")).unwrap();
    std::fs::write(tree.path().join("d/e/long"), vec![7; 300_000]).unwrap();
    std::fs::write(tree.path().join("d/e/f/short"), "inside").unwrap();
    (0..60).for_each(|n| std::fs::write(tree.path().join(format!("d/file-{n}")), n.to_string()).unwrap());
    let image = host.disk("good");
    for (name, program, options) in [
        ("squashfs", "mksquashfs", &[text(tree.path()), text(&image), "-quiet", "-no-progress"][..]),
        ("iso", "genisoimage", &["-quiet", "-R", "-J", "-o", text(&image), text(tree.path())]),
    ] {
        let _ = std::fs::remove_file(&image);
        peer(program, options);
        let mut good = std::fs::read(&image).unwrap();
        good.resize(good.len().next_multiple_of(1 << 20), 0);
        survive(&host, name, &[], &good);
    }
    // Undamaged they are what they were.
    let out =
        output_of(&["--ro", "--format=raw", "-a", text(&image), "-m", "/dev/sda"], "cat /d/e/f/short\n");
    assert_eq!(out, "inside\n");
}
