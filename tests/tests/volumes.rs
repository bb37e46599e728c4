//! Volumes of all kinds in a booted appliance: LVM, software RAID, encryption. What was made is looked at by the
//! kernel behind another action, by another boot, or by tools of this system on the image.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use guestd_api::actions::copy::{CopyDeviceToFileOptions, CopyFileToDeviceOptions, CopyFileToFileOptions};
use guestd_api::actions::luks::CryptsetupOpenOptions;
use guestd_api::actions::md::MdCreateOptions;
use guestd_api::prelude::*;
use std::path::Path;
use system_tests::appliance::{MIB, boot, message};
use system_tests::programs::peer;

fn texts(list: Result<Vec<GuestString>, guestd_api::Error>) -> Vec<String> {
    list.unwrap().iter().map(ToString::to_string).collect()
}

/// What a tool of this system says of a disk's image.
fn about(directory: &Path, image: &str, program: &str, words: &[&str]) -> String {
    let image = directory.join(image);
    let words: Vec<&str> = words.iter().copied().chain([image.to_str().unwrap()]).collect();
    peer(program, &words)
}

#[test]
fn logical_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let sizes = [128 * MIB, 64 * MIB];
    let g = boot(directory.path(), &sizes);
    g.part_disk("/dev/sda", "gpt").unwrap();
    g.pvcreate("/dev/sda1").unwrap();
    g.pvcreate("/dev/sdb").unwrap();
    g.vgcreate("VG", &["/dev/sda1", "/dev/sdb"]).unwrap();
    g.lvcreate("LV-1", "VG", 40).unwrap();
    g.lvcreate_free("rest", "VG", 50).unwrap();
    assert!(message(g.lvcreate("x", "VG", 0)).contains("--size may not be zero"));
    assert!(message(g.lvcreate_free("x", "VG", 101)).ends_with("percentage must be [0..100] (was 101)"));

    let pvs = g.pvs_full().unwrap();
    let names: Vec<_> = pvs.iter().map(|pv| pv.pv_name.to_string()).collect();
    assert_eq!(names, ["/dev/sda1", "/dev/sdb"]);
    assert!(pvs.iter().all(|pv| pv.pv_uuid.len() == 32 && pv.pv_fmt == "lvm2" && pv.dev_size > 60 * MIB));
    let vgs = g.vgs_full().unwrap();
    let group = vgs.first().unwrap();
    assert_eq!((vgs.len(), group.pv_count, group.lv_count, group.vg_extent_size), (1, 2, 2, 4 * MIB));
    assert_eq!(group.vg_size, group.vg_extent_size * group.vg_extent_count.cast_unsigned());
    let lvs = g.lvs_full().unwrap();
    let volume = lvs.iter().find(|lv| lv.lv_name == "LV-1").unwrap();
    assert_eq!((volume.lv_size, volume.seg_count, volume.snap_percent), (40 * MIB, 1, None));
    let bare = |uuid: GuestString| uuid.to_string().replace('-', "");
    assert_eq!(bare(g.vguuid("VG").unwrap()), group.vg_uuid.to_string());
    assert_eq!(bare(g.lvuuid("/dev/VG/LV-1").unwrap()), volume.lv_uuid.to_string());
    assert_eq!(bare(g.pvuuid("/dev/sdb").unwrap()), pvs.last().unwrap().pv_uuid.to_string());
    assert_eq!((g.vgpvuuids("VG").unwrap().len(), g.vglvuuids("VG").unwrap().len()), (2, 2));
    let meta = String::from_utf8(g.vgmeta("VG").unwrap()).unwrap();
    assert!(meta.contains("VG {") && meta.contains("LV-1 {"), "{meta}");
    assert!(message(g.vgmeta("none")).contains("Volume group \"none\" not found"));

    assert!(g.is_lv("/dev/mapper/VG-LV--1").unwrap() && !g.is_lv("/dev/sda1").unwrap());
    assert_eq!(g.lvm_canonical_lv_name("/dev/mapper/VG-LV--1").unwrap(), "/dev/VG/LV-1");
    assert_eq!(
        message(g.lvm_canonical_lv_name("/dev/sda1")),
        "lvm_canonical_lv_name: /dev/sda1: not a logical volume"
    );
    g.lvresize("/dev/VG/LV-1", 48).unwrap();
    assert_eq!(g.blockdev_getsize64("/dev/VG/LV-1").unwrap(), 48 << 20);
    g.lvresize_free("/dev/VG/rest", 100).unwrap();
    assert_eq!(g.vgs_full().unwrap().first().unwrap().vg_free, 0);
    g.lvrename("/dev/VG/rest", "/dev/VG/new").unwrap();
    g.vgrename("VG", "G").unwrap();
    assert_eq!(texts(g.lvs()), ["/dev/G/LV-1", "/dev/G/new"]);
    g.mkfs("ext4", "/dev/G/LV-1", Default::default()).unwrap();
    g.mount("/dev/G/LV-1", "/").unwrap();
    g.write("/x", "in a volume").unwrap();
    assert!(message(g.pvchange_uuid("/dev/sdb")).contains("active logical volumes"));
    g.umount_all().unwrap();

    g.vg_activate(false, &["G"]).unwrap();
    assert!(g.blockdev_getsize64("/dev/G/LV-1").is_err());
    assert_eq!(texts(g.lvs()), ["/dev/G/LV-1", "/dev/G/new"], "a list of volumes does not switch them on");
    assert!(g.blockdev_getsize64("/dev/G/LV-1").is_err());
    g.pvchange_uuid_all().unwrap();
    g.vgchange_uuid("G").unwrap();
    assert_ne!(bare(g.vguuid("G").unwrap()), group.vg_uuid.to_string());
    g.lvm_scan(true).unwrap();
    assert_eq!(g.blockdev_getsize64("/dev/G/LV-1").unwrap(), 48 << 20);

    g.lvm_set_filter(&["/dev/sdc"]).unwrap_err();
    assert!(
        message(g.lvm_set_filter(&["/dev/sda"])).contains("vgchange -ay:"),
        "half of the group is hidden"
    );
    assert_eq!(texts(g.pvs()), ["/dev/sda1"]);
    g.lvm_clear_filter().unwrap();
    assert_eq!(texts(g.pvs()), ["/dev/sda1", "/dev/sdb"]);
    g.shut_down().unwrap();

    // Another boot: a volume is there although nobody asked for volumes before.
    let g = boot(directory.path(), &sizes);
    g.mount_ro("/dev/G/LV-1", "/").unwrap();
    assert_eq!(g.cat("/x").unwrap(), "in a volume");
    g.umount_all().unwrap();
    assert_eq!(g.canonical_device_name("/dev/mapper/G-LV--1").unwrap(), "/dev/G/LV-1");
    g.lvremove("/dev/G/new").unwrap();
    g.lvremove("/dev/G").unwrap();
    assert!(texts(g.lvs()).is_empty());
    g.lvm_remove_all().unwrap();
    assert!(texts(g.lvs()).is_empty() && texts(g.vgs()).is_empty() && texts(g.pvs()).is_empty());
    g.shut_down().unwrap();
    // No physical volume is left on it.
    assert_eq!(about(directory.path(), "1.img", "wipefs", &["-n"]), "");
}

#[test]
fn raid_arrays() {
    let directory = tempfile::tempdir().unwrap();
    let sizes = [32 * MIB; 5];
    let g = boot(directory.path(), &sizes);
    g.md_create("mirror", &["/dev/sda", "/dev/sdb"], Default::default()).unwrap();
    let opts = MdCreateOptions::default().level("raid5").missingbitmap(0b10).chunk(64 << 10);
    g.md_create("five", &["/dev/sdc", "/dev/sdd"], opts).unwrap();
    let arrays = texts(g.list_md_devices());
    assert_eq!(arrays.len(), 2);
    let detail = g.md_detail("/dev/md/mirror").unwrap();
    let field = |name: &str| {
        detail.iter().find(|(key, _)| *key == *name).map(|(_, value)| value.to_string()).unwrap_or_default()
    };
    assert_eq!((field("level"), field("devices")), ("raid1".into(), "2".into()));
    assert_eq!((field("device_dev_sda_role"), field("device_dev_sdb_dev")), ("0".into(), "/dev/sdb".into()));
    let members = g.md_stat("/dev/md/five").unwrap();
    let mut members: Vec<_> =
        members.iter().map(|m| format!("{} {}{}", m.mdstat_device, m.mdstat_index, m.mdstat_flags)).collect();
    members.sort();
    assert_eq!(members, ["/dev/sdc 0", "/dev/sdd 2"]);
    assert_eq!(message(g.md_stat("/dev/sde")), "md_stat: sde: MD device not found");
    assert!(
        message(g.md_detail("/dev/sde"))
            .starts_with("md_detail: mdadm exited with status 1: mdadm: /dev/sde")
    );
    assert!(
        message(g.md_create("x", &["/dev/sde"], MdCreateOptions::default().level("foo")))
            .ends_with("unknown level parameter: foo")
    );
    g.part_disk("/dev/md/five", "mbr").unwrap();
    let parts = texts(g.list_partitions());
    assert_eq!(parts.len(), 1);
    let part = parts.first().unwrap();
    g.mkfs("ext2", part.as_str(), Default::default()).unwrap();
    g.mkfs("ext4", "/dev/md/mirror", Default::default()).unwrap();
    let found: Vec<_> = g.list_filesystems().unwrap().into_iter().map(|(_, kind)| kind.to_string()).collect();
    assert_eq!(found, ["unknown", "ext2", "ext4"], "a disk, a partition of one array, the other array");
    g.mount("/dev/md/mirror", "/").unwrap();
    g.write("/x", "twice").unwrap();
    assert!(message(g.md_stop("/dev/md/mirror")).contains("mirror"));
    g.umount_all().unwrap();
    g.md_stop("/dev/md/mirror").unwrap();
    assert_eq!(texts(g.list_md_devices()).len(), 1, "what was stopped stays so");
    if g.backend() == "uml" {
        let six = MdCreateOptions::default().level("raid6").missingbitmap(0b111);
        assert!(message(g.md_create("six", &["/dev/sde"], six)).contains("raid6_select_algo"));
    }
    g.shut_down().unwrap();
    for image in ["0.img", "1.img"] {
        let text = about(directory.path(), image, "mdadm", &["--examine"]);
        assert!(text.contains("Raid Level : raid1") && text.contains("Raid Devices : 2"), "{text}");
    }
    let five = about(directory.path(), "2.img", "mdadm", &["--examine"]);
    assert!(five.contains("raid5") && five.contains("Chunk Size : 64K") && five.contains("A.A"), "{five}");

    let g = boot(directory.path(), &sizes);
    // Nobody asked for arrays before.
    g.mount_ro("/dev/md127", "/").or_else(|_| g.mount_ro("/dev/md126", "/")).unwrap();
    assert_eq!(g.cat("/x").unwrap(), "twice");
    g.shut_down().unwrap();
}

#[test]
fn encrypted_devices() {
    let directory = tempfile::tempdir().unwrap();
    let g = boot(directory.path(), &[64 * MIB, 32 * MIB]);
    g.luks_format("/dev/sda", "first key", 0).unwrap();
    let uuid = g.luks_uuid("/dev/sda").unwrap().to_string();
    assert!(g.luks_uuid("/dev/sdb").is_err());
    g.luks_add_key("/dev/sda", "first key", "second key", 1).unwrap();
    assert!(message(g.luks_add_key("/dev/sda", "first key", "third", 1)).contains("slot 1 is full"));
    assert_eq!(
        message(g.luks_open("/dev/sda", "wrong", "cr")),
        "luks_open: cryptsetup exited with status 2: No key available with this passphrase."
    );
    g.luks_open("/dev/sda", "second key", "cr").unwrap();
    assert_eq!(
        message(g.luks_open("/dev/sda", "second key", "cr")),
        "luks_open: /dev/mapper/cr: device already exists"
    );
    assert_eq!(texts(g.list_dm_devices()), ["/dev/mapper/cr"]);
    assert_eq!(g.canonical_device_name("/dev/mapper/cr").unwrap(), "/dev/mapper/cr");
    g.pvcreate("/dev/mapper/cr").unwrap();
    g.vgcreate("VG", &["/dev/mapper/cr"]).unwrap();
    g.lvcreate("LV", "VG", 20).unwrap();
    g.mkfs("ext4", "/dev/VG/LV", Default::default()).unwrap();
    g.mount("/dev/VG/LV", "/").unwrap();
    g.write("/x", "a secret that must not lie on the disk").unwrap();
    g.umount_all().unwrap();
    assert_eq!(texts(g.list_dm_devices()), ["/dev/mapper/cr"], "logical volumes are not among them");
    assert!(message(g.cryptsetup_close("/dev/mapper/cr")).contains("still in use"));
    g.vg_activate_all(false).unwrap();
    g.cryptsetup_close("/dev/mapper/cr").unwrap();
    assert!(message(g.luks_close("/dev/sda")).contains("you must call this on the /dev/mapper device"));
    let read_only = CryptsetupOpenOptions::default().readonly(true);
    g.cryptsetup_open("/dev/sda", "first key", "cr", read_only).unwrap();
    assert!(g.blockdev_getro("/dev/mapper/cr").unwrap());
    g.lvm_scan(true).unwrap();
    g.mount_ro("/dev/VG/LV", "/").unwrap();
    assert_eq!(g.cat("/x").unwrap(), "a secret that must not lie on the disk");
    g.umount_all().unwrap();
    g.vg_activate_all(false).unwrap();
    g.luks_close("/dev/mapper/cr").unwrap();
    assert!(message(g.luks_kill_slot("/dev/sda", "wrong", 1)).contains("No key available"));
    g.luks_kill_slot("/dev/sda", "first key", 1).unwrap();
    assert!(g.luks_open("/dev/sda", "second key", "cr").is_err());
    assert_eq!(
        message(g.cryptsetup_open("/dev/sdb", "key", "x", CryptsetupOpenOptions::default())),
        "cryptsetup_open: : unknown encrypted device type"
    );
    g.luks_format_cipher("/dev/sdb", "key", 0, "aes-cbc-essiv:sha256").unwrap();
    g.luks_open_ro("/dev/sdb", "key", "old").unwrap();
    assert!(g.blockdev_getro("/dev/mapper/old").unwrap());
    if !g.feature_available(&["clevisluks"]).unwrap() {
        assert!(message(g.clevis_luks_unlock("/dev/sda", "x")).contains("clevis-luks"));
    }
    g.shut_down().unwrap();
    assert_eq!(about(directory.path(), "0.img", "cryptsetup", &["luksUUID"]).trim(), uuid);
    let dump = about(directory.path(), "0.img", "cryptsetup", &["luksDump"]);
    assert!(dump.contains("  0: luks2") && !dump.contains("  1: luks2"), "{dump}");
    let dump = about(directory.path(), "1.img", "cryptsetup", &["luksDump"]);
    assert!(dump.contains("aes-cbc-essiv:sha256"), "{dump}");
    let image = std::fs::read(directory.path().join("0.img")).unwrap();
    assert!(!image.windows(8).any(|bytes| bytes == b"a secret"), "a secret in the clear");
}

#[test]
fn partitions_copies_and_a_look_behind_the_scenes() {
    let directory = tempfile::tempdir().unwrap();
    let g = boot(directory.path(), &[64 * MIB, 32 * MIB]);
    g.part_disk("/dev/sda", "gpt").unwrap();
    g.part_set_gpt_attributes("/dev/sda", 1, i64::MIN | 4).unwrap();
    assert_eq!(g.part_get_gpt_attributes("/dev/sda", 1).unwrap(), i64::MIN | 4);
    let before = g.part_get_disk_guid("/dev/sda").unwrap();
    g.part_set_disk_guid_random("/dev/sda").unwrap();
    assert_ne!(g.part_get_disk_guid("/dev/sda").unwrap(), before);
    assert!(
        g.part_get_gpt_attributes("/dev/sda", 2).is_err() && g.part_set_disk_guid_random("/dev/sdb").is_err()
    );
    g.sfdiskM("/dev/sdb", &[",8", ",", ""]).unwrap();
    g.sfdisk_N("/dev/sdb", 1, 0, 0, 0, ",4096").unwrap();
    let sizes: Vec<u64> = g.part_list("/dev/sdb").unwrap().iter().map(|part| part.part_size).collect();
    assert_eq!(sizes.first(), Some(&(2 * MIB)));
    assert_eq!(texts(g.list_partitions()), ["/dev/sda1", "/dev/sdb1", "/dev/sdb2"]);
    assert!(g.sfdisk_l("/dev/sdb").unwrap().to_string().contains("\n/dev/sdb1 "));
    assert!(g.sfdisk_kernel_geometry("/dev/sdb").unwrap().to_string().starts_with("/dev/sdb: "));
    assert!(
        message(g.sfdisk("/dev/sdb", 5, 6, 7, &["nonsense"]))
            .starts_with("sfdisk: sfdisk -C 5 -H 6 -S 7 /dev/sdb: external command failed: ")
    );
    assert_eq!((g.device_name(1).unwrap(), g.max_disks().unwrap()), ("/dev/sdb".into(), 255));
    assert!(g.device_name(2).is_err() && g.device_name(-1).is_err());
    assert!(g.list_disk_labels().unwrap().is_empty());

    g.mkfs("ext2", "/dev/sda1", Default::default()).unwrap();
    g.mount("/dev/sda1", "/").unwrap();
    g.write("/f", "hello world").unwrap();
    let file = CopyFileToFileOptions::default;
    g.copy_file_to_file("/f", "/g", file()).unwrap();
    g.copy_file_to_file("/f", "/g", file().append(true)).unwrap();
    assert_eq!(g.cat("/g").unwrap(), "hello worldhello world");
    g.copy_file_to_file("/f", "/g", file().srcoffset(6).size(5).destoffset(3)).unwrap();
    assert_eq!(g.read_file("/g").unwrap(), b"\0\0\0world");
    assert_eq!(
        message(g.copy_file_to_file("/f", "/g", file().size(50))),
        "copy_file_to_file: /f: input too short"
    );
    assert_eq!(
        message(g.copy_file_to_file("/f", "/g", file().size(-5))),
        "copy_file_to_file: size is negative"
    );
    g.copy_file_to_device("/f", "/dev/sdb2", CopyFileToDeviceOptions::default().destoffset(512)).unwrap();
    g.copy_device_to_file("/dev/sdb2", "/d", CopyDeviceToFileOptions::default().size(1 << 20).sparse(true))
        .unwrap();
    assert_eq!(g.filesize("/d").unwrap(), 1 << 20);
    assert_eq!(g.pread("/d", 11, 512).unwrap(), b"hello world");
    assert!(g.du("/d").unwrap() < 100, "what is zero takes no room");
    g.copy_device_to_device("/dev/sdb2", "/dev/sdb1", Default::default()).unwrap_err();
    g.copy_size("/f", "/h", 5).unwrap();
    g.dd("/h", "/i").unwrap();
    assert_eq!(g.cat("/i").unwrap(), "hello");
    assert_eq!(message(g.copy_size("/f", "/h", 50)), "copy_size: /f: input file too short");
    assert!(message(g.dd("/none", "/i")).starts_with("dd: /none: /i: dd: failed to open '/none'"));
    g.debug("sh", &["mkfifo /sysroot/fifo"]).unwrap();
    g.copy_file_to_file("/fifo", "/i", file()).unwrap_err();
    g.copy_file_to_file("/f", "/fifo", file()).unwrap_err();

    assert_eq!(g.debug("sh", &["echo hello"]).unwrap(), "hello");
    assert!(message(g.debug("none", &[""; 0])).contains("debug help"));
    g.debug_upload(&b"#!/bin/sh\necho up\n"[..], "/tmp/probe", 0o755).unwrap();
    assert_eq!(g.debug("sh", &["/tmp/probe"]).unwrap(), "up");
    assert!(g.debug_upload(&b""[..], "../usr/bin/x", 0o755).is_err());
    if g.feature_available(&["ldm"]).unwrap() {
        g.ldmtool_create_all().unwrap();
        assert!(
            texts(g.ldmtool_scan()).is_empty() && texts(g.ldmtool_scan_devices(&["/dev/sdb"])).is_empty()
        );
        assert!(texts(g.list_ldm_volumes()).is_empty() && texts(g.list_ldm_partitions()).is_empty());
        assert_eq!(message(g.ldmtool_diskgroup_name("x")), "ldmtool_diskgroup_name: No such disk group: x");
        g.ldmtool_remove_all().unwrap();
    }
    g.umount_all().unwrap();
    g.internal_exit().unwrap_err();
    drop(g);
    let image = std::fs::read(directory.path().join("1.img")).unwrap();
    assert!(image.windows(11).any(|bytes| bytes == b"hello world"), "copied to the device");
    let table = about(directory.path(), "0.img", "sgdisk", &["-i", "1"]);
    assert!(table.contains("Attribute flags: 8000000000000004"), "{table}");
}
