//! Actions that no larger story needs, each with an effect that something else sees.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};

use system_tests::fish::{output_of, script};
use system_tests::programs::peer;
use tempfile::TempDir;

/// A directory with disks of these sizes in MiB, named after their numbers.
fn disks(sizes: &[u64]) -> (TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        (0..sizes.len()).map(|number| directory.path().join(number.to_string())).collect();
    for (path, size) in paths.iter().zip(sizes) {
        std::fs::File::create(path).unwrap().set_len(size << 20).unwrap();
    }
    (directory, paths)
}

fn arguments(disks: &[PathBuf]) -> Vec<&str> {
    let disks = disks.iter().flat_map(|disk| ["-a", disk.to_str().unwrap()]);
    std::iter::once("--format=raw").chain(disks).collect()
}

fn run(disks: &[PathBuf], lines: &str) -> String {
    output_of(&arguments(disks), &format!("run\n{lines}"))
}

fn debugfs(disk: &Path, request: &str) -> String {
    peer("debugfs", &["-R", request, disk.to_str().unwrap()])
}

#[test]
fn what_a_file_is() {
    let (_directory, disks) = disks(&[16]);
    let out = run(
        &disks,
        "mkfs ext2 /dev/sda\nmount-vfs \"\" ext2 /dev/sda /\nmkdir /d\nmknod-c 0600 5 1 /c\nmknod-b 0600 8 0 /b\n\
         mknod 0140600 0 0 /s\nln-s /c /l\nwrite /f abc\nln-s f /d/x\n\
         is-chardev /c\nis-chardev /l\nis-chardev /l followsymlinks:true\nis-blockdev /b\nis-blockdev /c\nis-socket /s\n\
         is-socket /f\nlchown 12 34 /l\nlstat /l | grep -E 'uid|gid'\nlstatnslist / \"f l\" | grep st_uid\n\
         readlinklist / \"l f\"\nls0 /d - | od -An -c\nrename /f /d/g\ncp-r /d /e\nmounts\n\
         df-h | awk '$1 == \"/dev/sda\" { print $NF }'\numount-all\n",
    );
    assert_eq!(
        out,
        "true\nfalse\ntrue\ntrue\nfalse\ntrue\nfalse\nuid: 12\ngid: 34\n  st_uid: 0\n  st_uid: 12\n/c\n\n   x  \\0\n\
         /dev/sda\n/\n"
    );
    assert!(debugfs(&disks[0], "stat /s").contains("Type: socket"));
    assert!(debugfs(&disks[0], "stat /l").contains("User:    12   Group:    34"));
    assert_eq!(debugfs(&disks[0], "cat /e/g"), "abc");
    assert!(debugfs(&disks[0], "stat /e/x").contains("Fast link dest: \"f\""));
}

#[test]
fn bytes_of_devices() {
    let (_directory, disks) = disks(&[8]);
    let out = run(
        &disks,
        "pwrite-device /dev/sda DATA 1048576\npread-device /dev/sda 4 1M\necho\nblockdev-flushbufs /dev/sda\n\
         part-disk /dev/sda mbr\nblockdev-rereadpt /dev/sda\nlist-partitions\nis-whole-device /dev/sda\n\
         is-whole-device /dev/sda1\nsfdisk-disk-geometry /dev/sda | grep -c cylinders\n",
    );
    assert_eq!(out, "4\nDATA\n/dev/sda1\ntrue\nfalse\n1\n");
    let bytes = std::fs::read(&disks[0]).unwrap();
    assert_eq!(&bytes[1 << 20..(1 << 20) + 4], b"DATA");
}

#[test]
fn a_table_of_partitions_grows() {
    let (_directory, disks) = disks(&[16]);
    run(
        &disks,
        "part-disk /dev/sda gpt\nmkfs ext4 /dev/sda1 label:grown\nset-uuid /dev/sda1 9d3a0f6e-3c1b-4a52-9c4e-0123456789ab\n",
    );
    std::fs::OpenOptions::new().write(true).open(&disks[0]).unwrap().set_len(32 << 20).unwrap();
    let out = run(
        &disks,
        "part-expand-gpt /dev/sda\npart-get-gpt-guid /dev/sda 1\nfindfs-uuid 9d3a0f6e-3c1b-4a52-9c4e-0123456789ab\n",
    );
    let (guid, device) = out.split_once('\n').unwrap();
    assert_eq!(device, "/dev/sda1\n");
    let shown = peer("sgdisk", &["-i", "1", disks[0].to_str().unwrap()]);
    assert!(shown.contains(guid), "{shown}");
    let shown = peer("sgdisk", &["-v", disks[0].to_str().unwrap()]);
    assert!(shown.contains("No problems found"), "{shown}");
    let last = peer("sgdisk", &["-p", disks[0].to_str().unwrap()]);
    assert!(last.contains("last usable sector is 65502"), "{last}");
}

#[test]
fn volumes_change_size_and_go() {
    let (_directory, disks) = disks(&[64]);
    let out = run(
        &disks,
        "part-init /dev/sda mbr\npart-add /dev/sda p 2048 67583\npvcreate /dev/sda1\npvresize-size /dev/sda1 20M\n\
         pvs-full | grep pv_size\npvresize /dev/sda1\npvs-full | grep pv_size\nvgcreate VG /dev/sda1\nvgscan\n\
         vg-activate-all false\nvgchange-uuid-all\nvgs\nvgremove VG\nvgs\npvremove /dev/sda1\npvs\nvfs-type /dev/sda1\n",
    );
    assert_eq!(out, "  pv_size: 20971520\n  pv_size: 33554432\nVG\n\n");
}

#[test]
fn programs_of_a_guest() {
    let (_directory, disks) = disks(&[24]);
    let lines = "mkfs ext2 /dev/sda\nmount /dev/sda /\nmkdir-p /bin\nupload /bin/busybox /bin/busybox\nchmod 0755 /bin/busybox\n\
         ln-s busybox /bin/sh\nln-s busybox /bin/seq\nmkdir /tmp\ncommand-lines \"/bin/seq 3\"\ncommand-out \"/bin/seq 5 7\" /tmp/x\n\
         sh-out \"echo out of the shell | sed s/shell/guest/\" -\n";
    let (_kept, place) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let out = run(
        &disks,
        &lines.replace("/tmp/x", place.path().to_str().unwrap()).replace("| sed s/shell/guest/", "two"),
    );
    assert_eq!(out, "1\n2\n3\nout of the shell two\n");
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "5\n6\n7\n");
}

#[test]
fn what_the_appliance_can() {
    let (_directory, disks) = disks(&[300]);
    let out = run(
        &disks,
        "available \"ntfsprogs xfs\"\nfilesystem-available xfs\nfilesystem-available nosuchfs\n\
         available-all-groups | grep -x -e lvm2 -e btrfs\ndmesg | grep -c -m 1 Linux\n",
    );
    assert_eq!(out, "true\nfalse\nbtrfs\nlvm2\n1\n");
    let ran = script(&arguments(&disks), "run\navailable \"nosuchgroup\"\n");
    assert!(ran.code == Some(1) && ran.err.contains("nosuchgroup"), "{ran:?}");
    let ran = script(&arguments(&disks), "run\ngrub-install / /dev/sda\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn a_scrub_is_stopped_and_goes_on() {
    let (_directory, disks) = disks(&[256]);
    let lines = "run\nmkfs btrfs /dev/sda\nmount /dev/sda /\nfill 7 30M /f\nbtrfs-scrub-start /\n-btrfs-scrub-cancel /\n\
         -btrfs-scrub-resume /\n-btrfs-scrub-cancel /\nbtrfs-scrub-status / | grep uncorrectable\n";
    let ran = script(&arguments(&disks), lines);
    assert_eq!((ran.code, ran.text().trim()), (Some(0), "btrfsscrub_uncorrectable_errors: 0"), "{ran:?}");
    // A scrub that has ended by itself cannot be stopped; nothing else may have been said.
    assert!(
        ran.err.lines().filter(|line| line.contains("error:")).all(|line| line.contains("btrfs_scrub_")),
        "{}",
        ran.err
    );
}

#[test]
fn a_file_system_of_windows_shrinks_to_a_size() {
    let (_directory, disks) = disks(&[32]);
    let ran = script(&arguments(&disks), "run\nmkfs ntfs /dev/sda\nntfsresize-size /dev/sda 20M\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let shown = peer("ntfsinfo", &["-f", "-m", disks[0].to_str().unwrap()]);
    let line = shown.lines().find(|line| line.contains("Volume Size in Clusters")).unwrap();
    let clusters: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((4800..=5120).contains(&clusters), "{line}");
}

#[test]
fn settings_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let out = output_of(
        &[],
        &format!(
            "set-network true\nget-network\nset-verbose false\nget-verbose\nget-trace\nset-path {place}\nget-path\nset-hv /bin/true\nget-hv\nget-qemu\n\
             set-attach-method direct\nget-attach-method\nset-program inventory\nget-program\nset-recovery-proc false\nget-recovery-proc\n\
             set-selinux true\nget-selinux\nget-direct\nset-tmpdir {place}\nget-tmpdir\nget-state\nis-ready\nis-launching\nis-busy\n\
             parse-environment\nget-network\n"
        ),
    );
    assert_eq!(
        out,
        format!(
            "true\nfalse\nfalse\n{place}\n/bin/true\n/bin/true\nappliance\ninventory\nfalse\ntrue\nfalse\n{place}\n0\nfalse\nfalse\nfalse\ntrue\n"
        )
    );
    let socket_directory = output_of(&[], "get-sockdir\n");
    assert!(Path::new(socket_directory.trim()).is_dir(), "{socket_directory}");
    assert_ne!(output_of(&[], "c-pointer\n").trim(), "0");
}

#[test]
fn disks_are_added_in_older_ways() {
    let (directory, disks) = disks(&[4, 5, 6]);
    let places: Vec<String> = disks.iter().map(|disk| disk.display().to_string()).collect();
    let lines = format!(
        "add-cdrom {}\nadd-drive-with-if {} ide\nadd-drive-ro-with-if {} virtio\ndebug-drives | wc -l\nrun\nwait-ready\nis-ready\n\
         blockdev-getsize64 /dev/sda\nblockdev-getro /dev/sda\nblockdev-getsize64 /dev/sdb\nblockdev-getro /dev/sdb\n\
         blockdev-getsize64 /dev/sdc\nblockdev-getro /dev/sdc\n",
        places[0], places[1], places[2]
    );
    let ran = script(&[], &lines);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ready = format!("3\ntrue\n{}\n", 4 << 20);
    assert!(ran.text().starts_with(&ready), "{ran:?}");
    assert!(ran.text().contains(&format!("\n{}\nfalse\n{}\n", 5 << 20, 6 << 20)), "{ran:?}");
    drop(directory);
}

#[test]
fn there_is_no_group_of_dynamic_disks() {
    let (_directory, disks) = disks(&[8]);
    let group = "06495a84-fbfd-11e1-8cf9-52540061f5db";
    let lines = format!(
        "-ldmtool-diskgroup-volumes {group}\n-ldmtool-diskgroup-disks {group}\n-ldmtool-volume-type {group} Volume1\n\
         -ldmtool-volume-hint {group} Volume1\n-ldmtool-volume-partitions {group} Volume1\nlist-ldm-volumes\n"
    );
    let ran = script(&arguments(&disks), &format!("run\n{lines}"));
    assert_eq!((ran.code, ran.text()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.err.matches("libguestfs: error: ldmtool_").count(), 5, "{}", ran.err);
}

#[test]
fn a_label_of_the_agent_itself() {
    let (_directory, disks) = disks(&[8]);
    // Whether the kernel has SELinux at all differs; without a policy none makes it another.
    let ran = script(&arguments(&disks), "run\n-setcon nobody:nothing:t:s0\n-getcon\nping-daemon\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.text() == "kernel\n" || ran.err.contains("getcon: "), "{ran:?}");
}

#[test]
fn no_other_program_asks_for_credentials() {
    assert_eq!(output_of(&[], "set-libvirt-supported-credentials \"username realm\"\n"), "");
    for line in [
        "get-libvirt-requested-credentials",
        "get-libvirt-requested-credential-prompt 0",
        "get-libvirt-requested-credential-challenge 0",
        "get-libvirt-requested-credential-defresult 0",
        "set-libvirt-requested-credential 0 secret",
    ] {
        let ran = script(&[], &format!("{line}\n"));
        assert!(ran.code == Some(1) && ran.err.contains("libguestfs: error: "), "{line}: {ran:?}");
    }
}

#[test]
fn a_system_in_every_detail() {
    let (directory, disks) = disks(&[32]);
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    system_tests::images::debian_tree(&tree);
    run(&disks, "mkfs ext4 /dev/sda label:root\n");
    output_of(
        &[&arguments(&disks)[..], &["-m", "/dev/sda"]].concat(),
        &format!("!cd {0} && tar cf {0}.tar .\ntar-in {0}.tar /\n", tree.display()),
    );
    let questions = [
        ("roots", "/dev/sda\n"),
        ("type", "linux\n"),
        ("distro", "debian\n"),
        ("product-variant", "unknown\n"),
        ("major-version", "13\n"),
        ("build-id", "unknown\n"),
        ("hostname", "web1\n"),
        ("osinfo", "debian13\n"),
        ("package-format", "deb\n"),
        ("package-management", "apt\n"),
        ("mountpoints", "/: /dev/sda\n"),
        ("filesystems", "/dev/sda\n"),
        ("drive-mappings", ""),
        ("format", "installed\n"),
    ];
    let mut lines = String::from("inspect-os\n");
    let mut expected = String::from("/dev/sda\n");
    for (name, answer) in questions {
        let root = if name == "roots" { "" } else { " /dev/sda" };
        lines.push_str(&format!("inspect-get-{name}{root}\n"));
        expected.push_str(answer);
    }
    // Two files tell of the version, one more exactly than the other.
    lines.push_str("inspect-get-product-name /dev/sda | grep -c 13\ninspect-get-minor-version /dev/sda | grep -c '^[02]$'\n");
    lines.push_str("inspect-get-icon /dev/sda | wc -c\n");
    expected.push_str("1\n1\n0\n");
    lines.push_str("inspect-is-live /dev/sda\ninspect-is-netinst /dev/sda\ninspect-is-multipart /dev/sda\n");
    expected.push_str("false\nfalse\nfalse\n");
    for options in [&["--ro"][..], &[]] {
        let out = output_of(&[options, &arguments(&disks)].concat(), &format!("run\n{lines}"));
        assert_eq!(out, expected, "{options:?}");
    }
    for name in [
        "windows-software-hive",
        "windows-system-hive",
        "windows-current-control-set",
        "windows-group-policy",
    ] {
        let ran = script(&arguments(&disks), &format!("run\ninspect-os\ninspect-get-{name} /dev/sda\n"));
        assert!(ran.code == Some(1) && ran.err.contains("libguestfs: error: "), "{name}: {ran:?}");
    }
}

#[test]
fn behind_the_scenes() {
    let (_directory, disks) = disks(&[64]);
    let lines = "run\nmkfs ext4 /dev/sda\nmount /dev/sda /\nmkdir /d\nwrite /d/f text\n\
                 debug setenv \"COLOR red\"\ndebug env \"\" | grep COLOR\ndebug sh \"echo $COLOR\"\n\
                 debug bmap_file /d/f\ndebug bmap \"\"\ndebug bmap_file /d\ndebug bmap \"\"\n\
                 debug core_pattern /tmp/core.%p\ndebug sh \"cat /proc/sys/kernel/core_pattern\"\n\
                 debug ldd /bin/ls | grep -c libc.so\numount /\n\
                 debug bmap_device /dev/sda\ndebug bmap \"\"\ndebug qtrace \"/dev/sda on\"\n\
                 -debug bmap \"\"\n-debug bmap_file /nothing\n-debug qtrace \"/dev/sda perhaps\"\n-debug setenv \"A=B c\"\n";
    let ran = script(&arguments(&disks), lines);
    let expected = "ok\nCOLOR=red\nred\nok\nok\nok\nok\nok\n/tmp/core.%p\n1\nok\nok\nok\n";
    assert_eq!((ran.code, ran.text()), (Some(0), expected), "{ran:?}");
    assert_eq!(
        ran.err.lines().filter(|line| line.contains("libguestfs: error: debug")).count(),
        4,
        "{}",
        ran.err
    );

    // What is written again and again is more than the device has room for.
    let out = run(&disks, "debug device_speed \"/dev/sda 1\"\n");
    assert!(out.trim().parse::<u64>().unwrap() > 0, "{out}");
    let mut first = [0; 4];
    std::io::Read::read_exact(&mut std::fs::File::open(&disks[0]).unwrap(), &mut first).unwrap();
    assert_eq!(first, [0x55; 4]);

    let ran = script(&arguments(&disks), "run\ndebug segv \"\"\n");
    assert!(ran.code == Some(1) && ran.err.contains("libguestfs: error: "), "{ran:?}");
}
