//! Disks that lie about what they are divided into: partition tables that overlap, loop or count to the moon, and
//! damaged headers of volumes.

use super::{Host, Random};
use std::path::{Path, PathBuf};

use system_tests::fish::output_of;

const SECTOR: usize = 512;
const MIB: usize = 1 << 20;

/// What asks a disk for its partitions.
const QUESTIONS: &[&str] = &[
    "list-devices",
    "list-partitions",
    "list-filesystems",
    "part-list /dev/sda",
    "part-get-parttype /dev/sda",
    "part-get-disk-guid /dev/sda",
    "part-get-name /dev/sda 1",
    "part-get-bootable /dev/sda 1",
    "part-get-mbr-id /dev/sda 5",
    "part-get-mbr-part-type /dev/sda 5",
    "part-to-dev /dev/sda1",
    "sfdisk-l /dev/sda",
    "blockdev-rereadpt /dev/sda",
    "inspect-os",
    "part-expand-gpt /dev/sda",
    "part-add /dev/sda p 4096 8191",
    "part-del /dev/sda 1",
    "part-list /dev/sda",
];

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Puts entries (type, first sector, sectors) into a record of partitions.
fn record(disk: &mut [u8], sector: usize, entries: &[(u8, u32, u32)]) {
    for (index, (kind, first, count)) in entries.iter().enumerate() {
        let at = sector * SECTOR + 446 + index * 16;
        disk[at + 4] = *kind;
        put(disk, at + 8, &first.to_le_bytes());
        put(disk, at + 12, &count.to_le_bytes());
    }
    put(disk, sector * SECTOR + 510, &[0x55, 0xaa]);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

/// A header of a GPT that is right but for what is said here, with a sum that says so.
fn gpt(disk: &mut [u8], entries_at: u64, count: u32, size: u32) {
    record(disk, 0, &[(0xee, 1, u32::MAX)]);
    let mut header = [0; 92];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    let last = (disk.len() / SECTOR) as u64 - 1;
    for (at, number) in [(24, 1), (32, last), (40, 34), (48, last - 34), (72, entries_at)] {
        header[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    header[56..72].copy_from_slice(&[7; 16]);
    header[80..84].copy_from_slice(&count.to_le_bytes());
    header[84..88].copy_from_slice(&size.to_le_bytes());
    let sum = crc32(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    put(disk, SECTOR, &header);
    put(disk, disk.len() - SECTOR, &header);
}

type Lie = fn(&mut [u8]);

const TABLES: &[(&str, Lie)] = &[
    ("logical partition that follows itself", |disk| {
        record(disk, 0, &[(5, 64, 8192)]);
        record(disk, 64, &[(0x83, 8, 16), (5, 0, 8192)]);
    }),
    ("two logical partitions that follow each other", |disk| {
        record(disk, 0, &[(5, 64, 8192)]);
        record(disk, 64, &[(0x83, 8, 16), (5, 64, 64)]);
        record(disk, 128, &[(0x83, 8, 16), (5, 0, 64)]);
    }),
    ("chain of a thousand", |disk| {
        record(disk, 0, &[(5, 64, 16000)]);
        (0..1000u32).for_each(|n| record(disk, 64 + n as usize * 4, &[(0x83, 1, 2), (5, n * 4 + 4, 4)]));
    }),
    ("extended partition in an extended one", |disk| {
        record(disk, 0, &[(5, 0, 8192), (0x0f, 0, 8192), (5, 1, 1)])
    }),
    ("partitions that overlap", |disk| {
        record(disk, 0, &[(0x83, 1, 10000), (0x83, 2, 10000), (7, 1, u32::MAX), (0x83, 9000, 8000)]);
    }),
    ("partition beyond the end", |disk| record(disk, 0, &[(0x83, u32::MAX, u32::MAX), (0x83, 30000, 90000)])),
    ("as many entries as there are numbers", |disk| gpt(disk, 2, u32::MAX, 128)),
    ("entries without a size", |disk| gpt(disk, 2, 128, 0)),
    ("entries as large as the world", |disk| gpt(disk, 2, 128, u32::MAX)),
    ("entries beyond the end", |disk| gpt(disk, u64::MAX, 128, 128)),
    ("entries in the header", |disk| gpt(disk, 1, 128, 128)),
    ("a file system and two tables at once", |disk| {
        gpt(disk, 2, 128, 128);
        put(disk, 1024 + 56, &[0x53, 0xef]);
        put(disk, 0x8001, b"CD001");
        put(disk, 65536 + 64, b"_BHRfS_M");
    }),
];

#[test]
fn tables_of_partitions_that_lie() {
    let host = Host::new();
    let lines: Vec<String> = QUESTIONS.iter().map(|line| (*line).to_owned()).collect();
    for (name, lie) in TABLES {
        let mut disk = vec![0; 8 * MIB];
        lie(&mut disk);
        let place = host.disk(&name.replace(' ', "-"));
        for options in [&["--ro"][..], &[]] {
            std::fs::write(&place, &disk).unwrap();
            let told = host.survives(options, std::slice::from_ref(&place), &lines);
            assert!(told.out.len() < MIB && told.err.len() < MIB, "{name}: so many words");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two disks on which guestfish has made something.
fn made(host: &Host, lines: &str) -> Vec<PathBuf> {
    let disks: Vec<PathBuf> = ["one", "two"].into_iter().map(|name| host.disk(name)).collect();
    for disk in &disks {
        std::fs::File::create(disk).unwrap().set_len(48 << 20).unwrap();
    }
    output_of(&["--format=raw", "-a", text(&disks[0]), "-a", text(&disks[1])], &format!("run\n{lines}"));
    disks
}

/// Damages the start of each disk, where headers are, in several ways.
fn damaged_headers(host: &Host, disks: &[PathBuf], lines: &[&str]) {
    let good: Vec<Vec<u8>> = disks.iter().map(|disk| std::fs::read(disk).unwrap()).collect();
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    for seed in 0..6 {
        let mut random = Random::new(seed + 77);
        for (disk, good) in disks.iter().zip(&good) {
            let mut bad = good.clone();
            let used: Vec<usize> = (0..2 * MIB).filter(|at| bad[*at] != 0).collect();
            for _ in 0..=random.below(12) {
                let at = used[random.below(used.len())];
                bad[at] = if random.below(3) == 0 { 0xff } else { bad[at] ^ (1 << random.below(8)) };
            }
            std::fs::write(disk, bad).unwrap();
        }
        host.survives(&[], disks, &lines);
    }
    // And the same thing twice.
    std::fs::write(&disks[0], &good[0]).unwrap();
    std::fs::write(&disks[1], &good[0]).unwrap();
    host.survives(&[], disks, &lines);
}

#[test]
fn volumes_that_lie() {
    let host = Host::new();
    let disks = made(
        &host,
        "pvcreate /dev/sda\npvcreate /dev/sdb\nvgcreate VG \"/dev/sda /dev/sdb\"\nlvcreate LV VG 60\nmkfs ext2 /dev/VG/LV\n",
    );
    let questions = [
        "lvs",
        "vgs",
        "pvs",
        "lvm-scan true",
        "vg-activate-all true",
        "lvs-full",
        "vgs-full",
        "pvs-full",
        "vgmeta VG",
        "list-filesystems",
        "mount /dev/VG/LV /",
        "ls /",
        "umount-all",
        "lvresize /dev/VG/LV 64",
        "vgremove VG",
    ];
    damaged_headers(&host, &disks, &questions);
    let disks = made(
        &host,
        "md-create m \"/dev/sda /dev/sdb\" level:raid1\nmkfs ext2 /dev/md127\nmd-stop /dev/md127\n",
    );
    let questions = [
        "list-md-devices",
        "md-detail /dev/md127",
        "md-stat /dev/md127",
        "list-filesystems",
        "mount /dev/md127 /",
        "ls /",
    ];
    damaged_headers(&host, &disks, &questions);
    let disks = made(&host, "<! printf ''\n");
    for disk in &disks {
        let key = host.disk("key");
        std::fs::write(&key, "secret").unwrap();
        system_tests::programs::peer(
            "cryptsetup",
            &[
                "luksFormat",
                "-q",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                text(&key),
                text(disk),
            ],
        );
    }
    let questions =
        ["vfs-type /dev/sda", "luks-uuid /dev/sda", "luks-uuid /dev/sdb", "list-filesystems", "inspect-os"];
    damaged_headers(&host, &disks, &questions);
}
