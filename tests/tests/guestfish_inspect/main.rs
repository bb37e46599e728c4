//! What inspection says about systems whose files are known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod encrypted;
mod hostile;
mod recipe;
mod tables;
mod unix;
mod windows;

use std::fs;
use std::path::{Path, PathBuf};

use system_tests::fish::{output_of, script};
use system_tests::images;
use system_tests::programs::peer;

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

/// The database that `rpm` keeps, asked as `rpm` is.
#[test]
fn packages_of_rpm_are_listed_as_rpm_does() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    write(&tree, "etc/os-release", "ID=fedora\nVERSION_ID=40\nPRETTY_NAME=F\n");
    write(&tree, "etc/fstab", "");
    fs::create_dir_all(tree.join("bin")).unwrap();
    let top = format!("_topdir {}", directory.path().display());
    let root = tree.to_str().unwrap();
    for name in ["zebra", "ant"] {
        let spec = directory.path().join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: 2.0\nRelease: 1.fc40\nSummary: The {name}\nLicense: x\nBuildArch: noarch\n\
             %description\nAn animal.\nReally.\n%files\n"
        );
        fs::write(&spec, text).unwrap();
        peer("rpmbuild", &["-bb", "--quiet", "-D", &top, spec.to_str().unwrap()]);
        let package = directory.path().join(format!("RPMS/noarch/{name}-2.0-1.fc40.noarch.rpm"));
        let database = ["--root", root, "-D", "_dbpath /usr/lib/sysimage/rpm", "--nodeps", "-i"];
        peer("rpm", &[&database[..], &[package.to_str().unwrap()]].concat());
    }
    let disk = directory.path().join("disk");
    images::ext(&disk, 32, &["mkfs.ext4"], &tree, "");
    for how in ["--direct=only", "--direct=never"] {
        let printed = output_of(
            &["--ro", "--format=raw", how, "-a", disk.to_str().unwrap()],
            "run\ninspect-os\nmount-ro /dev/sda /\ninspect-list-applications2 /dev/sda\n",
        );
        let of = |field: &str| -> Vec<&str> {
            let begin = format!("  app2_{field}: ");
            printed.lines().filter_map(|line| line.strip_prefix(&begin)).collect()
        };
        assert_eq!(of("name"), ["ant", "zebra"], "{how}");
        assert_eq!(
            (of("version"), of("release"), of("arch")),
            (vec!["2.0"; 2], vec!["1.fc40"; 2], vec!["noarch"; 2])
        );
        assert_eq!(of("summary"), ["The ant", "The zebra"]);
        assert!(printed.contains("  app2_description: An animal.\nReally.\n"), "{printed}");
    }
}
