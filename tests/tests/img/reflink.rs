//! Conversions on file systems that can share blocks between files: nothing is copied, and nothing depends on
//! the source.

use std::path::PathBuf;
use std::process::Command;

use system_tests::programs::{output_of, peer};

/// A file system in a file, mounted while this lives.
struct Mount {
    point: PathBuf,
    _directory: tempfile::TempDir,
}

impl Mount {
    fn new(mkfs: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("fs");
        std::fs::File::create(&image).unwrap().set_len(2 << 30).unwrap();
        let image = image.display().to_string();
        let mut arguments = options.to_vec();
        arguments.push(&image);
        peer(mkfs, &arguments);
        let point = directory.path().join("mnt");
        std::fs::create_dir(&point).unwrap();
        peer("mount", &["-o", "loop", &image, &point.display().to_string()]);
        Mount { point, _directory: directory }
    }

    fn path(&self, name: &str) -> String {
        self.point.join(name).display().to_string()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).status();
    }
}

/// Bytes of a file that it shares with others, and all that it stores.
fn shared_bytes(path: &str) -> (u64, u64) {
    let map = peer("filefrag", &["-v", "-b1", path]);
    let (mut shared, mut all) = (0, 0);
    for line in map.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [number, _, _, length, ..] = fields[..] else { continue };
        if number.trim().parse::<u64>().is_err() {
            continue;
        }
        let length: u64 = length.trim().parse().unwrap();
        all += length;
        shared += if line.contains("shared") { length } else { 0 };
    }
    (shared, all)
}

fn write(image: &str, format: &str, command: &str) {
    peer("qemu-io", &["-f", format, "-c", command, image]);
}

fn shares(mount: &Mount) {
    let raw = mount.path("d.raw");
    peer("qemu-img", &["create", "-q", &raw, "301M"]);
    // Whole clusters, parts of clusters, and holes among them; the end is no cluster's.
    for command in ["write -P 7 64k 20M", "write -P 9 40M 8k", "write -P 8 41M 5M", "write -P 1 308211712 4k"]
    {
        write(&raw, "raw", command);
    }
    let original = output_of("img", &["hash", &raw]);
    let original = original.split_whitespace().next().unwrap();
    let check = |name: &str| {
        let path = mount.path(name);
        assert!(output_of("img", &["hash", &path]).starts_with(original), "{name}");
        peer("qemu-img", &["compare", &raw, &path]);
        peer("sync", &[&path]);
        let (shared, all) = shared_bytes(&path);
        assert!(shared > 24 << 20 && all - shared < 2 << 20, "{name}: {shared} of {all} bytes are shared");
    };
    let image = |name: &str| mount.path(name);
    output_of("img", &["convert", "-O", "qcow2", &raw, &image("a.q")]);
    peer("qemu-img", &["check", &image("a.q")]);
    check("a.q");
    output_of("img", &["convert", &image("a.q"), &image("b.raw")]);
    check("b.raw");
    output_of("img", &["convert", "-O", "qcow2", &image("a.q"), &image("c.q")]);
    peer("qemu-img", &["check", &image("c.q")]);
    check("c.q");
    // Through a chain, and as a snapshot.
    peer("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &image("a.q"), "-F", "qcow2", &image("top.q")]);
    output_of("img", &["convert", "-O", "qcow2", &image("top.q"), &image("d.q")]);
    check("d.q");
    output_of("img", &["snapshot", "-c", "s", &image("c.q")]);
    output_of("img", &["convert", "-l", "s", "-O", "qcow2", &image("c.q"), &image("e.q")]);
    check("e.q");

    // Neither side changes with the other.
    write(&raw, "raw", "write -P 99 64k 1M");
    write(&image("c.q"), "qcow2", "write -P 98 2M 1M");
    for name in ["a.q", "b.raw", "d.q", "e.q"] {
        assert!(output_of("img", &["hash", &image(name)]).starts_with(original), "{name} changed");
    }

    // What must not share does not: other clusters, space of its own, holes looked for, packed clusters.
    let ways: [&[&str]; 4] = [
        &["-O", "qcow2", "-o", "preallocation=falloc"],
        &["-O", "qcow2", "-S", "64k"],
        &["-c", "-O", "qcow2"],
        &["-S", "0"],
    ];
    for way in ways {
        let target = image("x");
        let mut arguments = vec!["convert"];
        arguments.extend(way);
        let (source, target) = (image("a.q"), target);
        arguments.extend([source.as_str(), target.as_str()]);
        output_of("img", &arguments);
        assert!(output_of("img", &["hash", &target]).starts_with(original), "{way:?}");
        peer("sync", &[&target]);
        assert_eq!(shared_bytes(&target).0, 0, "{way:?}");
    }
}

#[test]
fn extents_are_shared_on_xfs() {
    shares(&Mount::new("mkfs.xfs", &["-q", "-m", "reflink=1"]));
}

#[test]
fn extents_are_shared_on_btrfs() {
    shares(&Mount::new("mkfs.btrfs", &["-q"]));
}

/// A file system that could but was told not to: everything is copied, and zeroes are still found.
#[test]
fn without_reflinks_everything_is_copied() {
    let mount = Mount::new("mkfs.xfs", &["-q", "-m", "reflink=0"]);
    let (raw, target) = (mount.path("d.raw"), mount.path("o"));
    peer("qemu-img", &["create", "-q", &raw, "20M"]);
    write(&raw, "raw", "write -P 7 0 4M");
    write(&raw, "raw", "write -P 0 4M 4M");
    for options in [&["-O", "qcow2"][..], &["-O", "raw"]] {
        let mut arguments = vec!["convert"];
        arguments.extend(options);
        arguments.extend([raw.as_str(), target.as_str()]);
        output_of("img", &arguments);
        peer("qemu-img", &["compare", &raw, &target]);
        assert!(shared_bytes(&target).1 < 5 << 20);
        assert_eq!(shared_bytes(&target).0, 0);
    }
}
