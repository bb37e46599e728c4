//! The appliance on KVM, driven by guestfish: inside a machine whose KVM works, or here where it does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::Path;
use std::time::Duration;

use appliance_engine::build::Appliance;
use system_tests::nested::Nested;
use system_tests::programs::{peer, program};

/// Partitions a disk, makes a file system, writes and reads files, and reports what it did.
const SCRIPT: &str = "run
part-init /dev/sda gpt
part-add /dev/sda p 2048 -2048
mkfs ext4 /dev/sda1 label:nested
mount /dev/sda1 /
mkdir-p /a/b
write /a/b/file \"written on KVM\\n\"
ln-s b/file /a/link
cat /a/link
list-filesystems
umount-all
";

/// What guestfish prints for it.
const PRINTED: &str = "written on KVM\n\n/dev/sda1: ext4\n";

fn inspect(disk: &Path) {
    let disk = disk.to_str().unwrap();
    peer("qemu-img", &["check", "-q", "-f", "qcow2", disk]);
    // Not through our own readers: QEMU unpacks the image, e2fsprogs reads the file system.
    let raw = tempfile::NamedTempFile::new().unwrap();
    let raw = raw.path().to_str().unwrap();
    peer("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", disk, raw]);
    let partition = tempfile::NamedTempFile::new().unwrap();
    let partition = partition.path().to_str().unwrap();
    peer("dd", &[&format!("if={raw}"), &format!("of={partition}"), "bs=1M", "skip=1", "status=none"]);
    peer("e2fsck", &["-fn", partition]);
    assert_eq!(peer("debugfs", &["-R", "cat /a/b/file", partition]), "written on KVM\n");
}

#[test]
fn guestfish_works_through_the_kvm_back_end() {
    let directory = tempfile::tempdir().unwrap();
    let appliance = Appliance::installed().expect("'make test' builds the appliance first");
    let files = directory.path().join("appliance");
    std::fs::create_dir(&files).unwrap();
    for file in [
        appliance.pc_kernel(),
        appliance.pc_initrd(),
        appliance.root_image(),
        appliance.directory.join("manifest.json"),
    ] {
        std::fs::copy(&file, files.join(file.file_name().unwrap())).unwrap();
    }
    let outcome = Nested::new()
        .unwrap()
        .memory(2560)
        .file(program("guestfish"), "/bin/guestfish")
        .unwrap()
        .file(program("appliance"), "/bin/appliance")
        .unwrap()
        .file(program("img"), "/bin/img")
        .unwrap()
        .dir(&files, "/appliance")
        .unwrap()
        .bytes("/script", SCRIPT.as_bytes())
        .fetch("/disk.qcow2")
        .fetch("/printed")
        .timeout(Duration::from_secs(240))
        .run(
            "export DISKWRIGHT_APPLIANCE=/appliance DISKWRIGHT_CACHE=/tmp/cache\n\
             mkdir -p /tmp/cache\n\
             appliance probe || exit 1\n\
             appliance probe | grep -q '^auto: kvm' || exit 2\n\
             img create -q -f qcow2 /disk.qcow2 64M || exit 3\n\
             guestfish -v --memsize=256 -a /disk.qcow2 </script >/printed 2>/tmp/log\n\
             status=$?\n\
             tail -n 20 /tmp/log\n\
             grep -q 'KVM runs the appliance' /tmp/log || exit 4\n\
             for i in 1 2 3; do time guestfish --memsize=256 --direct=never --ro -a /disk.qcow2 run : ping-daemon || exit 5; done\n\
             exit $status",
        )
        .unwrap();
    assert_eq!(outcome.status, 0, "{}", outcome.output);
    assert_eq!(std::fs::read_to_string(outcome.file("/printed")).unwrap(), PRINTED);
    inspect(&outcome.file("/disk.qcow2"));
}
