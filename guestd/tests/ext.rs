//! What is particular to ext2/3/4, judged by the kernel and by debugfs.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::actions::ext::{E2fsckOptions, Mke2fsOptions, SetE2attrsOptions, Tune2fsOptions};
use guestd_api::actions::mkfs::MkfsOptions;
use guestd_api::prelude::*;
use support::{Agent, MIB, message, output};

#[test]
fn file_systems_are_made_and_tuned() {
    let agent = Agent::with_disks(&[64 * MIB, 16 * MIB]);
    let g = &agent.client;
    let (node, journal) = (agent.node(0), agent.node(1));
    let options = Mke2fsOptions::default().fstype("ext4").blocksize(1024).inodesize(512).label("made");
    let options = options.numberofinodes(1024).reservedblockspercentage(3).hasjournal(false).extent(true);
    let options =
        options.uuid("01234567-89ab-cdef-0123-456789abcdef").stridesize(8).lastmounteddir("/was here");
    g.mke2fs("/dev/sda", options.blockscount(32768)).unwrap();
    let header = output("dumpe2fs", &["-h", &node]);
    for text in [
        "Filesystem volume name:   made",
        "Last mounted on:          /was here",
        "Filesystem UUID:          01234567-89ab-cdef-0123-456789abcdef",
        "Inode count:              1024",
        "Block count:              32768",
        "Reserved block count:     983",
        "Block size:               1024",
        "Inode size:\t          512",
        "RAID stride:              8",
    ] {
        assert!(header.contains(text), "'{text}' in {header}");
    }
    assert!(header.contains("extent") && !header.contains("has_journal"));
    let value = |name: &str| {
        let all = g.tune2fs_l("/dev/sda").unwrap();
        all.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
    };
    assert_eq!(
        (value("Filesystem volume name"), value("Block count")),
        (Some("made".into()), Some("32768".into()))
    );
    assert_eq!(g.get_e2label("/dev/sda").unwrap(), "made");
    g.set_e2label("/dev/sda", "renamed").unwrap();
    assert_eq!(g.get_e2uuid("/dev/sda").unwrap(), "01234567-89ab-cdef-0123-456789abcdef");
    g.set_e2uuid("/dev/sda", "clear").unwrap();
    assert_eq!(value("Filesystem UUID"), Some(String::new()));
    let options =
        Tune2fsOptions::default().maxmountcount(7).mountcount(3).errorbehavior("remount-ro").group(12);
    let options =
        options.intervalbetweenchecks(86400).reservedblockscount(77).user(34).lastmounteddirectory("/x");
    g.tune2fs("/dev/sda", options).unwrap();
    let header = output("dumpe2fs", &["-h", &node]);
    for text in [
        "renamed",
        "Maximum mount count:      7",
        "Mount count:              3",
        "Errors behavior:          Remount read-only",
        "Check interval:           86400",
        "Reserved block count:     77",
        "Reserved blocks uid:      34",
        "Reserved blocks gid:      12",
        "Last mounted on:          /x",
    ] {
        assert!(header.contains(text), "'{text}' in {header}");
    }
    let refused = message(g.tune2fs("/dev/sda", Tune2fsOptions::default().errorbehavior("explode")));
    assert_eq!(refused, "tune2fs: invalid errorbehavior parameter: explode");
    let refused = message(g.tune2fs("/dev/sda", Tune2fsOptions::default().group(-1)));
    assert_eq!(refused, "tune2fs: group cannot be negative");
    let refused = message(g.mke2fs("/dev/sda", Mke2fsOptions::default().fstype("xfs")));
    assert_eq!(refused, "mke2fs: xfs: not a valid extended filesystem type");
    let refused = message(g.mke2fs("/dev/sda", Mke2fsOptions::default().blocksize(-1)));
    assert_eq!(refused, "mke2fs: blocksize must be >= 0");

    // A journal elsewhere, in each of the ways to name it.
    let uuid = "fedcba98-7654-3210-fedc-ba9876543210";
    g.mke2journal(4096, "/dev/sdb").unwrap();
    assert!(output("dumpe2fs", &["-h", &journal]).contains("Journal features"));
    g.mke2fs_J("ext3", 4096, "/dev/sda", "/dev/sdb").unwrap();
    let device = |name: &str| output("dumpe2fs", &["-h", &node]).contains(name);
    assert!(device("Journal device:"));
    g.mke2journal_U(4096, uuid, "/dev/sdb").unwrap();
    g.mke2fs_JU("ext4", 4096, "/dev/sda", uuid).unwrap();
    assert!(device(&format!("Journal UUID:             {uuid}")));
    g.mke2journal_L(4096, "THEJOURNAL", "/dev/sdb").unwrap();
    assert!(output("blkid", &["-p", "-o", "value", "-s", "LABEL", &journal]).contains("THEJOURNAL"));
    g.mke2fs_JL("ext4", 4096, "/dev/sda", "THEJOURNAL").unwrap();
    assert!(device("Journal UUID:"));
    g.mke2fs("/dev/sda", Mke2fsOptions::default().fstype("ext4").blocksize(4096).journaldevice("/dev/sdb"))
        .unwrap();
    assert!(device("Journal UUID:"));
    assert_eq!(
        message(g.mke2journal_L(4096, "more than sixteen bytes", "/dev/sdb")),
        "mke2journal_L: more than sixteen bytes: ext2/3/4 labels are limited to 16 bytes"
    );
    assert_eq!(
        message(g.mke2fs_JL("vfat", 4096, "/dev/sda", "x")),
        "mke2fs_JL: vfat: not a valid extended filesystem type"
    );
}

#[test]
fn sizes_follow_the_device_or_the_content() {
    let agent = Agent::with_disks(&[128 * MIB]);
    let g = &agent.client;
    let blocks = || -> u64 {
        let header = output("dumpe2fs", &["-h", &agent.node(0)]);
        let line = header.lines().find(|line| line.starts_with("Block count:")).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    g.mke2fs("/dev/sda", Mke2fsOptions::default().fstype("ext4").blocksize(4096).blockscount(8192)).unwrap();
    g.resize2fs("/dev/sda").unwrap();
    assert_eq!(blocks(), 32768);
    g.resize2fs_size("/dev/sda", 64 << 20).unwrap();
    assert_eq!(blocks(), 16384);
    let least = g.vfs_minimum_size("/dev/sda").unwrap().cast_unsigned();
    g.resize2fs_M("/dev/sda").unwrap();
    assert!(blocks() < 16384 && blocks() * 4096 <= least, "{} {least}", blocks());
    assert_eq!(
        message(g.resize2fs_size("/dev/sda", 1000)),
        "resize2fs_size: 1000: size must be a round number of kilobytes"
    );
    assert!(message(g.resize2fs_size("/dev/sda", 1 << 20)).contains("New size smaller than minimum"));
}

#[test]
fn damage_is_found_and_repaired() {
    let agent = Agent::with_disks(&[32 * MIB]);
    let g = &agent.client;
    g.mke2fs("/dev/sda", Mke2fsOptions::default().fstype("ext4")).unwrap();
    // Without a choice it would have to ask.
    assert!(message(g.e2fsck("/dev/sda", E2fsckOptions::default())).contains("need terminal"));
    g.e2fsck("/dev/sda", E2fsckOptions::default().forceno(true)).unwrap();
    let damage = || drop(output("debugfs", &["-w", "-R", "clri lost+found", &agent.node(0)]));
    damage();
    let found = message(g.e2fsck("/dev/sda", E2fsckOptions::default().forceno(true)));
    assert!(found.starts_with("e2fsck: ") && found.contains("Pass 1"), "{found}");
    g.e2fsck("/dev/sda", E2fsckOptions::default().correct(true)).unwrap();
    output("e2fsck", &["-fn", &agent.node(0)]);
    damage();
    g.e2fsck("/dev/sda", E2fsckOptions::default().forceall(true)).unwrap();
    output("e2fsck", &["-fn", &agent.node(0)]);
    g.e2fsck_f("/dev/sda").unwrap();
    assert_eq!(
        message(g.e2fsck("/dev/sda", E2fsckOptions::default().correct(true).forceall(true))),
        "e2fsck: only one of the options 'correct', 'forceall' may be specified"
    );
    // The directory that is gone comes back.
    output("debugfs", &["-w", "-R", "rmdir lost+found", &agent.node(0)]);
    g.mount("/dev/sda", "/").unwrap();
    g.mklost_and_found("/").unwrap();
    assert!(g.stat("/lost+found").unwrap().size >= 8192);
    assert!(message(g.mklost_and_found("/")).starts_with("mklost_and_found: /: "));
}

#[test]
fn attributes_and_generations_of_files() {
    let agent = Agent::with_disks(&[32 * MIB]);
    let g = &agent.client;
    // A checksum of the inode would cover its generation, which then cannot be changed.
    g.mkfs("ext4", "/dev/sda", MkfsOptions::default().features("^metadata_csum")).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g.touch("/file").unwrap();
    g.mkdir("/d").unwrap();
    agent.make_fifo("/fifo");
    assert_eq!(g.get_e2attrs("/file").unwrap(), "e");
    g.set_e2attrs("/file", "Aid", SetE2attrsOptions::default()).unwrap();
    assert_eq!(g.get_e2attrs("/file").unwrap(), "Adei");
    assert_eq!(message(g.write("/file", "x")), "write: /file: Operation not permitted");
    g.set_e2attrs("/file", "i", SetE2attrsOptions::default().clear(true)).unwrap();
    g.write("/file", "x").unwrap();
    assert_eq!(g.get_e2attrs("/file").unwrap(), "Ade");
    g.set_e2attrs("/file", "", Default::default()).unwrap();
    assert_eq!(
        message(g.set_e2attrs("/file", "aa", Default::default())),
        "set_e2attrs: duplicate file attribute 'a'"
    );
    assert_eq!(
        message(g.set_e2attrs("/file", "R", Default::default())),
        "set_e2attrs: bad file attribute 'R'"
    );
    assert!(g.get_e2attrs("/fifo").is_err());
    assert!(message(g.get_e2attrs("/none")).starts_with("get_e2attrs: lsattr: /none: "));
    g.set_e2generation("/file", 123_456).unwrap();
    assert_eq!(g.get_e2generation("/file").unwrap(), 123_456);
    g.umount_all().unwrap();
    assert!(output("debugfs", &["-R", "stat file", &agent.node(0)]).contains("Generation: 123456"));
}
