//! Images that QEMU made, and images that QEMU would have made the same way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libimage::format::qcow2::{CompressionType, CreateOptions, Qcow2};
use libimage::format::raw::Raw;
use libimage::storage::{FileOptions, FileStorage};
use libimage::{Block, Error, Preallocation, Zero};

use crate::tools::{Random, assert_clean, assert_same, must, open, read_all, run, storage, with_data_file};

fn path(dir: &tempfile::TempDir, name: &str) -> (PathBuf, String) {
    let path = dir.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

fn open_read_only(path: &Path) -> libimage::Result<Qcow2> {
    with_data_file(path, FileOptions { read_only: true, ..FileOptions::default() })
}

/// What `qemu-img map` says, without file offsets: start, length, depth, present, zero, data, compressed.
type Row = (u64, u64, u64, bool, bool, bool, bool);

fn qemu_map(file: &str) -> Vec<Row> {
    let text = must("qemu-img", &["map", "--output=json", "-f", "qcow2", file]);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |row: &serde_json::Value, key: &str| row[key].as_u64().unwrap();
    let flag = |row: &serde_json::Value, key: &str| row[key].as_bool().unwrap();
    let rows = rows.as_array().unwrap().iter().map(|row| {
        (
            number(row, "start"),
            number(row, "length"),
            number(row, "depth"),
            flag(row, "present"),
            flag(row, "zero"),
            flag(row, "data"),
            flag(row, "compressed"),
        )
    });
    merged(rows.collect())
}

fn our_map(image: &Qcow2) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < image.size() {
        let e = image.status(at..image.size()).unwrap();
        assert!(e.length > 0 && at + e.length <= image.size());
        rows.push((at, e.length, u64::from(e.depth), e.present, e.zero, e.data, e.compressed));
        at += e.length;
    }
    merged(rows)
}

fn assert_same_map(image: &Qcow2, file: &str) {
    for (ours, theirs) in our_map(image).into_iter().zip(qemu_map(file)) {
        assert_eq!(ours, theirs, "of {file}");
    }
    assert_eq!(our_map(image).len(), qemu_map(file).len());
}

fn merged(rows: Vec<Row>) -> Vec<Row> {
    let mut list: Vec<Row> = Vec::new();
    for row in rows {
        match list.last_mut() {
            Some(last) if (last.2, last.3, last.4, last.5, last.6) == (row.2, row.3, row.4, row.5, row.6) => {
                last.1 += row.1;
            }
            _ => list.push(row),
        }
    }
    list
}

fn scribble(file: &str, random: &mut Random, size: u64, compressed: bool, cluster: u64) {
    let mut commands = Vec::new();
    for _ in 0..40 {
        let start = random.below(size / 512) * 512;
        let length = (random.below(6 * cluster) / 512 * 512 + 512).min(size - start);
        let pattern = random.below(255) + 1;
        let aligned = start / cluster * cluster;
        commands.push(match random.below(6) {
            0 => format!("write -z {start} {length}"),
            1 => format!("write -z -u {start} {length}"),
            2 => format!("discard {start} {length}"),
            // QEMU refuses to compress over what is there: those fail, which is fine.
            3 | 4 if compressed => format!("write -c -P {pattern} {aligned} {}", cluster.min(size - aligned)),
            _ => format!("write -P {pattern} {start} {length}"),
        });
    }
    let mut args = vec!["-f", "qcow2"];
    for command in &commands {
        args.extend(["-c", command]);
    }
    args.push(file);
    run("qemu-io", &args);
}

#[test]
fn images_of_every_kind_are_read_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [
        "cluster_size=512",
        "cluster_size=4k",
        "cluster_size=64k",
        "cluster_size=2M",
        "compat=0.10",
        "compat=0.10,cluster_size=512",
        "refcount_bits=1,cluster_size=1k",
        "refcount_bits=2",
        "refcount_bits=64,cluster_size=512",
        "compression_type=zstd",
        "compression_type=zstd,cluster_size=4k",
        "lazy_refcounts=on",
        "preallocation=metadata",
        "preallocation=falloc,cluster_size=8k",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16k",
        "extended_l2=on,cluster_size=2M,compression_type=zstd",
        "extended_l2=on,preallocation=metadata",
        "data_file=DATA",
        "data_file=DATA,cluster_size=4k",
        "data_file=DATA,data_file_raw=on",
        "data_file=DATA,extended_l2=on,cluster_size=32k",
        "data_file=DATA,data_file_raw=on,extended_l2=on",
    ];
    let data = dir.path().join("data").to_str().unwrap().to_owned();
    for (seed, kind) in (1..).zip(kinds) {
        let (image_path, file) = path(&dir, "foreign.qcow2");
        let (raw_path, raw) = path(&dir, "foreign.raw");
        let mut random = Random::new(seed);
        let options = kind.replace("DATA", &data);
        must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &options, &file, "5M"]);
        let cluster = open_read_only(&image_path).unwrap().cluster_size();
        scribble(&file, &mut random, 5 << 20, true, cluster);
        // Narrow counts cannot hold snapshots.
        let snapshot =
            !kind.contains("refcount_bits=1,") && kind != "refcount_bits=2" && !kind.contains("DATA");
        if snapshot {
            must("qemu-img", &["snapshot", "-c", "then", &file]);
            let (then_path, then) = path(&dir, "then.raw");
            must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", "-l", "then", &file, &then]);
            scribble(&file, &mut random, 5 << 20, false, cluster);
            let image = Arc::new(open_read_only(&image_path).unwrap());
            let view = image.open_snapshot("then").unwrap();
            assert_same(&read_all(&view), &std::fs::read(then_path).unwrap(), kind);
        }
        must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", &file, &raw]);
        let image = open_read_only(&image_path).unwrap();
        assert_same(&read_all(&image), &std::fs::read(&raw_path).unwrap(), kind);
        assert_same_map(&image, &file);
        // Asking twice gives the same answer.
        assert_eq!(our_map(&image), our_map(&image));
        let report = image.check().unwrap();
        assert!(report.is_clean(), "{kind}: {report:?}");
        let checked = must("qemu-img", &["check", "--output=json", "-f", "qcow2", &file]);
        let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
        let number = |key: &str| checked[key].as_u64().unwrap_or(0);
        assert_eq!(report.image_end_offset, number("image-end-offset"), "{kind}");
        assert_eq!(report.total_clusters, number("total-clusters"), "{kind}");
        assert_eq!(report.allocated_clusters, number("allocated-clusters"), "{kind}");
        assert_eq!(report.fragmented_clusters, number("fragmented-clusters"), "{kind}");
        assert_eq!(report.compressed_clusters, number("compressed-clusters"), "{kind}");
        drop(image);

        // Then it is written here, and QEMU reads it.
        let image = open(&image_path).unwrap();
        let mut model = std::fs::read(&raw_path).unwrap();
        for _ in 0..30 {
            let start = random.below(4 << 20);
            let length = random.below(300_000) as usize + 1;
            let bytes = random.bytes(length, true);
            image.write_at(&bytes, start).unwrap();
            model[start as usize..][..length].copy_from_slice(&bytes);
        }
        if snapshot {
            image.delete_snapshot("then").unwrap();
        }
        image.close().unwrap();
        assert_clean(&image_path);
        must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", &file, &raw]);
        assert_same(&std::fs::read(&raw_path).unwrap(), &model, kind);
    }
}

#[test]
fn new_images_are_the_same_bytes_as_qemus() {
    let dir = tempfile::tempdir().unwrap();
    let default = CreateOptions { size: 1 << 30, ..CreateOptions::default() };
    let data_name = dir.path().join("data.raw").to_str().unwrap().to_owned();
    let data = |raw| CreateOptions {
        size: 8 << 20,
        data_file: Some(data_name.clone()),
        data_file_raw: raw,
        ..default.clone()
    };
    let backed = CreateOptions {
        backing_file: Some("base.raw".to_owned()),
        backing_format: Some("raw".to_owned()),
        ..default.clone()
    };
    let cases = [
        (default.clone(), ""),
        (CreateOptions { size: 0, ..default.clone() }, "size=0"),
        (CreateOptions { cluster_size: 512, size: 20 << 20, ..default.clone() }, "cluster_size=512"),
        (CreateOptions { cluster_size: 4096, ..default.clone() }, "cluster_size=4096"),
        (CreateOptions { cluster_size: 2 << 20, ..default.clone() }, "cluster_size=2M"),
        (CreateOptions { version: 2, ..default.clone() }, "compat=0.10"),
        (CreateOptions { extended_l2: true, ..default.clone() }, "extended_l2=on"),
        (
            CreateOptions { extended_l2: true, cluster_size: 16384, ..default.clone() },
            "extended_l2=on,cluster_size=16k",
        ),
        (data(false), &*format!("data_file={data_name}")),
        (data(true), &*format!("data_file={data_name},data_file_raw=on")),
        (CreateOptions { refcount_bits: 1, ..default.clone() }, "refcount_bits=1"),
        (CreateOptions { refcount_bits: 64, ..default.clone() }, "refcount_bits=64"),
        (CreateOptions { lazy_refcounts: true, ..default.clone() }, "lazy_refcounts=on"),
        (CreateOptions { compression: CompressionType::Zstd, ..default.clone() }, "compression_type=zstd"),
        (backed, "backing_file=base.raw,backing_fmt=raw"),
    ];
    std::fs::write(dir.path().join("base.raw"), vec![1; 1 << 20]).unwrap();
    for (options, text) in cases {
        let (ours, _) = path(&dir, "ours.qcow2");
        let (theirs, file) = path(&dir, "theirs.qcow2");
        let file_of_ours = Arc::new(FileStorage::create(&ours).unwrap());
        let data = options.data_file.as_ref().map(|name| Arc::new(FileStorage::create(name).unwrap()) as _);
        drop(Qcow2::create_with_data(file_of_ours, data, &options).unwrap());
        let size = options.size.to_string();
        let mut args = vec!["create", "-q", "-f", "qcow2"];
        if !text.is_empty() && !text.starts_with("size") {
            args.extend(["-o", text]);
        }
        args.extend([&file[..], &size]);
        must("qemu-img", &args);
        assert_same(&std::fs::read(&ours).unwrap(), &std::fs::read(&theirs).unwrap(), text);
        assert_clean(&ours);
        std::fs::remove_file(ours).unwrap();
    }
}

#[test]
fn tables_larger_than_one_refcount_block_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (refcount_bits, size) in [(16, 4u64 << 30), (64, 16 << 30), (64, 100 << 30)] {
        let (image_path, _) = path(&dir, "large.qcow2");
        let options = CreateOptions { cluster_size: 512, refcount_bits, size, ..CreateOptions::default() };
        let image = Qcow2::create(Arc::new(FileStorage::create(&image_path).unwrap()), &options).unwrap();
        for at in [0, size / 2, size - 5000] {
            image.write_at(&[7; 5000], at).unwrap();
        }
        image.create_snapshot("s", std::time::Duration::ZERO).unwrap();
        image.write_at(&[8; 5000], size / 2).unwrap();
        image.close().unwrap();
        assert_clean(&image_path);
        std::fs::remove_file(image_path).unwrap();
    }
}

#[test]
fn options_that_do_not_go_together_are_refused_in_qemus_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = path(&dir, "refused.qcow2");
    let default = CreateOptions { size: 1 << 20, ..CreateOptions::default() };
    let cases = [
        (CreateOptions { cluster_size: 100, ..default.clone() }, "cluster_size=100"),
        (CreateOptions { cluster_size: 4 << 20, ..default.clone() }, "cluster_size=4M"),
        (CreateOptions { cluster_size: 512, size: 1 << 40, ..default.clone() }, "cluster_size=512,size=1T"),
        (CreateOptions { refcount_bits: 3, ..default.clone() }, "refcount_bits=3"),
        (CreateOptions { refcount_bits: 128, ..default.clone() }, "refcount_bits=128"),
        (CreateOptions { version: 2, refcount_bits: 8, ..default.clone() }, "compat=0.10,refcount_bits=8"),
        (
            CreateOptions { version: 2, lazy_refcounts: true, ..default.clone() },
            "compat=0.10,lazy_refcounts=on",
        ),
        (
            CreateOptions { version: 2, compression: CompressionType::Zstd, ..default.clone() },
            "compat=0.10,compression_type=zstd",
        ),
        (
            CreateOptions {
                backing_file: Some("x".to_owned()),
                backing_format: Some("raw".to_owned()),
                preallocation: Preallocation::Metadata,
                ..default.clone()
            },
            "backing_file=x,backing_fmt=raw,preallocation=metadata",
        ),
    ];
    for (options, text) in cases {
        let error = options.validate().unwrap_err().to_string();
        let sized = if text.contains("size=1T") { text.to_owned() } else { format!("{text},size=1M") };
        let output = run("qemu-img", &["create", "-u", "-f", "qcow2", "-o", &sized, &file]);
        let theirs = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(theirs.trim().trim_start_matches(&format!("qemu-img: {file}: ")), error, "{text}");
    }
}

#[test]
fn an_image_that_was_not_closed_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "dirty.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", &file, "16M"]);
    // It never comes to updating reference counts.
    run("qemu-io", &["-f", "qcow2", "-c", "write -P 7 1M 3M", "-c", "flush", "-c", "sigraise 9", &file]);
    let reader = open_read_only(&image_path).unwrap();
    assert!(reader.info().unwrap().dirty);
    assert!(read_all(&reader)[1 << 20..4 << 20].iter().all(|&byte| byte == 7));
    drop(reader);
    let image = open(&image_path).unwrap();
    assert!(!image.info().unwrap().dirty);
    image.write_at(&[9; 100_000], 5 << 20).unwrap();
    let content = read_all(&image);
    assert!(content[1 << 20..4 << 20].iter().all(|&byte| byte == 7));
    image.close().unwrap();
    assert_clean(&image_path);
    crate::tools::assert_content(&image_path, &content);
}

#[test]
fn features_that_are_not_served_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "feature.qcow2");
    let refused = |what: &str| {
        let text = open_read_only(&image_path).err().unwrap().to_string();
        assert!(text.contains(what), "{text}");
    };
    must("qemu-img", &["create", "-q", "-f", "qcow2", &file, "1M"]);
    let bytes = std::fs::read(&image_path).unwrap();
    let patched = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        std::fs::write(&image_path, bytes).unwrap();
    };
    patched(78, 0x20);
    refused("Unknown incompatible feature: 2000");
    patched(35, 3);
    refused("encryption");
    patched(7, 4);
    refused("Unsupported qcow2 version 4");
    // Damaged images can be read, not written.
    patched(79, 2);
    assert!(open_read_only(&image_path).is_ok());
    assert!(matches!(open(&image_path), Err(Error::Unsupported { .. })));
}

#[test]
fn what_is_not_understood_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "kept.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", &file, "1M"]);
    let mut bytes = std::fs::read(&image_path).unwrap();
    // A longer header, an unknown extension, unknown autoclear and compatible bits.
    let extensions = bytes[112..4096].to_vec();
    bytes[103] = 128;
    bytes[112..128].copy_from_slice(&[0x5a; 16]);
    bytes[128..136].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 5]);
    bytes[136..144].copy_from_slice(b"hello\0\0\0");
    bytes[144..4096].copy_from_slice(&extensions[..4096 - 144]);
    (bytes[87], bytes[88]) = (0x80, 0x40);
    std::fs::write(&image_path, &bytes).unwrap();
    let image = open(&image_path).unwrap();
    image.set_backing_name(Some("base"), Some("raw")).unwrap();
    image.close().unwrap();
    let after = std::fs::read(&image_path).unwrap();
    assert_eq!(after[112..128], [0x5a; 16]);
    assert!(after[..4096].windows(13).any(|bytes| bytes == b"\x12\x34\x56\x78\0\0\0\x05hello"));
    assert_eq!((after[87], after[88]), (0x80, 0), "compatible bits stay, autoclear bits go");
    let info = must("qemu-img", &["info", &file]);
    assert!(info.contains("backing file: base") && info.contains("backing file format: raw"), "{info}");
}

#[test]
fn chains_are_mapped_as_qemu_maps_them() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = path(&dir, "base.raw");
    let (middle_path, middle) = path(&dir, "middle.qcow2");
    let (top_path, top) = path(&dir, "top.qcow2");
    let mut random = Random::new(9);
    let mut bytes = random.bytes(3 << 20, false);
    bytes[1 << 20..2 << 20].fill(0);
    std::fs::write(&base, &bytes).unwrap();
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", &middle, "4M"]);
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", &top, "6M"]);
    scribble(&middle, &mut random, 4 << 20, true, 65536);
    for command in ["write -P 1 100k 200k", "write -z 2M 512k", "discard 3M 256k", "write -P 2 5M 64k"] {
        must("qemu-io", &["-f", "qcow2", "-c", command, &top]);
    }
    let read_only = FileOptions { read_only: true, ..FileOptions::default() };
    let lower = open_read_only(&middle_path).unwrap();
    lower.set_backing(Some(Arc::new(Raw::new(Arc::new(storage(Path::new(&base), read_only))))));
    let image = open_read_only(&top_path).unwrap();
    image.set_backing(Some(Arc::new(lower)));
    assert_same_map(&image, &top);
    let (raw_path, raw) = path(&dir, "flat.raw");
    must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", &top, &raw]);
    assert_same(&read_all(&image), &std::fs::read(raw_path).unwrap(), "the chain");
}

#[test]
fn preallocated_images_are_what_qemu_makes() {
    let dir = tempfile::tempdir().unwrap();
    for (how, extended_l2, text) in [
        (Preallocation::Metadata, false, "preallocation=metadata"),
        (Preallocation::Falloc, false, "preallocation=falloc"),
        (Preallocation::Full, false, "preallocation=full"),
        (Preallocation::Metadata, true, "extended_l2=on,preallocation=metadata"),
        (Preallocation::Full, true, "extended_l2=on,preallocation=full"),
    ] {
        let (ours, file) = path(&dir, "ours.qcow2");
        let (theirs, other) = path(&dir, "theirs.qcow2");
        let options =
            CreateOptions { size: 20 << 20, preallocation: how, extended_l2, ..CreateOptions::default() };
        let image = Qcow2::create(Arc::new(FileStorage::create(&ours).unwrap()), &options).unwrap();
        image.close().unwrap();
        must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", text, &other, "20M"]);
        assert_eq!(
            std::fs::metadata(&ours).unwrap().len(),
            std::fs::metadata(&theirs).unwrap().len(),
            "{text}"
        );
        assert_eq!(qemu_map(&file), qemu_map(&other), "{text}");
        assert_same_map(&open_read_only(&ours).unwrap(), &file);
        assert_clean(&ours);
        // Writing allocates nothing any more.
        let image = open(&ours).unwrap();
        image.write_at(&[1; 3 << 20], 1 << 20).unwrap();
        image.write_zeroes(0..1 << 20, Zero::KeepAllocated).unwrap();
        image.write_at(&[2; 512], 512).unwrap();
        image.close().unwrap();
        assert_eq!(
            std::fs::metadata(&ours).unwrap().len(),
            std::fs::metadata(&theirs).unwrap().len(),
            "{text}"
        );
        assert_clean(&ours);
        std::fs::remove_file(ours).unwrap();
        std::fs::remove_file(theirs).unwrap();
    }
}

#[test]
fn qemu_reads_applies_and_deletes_our_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "snapshots.qcow2");
    let (raw_path, raw) = path(&dir, "snapshots.raw");
    for (seed, version) in [(1, 3), (2, 2)] {
        let mut random = Random::new(seed);
        let options = CreateOptions { version, size: 3 << 20, ..CreateOptions::default() };
        // The second round meets the first one's file, which may still be locked for a moment.
        let _ = std::fs::remove_file(&image_path);
        let image = Qcow2::create(Arc::new(FileStorage::create(&image_path).unwrap()), &options).unwrap();
        image.write_at(&random.bytes(1 << 20, false), 100_000).unwrap();
        image.write_compressed_data(2 << 20, &random.bytes(65536, true)).unwrap();
        let then = read_all(&image);
        image.create_snapshot("then", std::time::Duration::new(1_700_000_000, 5)).unwrap();
        image.write_at(&random.bytes(1 << 20, false), 500_000).unwrap();
        if version == 3 {
            image.resize(5 << 20, Preallocation::Off).unwrap();
        }
        image.create_snapshot("later", std::time::Duration::ZERO).unwrap();
        image.close().unwrap();
        assert_clean(&image_path);
        let info = must("qemu-img", &["info", "--output=json", &file]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        let entry = &info["snapshots"][0];
        assert_eq!((entry["id"].as_str(), entry["name"].as_str()), (Some("1"), Some("then")));
        assert_eq!((entry["date-sec"].as_u64(), entry["date-nsec"].as_u64()), (Some(1_700_000_000), Some(5)));
        assert_eq!((entry["vm-state-size"].as_u64(), entry["icount"].as_u64()), (Some(0), Some(0)));
        must("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", "-l", "then", &file, &raw]);
        // QEMU gives it the size that the disk has now; here it has its own.
        let theirs = std::fs::read(&raw_path).unwrap();
        assert_same(&theirs[..then.len()], &then, "as QEMU reads the snapshot");
        let ours = Arc::new(open_read_only(&image_path).unwrap());
        assert_same(&read_all(&ours.open_snapshot("then").unwrap()), &then, "as it is read here");
        drop(ours);
        must("qemu-img", &["snapshot", "-a", "then", &file]);
        assert_clean(&image_path);
        assert_same(&read_all(&open_read_only(&image_path).unwrap()), &then, "as QEMU applied it");
        must("qemu-img", &["snapshot", "-d", "later", &file]);
        assert_clean(&image_path);
    }
}

/// Saved machine state lies behind the disk, and goes through everything that is done to the disk.
#[test]
fn machine_state_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "state.qcow2");
    for kind in ["cluster_size=64k", "extended_l2=on,cluster_size=16k", "cluster_size=512"] {
        must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", kind, &file, "3M"]);
        let write = "write -b -P 7 0 1M";
        must("qemu-io", &["-f", "qcow2", "-c", "write -P 1 0 2M", "-c", write, &file]);
        must("qemu-img", &["snapshot", "-c", "with", &file]);
        let image = open(&image_path).unwrap();
        let disk = read_all(&image);
        image.create_snapshot("ours", std::time::Duration::ZERO).unwrap();
        image.write_at(&[9; 1 << 20], 1 << 20).unwrap();
        image.delete_snapshot("ours").unwrap();
        image.resize(6 << 20, Preallocation::Off).unwrap();
        assert!(image.check().unwrap().is_clean());
        image.close().unwrap();
        assert_clean(&image_path);
        let image = open(&image_path).unwrap();
        image.apply_snapshot("with").unwrap();
        assert_same(&read_all(&image), &disk, kind);
        image.close().unwrap();
        assert_clean(&image_path);
        must("qemu-io", &["-f", "qcow2", "-c", "read -b -P 7 0 1M", &file]);
        // What is behind the disk never shows in it.
        let image = open(&image_path).unwrap();
        image.resize(10 << 20, Preallocation::Off).unwrap();
        assert!(read_all(&image)[3 << 20..].iter().all(|&byte| byte == 0));
        image.close().unwrap();
        assert_clean(&image_path);
        std::fs::remove_file(&image_path).unwrap();
    }
}

/// Refcounts that lag behind are announced before, and put right at the end or by the next one to open.
#[test]
fn lazy_refcounts_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (image_path, file) = path(&dir, "lazy.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", &file, "16M"]);
    let image = open(&image_path).unwrap();
    image.write_at(&[3; 1 << 20], 1 << 20).unwrap();
    image.flush().unwrap();
    let copy = dir.path().join("crashed.qcow2");
    std::fs::copy(&image_path, &copy).unwrap();
    image.close().unwrap();
    assert_clean(&image_path);
    assert!(!open_read_only(&image_path).unwrap().info().unwrap().dirty);
    let crashed = open_read_only(&copy).unwrap();
    assert!(crashed.info().unwrap().dirty);
    assert!(read_all(&crashed)[1 << 20..2 << 20].iter().all(|&byte| byte == 3));
    drop(crashed);
    must("qemu-io", &["-f", "qcow2", "-c", "read -P 3 1M 1M", copy.to_str().unwrap()]);
    assert_clean(&copy);
    must("qemu-io", &["-f", "qcow2", "-c", "read -P 3 1M 1M", &file]);
}
