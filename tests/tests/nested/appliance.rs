//! The appliance on KVM, driven by guestfish: inside a machine whose KVM works, or here where it does.

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
upload /large /large
download /large /tmp/large
checksum sha256 /large
copy-in /tree /a
tar-out /a/tree /tmp/tree.tar
write /a/b/file \"written on KVM\\n\"
ln-s b/file /a/link
cat /a/link
list-filesystems
umount-all
";

/// What guestfish prints for it, after a checksum.
const PRINTED: &str = "written on KVM\n\n/dev/sda1: ext4\n";

/// Prints how long guests take from their start to the agent's first words: ours as guestfish sees it, and the
/// same kernel with the same initial file system in QEMU's usual machine.
const BOOTS: &str = "now() { read up _ </proc/uptime; echo ${up%.*}${up#*.}; }
for i in 1 2; do
    began=$(now)
    echo 'run
ping-daemon
!read up _ </proc/uptime; echo ${up%.*}${up#*.}' | guestfish --memsize=256 --direct=never --ro -a /disk.qcow2 >/tmp/up || exit 1
    echo \"vmm-mini: $(($(cat /tmp/up) - began)) hundredths of a second to the first answer\"
done
words='console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off nokaslr random.trust_cpu=1 no_timer_check tsc=reliable audit=0 nowatchdog cryptomgr.notests 8250.nr_uarts=1 i8042.nokbd i8042.noaux reboot=t ipv6.disable=1 rdinit=/init'
for i in 1 2; do
    rm -f /tmp/hello
    began=$(now)
    qemu-system-x86_64 -M q35,smm=off,hpet=off,usb=off,sata=off,smbus=off,vmport=off -accel kvm -cpu host -m 256 \\
        -nodefaults -no-user-config -no-reboot -display none -serial null -L /usr/share/qemu \\
        -kernel /appliance/vmlinux -initrd /appliance/initrd-pc -append \"$words\" \\
        -drive if=none,id=disk,format=qcow2,readonly=on,file=/disk.qcow2 \\
        -device virtio-blk-pci,drive=disk,disable-legacy=on,romfile= \\
        -device virtio-serial-pci,disable-legacy=on -chardev file,id=rpc,path=/tmp/hello \\
        -device virtserialport,chardev=rpc,name=org.diskwright.rpc &
    qemu=$!
    while [ ! -s /tmp/hello ] && kill -0 $qemu && [ $(($(now) - began)) -lt 6000 ]; do usleep 10000; done
    if [ -s /tmp/hello ]; then
        echo \"QEMU q35: $(($(now) - began)) hundredths of a second to the first words\"
    else
        echo 'QEMU q35: no words'
    fi
    kill -9 $qemu
    wait $qemu
done
exit 0
";

/// Bytes that differ from place to place: several pieces of the exchange, and a bit.
fn large() -> Vec<u8> {
    (0..9_000_001_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

fn sha256(path: &Path) -> String {
    peer("sha256sum", &[path.to_str().unwrap()])[..64].to_owned()
}

fn inspect(disk: &Path, large: &str) {
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
    for path in ["/large", "/a/tree/sub/large"] {
        let copy = tempfile::NamedTempFile::new().unwrap();
        peer("debugfs", &["-R", &format!("dump {path} {}", copy.path().display()), partition]);
        assert_eq!(sha256(copy.path()), large, "{path}");
    }
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
        .memory(3072)
        .file(program("guestfish"), "/bin/guestfish")
        .unwrap()
        .file(program("appliance"), "/bin/appliance")
        .unwrap()
        .file(program("img"), "/bin/img")
        .unwrap()
        .dir(&files, "/appliance")
        .unwrap()
        .bytes("/script", SCRIPT.as_bytes())
        .bytes("/large", &large())
        .bytes("/tree/sub/large", &large())
        .file("/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-system-x86_64")
        .unwrap()
        .file("/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin")
        .unwrap()
        .file("/usr/share/qemu/pvh.bin", "/usr/share/qemu/pvh.bin")
        .unwrap()
        .file("/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/kvmvapic.bin")
        .unwrap()
        .bytes("/boots", BOOTS.as_bytes())
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
             cmp /large /tmp/large || exit 6\n\
             mkdir /tmp/tree && tar -xf /tmp/tree.tar -C /tmp/tree && cmp /large /tmp/tree/sub/large || exit 7\n\
             sh /boots || exit 5\n\
             exit $status",
        )
        .unwrap();
    assert_eq!(outcome.status, 0, "{}", outcome.output);
    let sum = directory.path().join("large");
    std::fs::write(&sum, large()).unwrap();
    let sum = sha256(&sum);
    let printed = std::fs::read_to_string(outcome.file("/printed")).unwrap();
    assert_eq!(printed, format!("{sum}\n{PRINTED}"));
    inspect(&outcome.file("/disk.qcow2"), &sum);
}
