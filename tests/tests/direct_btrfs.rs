//! Subvolumes, and file systems on several drives: what is answered without an appliance is what the appliance says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use system_tests::fish::output_of;

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
