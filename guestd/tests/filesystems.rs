//! btrfs, XFS, labels and sizes on loop devices, judged by the tools of this machine.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::actions::btrfs::BtrfsSubvolumeSnapshotOptions;
use guestd_api::actions::btrfs_volume::{
    BtrfsFilesystemDefragmentOptions, BtrfsFilesystemResizeOptions, BtrfsFsckOptions, BtrfsImageOptions,
    BtrfsScrubFullOptions, MkfsBtrfsOptions,
};
use guestd_api::actions::mkfs::MkfsOptions;
use guestd_api::actions::mount::RemountOptions;
use guestd_api::actions::xfs::{XfsAdminOptions, XfsGrowfsOptions, XfsRepairOptions};
use guestd_api::prelude::*;
use std::os::unix::fs::FileExt;
use support::{Agent, MIB, message, output};

fn value(pairs: Vec<(guestd_api::GuestString, guestd_api::GuestString)>, name: &str) -> Option<String> {
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
}

#[test]
fn a_btrfs_of_several_devices() {
    let agent = Agent::with_disks(&[300 * MIB, 300 * MIB, 300 * MIB, 64 * MIB]);
    let g = &agent.client;
    let options =
        MkfsBtrfsOptions::default().datatype("single").metadata("raid1").label("many").nodesize(16384);
    g.mkfs_btrfs(&["/dev/sda", "/dev/sdb"], options).unwrap();
    let dump = output("btrfs", &["inspect-internal", "dump-super", &agent.node(0)]);
    for text in ["num_devices\t\t2", "many", "nodesize\t\t16384"] {
        assert!(dump.contains(text), "'{text}' in {dump}");
    }
    assert_eq!(g.btrfs_filesystem_show("/dev/sdb").unwrap(), ["/dev/sda", "/dev/sdb"]);
    g.mount("/dev/sda", "/").unwrap();
    g.fill(7, 40 << 20, "/big").unwrap();
    g.btrfs_filesystem_sync("/").unwrap();
    g.btrfs_device_add(&["/dev/sdc"], "/").unwrap();
    assert_eq!(g.btrfs_filesystem_show("/dev/sda").unwrap().len(), 3);
    g.btrfs_filesystem_balance("/").unwrap();
    assert_eq!(g.btrfs_balance_status("/").unwrap().btrfsbalance_status, "none");
    for idle in [g.btrfs_balance_cancel("/"), g.btrfs_balance_pause("/"), g.btrfs_balance_resume("/")] {
        let text = message(idle);
        assert!(text.contains(": /: ") && text.to_lowercase().contains("not "), "{text}");
    }
    g.btrfs_device_delete(&["/dev/sdb"], "/").unwrap();
    assert_eq!(g.btrfs_filesystem_show("/dev/sda").unwrap(), ["/dev/sda", "/dev/sdc"]);
    g.btrfs_replace("/dev/sdc", "/dev/sdb", "/").unwrap();
    assert_eq!(g.btrfs_filesystem_show("/dev/sda").unwrap(), ["/dev/sda", "/dev/sdb"]);
    g.btrfs_scrub_full("/", BtrfsScrubFullOptions::default()).unwrap();
    g.btrfs_scrub_full("/", BtrfsScrubFullOptions::default().readonly(true)).unwrap();
    g.btrfs_filesystem_defragment(
        "/big",
        BtrfsFilesystemDefragmentOptions::default().flush(true).compress("zlib"),
    )
    .unwrap();
    assert_eq!(
        message(
            g.btrfs_filesystem_defragment("/", BtrfsFilesystemDefragmentOptions::default().compress("zip"))
        ),
        "btrfs_filesystem_defragment: unknown compress method: zip"
    );
    assert_eq!(g.checksum("md5", "/big").unwrap().len(), 32);
    g.umount_all().unwrap();
    g.btrfs_fsck("/dev/sda", BtrfsFsckOptions::default()).unwrap();
    output("btrfs", &["check", "--readonly", &agent.node(0)]);

    // One member is gone: that is told, and the rest is not mounted for writing.
    g.wipefs("/dev/sdb").unwrap();
    g.zero("/dev/sdb").unwrap();
    let missing = g.btrfs_filesystem_show("/dev/sda").unwrap_err();
    assert_eq!(
        (missing.to_string(), missing.errno()),
        ("btrfs_filesystem_show: /dev/sda: missing devices".into(), Some(19))
    );

    for (options, text) in [
        (MkfsBtrfsOptions::default().datatype("raid7"), "datatype not one of the allowed values"),
        (MkfsBtrfsOptions::default().bytecount(0), "bytecount must be > 0"),
        (MkfsBtrfsOptions::default().nodesize(5000), "nodesize must be > 0 and a power of two"),
    ] {
        assert_eq!(message(g.mkfs_btrfs(&["/dev/sdd"], options)), format!("mkfs_btrfs: {text}"));
    }
    let none: [&str; 0] = [];
    assert_eq!(
        message(g.mkfs_btrfs(&none, Default::default())),
        "mkfs_btrfs: list of devices must be non-empty"
    );
}

#[test]
fn a_btrfs_is_resized_tuned_and_rescued() {
    let agent = Agent::with_disks(&[400 * MIB, 200 * MIB]);
    let g = &agent.client;
    let superblock = || output("btrfs", &["inspect-internal", "dump-super", "-a", &agent.node(0)]);
    g.mkfs_btrfs(&["/dev/sda"], MkfsBtrfsOptions::default().bytecount(256 << 20)).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g.btrfs_filesystem_resize("/", BtrfsFilesystemResizeOptions::default()).unwrap();
    assert!(superblock().contains(&format!("dev_item.total_bytes\t{}", 400 << 20)));
    g.btrfs_filesystem_resize("/", BtrfsFilesystemResizeOptions::default().size(300 << 20)).unwrap();
    assert_eq!(
        message(g.btrfs_filesystem_resize("/", BtrfsFilesystemResizeOptions::default().size(0))),
        "btrfs_filesystem_resize: size is zero or negative"
    );
    g.fill_pattern("abc", 3 << 20, "/data").unwrap();
    g.umount_all().unwrap();
    assert!(superblock().contains(&format!("dev_item.total_bytes\t{}", 300 << 20)));
    let least = g.vfs_minimum_size("/dev/sda").unwrap();
    assert!((16 << 20..300 << 20).contains(&least), "{least}");

    let flags = |name: &str| superblock().contains(name);
    g.btrfstune_seeding("/dev/sda", true).unwrap();
    assert!(flags("SEEDING"));
    g.btrfstune_seeding("/dev/sda", false).unwrap();
    assert!(!flags("SEEDING"));
    g.btrfs_set_seeding("/dev/sda", true).unwrap();
    assert!(flags("SEEDING"));
    g.btrfstune_seeding("/dev/sda", false).unwrap();
    g.mkfs("btrfs", "/dev/sda", MkfsOptions::default().features("^extref,^skinny-metadata,^no-holes"))
        .unwrap();
    assert!(!flags("EXTENDED_IREF") && !flags("SKINNY_METADATA"));
    g.btrfstune_enable_extended_inode_refs("/dev/sda").unwrap();
    g.btrfstune_enable_skinny_metadata_extent_refs("/dev/sda").unwrap();
    assert!(flags("EXTENDED_IREF") && flags("SKINNY_METADATA"));

    // The first superblock is destroyed and comes back from its copy.
    let disk = std::fs::File::options().write(true).open(agent.node(0)).unwrap();
    disk.write_all_at(&[0; 4096], 65536).unwrap();
    disk.sync_all().unwrap();
    assert!(g.btrfs_fsck("/dev/sda", BtrfsFsckOptions::default()).is_err());
    g.btrfs_fsck("/dev/sda", BtrfsFsckOptions::default().superblock(1)).unwrap();
    g.btrfs_rescue_super_recover("/dev/sda").unwrap();
    output("btrfs", &["check", "--readonly", &agent.node(0)]);
    g.btrfs_rescue_chunk_recover("/dev/sda").unwrap();
    output("btrfs", &["check", "--readonly", &agent.node(0)]);
    assert!(message(g.btrfs_fsck("/dev/sdb", Default::default())).starts_with("btrfs_fsck: /dev/sdb: "));

    // A dump of the metadata is a file that the same program takes back.
    g.mkfs("ext4", "/dev/sdb", Default::default()).unwrap();
    g.mount("/dev/sdb", "/").unwrap();
    g.btrfs_image(&["/dev/sda"], "/dump", BtrfsImageOptions::default().compresslevel(9)).unwrap();
    let mut dump = tempfile::NamedTempFile::new().unwrap();
    g.download("/dump", &mut dump).unwrap();
    let restored = tempfile::NamedTempFile::new().unwrap();
    output("btrfs-image", &["-r", dump.path().to_str().unwrap(), restored.path().to_str().unwrap()]);
    assert!(
        output("btrfs", &["inspect-internal", "dump-super", restored.path().to_str().unwrap()])
            .contains("_BHRfS_M")
    );
}

#[test]
fn subvolumes_and_quotas() {
    let agent = Agent::with_disks(&[300 * MIB]);
    let g = &agent.client;
    g.mkfs("btrfs", "/dev/sda", Default::default()).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g.btrfs_subvolume_create("/home", Default::default()).unwrap();
    g.btrfs_subvolume_snapshot("/home", "/snap", BtrfsSubvolumeSnapshotOptions::default().ro(true)).unwrap();
    let of_home = g.btrfs_subvolume_show("/home").unwrap();
    assert_eq!(of_home.first(), Some(&("path".into(), "home".into())));
    assert_eq!(value(of_home.clone(), "Name"), Some("home".into()));
    assert_eq!(value(of_home.clone(), "Parent UUID"), Some(String::new()));
    assert_eq!(value(of_home.clone(), "Snapshot(s)"), Some("snap".into()));
    assert_eq!(value(g.btrfs_subvolume_show("/snap").unwrap(), "Flags"), Some("readonly".into()));
    g.mkdir("/plain").unwrap();
    assert!(message(g.btrfs_subvolume_show("/plain")).starts_with("btrfs_subvolume_show: /plain: "));

    g.btrfs_quota_enable("/", true).unwrap();
    g.btrfs_qgroup_create("1/100", "/").unwrap();
    let id = value(of_home, "Subvolume ID").unwrap();
    g.btrfs_qgroup_assign(format!("0/{id}"), "1/100", "/").unwrap();
    let place = agent.inside("/");
    let seen = || output("btrfs", &["qgroup", "show", "-p", "--raw", place.to_str().unwrap()]);
    assert!(
        seen().lines().any(|line| line.starts_with(&format!("0/{id} ")) && line.contains("1/100")),
        "{}",
        seen()
    );
    g.btrfs_quota_rescan("/").ok();
    let groups =
        || g.btrfs_qgroup_show("/").unwrap().iter().map(|g| g.btrfsqgroup_id.to_string()).collect::<Vec<_>>();
    assert!(
        groups().contains(&"1/100".to_owned()) && groups().contains(&format!("0/{id}")),
        "{:?}",
        groups()
    );
    g.btrfs_qgroup_limit("/home", 8 << 20).unwrap();
    g.btrfs_filesystem_sync("/").unwrap();
    assert!(message(g.fill(1, 20 << 20, "/home/big")).contains("Disk quota exceeded"));
    g.fill(1, 20 << 20, "/plain/big").unwrap();
    g.btrfs_qgroup_remove(format!("0/{id}"), "1/100", "/").unwrap();
    g.btrfs_qgroup_destroy("1/100", "/").unwrap();
    assert!(!groups().contains(&"1/100".to_owned()));
    g.umount_all().unwrap();
    g.btrfs_quota_enable("/dev/sda", false).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    assert!(g.btrfs_qgroup_show("/").is_err());
}

#[test]
fn xfs_geometry_growth_and_repair() {
    let agent = Agent::with_disks(&[700 * MIB, 400 * MIB]);
    let g = &agent.client;
    output("mkfs.xfs", &["-q", "-f", "-d", "size=400m", &agent.node(0)]);
    let info = g.xfs_info("/dev/sda").unwrap();
    assert_eq!(
        (info.xfs_mntpoint.to_string(), info.xfs_blocksize, info.xfs_datablocks),
        ("/dev/sda".into(), 4096, 102_400)
    );
    assert_eq!(
        (info.xfs_inodesize, info.xfs_sectsize, info.xfs_logname.to_string()),
        (512, 512, "internal log".into())
    );
    assert_eq!(
        (info.xfs_dirversion, info.xfs_rtname.to_string(), info.xfs_agcount * info.xfs_agsize),
        (2, "none".into(), 102_400)
    );
    let all = g.xfs_info2("/dev/sda").unwrap();
    assert_eq!(all.first(), Some(&("meta-data".into(), "/dev/sda".into())));
    assert_eq!(value(all.clone(), "data.blocks"), Some("102400".into()));
    assert_eq!(
        (value(all.clone(), "meta-data.crc"), value(all, "naming")),
        (Some("1".into()), Some("version 2".into()))
    );
    assert_eq!(g.vfs_minimum_size("/dev/sda").unwrap(), 400 << 20);

    g.xfs_admin(
        "/dev/sda",
        XfsAdminOptions::default().label("grown").uuid("01234567-89ab-cdef-0123-456789abcdef"),
    )
    .unwrap();
    assert!(
        output("blkid", &["-p", &agent.node(0)])
            .contains("LABEL=\"grown\" UUID=\"01234567-89ab-cdef-0123-456789abcdef\"")
    );
    g.mount("/dev/sda", "/").unwrap();
    assert!(
        message(g.xfs_growfs("/", XfsGrowfsOptions::default().maxpct(-1))).ends_with("maxpct must be >= 0")
    );
    g.xfs_growfs("/", XfsGrowfsOptions::default().datasec(true).datasize(120_000)).unwrap();
    assert_eq!(g.xfs_info("/").unwrap().xfs_datablocks, 120_000);
    g.xfs_growfs("/", Default::default()).unwrap();
    let info = g.xfs_info("/").unwrap();
    assert_eq!((info.xfs_datablocks, info.xfs_mntpoint.to_string()), (179_200, "/dev/sda".into()));
    g.write("/x", "y").unwrap();
    g.umount_all().unwrap();

    assert_eq!(g.xfs_repair("/dev/sda", XfsRepairOptions::default().nomodify(true)).unwrap(), 0);
    output("xfs_db", &["-x", "-c", "sb 0", "-c", "write -d icount 77777", &agent.node(0)]);
    assert_eq!(g.xfs_repair("/dev/sda", XfsRepairOptions::default().nomodify(true)).unwrap(), 1);
    assert_eq!(g.xfs_repair("/dev/sda", XfsRepairOptions::default()).unwrap(), 0);
    output("xfs_repair", &["-n", &agent.node(0)]);
    assert!(
        message(g.xfs_repair("/dev/sda", XfsRepairOptions::default().maxmem(-1)))
            .contains("maxmem must be >= 0")
    );
    // In a file of the guest; a fifo is none.
    g.mkfs("ext4", "/dev/sdb", Default::default()).unwrap();
    g.mount("/dev/sdb", "/").unwrap();
    g.touch("/image").unwrap();
    g.truncate_size("/image", 310 << 20).unwrap();
    agent.make_fifo("/fifo");
    assert_eq!(message(g.xfs_repair("/fifo", Default::default())), "xfs_repair: /fifo: not a regular file");
    assert_eq!(g.xfs_repair("/image", XfsRepairOptions::default().nomodify(true)).unwrap(), 1);
}

#[test]
fn labels_and_uuids_of_partitions_and_file_systems() {
    let agent = Agent::with_disks(&[600 * MIB]);
    let g = &agent.client;
    g.part_init("/dev/sda", "gpt").unwrap();
    g.part_add("/dev/sda", "p", 2048, 700_000).unwrap();
    g.part_add("/dev/sda", "p", 700_001, 1_000_000).unwrap();
    g.part_set_name("/dev/sda", 2, "a name for fs").unwrap();
    g.part_set_gpt_guid("/dev/sda", 2, "01234567-89AB-CDEF-0123-4567FEDCBA98").unwrap();
    assert_eq!(g.findfs_partlabel("a name for fs").unwrap(), "/dev/sda2");
    assert_eq!(g.findfs_partuuid("01234567-89AB-CDEF-0123-4567fedcba98").unwrap(), "/dev/sda2");
    assert_eq!(
        message(g.findfs_partlabel("none such")),
        "findfs_partlabel: findfs exited with status 1: findfs: unable to resolve 'PARTLABEL=none such'"
    );
    for kind in ["xfs", "ext4", "btrfs"] {
        g.mkfs(kind, "/dev/sda1", Default::default()).unwrap();
        let before = g.vfs_uuid("/dev/sda1").unwrap();
        g.set_uuid_random("/dev/sda1").unwrap();
        let after = g.vfs_uuid("/dev/sda1").unwrap();
        assert!(after != before && after.len() == 36, "{kind}: {before} {after}");
    }
    g.mkswap("/dev/sda2", Default::default()).unwrap();
    let before = g.vfs_uuid("/dev/sda2").unwrap();
    g.set_uuid_random("/dev/sda2").unwrap();
    assert!(g.vfs_uuid("/dev/sda2").unwrap() != before);
    g.mkfs("vfat", "/dev/sda2", MkfsOptions::default().label("FATTY")).unwrap();
    let all = g.blkid("/dev/sda2").unwrap();
    for (name, expected) in [
        ("DEVNAME", "/dev/sda2"),
        ("TYPE", "vfat"),
        ("LABEL", "FATTY"),
        ("USAGE", "filesystem"),
        ("PART_ENTRY_UUID", "01234567-89ab-cdef-0123-4567fedcba98"),
    ] {
        assert_eq!(value(all.clone(), name), Some(expected.into()), "{all:?}");
    }
    let refused = g.set_uuid_random("/dev/sda2").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "set_uuid_random: don't know how to set the random UUID for 'vfat' filesystems"
    );
    let refused = g.vfs_minimum_size("/dev/sda2").unwrap_err();
    assert_eq!(refused.errno(), Some(95), "{refused}");
    g.mkfs_b("ext2", 2048, "/dev/sda2").unwrap();
    assert!(
        output("dumpe2fs", &["-h", &format!("{}p2", agent.node(0))])
            .contains("Block size:               2048")
    );
}

#[test]
fn remounting_and_file_systems_in_files() {
    let agent = Agent::with_disks(&[400 * MIB]);
    let g = &agent.client;
    g.mkfs("ext4", "/dev/sda", Default::default()).unwrap();
    g.mount_ro("/dev/sda", "/").unwrap();
    assert_eq!(message(g.touch("/x")), "touch: /x: Read-only file system");
    g.remount("/", RemountOptions::default().rw(true)).unwrap();
    g.touch("/x").unwrap();
    g.remount("/", RemountOptions::default().rw(false)).unwrap();
    assert_eq!(message(g.touch("/y")), "touch: /y: Read-only file system");
    g.remount("/", RemountOptions::default().rw(true)).unwrap();
    g.mkdir("/inner").unwrap();
    assert!(
        message(g.remount("/inner", RemountOptions::default().rw(true))).starts_with("remount: /inner: ")
    );

    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(20 << 20).unwrap();
    output("mkfs.ext4", &["-q", "-F", "-L", "inside", image.path().to_str().unwrap()]);
    g.upload(image.as_file(), "/image").unwrap();
    g.mount_loop("/image", "/inner").unwrap();
    g.write("/inner/deep", "down").unwrap();
    assert!(g.mounts().unwrap().iter().any(|device| device.as_bytes().starts_with(b"/dev/loop")));
    assert!(message(g.mount_loop("/x", "/inner")).starts_with("mount_loop: /dev/loop"));
    assert_eq!(message(g.mount_loop("/inner", "/inner")), "mount_loop: /inner: Is a directory");
    agent.make_fifo("/fifo");
    assert_eq!(message(g.mount_loop("/fifo", "/inner")), "mount_loop: /fifo: not a regular file");
    // Everything comes off, and with that the loop device is free.
    g.umount_all().unwrap();
    g.mount_ro("/dev/sda", "/").unwrap();
    g.mount_loop("/image", "/inner").unwrap();
    assert_eq!(g.cat("/inner/deep").unwrap(), "down");
    assert!(g.touch("/inner/more").is_err());
    g.umount_all().unwrap();
    assert!(message(g.list_9p()).starts_with("list_9p: "));
    assert!(message(g.mount_9p("tag", "/", Default::default())).starts_with("mount_9p: "));
}
