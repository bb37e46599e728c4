//! Filters beside nbdkit's of the same names: the same file through both gives the same bytes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libimage::Block;
use libimage::filter::named::{Named, Open, Stack};
use libimage::storage::{FileOptions, FileStorage};
use tempfile::TempDir;

fn shell(room: &TempDir, command: &str) {
    let output = Command::new("bash").args(["-ec", command]).current_dir(room.path()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A directory with a file `image` of bytes that differ, have holes, and end in the middle of a sector.
fn room() -> TempDir {
    let room = tempfile::tempdir().unwrap();
    let size = 1_200_123_usize;
    let mut bytes: Vec<u8> = (0..size).map(|at| ((at * at / 97) as u8) & 0x3f ^ (at / 5000) as u8).collect();
    bytes[100_000..400_000].fill(0);
    std::fs::write(room.path().join("image"), bytes).unwrap();
    room
}

/// What a file is through filters, `NAME,key=value...` each.
fn opened(file: &Path, filters: &[&str]) -> libimage::Result<Arc<dyn Block>> {
    let stack = Stack::new(filters.iter().map(|text| Named::parse(text).unwrap()).collect());
    let file = file.to_owned();
    let open: Open = Arc::new(move |read_only| {
        let options = FileOptions { read_only, ..FileOptions::default() };
        Ok(Arc::new(FileStorage::open(&file, options)?))
    });
    stack.open(&open)
}

fn ours(file: &Path, filters: &[&str]) -> Vec<u8> {
    let block = opened(file, filters).unwrap_or_else(|error| panic!("{filters:?}: {error}"));
    let mut bytes = vec![0; block.size() as usize];
    // In pieces that fit nothing: every filter sees requests that are not of its blocks.
    let step = if filters.iter().any(|filter| filter.starts_with("swab")) { 65_536 } else { 77_777 };
    for (number, part) in bytes.chunks_mut(step).enumerate() {
        block.read_at(part, (number * step) as u64).unwrap();
    }
    bytes
}

fn theirs(file: &Path, filters: &[&str]) -> Vec<u8> {
    let mut command = Command::new("nbdkit");
    command.args(["-r", "-U", "-"]);
    for filter in filters {
        command.arg(format!("--filter={}", filter.split(',').next().unwrap()));
    }
    command.arg("file").arg(file);
    command.args(filters.iter().flat_map(|filter| filter.split(',').skip(1)));
    let output = command.args(["--run", "nbdcopy \"$uri\" -"]).output().unwrap();
    assert!(output.status.success(), "{filters:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Holds both against each other; returns the bytes.
#[track_caller]
fn same(file: PathBuf, filters: &[&str]) -> Vec<u8> {
    let (ours, theirs) = (ours(&file, filters), theirs(&file, filters));
    assert_eq!(ours.len(), theirs.len(), "{filters:?}");
    assert!(ours == theirs, "{filters:?}");
    assert!(!ours.is_empty());
    ours
}

#[test]
fn sizes_and_parts() {
    let room = room();
    let image = || room.path().join("image");
    for filters in [
        &["offset,offset=1000,range=12345"][..],
        &["offset,offset=1M"],
        &["truncate,truncate=2M"],
        &["truncate,truncate=1000"],
        &["truncate,round-up=4k"],
        &["truncate,round-down=64k"],
        &["truncate,truncate=5000,round-up=4096"],
        &["swab"],
        &["swab,swab-bits=32"],
        &["swab,swab-bits=64", "truncate,round-up=512"],
        &["truncate,truncate=3000", "offset,offset=777"],
        &["offset,offset=512", "truncate,round-up=1M", "blocksize,minblock=4k"],
        &["blocksize,minblock=512,maxdata=1k"],
        &["cow", "cache,cache-on-read=true", "readahead", "noextents"],
    ] {
        same(image(), filters);
    }
}

#[test]
fn partitions() {
    let room = room();
    shell(
        &room,
        "for table in gpt mbr; do cat image image image image image image > $table; truncate -s 8M $table; done
        printf 'label: gpt\\nfirst-lba: 34\\nstart=64,size=1000\\nstart=4096,size=4096\\nstart=9000,size=10\\n' | /sbin/sfdisk -q --no-reread gpt
        printf 'label: dos\\n1: start=2048,size=1000\\n2: start=4096,size=11000,type=5\\n3: start=16000,size=100\\n5: start=6144,size=500\\n6: start=10240,size=700\\n' |
            /sbin/sfdisk -q --no-reread mbr",
    );
    for (table, numbers) in [("gpt", &[1, 2, 3][..]), ("mbr", &[1, 3, 5, 6])] {
        for number in numbers {
            same(room.path().join(table), &[&format!("partition,partition={number}")]);
        }
        assert!(opened(&room.path().join(table), &["partition,partition=9"]).is_err());
    }
    assert!(opened(&room.path().join("image"), &["partition,partition=1"]).is_err());
}

#[test]
fn compressed_files() {
    let room = room();
    let image = std::fs::read(room.path().join("image")).unwrap();
    shell(
        &room,
        "xz -1 -k --block-size=100000 -T1 -c image > blocks.xz
        head -c 500000 image | xz -0 --check=sha256 --x86 --lzma2=preset=1 > two.xz
        head -c 4 /dev/zero >> two.xz
        tail -c +500001 image | xz -9 --check=none -T2 --block-size=64KiB >> two.xz
        gzip -1 -c image > one.gz
        zstd -q -1 -c image > one.zst
        cat image | zstd -q -19 --long=24 > stream.zst
        (head -c 500000 image | zstd -q --stream-size=500000; tail -c +500001 image | zstd -q) > mixed.zst
        zstd -q -T2 -B512K -c image > threads.zst
        head -c 500000 image | gzip > two.gz; tail -c +500001 image | gzip -9 >> two.gz
        (head -c 500000 image | bzip2 -1; tail -c +500001 image | bzip2; echo garbage) > two.bz2",
    );
    for (file, filter) in [("blocks.xz", "xz"), ("two.xz", "xz,xz-max-depth=1"), ("one.gz", "gzip")] {
        assert!(same(room.path().join(file), &[filter]) == image, "{file}");
    }
    // These nbdkit does not know, or (of several members) reads the first one only: the tools' answer counts.
    let others = [
        ("one.zst", "zstd"),
        ("stream.zst", "zstd"),
        ("mixed.zst", "zstd"),
        ("threads.zst", "zstd"),
        ("two.gz", "gzip"),
        ("two.bz2", "bzip2"),
    ];
    for (file, filter) in others {
        assert!(ours(&room.path().join(file), &[filter]) == image, "{file}");
    }
    // A compressed disk can be written with an overlay, and retried.
    let stack = ["cow", "retry", "xz"];
    let block = opened(&room.path().join("blocks.xz"), &stack).unwrap();
    block.write_at(b"changed", 150_000).unwrap();
    let mut found = [0; 9];
    block.read_at(&mut found, 149_999).unwrap();
    assert_eq!(&found, b"\0changed\0");
    for filter in ["xz", "gzip", "zstd", "bzip2", "qcow2dec"] {
        assert!(opened(&room.path().join("image"), &[filter]).is_err(), "{filter}");
    }
}

#[test]
fn an_image_in_an_archive_in_a_compressed_file() {
    let room = room();
    let mut image = std::fs::read(room.path().join("image")).unwrap();
    shell(
        &room,
        "qemu-img convert -c -O qcow2 image disk.qcow2; tar -cf disk.tar disk.qcow2; xz -0 -T1 disk.tar
        qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 over.qcow2",
    );
    image.resize(image.len().next_multiple_of(512), 0);
    let filters = ["qcow2dec", "tar,tar-entry=disk.qcow2", "xz"];
    assert!(ours(&room.path().join("disk.tar.xz"), &filters) == image);
    assert!(opened(&room.path().join("over.qcow2"), &["qcow2dec"]).is_err());
}

#[test]
fn members_of_archives() {
    let room = room();
    let image = std::fs::read(room.path().join("image")).unwrap();
    let long = format!("{}/{}/disk.img", "d".repeat(90), "e".repeat(90));
    shell(
        &room,
        &format!(
            "mkdir -p files/$(dirname {long}) files/dir
            cp image files/dir/disk.img; cp image files/{long}; echo small > files/dir/small
            ln files/dir/small files/dir/hard; ln -s small files/dir/soft
            for format in v7 ustar oldgnu gnu pax; do
                tar -C files --format=$format -cf $format.tar dir
            done
            for format in ustar gnu pax; do tar -C files --format=$format -cf long.$format.tar dir {long}; done
            bsdtar -C files --format=pax -cf bsd.tar dir {long}
            gzip -c gnu.tar > gnu.tar.gz
            cp image sparse; truncate -s 4M sparse
            for format in gnu pax; do tar --format=$format -Scf holes.$format.tar sparse -C files dir; done"
        ),
    );
    let member = |name: &str| format!("tar,tar-entry={name}");
    for format in ["v7", "ustar", "oldgnu", "gnu", "pax", "bsd", "holes.gnu", "holes.pax"] {
        let archive = room.path().join(format!("{format}.tar"));
        assert!(same(archive.clone(), &[&member("dir/disk.img")]) == image, "{format}");
        assert!(opened(&archive, &[&member("dir/none")]).is_err());
        assert!(opened(&archive, &[&member("dir/soft")]).is_err());
        if format.starts_with("holes") {
            assert!(opened(&archive, &[&member("sparse")]).is_err());
        }
    }
    for format in ["long.ustar", "long.gnu", "long.pax", "bsd"] {
        assert!(ours(&room.path().join(format!("{format}.tar")), &[&member(&long)]) == image, "{format}");
    }
    same(room.path().join("gnu.tar.gz"), &[&member("dir/disk.img"), "gzip"]);
    // Written in place, as tar sees it.
    let archive = room.path().join("gnu.tar");
    opened(&archive, &[&member("dir/disk.img")]).unwrap().write_at(b"HELLO", 5).unwrap();
    shell(&room, "tar -xOf gnu.tar dir/disk.img | head -c 10 | tail -c 5 | grep -q HELLO");
}

#[test]
fn encrypted_disks_and_file_systems() {
    let room = room();
    shell(
        &room,
        "truncate -s 6M luks
        printf secret > key
        cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --key-file key luks
        mkdir -p files/disks; cp image files/disks/disk.raw; ln -s disks/disk.raw files/link
        truncate -s 8M fs; mke2fs -q -t ext4 -d files fs",
    );
    let key = room.path().join("key");
    let passphrase = format!("luks,passphrase=+{}", key.display());
    let luks = room.path().join("luks");
    let block = opened(&luks, &[&passphrase]).unwrap();
    block.write_at(&std::fs::read(room.path().join("image")).unwrap(), 12_345).unwrap();
    block.flush().unwrap();
    drop(block);
    same(luks.clone(), &[&passphrase]);
    same(luks.clone(), &["luks,passphrase=secret"]);
    assert!(opened(&luks, &["luks,passphrase=wrong"]).is_err());
    let image = std::fs::read(room.path().join("image")).unwrap();
    // nbdkit 1.32 itself does not show what the file holds.
    assert!(ours(&room.path().join("fs"), &["ext2,ext2file=/disks/disk.raw"]) == image);
    assert!(ours(&room.path().join("fs"), &["ext2,ext2file=/link"]) == image);
    assert!(opened(&room.path().join("fs"), &["ext2,ext2file=/disks"]).is_err());
}
