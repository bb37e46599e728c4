//! Partitions, file systems and mounts on loop devices, looked at with other tools as well.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use guestd_api::actions::mkfs::MkfsOptions;
use guestd_api::actions::mount::UmountOptions;
use guestd_api::prelude::*;
use std::process::Command;
use support::Agent;

const MIB: u64 = 1 << 20;

fn message(result: Result<impl std::fmt::Debug, guestd_api::Error>) -> String {
    result.unwrap_err().to_string()
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn disks_have_the_users_names() {
    let agent = Agent::with_disks(&[8 * MIB, 16 * MIB]);
    let g = &agent.client;
    assert_eq!(g.list_devices().unwrap(), ["/dev/sda", "/dev/sdb"]);
    assert_eq!((g.nr_devices().unwrap(), g.device_index("/dev/hdb").unwrap()), (2, 1));
    assert_eq!(g.blockdev_getsize64("/dev/sdb").unwrap(), 16 << 20);
    assert_eq!((g.blockdev_getsz("/dev/vdb").unwrap(), g.blockdev_getss("/dev/sda").unwrap()), (32768, 512));
    assert_eq!(g.blockdev_getbsz("/dev/sda").unwrap(), 4096);
    assert_eq!(g.canonical_device_name("/dev/vdb").unwrap(), "/dev/sdb");
    assert_eq!(g.canonical_device_name("/dev/mapper/a-b").unwrap(), "/dev/mapper/a-b");
    let node = agent.loops.first().unwrap().node.to_str().unwrap();
    assert_eq!(g.canonical_device_name(node).unwrap(), "/dev/sda");
    assert_eq!((g.device_name(1).unwrap(), g.max_disks().unwrap()), ("/dev/sdb".into(), 255));
    assert_eq!(message(g.device_name(2)), "device_name: 2: device not found");
    assert!(g.list_disk_labels().unwrap().is_empty());
    assert_eq!(
        message(g.blockdev_getsize64("/dev/sdc")),
        "blockdev_getsize64: /dev/sdc: No such file or directory"
    );
    assert_eq!(
        message(g.blockdev_getsize64("sda")),
        "blockdev_getsize64: device: 'sda': expecting a device name"
    );
    assert_eq!(message(g.ls("/")), "ls: you must call 'mount' first to mount the root filesystem");
    g.blockdev_setro("/dev/sda").unwrap();
    assert!(g.blockdev_getro("/dev/sda").unwrap());
    g.blockdev_setrw("/dev/sda").unwrap();
    assert!(!g.blockdev_getro("/dev/sda").unwrap());
    assert_eq!(
        g.list_filesystems().unwrap(),
        [("/dev/sda".into(), "unknown".into()), ("/dev/sdb".into(), "unknown".into())]
    );
}

#[test]
fn gpt_partitions() {
    let agent = Agent::with_disks(&[64 * MIB]);
    let g = &agent.client;
    g.part_init("/dev/sda", "gpt").unwrap();
    g.part_add("/dev/sda", "p", 2048, 18431).unwrap();
    g.part_add("/dev/sda", "p", 18432, -34).unwrap();
    assert_eq!(g.list_partitions().unwrap(), ["/dev/sda1", "/dev/sda2"]);
    let parts = g.part_list("/dev/sda").unwrap();
    let ranges: Vec<_> = parts.iter().map(|p| (p.part_num, p.part_start, p.part_end, p.part_size)).collect();
    let last = (64 << 20) - 33 * 512 - 1;
    assert_eq!(ranges, [(1, MIB, 9 * MIB - 1, 8 * MIB), (2, 9 * MIB, last, last + 1 - 9 * MIB)]);
    let esp = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    g.part_set_gpt_type("/dev/sda", 1, esp).unwrap();
    g.part_set_gpt_guid("/dev/sda", 1, "01234567-89ab-cdef-0123-456789abcdef").unwrap();
    g.part_set_name("/dev/sda", 1, "EFI System: \"ü\"").unwrap();
    g.part_set_disk_guid("/dev/sda", "11234567-89AB-CDEF-0123-456789ABCDEF").unwrap();
    assert_eq!(
        (g.part_get_gpt_type("/dev/sda", 1).unwrap(), g.part_get_bootable("/dev/sda", 1).unwrap()),
        (esp.into(), true)
    );
    assert_eq!(g.part_get_name("/dev/sda", 1).unwrap(), "EFI System: \"ü\"");
    assert_eq!(g.part_get_parttype("/dev/sda").unwrap(), "gpt");
    let node = agent.loops.first().unwrap().node.to_str().unwrap();
    let dump = output("sfdisk", &["--dump", node]);
    for text in [
        esp,
        "name=\"EFI System: ",
        "uuid=01234567-89AB-CDEF-0123-456789ABCDEF",
        "label-id: 11234567-89AB-CDEF-0123-456789ABCDEF",
        "start=        2048, size=       16384",
    ] {
        assert!(dump.contains(text), "'{text}' in {dump}");
    }
    assert_eq!(
        (g.part_to_dev("/dev/sda2").unwrap(), g.part_to_partnum("/dev/sda2").unwrap()),
        ("/dev/sda".into(), 2)
    );
    g.part_resize("/dev/sda", 2, 40959).unwrap();
    g.part_del("/dev/sda", 1).unwrap();
    assert_eq!(g.list_partitions().unwrap(), ["/dev/sda2"]);
    assert_eq!(g.part_list("/dev/sda").unwrap().first().unwrap().part_end, 40960 * 512 - 1);
    assert!(message(g.part_get_name("/dev/sda", 1)).contains("partition 1 not found"));
    assert!(message(g.part_get_mbr_id("/dev/sda", 2)).contains("no MBR"));
    assert_eq!(message(g.part_del("/dev/sda", 0)), "part_del: partition number must be >= 1");
    assert!(
        message(g.part_add("/dev/sda", "p", 2048, 10_000_000)).starts_with("part_add: parted: /dev/sda: ")
    );
    assert!(message(g.part_set_gpt_type("/dev/sda", 2, "nonsense")).contains("not a valid GUID"));
}

#[test]
fn mbr_partitions() {
    let agent = Agent::with_disks(&[64 * MIB]);
    let g = &agent.client;
    assert!(message(g.part_list("/dev/sda")).contains("unrecognised disk label"));
    g.part_disk("/dev/sda", "mbr").unwrap();
    assert_eq!(g.part_list("/dev/sda").unwrap().first().unwrap().part_start, 128 * 512);
    assert_eq!(g.part_list("/dev/sda").unwrap().first().unwrap().part_end, (64 << 20) - 127 * 512 - 1);
    g.part_init("/dev/sda", "msdos").unwrap();
    g.part_add("/dev/sda", "primary", 2048, 18431).unwrap();
    g.part_add("/dev/sda", "e", 18432, -1).unwrap();
    g.part_add("/dev/sda", "l", 20480, 40959).unwrap();
    assert_eq!(g.list_partitions().unwrap(), ["/dev/sda1", "/dev/sda2", "/dev/sda5"]);
    let kind = |number| g.part_get_mbr_part_type("/dev/sda", number).unwrap().to_string();
    assert_eq!((kind(1), kind(2), kind(5)), ("primary".into(), "extended".into(), "logical".into()));
    g.part_set_mbr_id("/dev/sda", 5, 0x8e).unwrap();
    assert_eq!(g.part_get_mbr_id("/dev/sda", 5).unwrap(), 0x8e);
    g.part_set_bootable("/dev/sda", 1, true).unwrap();
    assert_eq!(
        (g.part_get_bootable("/dev/sda", 1).unwrap(), g.part_get_bootable("/dev/sda", 5).unwrap()),
        (true, false)
    );
    let starts: Vec<u64> =
        g.part_list("/dev/sda").unwrap().iter().map(|part| part.part_start / 512).collect();
    assert_eq!(starts, [2048, 18432, 20480]);
    // An extended partition holds no file system.
    let names: Vec<_> = g.list_filesystems().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["/dev/sda1", "/dev/sda5"]);
}

#[test]
fn file_systems_are_made_labelled_and_mounted() {
    let agent = Agent::with_disks(&[900 * MIB]);
    let g = &agent.client;
    let sectors = [2048, 700_000, 1_000_000, 1_400_000, 1_700_000];
    g.part_init("/dev/sda", "gpt").unwrap();
    for pair in sectors.windows(2) {
        let &[first, next] = pair else { panic!() };
        g.part_add("/dev/sda", "p", first, next - 1).unwrap();
    }
    g.mkfs("xfs", "/dev/sda1", MkfsOptions::default().label("data")).unwrap();
    g.mkfs("ext4", "/dev/sda2", MkfsOptions::default().blocksize(1024).inode(512).features("^huge_file"))
        .unwrap();
    g.mkfs("btrfs", "/dev/sda3", Default::default()).unwrap();
    g.mkswap("/dev/sda4", guestd_api::actions::mkfs::MkswapOptions::default().label("sw")).unwrap();
    let found: Vec<_> =
        g.list_filesystems().unwrap().into_iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_eq!(found, ["/dev/sda1 xfs", "/dev/sda2 ext4", "/dev/sda3 btrfs", "/dev/sda4 swap"]);
    g.set_label("/dev/sda2", "root").unwrap();
    g.set_label("/dev/sda3", "bt").unwrap();
    g.set_uuid("/dev/sda2", "01234567-89ab-cdef-0123-456789abcdef").unwrap();
    let node = format!("{}p2", agent.loops.first().unwrap().node.display());
    let header = output("dumpe2fs", &["-h", &node]);
    for text in [
        "Block size:               1024",
        "Inode size:\t          512",
        "root",
        "01234567-89ab-cdef-0123-456789abcdef",
    ] {
        assert!(header.contains(text), "'{text}' in {header}");
    }
    let label = |device| g.vfs_label(device).unwrap().to_string();
    assert_eq!(
        (label("/dev/sda1"), label("/dev/sda2"), label("/dev/sda3"), label("/dev/sda4")),
        ("data".into(), "root".into(), "bt".into(), "sw".into())
    );
    assert_eq!(
        (g.vfs_type("/dev/sda1").unwrap(), g.vfs_uuid("/dev/sda2").unwrap().len()),
        ("xfs".into(), 36)
    );
    assert!(message(g.set_label("/dev/sda1", "more than twelve")).contains("limited to 12 bytes"));
    assert_eq!(g.findfs_label("data").unwrap(), "/dev/sda1");
    assert_eq!(g.fsck("ext4", "/dev/sda2").unwrap(), 0);
    assert!(
        message(g.mkfs("btrfs", "/dev/sda3", MkfsOptions::default().blocksize(4096))).contains("mkfs-btrfs")
    );
    assert!(
        message(g.mkfs("ext4", "/dev/sda2", MkfsOptions::default().blocksize(1000))).contains("power of 2")
    );

    g.mount("/dev/sda2", "/").unwrap();
    g.mkdir("/data").unwrap();
    g.mount_options("noatime", "/dev/sda1", "/data").unwrap();
    g.write("/data/x", "content").unwrap();
    assert_eq!(
        g.mountpoints().unwrap(),
        [("/dev/sda2".into(), "/".into()), ("/dev/sda1".into(), "/data".into())]
    );
    assert_eq!(g.mounts().unwrap(), ["/dev/sda2", "/dev/sda1"]);
    let space = g.statvfs("/data").unwrap();
    assert!(space.blocks * space.frsize > 200 << 20 && space.bavail < space.blocks);
    let df = g.df().unwrap().to_string();
    assert!(df.contains("/dev/sda1") && df.contains(" /data\n") && df.contains("% /\n"), "{df}");
    g.fill(0x41, 1 << 20, "/data/big").unwrap();
    g.sync().unwrap();
    assert_eq!(g.du("/data").unwrap(), i64::from(1024 + 4));
    g.fstrim("/data", Default::default()).unwrap();
    // A mount that is in the way, and moving between file systems.
    assert!(message(g.umount("/", UmountOptions::default())).contains("busy"));
    g.mv("/data/big", "/big").unwrap();
    assert_eq!((g.filesize("/big").unwrap(), g.exists("/data/big").unwrap()), (1 << 20, false));
    g.umount("/dev/sda1", UmountOptions::default()).unwrap();
    assert!(!g.exists("/data/x").unwrap());
    g.mount_ro("/dev/sda1", "/data").unwrap();
    assert_eq!(g.cat("/data/x").unwrap(), "content");
    assert_eq!(message(g.touch("/data/x")), "touch: /data/x: Read-only file system");
    g.umount_all().unwrap();
    assert_eq!(g.mounts().unwrap(), [""; 0]);
    assert!(message(g.mount("/dev/sda4", "/")).contains("mount: /dev/sda4 on / (options: '')"));
    assert!(message(g.umount("/dev/sda1", UmountOptions::default())).contains("not mounted"));

    // Side by side, without one at the root.
    g.mkmountpoint("/a").unwrap();
    g.mount("/dev/sda3", "/a").unwrap();
    assert_eq!(g.ls("/").unwrap(), ["a"]);
    g.umount("/a", UmountOptions::default()).unwrap();
    g.rmmountpoint("/a").unwrap();
}

#[test]
fn btrfs_subvolumes_are_file_systems_of_their_own() {
    let agent = Agent::with_disks(&[200 * MIB]);
    let g = &agent.client;
    g.mkfs("btrfs", "/dev/sda", Default::default()).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    g.mkdir("/usr").unwrap();
    g.btrfs_subvolume_create("/my root", Default::default()).unwrap();
    assert!(
        g.btrfs_subvolume_create("/my root", Default::default())
            .unwrap_err()
            .to_string()
            .contains("/my root")
    );
    let volume = "btrfsvol:/dev/sda/my root";
    let found = g.list_filesystems().unwrap();
    assert_eq!(found, [("/dev/sda".into(), "btrfs".into()), (volume.into(), "btrfs".into())]);
    g.write("/my root/x", "in it").unwrap();
    g.umount_all().unwrap();
    g.mount(volume, "/").unwrap();
    assert_eq!(g.cat("/x").unwrap(), "in it");
    assert_eq!(
        (g.mountable_device(volume).unwrap(), g.mountable_subvolume(volume).unwrap()),
        ("/dev/sda".into(), "my root".into())
    );
    assert!(g.mountable_subvolume("/dev/sda").is_err());
    let read_only = guestd_api::actions::btrfs::BtrfsSubvolumeSnapshotOptions::default().ro(true);
    g.btrfs_subvolume_snapshot("/", "/snap", read_only).unwrap();
    assert_eq!(g.cat("/snap/x").unwrap(), "in it");
    assert!(message(g.touch("/snap/y")).ends_with("Read-only file system"));
    // By a path on it the names are relative to the subvolume mounted there, by its device to the whole.
    let (by_path, whole) =
        (g.btrfs_subvolume_list("/").unwrap(), g.btrfs_subvolume_list("/dev/sda").unwrap());
    let ids = |list: &[guestd_api::structs::Btrfssubvolume]| {
        list.iter().map(|v| v.btrfssubvolume_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&by_path), ids(&whole));
    let paths: Vec<_> = whole.iter().map(|volume| volume.btrfssubvolume_path.to_string()).collect();
    assert_eq!(paths, ["my root", "my root/snap"]);
    let id = by_path.first().unwrap().btrfssubvolume_id.cast_signed();
    assert_eq!(g.btrfs_subvolume_get_default("/dev/sda").unwrap(), 5);
    g.btrfs_subvolume_set_default(id, "/").unwrap();
    assert_eq!(g.btrfs_subvolume_get_default("/").unwrap(), id);
    g.btrfs_subvolume_delete("/snap").unwrap();
    assert_eq!(g.list_filesystems().unwrap(), [("/dev/sda".into(), "btrfs".into())]);
}
