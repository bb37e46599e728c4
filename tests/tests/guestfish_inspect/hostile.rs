//! Guests that put something else where a file is expected. Inspection goes on with what there is.

use std::fs;
use std::os::unix::fs::symlink;

use system_tests::fish::script;
use system_tests::images;

use crate::recipe::program;

#[test]
fn odd_files_end_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    for path in ["etc/crypttab", "etc/mdadm", "bin", "var/lib/rpm", "usr/lib"] {
        fs::create_dir_all(tree.join(path)).unwrap();
    }
    symlink("../../../../../../etc/shadow", tree.join("etc/HOSTNAME")).unwrap();
    symlink("redhat-release", tree.join("etc/centos-release")).unwrap();
    symlink("centos-release", tree.join("etc/redhat-release")).unwrap();
    fs::write(tree.join("etc/lsb-release"), "DISTRIB_ID=".repeat(1 << 20)).unwrap();
    fs::write(tree.join("etc/debian_version"), b"\xff\xfe\0\x80 9.9\n").unwrap();
    fs::write(tree.join("etc/hosts"), "x").unwrap();
    fs::write(tree.join("bin/bash"), &program("x86_64")[..17]).unwrap();
    fs::write(tree.join("bin/rm"), program("x86_64")).unwrap();
    let disk = directory.path().join("disk");
    // A terminal, a disk and pipes that nobody writes into.
    let odd = "cd /etc\nmknod os-release c 5 0\nmknod hostname p\nmknod mdadm.conf b 8 0\nmknod fstab p\n\
               cd /bin\nmknod ls p\ncd /var/lib\nmkdir dpkg\ncd dpkg\nmknod status p\n";
    images::ext(&disk, 64, &["mkfs.ext4"], &tree, odd);
    let disk = disk.to_str().unwrap();
    for how in ["--direct=only", "--direct=never"] {
        let ran = script(
            &["--ro", "--format=raw", how, "-a", disk],
            "run\ninspect-os\ninspect-get-type /dev/sda\ninspect-get-distro /dev/sda\ninspect-get-arch /dev/sda\n\
             inspect-get-hostname /dev/sda\ninspect-get-major-version /dev/sda\ninspect-get-mountpoints /dev/sda\n\
             mount-ro /dev/sda /\ninspect-list-applications2 /dev/sda\ninspect-get-icon /dev/sda\n",
        );
        let expected = "/dev/sda\nlinux\ndebian\nx86_64\nunknown\n9\n/: /dev/sda\n";
        assert_eq!((ran.code, ran.text()), (Some(0), expected), "{how}: {ran:?}");
    }
}

/// A database of packages that is none is an error of its own, and the guest answers afterwards.
#[test]
fn damaged_databases_are_refused() {
    for (name, text) in
        [("rpmdb.sqlite", "SQLite format 3\0x"), ("Packages.db", "RpmP"), ("Packages", "nothing")]
    {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::create_dir_all(tree.join("var/lib/rpm")).unwrap();
        fs::write(tree.join("etc/hosts"), "").unwrap();
        fs::write(tree.join("etc/redhat-release"), "CentOS Linux release 7.9.2009 (Core)\n").unwrap();
        fs::write(tree.join("var/lib/rpm").join(name), text).unwrap();
        let disk = directory.path().join("disk");
        images::ext(&disk, 16, &["mkfs.ext4"], &tree, "");
        let ran = script(
            &["--ro", "--format=raw", "--direct=only", "-a", disk.to_str().unwrap()],
            "run\ninspect-os\nmount-ro /dev/sda /\n-inspect-list-applications2 /dev/sda\ninspect-get-distro /dev/sda\n",
        );
        assert_eq!((ran.code, ran.text()), (Some(0), "/dev/sda\ncentos\n"), "{ran:?}");
        assert!(
            ran.err.contains(&format!("/var/lib/rpm/{name} cannot be read as an RPM database")),
            "{ran:?}"
        );
    }
}
