//! What inspection says about systems whose files are known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::path::{Path, PathBuf};

use system_tests::fish::{output_of, script};
use system_tests::images;

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A disk with a root file system of these files.
fn disk(directory: &Path, files: &[(&str, &str)]) -> PathBuf {
    let tree = directory.join("tree");
    for (path, text) in files {
        write(&tree, path, text);
    }
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::copy("/bin/busybox", tree.join("bin/sh")).unwrap();
    write(&tree, "etc/fstab", "");
    let disk = directory.join("disk");
    images::ext(&disk, 32, &["mkfs.ext4"], &tree, "");
    disk
}

/// All that is asked about a system.
fn answers(disk: &Path, how: &str) -> Vec<String> {
    let asked = [
        "type",
        "distro",
        "arch",
        "product-name",
        "product-variant",
        "major-version",
        "minor-version",
        "package-format",
        "package-management",
        "hostname",
        "osinfo",
        "build-id",
        "mountpoints",
        "filesystems",
        "format",
    ];
    let lines: Vec<String> = asked.iter().map(|word| format!("inspect-get-{word} /dev/sda\n")).collect();
    let disk = disk.to_str().unwrap();
    let printed = output_of(
        &["--ro", "--format=raw", how, "-a", disk],
        &format!("run\ninspect-os\n{}", lines.concat()),
    );
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn systems_are_told_by_their_files() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (
            &[
                ("etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n"),
                ("etc/debian_version", "13.2\n"),
                ("etc/hostname", "web1\n"),
            ],
            "debian x86_64 13.2 unknown 13 2 deb apt web1 debian13",
        ),
        (
            &[
                ("etc/os-release", "ID=ubuntu\nVERSION_ID=\"22.04\"\nPRETTY_NAME=Ubuntu\n"),
                ("etc/hostname", "u\n"),
            ],
            "ubuntu x86_64 Ubuntu unknown 22 4 deb apt u ubuntu22.04",
        ),
        (
            &[
                ("usr/lib/os-release", "ID=fedora\nVERSION_ID=39\nPRETTY_NAME=\"Fedora-39\"\n"),
                ("etc/sysconfig/network", "HOSTNAME=f\n"),
            ],
            "fedora x86_64 Fedora-39 unknown 39 0 rpm dnf f fedora39",
        ),
        (
            &[("etc/os-release", "ID=alpine\nVERSION_ID=3.18.4\nPRETTY_NAME=Alpine\n")],
            "alpinelinux x86_64 Alpine unknown 3 18 apk apk unknown alpinelinux3.18",
        ),
        (
            &[
                ("etc/os-release", "ID=\"opensuse-leap\"\nVERSION_ID=\"15.5\"\nPRETTY_NAME=Leap\n"),
                ("etc/HOSTNAME", "s\n"),
            ],
            "opensuse x86_64 Leap unknown 15 5 rpm zypper s opensuse15.5",
        ),
    ];
    for (files, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let disk = disk(directory.path(), files);
        let expected = format!("/dev/sda linux {expected} unknown /: /dev/sda /dev/sda installed");
        // Nothing of this needs an appliance, and one says the same.
        for how in ["--direct=only", "--direct=never"] {
            assert_eq!(answers(&disk, how).join(" "), expected, "{how}");
        }
    }
}

#[test]
fn applications_are_listed() {
    let status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:5.2-3\nDescription: a shell\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path(), &[("etc/os-release", "ID=debian\n"), ("var/lib/dpkg/status", status)]);
    let arguments = ["--ro", "--format=raw", "-a", disk.to_str().unwrap(), "-i"];
    let printed = output_of(
        &arguments,
        "-inspect-os\nmount-ro /dev/sda /\ninspect-list-applications2 /dev/sda\nfile-architecture /bin/sh\n",
    );
    assert!(printed.starts_with("/dev/sda\n[0] = {\n  app2_name: bash\n  app2_display_name: \n  app2_epoch: 1\n  app2_version: 5.2\n"), "{printed}");
    assert!(!printed.contains("[1]") && printed.ends_with("}\nx86_64\n"), "{printed}");
    let printed =
        output_of(&arguments, "-inspect-os\nmount-ro /dev/sda /\ninspect-list-applications /dev/sda\n");
    assert!(printed.contains("  app_release: 3\n"), "{printed}");
}

#[test]
fn questions_come_after_the_search() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(directory.path(), &[]);
    let arguments = ["--ro", "--format=raw", "-a", disk.to_str().unwrap()];
    let ran = script(
        &arguments,
        "-inspect-get-type /dev/sda\nrun\n-inspect-get-type /dev/sda\ninspect-os\n-inspect-get-type /dev/sdz\n\
         -inspect-get-windows-systemroot /dev/sda\n-file-architecture /bin/sh\nmount-ro /dev/sda /\n-file-architecture /etc/fstab\n",
    );
    assert_eq!((ran.code, ran.text()), (Some(0), "/dev/sda\n"), "{ran:?}");
    for part in [
        "*stdin*:1: libguestfs: error: inspect_get_type: call launch before",
        "*stdin*:3: libguestfs: error: inspect_get_type: no inspection data: call guestfs_inspect_os first\n",
        "*stdin*:5: libguestfs: error: inspect_get_type: /dev/sdz: root device not found",
        "*stdin*:6: libguestfs: error: inspect_get_windows_systemroot: not a Windows guest",
        "*stdin*:9: libguestfs: error: file_architecture: unknown architecture: /etc/fstab\n",
    ] {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
}
