//! Logical volumes, subvolumes, and file systems on several drives: what is answered without an appliance is what the appliance says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::Command;

use system_tests::fish::{output_of, script};

/// Asks drives for what only an appliance would be needed for if the answer were not read directly.
fn agree(drives: &[&str], questions: &str) -> String {
    let answer = |direct: &str| {
        let mut arguments = vec!["--ro", direct, "--format=raw"];
        arguments.extend(drives.iter().flat_map(|drive| ["-a", drive]));
        output_of(&arguments, &format!("run\n{questions}"))
    };
    let ours = answer("--direct=only");
    assert_eq!(ours, answer("--direct=never"), "{drives:?}");
    ours
}

#[test]
fn subvolumes_and_several_drives() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let drives = [path("0"), path("1"), path("2")];
    for drive in &drives {
        std::fs::File::create(drive).unwrap().set_len(200 << 20).unwrap();
    }
    let [alone, one, two] = &drives;
    output_of(
        &["--format=raw", "-a", alone, "-a", one, "-a", two],
        "run\nmkfs-btrfs /dev/sda label:alone\nmount /dev/sda /\nmkdir-p /a/b\nwrite /file top\n\
         btrfs-subvolume-create /root\nbtrfs-subvolume-create /a/b/inside\nwrite /root/file \"in root\"\n\
         write /a/b/inside/x deep\nbtrfs-subvolume-snapshot /a/b/inside /root/snapshot\n\
         mkdir-p /root/etc\nwrite /root/etc/os-release \"ID=debian\\nVERSION_ID=12\\n\"\nmkdir /root/bin\nmkdir-p /root/usr/lib\n\
         write /root/etc/debian_version 12.4\nwrite /root/etc/fstab \"/dev/sda / btrfs subvol=root 0 0\\n\"\numount /\n\
         mkfs-btrfs \"/dev/sdb /dev/sdc\" datatype:raid1 metadata:raid1\nmount /dev/sdc /\nmkdir /dir\n\
         fill 65 300000 /dir/filled\n",
    );
    let answer = agree(
        &[alone],
        "list-filesystems\nmount-ro btrfsvol:/dev/sda/root /\ncat /file\nfind /\nmounts\nmountpoints\numount-all\n\
         mount-ro btrfsvol:/dev/sda/root/snapshot /\ncat /x\numount-all\nmount-ro /dev/sda /\nfind /\ncat /a/b/inside/x\n\
         umount-all\nvfs-type btrfsvol:/dev/sda/root\nvfs-label btrfsvol:/dev/sda/root\ninspect-os\n\
         inspect-get-mountpoints btrfsvol:/dev/sda/root\n",
    );
    let start = "/dev/sda: btrfs\nbtrfsvol:/dev/sda/root: btrfs\nbtrfsvol:/dev/sda/a/b/inside: btrfs\n\
                 btrfsvol:/dev/sda/root/snapshot: btrfs\nin root\n";
    assert!(
        answer.starts_with(start) && answer.contains("\nbtrfs\nalone\nbtrfsvol:/dev/sda/root\n"),
        "{answer}"
    );
    let answer = agree(&[two, one], "mount-ro /dev/sda /\nfind /\nfilesize /dir/filled\ncat /dir/filled\n");
    assert!(answer.starts_with("dir\ndir/filled\n300000\nAAAA"), "{answer}");
}

/// Makes a group of two disks with volumes that no action makes. None is made ready, so that the host's kernel has
/// no part in it.
const GROUP: &str = r#"
trap 'losetup -d $A $B' EXIT
A=$(losetup -f --show 0); B=$(losetup -f -P --show 1)
C="devices { use_devicesfile=0 filter=[\"a|^$A\$|\",\"a|^$B\$|\",\"r|.*|\"] } backup { backup=0 archive=0 }"
L() { c=$1; shift; lvm $c --driverloaded n --config "$C" "$@" 2>log || { cat log >&2; exit 1; }; }
L pvcreate $A $B; L vgcreate a-group $A $B; L lvcreate -an -Zn -Wn -L 24M -i 2 -I 16k -n wide a-group
L lvcreate -an -Zn -Wn -L 8M -n skipped -ky a-group; L lvcreate -an -Zn -Wn -L 170M -n long-1 a-group
"#;

#[test]
fn logical_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (path("0"), path("1"));
    for drive in [&one, &two] {
        std::fs::File::create(drive).unwrap().set_len(160 << 20).unwrap();
    }
    let made = Command::new("bash").args(["-ec", GROUP]).current_dir(&directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    output_of(
        &["--format=raw", "-a", &one, "-a", &two],
        "run\nmkfs ext4 /dev/a-group/long-1\nmkfs ext2 /dev/a-group/wide label:wide\n\
         mount /dev/a-group/long-1 /\nmkdir /etc\nwrite /etc/hostname guest\nfill 65 120000000 /large\n\
         mkdir /wide\nmount /dev/a-group/wide /wide\nfill-pattern abcdefghijklm 3000000 /wide/pattern\n",
    );
    let answer = agree(
        &[&one, &two],
        "lvm-scan true\nvgscan\npvs\nvgs\nlvs\nlist-filesystems\nis-lv /dev/a-group/wide\nis-lv /dev/sda\nvfs-label /dev/mapper/a--group-wide\n\
         vfs-type /dev/sdb\nlvm-canonical-lv-name /dev/mapper/a--group-long--1\nlist-dm-devices\n\
         blockdev-getsize64 /dev/a-group/long-1\nmount-ro /dev/a-group/long-1 /\nmount-ro /dev/mapper/a--group-wide /wide\n\
         mountpoints\nmounts\nfind /\nchecksum md5 /large\nchecksum md5 /wide/pattern\ncat /etc/hostname\n",
    );
    let start = "/dev/sda\n/dev/sdb\na-group\n/dev/a-group/long-1\n/dev/a-group/wide\n";
    assert!(answer.starts_with(start) && answer.ends_with("guest\n"), "{answer}");
    let alone = script(&["--ro", "--direct=only", "--format=raw", "-a", &one], "run\nlvs\n");
    let why = "a disk of the volume group a-group is missing";
    assert!(alone.code == Some(1) && alone.err.contains(why), "{}", alone.err);
}
