//! Arrays, logical volumes, subvolumes, and file systems on several drives: what is answered without an appliance is what the appliance says.
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
         pvs-full\nvgs-full\nlvs-full\npvuuid /dev/sdb\nvguuid a-group\nlvuuid /dev/mapper/a--group-wide\n\
         vgpvuuids a-group\nvglvuuids a-group\nstat /wide\nstat /etc\n\
         mountpoints\nmounts\nfind /\nchecksum md5 /large\nchecksum md5 /wide/pattern\ncat /etc/hostname\n",
    );
    // What is mounted is in use, what is skipped is not ready.
    assert!(answer.contains("lv_attr: -wi-ao----") && answer.contains("lv_attr: -wi------k"), "{answer}");
    let start = "/dev/sda\n/dev/sdb\na-group\n/dev/a-group/long-1\n/dev/a-group/wide\n";
    assert!(answer.starts_with(start) && answer.ends_with("guest\n"), "{answer}");
    let alone = script(&["--ro", "--direct=only", "--format=raw", "-a", &one], "run\nlvs\n");
    let why = "a disk of the volume group a-group is missing";
    assert!(alone.code == Some(1) && alone.err.contains(why), "{}", alone.err);
}

/// Makes arrays of fourteen drives, one for each format of superblocks, and fills them.
const ARRAYS: &str = r#"run
md-create mirror "/dev/sda /dev/sdb"
debug sh "mdadm --create /dev/md/five --homehost=host --run -e 1.1 -l 5 -c 64 -n 3 /dev/vdc /dev/vdd /dev/vde"
debug sh "mdadm --create /dev/md/zones --homehost=host --run -e 1.2 -l 0 -c 64 -n 3 /dev/vdf /dev/vdg /dev/vdh"
debug sh "mdadm --create /dev/md5 --run -e 0.90 -l 10 -p n2 -c 64 -n 3 /dev/vdi /dev/vdj /dev/vdk"
debug sh "mdadm --create /dev/md/four --homehost=host --run -e 1.0 -l 4 -c 16 -n 3 /dev/vdl /dev/vdm /dev/vdn"
debug sh "for array in mirror five 5 four; do mdadm --wait /dev/md/$array || true; done"
pvcreate /dev/md/five
vgcreate group /dev/md/five
lvcreate volume group 48
mkfs ext4 /dev/group/volume
mkfs ext2 /dev/md/mirror
mkfs ext2 /dev/md/zones label:zones
mkfs ext2 /dev/md5
mkfs ext2 /dev/md/four
mount /dev/md/mirror /
fill-pattern abcdefghijklm 10000000 /pattern
umount /
mount /dev/md/zones /
fill-pattern abcdefghijklm 30000000 /pattern
umount /
mount /dev/md5 /
fill-pattern abcdefghijklm 20000000 /pattern
umount /
mount /dev/md/four /
fill-pattern abcdefghijklm 25000000 /pattern
umount /
mount /dev/group/volume /
fill-pattern abcdefghijklm 30000000 /pattern
"#;

/// The contents of what is found on arrays.
fn contents(devices: &[&str]) -> String {
    let ask = |device: &&str| {
        format!("vfs-type {device}\nmount-ro {device} /\nchecksum md5 /pattern\nstat /pattern\numount /\n")
    };
    devices.iter().map(ask).collect()
}

#[test]
fn arrays() {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<String> =
        (0..14).map(|index| directory.path().join(index.to_string()).to_str().unwrap().to_owned()).collect();
    let drives: Vec<&str> = paths.iter().map(String::as_str).collect();
    for (index, drive) in drives.iter().enumerate() {
        let size = match index {
            2..=4 => 32,
            5 => 8,
            6 => 12,
            _ => 16,
        };
        std::fs::File::create(drive).unwrap().set_len(size << 20).unwrap();
    }
    let mut making = vec!["--format=raw"];
    making.extend(drives.iter().flat_map(|drive| ["-a", drive]));
    output_of(&making, ARRAYS);

    let about = "list-md-devices\nlist-filesystems\npvs\nlvs\nlist-dm-devices\nvfs-type /dev/sda\nvfs-uuid /dev/sda\n\
                 vfs-label /dev/sda\nvfs-uuid /dev/sdi\nvfs-label /dev/sdi\nis-whole-device /dev/md5\nblockdev-getsize64 /dev/md5\n";
    let all = ["/dev/md125", "/dev/md126", "/dev/md127", "/dev/md5", "/dev/group/volume"];
    let answer = agree(&drives, &format!("{about}pvs-full\nvgs-full\nlvs-full\n{}", contents(&all)));
    let start = "/dev/md124\n/dev/md125\n/dev/md126\n/dev/md127\n/dev/md5\n";
    assert!(answer.starts_with(start) && answer.contains("\n/dev/md125: ext2\n"), "{answer}");

    // The order of members in answers about arrays is nobody's.
    let details = |direct: &str| {
        let mut arguments = vec!["--ro", direct, "--format=raw"];
        arguments.extend(drives.iter().flat_map(|drive| ["-a", drive]));
        let text = output_of(
            &arguments,
            "run\nmd-detail /dev/md124\nmd-detail /dev/md125\nmd-detail /dev/md126\nmd-detail /dev/md127\nmd-detail /dev/md5\n",
        );
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(details("--direct=only"), details("--direct=never"));

    // One member of each is missing, and of the mirror, one is there that missed something.
    let old = directory.path().join("old").to_str().unwrap().to_owned();
    std::fs::copy(drives[0], &old).unwrap();
    let alone = ["--format=raw", "-a", drives[1]];
    output_of(&alone, "run\nmount /dev/md127 /\nrm /pattern\nwrite /pattern new\n");
    let left: Vec<&str> = [old.as_str(), drives[1]]
        .into_iter()
        .chain([2, 4, 8, 9, 12, 13].map(|index| drives[index]))
        .collect();
    let answer = agree(
        &left,
        &format!(
            "list-md-devices\n{}",
            contents(&["/dev/md5", "/dev/md125", "/dev/md127", "/dev/group/volume"])
        ),
    );
    assert!(answer.contains("22af645d1859cb5ca6da0c484f1f37ea"), "{answer}");
    let too_few =
        script(&["--ro", "--direct=only", "--format=raw", "-a", drives[2]], "run\nlist-md-devices\n");
    assert!(too_few.code == Some(1) && too_few.err.contains("too many members are missing"), "{too_few:?}");
}

/// LVM's own command for what no action makes, in an appliance without udev.
const LVM: &str = r#"exec lvm "$1" --config 'activation { udev_sync=0 udev_rules=0 monitoring=0 }
devices { use_devicesfile=0 obtain_device_list_from_udev=0 } global { locking_dir="/run/lvm" } backup { backup=0 archive=0 }' "${@:2}" >/dev/null 2>&1
"#;

#[test]
fn snapshots_and_thin_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (disk, program) = (path("disk"), path("lvm.sh"));
    std::fs::File::create(&disk).unwrap().set_len(300 << 20).unwrap();
    std::fs::write(&program, LVM).unwrap();
    let lvcreate = |words: &str| format!("debug sh \"bash /tmp/lvm.sh lvcreate {words}\"\n");
    let fill = |volume: &str, pattern: &str, name: &str| {
        format!(
            "mount /dev/group/{volume} /\n-rm-f /before\nfill-pattern {pattern} 9000000 /{name}\numount /\n"
        )
    };
    let lines = [
        format!("run\nmodprobe dm_snapshot\nmodprobe dm_thin_pool\ndebug-upload {program} lvm.sh 0755\n"),
        "pvcreate /dev/sda\nvgcreate group /dev/sda\nlvcreate origin group 40\nmkfs ext4 /dev/group/origin\n"
            .to_owned(),
        fill("origin", "abcdefg", "before") + &lvcreate("-s -n old -L 20M group/origin"),
        fill("origin", "hijkl", "after") + &lvcreate("--type thin-pool -L 80M -n pool group"),
        lvcreate("-V 500M --thinpool pool -n thin group") + "mkfs ext4 /dev/group/thin\n",
        fill("thin", "mnopqr", "before") + &lvcreate("-kn -s -n earlier group/thin"),
        fill("thin", "stuv", "after"),
    ];
    output_of(&["--format=raw", "-a", &disk], &lines.concat());
    let look = |volume: &str, name: &str| {
        format!(
            "blockdev-getsize64 /dev/group/{volume}\nmount-ro /dev/group/{volume} /\nls /\nchecksum md5 /{name}\numount /\n"
        )
    };
    let questions = [
        "lvs\nlist-filesystems\nvgs\nlist-dm-devices\n".to_owned(),
        look("origin", "after") + &look("old", "before"),
        look("thin", "after") + &look("earlier", "before"),
    ];
    let answer = agree(&[&disk], &questions.concat());
    let start = "/dev/group/earlier\n/dev/group/old\n/dev/group/origin\n/dev/group/thin\n";
    assert!(answer.starts_with(start) && answer.matches("\nbefore\n").count() == 2, "{answer}");
}
