//! Trees of files that are too large, too deep, or full of programs that somebody might run by mistake.

use super::Host;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use system_tests::fish::script;
use system_tests::images;
use system_tests::programs::peer;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_hundred_thousand_names_and_very_long_ones() {
    let host = Host::new();
    let tree = tempfile::tempdir().unwrap();
    let many = tree.path().join("many");
    std::fs::create_dir(&many).unwrap();
    (0..100_000).for_each(|n| std::fs::write(many.join(n.to_string()), "").unwrap());
    let long = "n".repeat(255);
    let mut deep = tree.path().join(&long);
    std::fs::create_dir(&deep).unwrap();
    while deep.as_os_str().len() < 3500 {
        deep.push(&long[..200]);
        std::fs::create_dir(&deep).unwrap();
    }
    std::fs::write(deep.join("bottom"), "deep").unwrap();
    let disk = host.disk("names");
    // Filling a directory of ext without its kernel takes minutes.
    peer("mksquashfs", &[text(tree.path()), text(&disk), "-quiet", "-no-progress"]);
    let inside = deep.strip_prefix(tree.path()).unwrap().join("bottom");
    let lines = owned(&[
        "mount-ro /dev/sda /",
        "ls /many | wc -l",
        "find /many | wc -l",
        "ll /many | wc -l",
        "readdir /many | grep -c name",
        "glob echo /many/9999? | wc -l",
        "du /",
        "tar-out /many /dev/null",
        &format!("cat /{}", text(&inside)),
        &format!("stat /{}", "x".repeat(5000)),
    ]);
    let told = host.survives(&["--ro"], &[disk], &lines);
    let told = String::from_utf8_lossy(&told.out).into_owned();
    assert!(told.starts_with("100000\n100000\n100004\n100002\n"), "{}", &told[..200.min(told.len())]);
    assert!(told.contains("\ndeep\n"), "{told}");
}

#[test]
fn a_directory_of_a_gigabyte_and_a_file_of_holes() {
    let host = Host::new();
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir(tree.path().join("d")).unwrap();
    std::fs::write(tree.path().join("d/f"), "inside").unwrap();
    let disk = host.disk("large");
    images::ext(&disk, 24, &["mkfs.ext4", "-O", "^metadata_csum"], tree.path(), "");
    peer("debugfs", &["-w", "-R", "set_inode_field /d size 0x40000000", text(&disk)]);
    let lines = owned(&[
        "mount-ro /dev/sda /",
        "ls /d",
        "cat /d/f",
        "find /",
        "cat /d/g",
        "tar-out / /dev/null",
        "umount-all",
        "fsck ext4 /dev/sda",
    ]);
    host.survives(&["--ro"], std::slice::from_ref(&disk), &lines);
    host.survives(&[], &[disk], &lines);
    let holes = host.disk("holes");
    std::fs::File::create(&holes).unwrap().set_len(320 << 20).unwrap();
    let lines = owned(&[
        "mkfs xfs /dev/sda",
        "mount /dev/sda /",
        "write /f start",
        "truncate-size /f 9223372036854775807",
        "filesize /f",
        "du /f",
        "cat /f",
        "read-file /f",
        "read-lines /f",
        "pread /f 5 0",
        "head-n 0 /f",
        "hivex-open /f",
        "file /f",
    ]);
    let told = host.survives(&[], &[holes], &lines);
    let out = String::from_utf8_lossy(&told.out).into_owned();
    assert!(out.starts_with("9223372036854775807\n4\nstart"), "{out}");
}

#[test]
fn programs_of_a_guest_are_not_run_by_looking_at_it() {
    let host = Host::new();
    let tree = tempfile::tempdir().unwrap();
    images::debian_tree(tree.path());
    let trap = "#!/bin/sh\ntouch /executed\necho executed >/dev/console\n";
    for name in [
        "rpm",
        "dpkg",
        "dpkg-query",
        "sh",
        "bash",
        "uname",
        "file",
        "python3",
        "lsb_release",
        "systemctl",
        "true",
    ] {
        let place = tree.path().join("usr/bin").join(name);
        std::fs::write(&place, trap).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::create_dir_all(tree.path().join("etc/profile.d")).unwrap();
    std::fs::write(tree.path().join("etc/profile.d/x.sh"), trap).unwrap();
    std::fs::write(tree.path().join("etc/ld.so.preload"), "/usr/lib/evil.so\n").unwrap();
    let disk = host.disk("trap");
    images::ext(&disk, 24, &["mkfs.ext4"], tree.path(), "");
    let lines = owned(&[
        "inspect-os",
        "mount /dev/sda /",
        "inspect-get-type /dev/sda",
        "inspect-get-hostname /dev/sda",
        "inspect-list-applications2 /dev/sda",
        "file-architecture /bin/true",
        "file /bin/sh",
        "aug-init / 0",
        "aug-close",
        "find /",
        "checksums-out md5 /etc /dev/null",
        "ls /executed",
        "umount-all",
    ]);
    let told = host.survives(&[], std::slice::from_ref(&disk), &lines);
    assert!(told.err.contains("/executed: No such file or directory"), "{}", told.err);
    assert!(!Path::new("/executed").exists());
    let ran = script(&["--ro", "--format=raw", "-a", text(&disk), "-i"], "ls /\n");
    assert!(ran.code == Some(0) && !ran.text().contains("executed"), "{ran:?}");
}

#[test]
fn links_of_a_guest_stay_links_on_the_host() {
    let host = Host::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir(tree.path().join("d")).unwrap();
    symlink(&target, tree.path().join("d/file")).unwrap();
    symlink(outside.path(), tree.path().join("d/dir")).unwrap();
    symlink("/etc/passwd", tree.path().join("passwd")).unwrap();
    let disk = host.disk("links");
    images::ext(&disk, 8, &["mkfs.ext4"], tree.path(), "");
    let here = tempfile::tempdir().unwrap();
    let lines = owned(&[
        "mount /dev/sda /",
        &format!("copy-out /d {}", here.path().display()),
        &format!("copy-out /passwd {}", here.path().display()),
        &format!("write {} caught", target.display()),
        "write /d/file caught",
        "cat /passwd",
        "download /passwd /dev/null",
        "checksum md5 /passwd",
    ]);
    let told = host.survives(&[], &[disk], &lines);
    assert_eq!(std::fs::read_link(here.path().join("d/file")).unwrap(), target);
    assert_eq!(std::fs::read_link(here.path().join("d/dir")).unwrap(), outside.path());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!here.path().join("passwd").exists());
    assert!(!String::from_utf8_lossy(&told.out).contains("root:"), "the host's own file was read");
}
