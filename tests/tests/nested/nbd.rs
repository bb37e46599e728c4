//! Block devices of a real kernel: images and exports attached by its nbd and ublk drivers, used by its file systems, and
//! taken off again. One guest does all of it; what it left in the images is looked at with QEMU's and ext4's own tools.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use system_tests::nested::{Kernel, Nested};
use system_tests::programs::{peer, program};

/// All that the guest does. What goes wrong ends it with a line that says where.
const SCRIPT: &str = include_str!("nbd.sh");

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An image of 64 MiB with two partitions.
fn partitioned(path: &Path) {
    let raw = path.with_extension("raw");
    File::create(&raw).unwrap().set_len(64 << 20).unwrap();
    let table = "label: gpt\nstart=1MiB,size=40MiB\nsize=10MiB\n";
    peer("sh", &["-ec", &format!("printf '{table}' | sfdisk -q $1"), "sh", text(&raw)]);
    peer("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", text(&raw), text(path)]);
}

/// The contents of a file in the ext4 file system at `offset` of an image, which must be in order.
fn file_in(image: &Path, format: &str, offset: u64, name: &str) -> String {
    peer("qemu-img", &["check", "-q", "-f", format, text(image)]);
    let raw = image.with_extension("checked");
    peer("qemu-img", &["convert", "-f", format, "-O", "raw", text(image), text(&raw)]);
    let part = format!("{}?offset={offset}", text(&raw));
    peer("e2fsck", &["-fn", &part]);
    peer("debugfs", &["-R", &format!("cat {name}"), &part])
}

#[test]
fn the_kernel_s_drivers_serve_images_and_exports() {
    let directory = tempfile::tempdir().unwrap();
    let image = |name: &str| directory.path().join(name);
    partitioned(&image("parts.qcow2"));
    for name in ["plain", "ublk"] {
        peer("qemu-img", &["create", "-q", "-f", "qcow2", text(&image(&format!("{name}.qcow2"))), "48M"]);
    }
    File::create(image("odd.raw")).unwrap().set_len((8 << 20) + 700).unwrap();
    let mut nested =
        Nested::with(Kernel::newer().unwrap()).unwrap().cpus(2).timeout(Duration::from_secs(200));
    for module in ["nbd", "ublk_drv", "ext4", "crc32c_generic", "libcrc32c", "af_packet"] {
        nested = nested.module(module);
    }
    for name in ["parts.qcow2", "plain.qcow2", "ublk.qcow2", "odd.raw"] {
        nested = nested.file(image(name), &format!("/root/{name}")).unwrap().fetch(&format!("/root/{name}"));
    }
    let programs = [
        (program("nbd"), "/bin/nbd"),
        ("/usr/sbin/mkfs.ext4".into(), "/bin/mkfs.ext4"),
        ("/usr/sbin/nbd-client".into(), "/bin/nbd-client"),
    ];
    for (host, guest) in programs {
        nested = nested.file(host, guest).unwrap();
    }
    let outcome = nested.run(SCRIPT).unwrap();
    assert_eq!(outcome.status, 0, "{}", outcome.output);
    assert!(outcome.output.ends_with("all done\n"), "{}", outcome.output);
    let numbers = peer("seq", &["20000"]);
    let fetched = |name: &str| outcome.file(&format!("/root/{name}"));
    assert_eq!(file_in(&fetched("parts.qcow2"), "qcow2", 1 << 20, "numbers"), numbers);
    assert_eq!(file_in(&fetched("plain.qcow2"), "qcow2", 0, "numbers"), numbers);
    assert_eq!(file_in(&fetched("ublk.qcow2"), "qcow2", 0, "numbers"), numbers);
}
