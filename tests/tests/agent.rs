//! The agent as the first process of a real machine: disks by serial, the tools' root, modules, volumes.
//! Needs an appliance built with this agent, as `make test` does.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use guestd_api::actions::mkfs::MkfsOptions;
use guestd_api::prelude::*;
use std::process::Command;
use system_tests::appliance::{MIB, boot, message};

#[test]
fn a_machine_does_the_work_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let g = boot(directory.path(), &[600 * MIB, 64 * MIB]);
    g.ping_daemon().unwrap();
    assert_eq!(g.list_devices().unwrap(), ["/dev/sda", "/dev/sdb"]);
    assert_eq!(g.blockdev_getsize64("/dev/sdb").unwrap(), 64 << 20);
    assert!(message(g.ls("/")).contains("mount"));

    g.part_init("/dev/sda", "gpt").unwrap();
    for (first, last) in [(2048, 204_799), (204_800, 1_024_000), (1_026_048, -34)] {
        g.part_add("/dev/sda", "p", first, last).unwrap();
    }
    assert_eq!(g.list_partitions().unwrap(), ["/dev/sda1", "/dev/sda2", "/dev/sda3"]);
    g.part_set_name("/dev/sda", 1, "EFI System").unwrap();
    g.mkfs("vfat", "/dev/sda1", MkfsOptions::default().label("ESP")).unwrap();
    g.mkfs("xfs", "/dev/sda2", Default::default()).unwrap();
    g.mkfs("ext4", "/dev/sda3", Default::default()).unwrap();
    g.pvcreate("/dev/sdb").unwrap();
    g.vgcreate("VG", &["/dev/sdb"]).unwrap();
    g.lvcreate("LV-1", "VG", 20).unwrap();
    assert_eq!(
        (g.pvs().unwrap(), g.vgs().unwrap(), g.lvs().unwrap()),
        (vec!["/dev/sdb".into()], vec!["VG".into()], vec!["/dev/VG/LV-1".into()])
    );
    g.mkfs("ext4", "/dev/VG/LV-1", Default::default()).unwrap();
    let found: Vec<_> =
        g.list_filesystems().unwrap().into_iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_eq!(found, ["/dev/sda1 vfat", "/dev/sda2 xfs", "/dev/sda3 ext4", "/dev/VG/LV-1 ext4"]);

    // Mounts made before and after the tools' root are both seen by tools, and leave nothing behind.
    g.mount("/dev/sda2", "/").unwrap();
    for place in ["/efi", "/lv", "/ext"] {
        g.mkdir(place).unwrap();
    }
    g.mount("/dev/sda1", "/efi").unwrap();
    g.mount("/dev/VG/LV-1", "/lv").unwrap();
    g.mount("/dev/sda3", "/ext").unwrap();
    for place in ["/efi/x", "/lv/x", "/ext/x"] {
        g.write(place, place).unwrap();
    }
    g.cp("/efi/x", "/lv/y").unwrap();
    assert_eq!(g.cat("/lv/y").unwrap(), "/efi/x");
    let mut archive = Vec::new();
    g.tar_out("/", &mut archive, Default::default()).unwrap();
    g.mkdir("/copy").unwrap();
    g.tar_in(&archive[..], "/copy", Default::default()).unwrap();
    assert_eq!(g.cat("/copy/ext/x").unwrap(), "/ext/x");
    let df = g.df().unwrap().to_string();
    assert!(
        ["/dev/sda1 ", "/dev/sda2 ", " /lv\n"].iter().all(|text| df.contains(text))
            && !df.contains("/dev/vd"),
        "{df}"
    );
    assert_eq!(g.mountpoints().unwrap().len(), 4);
    g.fstrim("/ext", Default::default()).unwrap();
    g.umount_all().unwrap();
    g.mount("/dev/sda3", "/").unwrap();
    assert_eq!(g.ls("/").unwrap(), ["lost+found", "x"]);
    g.umount_all().unwrap();
    assert_eq!(g.fsck("ext4", "/dev/sda3").unwrap(), 0);
    assert!(
        message(g.mkfs("ext4", "/dev/sda9", Default::default()))
            .ends_with("/dev/sda9: No such file or directory")
    );
    let broken = message(g.mount("/dev/sdb", "/"));
    assert!(broken.starts_with("mount: /dev/sdb on / (options: '')"), "{broken}");
    g.shut_down().unwrap();

    // Another machine, and another program, find everything on the disk.
    let table = Command::new("sfdisk").arg("--dump").arg(directory.path().join("0.img")).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("name=\"EFI System\"") && table.contains("start=      204800"), "{table}");
    let g = boot(directory.path(), &[600 * MIB, 64 * MIB]);
    assert_eq!(g.lvs().unwrap(), ["/dev/VG/LV-1"]);
    g.mount_ro("/dev/VG/LV-1", "/").unwrap();
    assert_eq!(g.cat("/y").unwrap(), "/efi/x");
    g.shut_down().unwrap();
}

#[test]
fn a_guests_own_programs_run() {
    let directory = tempfile::tempdir().unwrap();
    let g = boot(directory.path(), &[64 * MIB]);
    g.mkfs("ext4", "/dev/sda", Default::default()).unwrap();
    g.mount("/dev/sda", "/").unwrap();
    for place in ["/bin", "/dev", "/proc", "/sys"] {
        g.mkdir(place).unwrap();
    }
    g.upload(std::fs::File::open("/bin/busybox").unwrap(), "/bin/busybox").unwrap();
    g.chmod(0o755, "/bin/busybox").unwrap();
    g.ln_s("busybox", "/bin/sh").unwrap();
    // What a program leaves behind is nobody's child and must not stay as a zombie.
    g.sh("(busybox setsid busybox sleep 0.2 &) ; (busybox sleep 0.3 &) ; exit 0").unwrap();
    g.sleep(3).unwrap();
    let processes = g.sh("busybox ps -o pid,stat,args").unwrap().to_string();
    assert!(
        processes.lines().count() > 2 && !processes.lines().any(|line| line.contains(" Z")),
        "{processes}"
    );
    g.umount_all().unwrap();
    g.shut_down().unwrap();
}
