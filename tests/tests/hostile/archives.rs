//! Archives whose names lead elsewhere: everything lands below the directory that was asked for.

use super::Host;
use std::path::Path;
use std::process::Command;

use system_tests::programs::peer;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An archive with a file under another name.
fn archive(directory: &Path, name: &str) -> std::path::PathBuf {
    std::fs::write(directory.join("member"), "caught").unwrap();
    let place = directory.join("archive.tar");
    let transform = format!("s,^member$,{name},");
    peer("tar", &["-cPf", text(&place), "--transform", &transform, "-C", text(directory), "member"]);
    place
}

#[test]
fn names_that_climb_out_of_an_archive() {
    let host = Host::new();
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("absolute");
    for name in ["../../climbed", "d/../../climbed", text(&absolute), "link/through"] {
        let place = tempfile::tempdir().unwrap();
        let tar = archive(place.path(), name);
        let disk = host.disk("archive");
        system_tests::images::format(&disk, 8, &["mkfs.ext4", "-q", "-F"]);
        let lines = [
            "mount /dev/sda /".to_owned(),
            "mkdir-p /a/b".to_owned(),
            format!("ln-s {} /a/b/link", outside.path().display()),
            format!("tar-in {} /a/b", tar.display()),
            format!("copy-in {} /a/b", tar.display()),
            "umount-all".to_owned(),
        ];
        host.survives(&[], std::slice::from_ref(&disk), &lines);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{name}");
        let top = peer("debugfs", &["-R", "ls -p /", text(&disk)]);
        assert!(!top.contains("climbed") && !top.contains("absolute"), "{name}: {top}");
        let above = peer("debugfs", &["-R", "ls -p /a", text(&disk)]);
        assert!(!above.contains("climbed"), "{name}: {above}");
    }
}

#[test]
fn archives_that_are_none() {
    let host = Host::new();
    let place = tempfile::tempdir().unwrap();
    let tar = archive(place.path(), "member");
    let good = std::fs::read(&tar).unwrap();
    let mut random = super::Random::new(9);
    let mut lines =
        vec!["mkfs ext4 /dev/sda".to_owned(), "mount /dev/sda /".to_owned(), "mkdir /x".to_owned()];
    for number in 0..12 {
        let mut bad = good.clone();
        for _ in 0..6 {
            let at = random.below(600);
            bad[at] = u8::try_from(random.below(256)).unwrap();
        }
        let file = place.path().join(format!("bad-{number}"));
        std::fs::write(&file, &bad).unwrap();
        lines.push(format!("tar-in {} /x", file.display()));
        lines.push(format!("tgz-in {} /x", file.display()));
        lines.push(format!("upload {} /i", file.display()));
        lines.extend(
            ["initrd-list /i", "zfile gzip /i", "file /i", "isoinfo /i", "hivex-open /i"].map(str::to_owned),
        );
    }
    // An initial RAM disk with names that climb out.
    let cpio = place.path().join("initrd");
    let script =
        "printf '../../climbed\\n/absolute\\nmember\\n' | cpio --quiet -o -H newc 2>/dev/null || true";
    Command::new("sh")
        .args(["-c", script])
        .current_dir(place.path())
        .stdout(std::fs::File::create(&cpio).unwrap())
        .status()
        .unwrap();
    lines.push(format!("upload {} /initrd", cpio.display()));
    lines.extend(
        ["initrd-list /initrd", "initrd-cat /initrd ../../climbed", "initrd-cat /initrd member"]
            .map(str::to_owned),
    );
    let disk = host.disk("none");
    std::fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let told = host.survives(&[], &[disk], &lines);
    assert!(String::from_utf8_lossy(&told.out).contains("caught"), "what is right is read");
}
