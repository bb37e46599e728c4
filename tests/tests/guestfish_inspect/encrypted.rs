//! Encrypted disks: opened with `--key` before the search, under the names that libguestfs gives them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::fish::{Ran, output_of, script};

use crate::recipe::program;

const UUIDS: [&str; 3] = [
    "11111111-aaaa-bbbb-cccc-000000000001",
    "11111111-aaaa-bbbb-cccc-000000000002",
    "11111111-aaaa-bbbb-cccc-000000000003",
];

/// An encrypted container that `cryptsetup` made.
fn container(path: &Path, mib: u64, kind: &str, uuid: &str, key: &str) {
    fs::File::create(path).unwrap().set_len(mib << 20).unwrap();
    let mut words =
        vec!["-q", "luksFormat", "--type", kind, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    if kind == "luks2" {
        words.extend(["--sector-size", "512"]);
    }
    words.extend(["--uuid", uuid, path.to_str().unwrap(), "-"]);
    let mut child = Command::new("cryptsetup").args(words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Three disks: a partition that is encrypted, a logical volume that is, and volumes within an encrypted partition.
fn disks(directory: &Path) -> [PathBuf; 3] {
    let disks = ["0", "1", "2"].map(|name| directory.join(name));
    for disk in &disks {
        fs::File::create(disk).unwrap().set_len(64 << 20).unwrap();
    }
    container(&directory.join("first"), 24, "luks1", UUIDS[0], "secret");
    container(&directory.join("second"), 24, "luks2", UUIDS[1], "secret");
    container(&directory.join("third"), 48, "luks2", UUIDS[2], "other");
    fs::write(directory.join("ls"), program("x86_64")).unwrap();
    fs::write(directory.join("os"), "PRETTY_NAME=Debian\nID=debian\nVERSION_ID=12\n").unwrap();
    let from = directory.display();
    let root = |name: &str, table: &str| {
        format!(
            "mkdir /etc\nmkdir /bin\nmkdir /boot\nmkdir /home\nmkdir /srv\nupload {from}/ls /bin/ls\n\
             upload {from}/os /etc/os-release\nwrite /etc/hostname {name}\nwrite /etc/fstab \"{table}\"\n"
        )
    };
    let first =
        root("one", "/dev/mapper/cr_root / ext2 defaults 0 1\\nLABEL=boot /boot ext2 defaults 0 2\\n");
    let second =
        root("two", "/dev/mapper/cr / ext2 defaults 0 1\\n/dev/mapper/VG-plain /srv ext2 defaults 0 0\\n");
    let third =
        root("three", "/dev/mapper/CVG-Root / ext2 defaults 0 1\\n/dev/CVG/Home /home ext2 defaults 0 0\\n");
    let making = format!(
        "run
part-init /dev/sda gpt
part-add /dev/sda p 2048 18431
part-add /dev/sda p 18432 100000
mkfs ext2 /dev/sda1 label:boot
upload {from}/first /dev/sda2
luks-open /dev/sda2 crypt
secret
mkfs ext2 /dev/mapper/crypt
mount /dev/mapper/crypt /
{first}write /etc/crypttab \"cr_root UUID={} none luks\\n\"
umount /
luks-close /dev/mapper/crypt
part-disk /dev/sdb gpt
pvcreate /dev/sdb1
vgcreate VG /dev/sdb1
lvcreate root VG 28
lvcreate plain VG 16
mkfs ext2 /dev/VG/plain
upload {from}/second /dev/VG/root
luks-open /dev/VG/root crypt
secret
mkfs ext2 /dev/mapper/crypt
mount /dev/mapper/crypt /
{second}umount /
luks-close /dev/mapper/crypt
part-disk /dev/sdc gpt
upload {from}/third /dev/sdc1
luks-open /dev/sdc1 crypt
other
pvcreate /dev/mapper/crypt
vgcreate CVG /dev/mapper/crypt
lvcreate Root CVG 16
lvcreate Home CVG 8
mkfs ext2 /dev/CVG/Root
mkfs ext2 /dev/CVG/Home
mount /dev/CVG/Root /
{third}umount /
",
        UUIDS[0]
    );
    let name = |index: usize| disks[index].to_str().unwrap();
    let all = ["--format=raw", "--keys-from-stdin", "-a", name(0), "-a", name(1), "-a", name(2)];
    output_of(&all, &making);
    disks
}

fn opened(disk: &Path, keys: &[&str], direct: &str) -> Ran {
    let disk = disk.to_str().unwrap();
    let mut arguments = vec!["--ro", direct, "--format=raw", "-a", disk, "-i"];
    for key in keys {
        arguments.extend(["--key", key]);
    }
    script(&arguments, "inspect-get-roots\nmountpoints\ncat /etc/hostname\n")
}

/// Read by an appliance, and without one.
const HOW: [&str; 2] = ["--direct=never", "--direct=only"];

#[test]
fn keys_open_what_is_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let disks = disks(directory.path());
    let key = directory.path().join("key");
    fs::write(&key, "other\n").unwrap();
    let by_file = format!("{}:file:{}", UUIDS[2], key.display());
    let by_uuid = format!("{}:key:secret", UUIDS[1]);

    let one = format!("/dev/mapper/luks-{0}\n/dev/mapper/luks-{0}: /\n/dev/sda1: /boot\none\n", UUIDS[0]);
    let three = "/dev/CVG/Root\n/dev/CVG/Root: /\n/dev/CVG/Home: /home\nthree\n";
    let cases: [(usize, &[&str], &str); 5] = [
        (0, &["/dev/sda2:key:secret"], &one),
        (0, &["/dev/sda1:key:wrong", "all:key:wrong", "all:key:secret"], &one),
        (2, &[&by_file], three),
        (2, &["/dev/sda1:key:other"], three),
        (2, &["all:key:other", "all:key:secret"], three),
    ];
    for (number, (disk, keys, expected)) in cases.into_iter().enumerate() {
        // Appliances take their time: some of the cases show that they agree.
        for direct in &HOW[number % 2..] {
            let ran = opened(&disks[disk], keys, direct);
            assert_eq!(
                (ran.code, ran.text().trim_end()),
                (Some(0), expected.trim_end()),
                "{keys:?}: {ran:?}"
            );
        }
    }
    // A volume that is encrypted is opened once the volumes are there.
    for (keys, direct) in
        [["/dev/VG/root:key:secret"], [&by_uuid], ["all:key:secret"]].iter().zip(HOW.iter().cycle())
    {
        let ran = opened(&disks[1], keys, direct);
        assert!(
            ran.code == Some(0) && ran.text().contains(": /\n") && ran.text().ends_with("two\n"),
            "{ran:?}"
        );
        assert!(ran.text().contains("/dev/VG/plain: /srv\n"), "{ran:?}");
    }
    // An appliance that takes over half-way opens and mounts the same.
    let ran = script(
        &["--ro", "--format=raw", "-a", disks[2].to_str().unwrap(), "-i", "--key", "all:key:other"],
        "cat /etc/hostname\nfile /bin/ls\nmountpoints\n",
    );
    assert!(ran.code == Some(0) && ran.text().starts_with("three") && ran.text().contains("ELF"), "{ran:?}");
    assert!(ran.text().contains("/dev/CVG/Home: /home"), "{ran:?}");
    // What is opened, used and closed by hand is the same in both ways, and in the first one half of the way.
    let by_hand = "run\nluks-uuid /dev/sda2\n-luks-open /dev/sda2 c\nwrong\nluks-open /dev/sda2 c\nsecret\nlist-dm-devices\n\
         list-filesystems\nvfs-type /dev/mapper/c\nblockdev-getsize64 /dev/mapper/c\nluks-close /dev/mapper/c\n\
         list-dm-devices\ncryptsetup-open /dev/sda2 d readonly:true\nsecret\nluks-open /dev/sdb1 e\nother\n\
         lvm-scan true\nlist-filesystems\npvs\nlvs\npvs-full\nvgs-full\nlvs-full\nmount-ro /dev/mapper/d /\n\
         mount-ro /dev/CVG/Root /srv\nstat /etc\nstat /srv/etc\ncat /srv/etc/hostname\n-luks-close /dev/mapper/d\n\
         mounts\nlvs-full\n";
    let ran = |direct: &str| {
        let [one, two] = [0, 2].map(|index| disks[index].to_str().unwrap());
        let ran =
            script(&["--ro", direct, "--format=raw", "--keys-from-stdin", "-a", one, "-a", two], by_hand);
        assert_eq!(ran.code, Some(0), "{direct}: {ran:?}");
        (ran.text().to_owned(), ran.err)
    };
    assert_eq!(ran("--direct=auto"), ran("--direct=never"));
    let ran = opened(&disks[0], &["/dev/sda2:key:wrong"], "--direct=auto");
    assert_eq!((ran.code, ran.text()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.contains("could not find key to open LUKS encrypted /dev/sda2"), "{ran:?}");
}
