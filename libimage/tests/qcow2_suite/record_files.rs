//! Mistakes that other implementations made with headers, constants and host files, each as a test that fails if we
//! make it too. Where a constant or a limit is concerned, the image is QEMU's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libimage::format::qcow2::{Amendment, CompressionType, CreateOptions, Fix, OpenOptions, Qcow2};
use libimage::storage::{FileStorage, Memory};
use libimage::{Block, Zero};

use crate::tools::{Random, assert_clean, assert_content, assert_same, must, open, read_all};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn opened(bytes: &[u8]) -> libimage::Result<Qcow2> {
    Qcow2::open(Arc::new(Memory::from_bytes(bytes)), OpenOptions::default())
}

/// The bytes of a small image that QEMU made.
fn qemus(place: &Place, options: &str) -> Vec<u8> {
    let name = place.name("small.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", options, &name, "4M"]);
    std::fs::read(name).unwrap()
}

/// Cloud Hypervisor 5b99f9ce4: whoever rewrote the header wrote compression type 0, and a zstd image was lost.
#[test]
fn compression_type_survives_header_rewrites() {
    let place = Place::new();
    let (raw, file) = (place.name("a.raw"), place.name("a.qcow2"));
    let bytes = Random::new(1).bytes(1 << 20, true);
    std::fs::write(&raw, &bytes).unwrap();
    must("qemu-img", &["convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", &raw, &file]);
    let storage: Arc<dyn Block> = Arc::new(crate::tools::storage(Path::new(&file), Default::default()));
    for lazy_refcounts in [Some(true), Some(false)] {
        Qcow2::amend(&storage, None, &Amendment { lazy_refcounts, ..Amendment::default() }).unwrap();
    }
    Qcow2::amend(&storage, None, &Amendment { refcount_bits: Some(32), ..Amendment::default() }).unwrap();
    let image = Qcow2::open(storage, OpenOptions::default()).unwrap();
    image.add_bitmap("b", None, false).unwrap();
    image.remove_bitmap("b").unwrap();
    image.create_snapshot("s", Duration::ZERO).unwrap();
    image.set_backing_name(Some("none.raw"), Some("raw")).unwrap();
    image.set_backing_name(None, None).unwrap();
    image.write_at(&[3; 100], 5).unwrap();
    assert_eq!(image.info().unwrap().compression, CompressionType::Zstd);
    let expected = read_all(&image);
    image.close().unwrap();
    let info = must("qemu-img", &["info", &file]);
    assert!(info.contains("compression type: zstd"), "{info}");
    assert_content(Path::new(&file), &expected);
    assert_clean(Path::new(&file));
    assert_same(&expected[105..], &bytes[105..], "the rest");
}

/// Cloud Hypervisor 29720f07a: refcounts were rebuilt for all that a header claimed, and a tiny file grew huge.
#[test]
fn repair_is_sized_by_the_file_not_the_header() {
    let place = Place::new();
    let file = place.name("a.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", &file, "4M"]);
    must("qemu-io", &["-f", "qcow2", "-c", "write -P 5 0 300k", &file]);
    let mut bytes = std::fs::read(&file).unwrap();
    // The largest disk that the table can have, a refcount table of 8 MiB that is not there, no counts.
    bytes[24..32].copy_from_slice(&(1u64 << 29).to_be_bytes());
    bytes[56..60].copy_from_slice(&128u32.to_be_bytes());
    let table = number(&bytes, 48) as usize;
    let block = number(&bytes, table) as usize;
    bytes[block..block + 65_536].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let options = OpenOptions { check: true, ..OpenOptions::default() };
    let storage = crate::tools::storage(Path::new(&file), Default::default());
    let image = Qcow2::open(Arc::new(storage), options).unwrap();
    let _ = image.repair(Fix::All).unwrap();
    let report = image.check().unwrap();
    assert!(report.corruptions == 0 && report.check_errors == 0, "{report:?}");
    image.close().unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    assert!(length < 4 * bytes.len() as u64 + (8 << 20), "{} bytes have become {length}", bytes.len());
    let image = open(Path::new(&file)).unwrap();
    let mut start = vec![0; 300 << 10];
    image.read_at(&mut start, 0).unwrap();
    assert!(start.iter().all(|&byte| byte == 5));
}

/// Cloud Hypervisor #6349: a valid image of Fedora was refused, because its refcount table was larger than needed.
#[test]
fn a_refcount_table_larger_than_needed_is_fine() {
    let place = Place::new();
    let mut bytes = qemus(&place, "cluster_size=4k");
    let (path, file) = (place.path("large.qcow2"), place.name("large.qcow2"));
    let table = number(&bytes, 48) as usize;
    let first = bytes[table..table + 8].to_vec();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    let new = bytes.len();
    bytes.resize(new + 64 * 4096, 0);
    bytes[new..new + 8].copy_from_slice(&first);
    bytes[48..56].copy_from_slice(&(new as u64).to_be_bytes());
    bytes[56..60].copy_from_slice(&64u32.to_be_bytes());
    // Counts of 16 bits: the new table is used, the old one is not.
    let block = number(&first, 0) as usize;
    for cluster in new / 4096..new / 4096 + 64 {
        bytes[block + cluster * 2 + 1] = 1;
    }
    bytes[block + table / 4096 * 2 + 1] = 0;
    std::fs::write(&path, &bytes).unwrap();
    must("qemu-img", &["check", "-q", "-f", "qcow2", &file]);
    let image = open(&path).unwrap();
    assert!(image.check().unwrap().is_clean());
    image.write_at(&[8; 100_000], 77).unwrap();
    let expected = read_all(&image);
    image.close().unwrap();
    assert_clean(&path);
    assert_content(&path, &expected);
}

/// Cloud Hypervisor d7a7d7362: tmpfs cannot zero a range. qcow2-rs: a hole that is also to be a range of zeroes is
/// refused by every file system.
#[test]
fn tmpfs_without_zero_range() {
    for directory in [tempfile::tempdir_in("/dev/shm").unwrap(), tempfile::tempdir().unwrap()] {
        let storage = FileStorage::create(directory.path().join("plain")).unwrap();
        storage.write_at(&[1; 100_000], 0).unwrap();
        storage.write_zeroes(4096..20_000, Zero::KeepAllocated).unwrap();
        storage.write_zeroes(30_000..70_000, Zero::MayUnmap).unwrap();
        let bytes = read_all(&storage);
        let zeroed = |at: &usize| (4096..20_000).contains(at) || (30_000..70_000).contains(at);
        assert!((0..100_000).all(|at| bytes[at] == u8::from(!zeroed(&at))));

        let path = directory.path().join("a.qcow2");
        let options = CreateOptions { size: 1 << 20, ..CreateOptions::default() };
        let image = Qcow2::create(Arc::new(FileStorage::create(&path).unwrap()), &options).unwrap();
        image.write_at(&[1; 1 << 20], 0).unwrap();
        image.write_zeroes(1000..300_000, Zero::KeepAllocated).unwrap();
        image.write_zeroes(400_000..800_000, Zero::MayUnmap).unwrap();
        image.close().unwrap();
        let mut expected = vec![1; 1 << 20];
        expected[1000..300_000].fill(0);
        expected[400_000..800_000].fill(0);
        assert_clean(&path);
        assert_content(&path, &expected);
    }
}

/// qcow2-rs PR 8: a cluster size of 2 to the power of 200 was shifted, and panicked.
#[test]
fn cluster_bits_beyond_all_shifts_are_refused() {
    let place = Place::new();
    let good = qemus(&place, "cluster_size=64k");
    for bits in (0..300).chain([u32::MAX, 1 << 31]).filter(|bits| !(9..=21).contains(bits)) {
        let mut bytes = good.clone();
        bytes[20..24].copy_from_slice(&bits.to_be_bytes());
        assert!(opened(&bytes).is_err(), "{bits}");
        let mut bytes = good.clone();
        bytes[96..100].copy_from_slice(&bits.max(7).to_be_bytes());
        assert!(opened(&bytes).is_err(), "refcount order {bits}");
    }
}

/// crosvm: its number for the extension that names the backing format was its own; with images that it had made itself
/// all was well.
#[test]
fn backing_format_magic_is_qemus() {
    const MAGIC: [u8; 4] = [0xe2, 0x79, 0x2a, 0xca];
    let place = Place::new();
    must("qemu-img", &["create", "-q", "-f", "raw", &place.name("b.raw"), "1M"]);
    let file = place.name("theirs.qcow2");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "b.raw", "-F", "raw", &file]);
    let image = open(Path::new(&file)).unwrap();
    assert_eq!(image.backing_format().unwrap().as_deref(), Some("raw"));
    assert_eq!(image.backing_file().unwrap().as_deref(), Some("b.raw"));

    let ours = place.path("ours.qcow2");
    let options = CreateOptions {
        size: 1 << 20,
        backing_file: Some("b.raw".to_owned()),
        backing_format: Some("raw".to_owned()),
        ..CreateOptions::default()
    };
    Qcow2::create(Arc::new(FileStorage::create(&ours).unwrap()), &options).unwrap().close().unwrap();
    let info = must("qemu-img", &["info", ours.to_str().unwrap()]);
    assert!(info.contains("backing file format: raw"), "{info}");
    for path in [Path::new(&file), &ours] {
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes[..1024].windows(4).any(|four| four == MAGIC));
    }
}

/// crosvm, imago, Cloud Hypervisor (as read): incompatible features, versions or encryption were not looked at, and what
/// was read was something else.
#[test]
fn what_is_not_understood_is_refused() {
    let place = Place::new();
    let good = qemus(&place, "compat=1.1");
    let with = |at: usize, field: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + field.len()].copy_from_slice(field);
        opened(&bytes)
    };
    for bit in 5..64 {
        let error = with(72, &(1u64 << bit).to_be_bytes()).err().map(|error| error.to_string());
        assert!(error.is_some(), "incompatible feature {bit}");
    }
    for version in [0, 1, 4, 5, u32::MAX] {
        assert!(with(4, &version.to_be_bytes()).is_err(), "version {version}");
    }
    for method in [3, 4, u32::MAX] {
        assert!(with(32, &method.to_be_bytes()).is_err(), "encryption {method}");
    }
    // AES is known: nothing is written without the key.
    if let Ok(image) = with(32, &1u32.to_be_bytes()) {
        assert!(image.needs_key() && image.write_at(&[0; 512], 0).is_err());
    }
    assert!(with(4, &3u32.to_be_bytes()).is_ok());
}

/// crosvm (as read): data in a file of its own was looked for in the image.
#[test]
fn an_image_with_a_data_file_is_not_read_without_it() {
    let place = Place::new();
    let (file, data) = (place.name("a.qcow2"), place.name("a.data"));
    let option = format!("data_file={data}");
    must("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &option, &file, "1M"]);
    must("qemu-io", &["-f", "qcow2", "-c", "write -P 9 0 1M", &file]);
    let bytes = std::fs::read(&file).unwrap();
    let image = opened(&bytes).unwrap();
    assert!(image.lacks_data_file());
    let mut found = [1; 512];
    assert!(image.read_at(&mut found, 0).is_err() && image.write_at(&[2; 512], 0).is_err());
    drop(image);
    let image = crate::tools::with_data_file(Path::new(&file), Default::default()).unwrap();
    image.read_at(&mut found, 0).unwrap();
    assert!(found == [9; 512]);
}

/// imago (as read): the feature bits that a writer must clear were cleared also where nothing was written, and bitmaps
/// with them.
#[test]
fn unknown_autoclear_bits_go_with_the_first_write() {
    let place = Place::new();
    let mut bytes = qemus(&place, "compat=1.1");
    bytes[88] = 0x40;
    let memory = Arc::new(Memory::from_bytes(&bytes));
    let bits = || {
        let mut field = [0; 8];
        memory.read_at(&mut field, 88).unwrap();
        field
    };
    let image = Qcow2::open(Arc::clone(&memory) as _, OpenOptions::default()).unwrap();
    read_all(&image);
    image.close().unwrap();
    assert_eq!(bits()[0], 0x40, "nothing was written");
    let image = Qcow2::open(Arc::clone(&memory) as _, OpenOptions::default()).unwrap();
    image.write_at(&[1; 512], 0).unwrap();
    image.flush().unwrap();
    assert_eq!(bits(), [0; 8]);
}
