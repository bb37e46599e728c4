//! Tables of file systems: the names in them, and the devices that they mean here.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use system_tests::fish::{output_of, script};

use crate::recipe::program;

const BOOT: &str = "22222222-aaaa-bbbb-cccc-000000000002";

/// A table with every kind of name.
fn table() -> String {
    format!(
        "# a comment\n\
         UUID={BOOT} /boot ext2 defaults 0 2\n\
         LABEL=root / ext2 defaults 0 1\n\
         PARTUUID=44444444-4444-5555-6666-777788889999 /home ext2 defaults 0 2\n\
         PARTLABEL=data /data ext2 defaults 0 2\n\
         /dev/mapper/my--vg-root--lv /srv ext2 defaults 0 2\n\
         /dev/my-vg/var //var//\text2 defaults 0 2\n\
         LABEL=swap none swap sw 0 0\n\
         /dev/vdb /second ext2 noauto 0 0\n\
         /dev/xvda2 /xvd ext2 defaults 0 0\n\
         /dev/disk/by-uuid/{BOOT} /byuuid ext2 defaults 0 0\n\
         /dev/disk/by-id/ata-DISK-part2 /byid ext2 defaults 0 0\n\
         /dev/sdz9 /nowhere ext2 defaults 0 0\n\
         LABEL=nowhere /gone ext2 defaults 0 0\n\
         tmpfs /tmp tmpfs defaults 0 0\n\
         host:/x /nfs nfs defaults 0 0\n\
         /dev/cdrom /cd iso9660 noauto 0 0\n\
         /dev/sda5 /btr btrfs subvol=sub1 0 0\n\
         /dev/sda5 /btr2 btrfs noatime,subvol=/sub2 0 0\n\
         /dev/sda4 /media/x ext2 defaults 0 0\n\
         /dev/sda4 /a\\040b ext2 defaults 0 0\n\
         /dev/mapper/other /other ext2 defaults 0 0\n\
         LABEL=\"second\" /quoted ext2 defaults 0 0\n"
    )
}

/// As libguestfs has them, but for what newer ones resolve (`PARTUUID`, `PARTLABEL`, `by-uuid`), whole disks, and blanks in
/// names. The last line comes first.
const POINTS: &str = "/quoted: /dev/sdb
/other: /dev/mapper/other
/a b: /dev/sda4
/btr2: btrfsvol:/dev/sda5//sub2
/btr: btrfsvol:/dev/sda5/sub1
/nowhere: /dev/sdz9
/byid: /dev/disk/by-id/ata-DISK-part2
/byuuid: /dev/sda2
/xvd: /dev/sda2
/second: /dev/sdb
/var: /dev/my-vg/var
/srv: /dev/my-vg/root-lv
/data: /dev/sda4
/home: /dev/sda4
/: /dev/sda1
/boot: /dev/sda2
";

#[test]
fn names_lead_to_devices() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("a.img"), directory.path().join("b.img"));
    partitioned(
        &first,
        260,
        "size=8M\nsize=8M\nsize=8M\nsize=8M,uuid=44444444-4444-5555-6666-777788889999,name=data\nsize=130M\nsize=32M\n",
    );
    fs::File::create(&second).unwrap().set_len(8 << 20).unwrap();
    fs::write(directory.path().join("ls"), program("x86_64")).unwrap();
    fs::write(directory.path().join("fstab"), table()).unwrap();
    let from = directory.path().display();
    let making = format!(
        "run
mkfs ext2 /dev/sda1 label:root
mkfs ext2 /dev/sda2 label:boot
set-e2uuid /dev/sda2 {BOOT}
mkswap /dev/sda3 label:swap
mkfs ext2 /dev/sda4
mkfs btrfs /dev/sda5
mount /dev/sda5 /
btrfs-subvolume-create /sub1
btrfs-subvolume-create /sub2
umount /
pvcreate /dev/sda6
vgcreate my-vg /dev/sda6
lvcreate root-lv my-vg 8
lvcreate var my-vg 8
mkfs ext2 /dev/my-vg/root-lv
mkfs ext2 /dev/my-vg/var
mkfs ext2 /dev/sdb label:second
mount /dev/sda1 /
mkdir /etc
mkdir /bin
glob mkdir /boot
mkdir /btr2
upload {from}/ls /bin/ls
upload {from}/fstab /etc/fstab
"
    );
    let both = ["--format=raw", "-a", first.to_str().unwrap(), "-a", second.to_str().unwrap()];
    output_of(&both, &making);
    let read_only = ["--ro"].iter().chain(&both).copied().collect::<Vec<_>>();
    let said = output_of(
        &read_only,
        "run\ninspect-os\ninspect-get-mountpoints /dev/sda1\necho =\ninspect-get-filesystems /dev/sda1\n",
    );
    let (points, devices) = said.strip_prefix("/dev/sda1\n").unwrap().split_once("=\n").unwrap();
    assert_eq!(points, POINTS);
    // Swap space belongs to the system as well.
    let expected = POINTS.replace("/var: ", "swap: /dev/sda3\n/var: ");
    let expected: Vec<&str> = expected.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(devices.lines().collect::<Vec<_>>(), expected);

    // What cannot be mounted is told, and does not keep the rest from being mounted.
    let arguments: Vec<&str> = read_only.iter().chain(&["-i"]).copied().collect();
    let ran = script(&arguments, "mountpoints\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.text().contains("/dev/sda1: /\n") && ran.text().contains("/dev/sda2: /boot\n"), "{ran:?}");
    assert!(ran.text().contains("/btr2\n") && ran.err.contains("/dev/sdz9"), "{ran:?}");
}

fn partitioned(path: &Path, mib: u64, partitions: &str) {
    fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
    let mut child = Command::new("sfdisk").arg("-q").arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("label: gpt\n{partitions}").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
