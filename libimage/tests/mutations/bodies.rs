//! What is done with bytes from strangers: one function for each parser, each of which does with its input what
//! a program would. Nothing may panic, grow large or go on for ever, whatever the bytes are.
//!
//! Each returns whether the bytes were understood, so that a test can tell that it tests something.

#[path = "../shared/walk.rs"]
mod walk;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libimage::audit::{Bounds, audit, formats};
use libimage::crypto::HashAlg;
use libimage::filter::named::{Named, Stack};
use libimage::filter::undo;
use libimage::format::luks::Luks;
use libimage::format::qcow2::{Amendment, Fix, OpenOptions, Qcow2, StreamReader};
use libimage::format::{Format, probe};
use libimage::fs::btrfs::Btrfs;
use libimage::fs::detect;
use libimage::fs::erofs::Erofs;
use libimage::fs::exfat::ExFat;
use libimage::fs::ext4::Ext4;
use libimage::fs::fat::Fat;
use libimage::fs::iso9660::Iso;
use libimage::fs::ntfs::Ntfs;
use libimage::fs::squashfs::Squashfs;
use libimage::fs::system::FileSystem;
use libimage::fs::xfs::Xfs;
use libimage::job::delta;
use libimage::job::progress::Silent;
use libimage::open::{Context, Driver, Image};
use libimage::spec::{Objects, Spec, json, object_help, split_commas};
use libimage::storage::Memory;
use libimage::{Block, Error, Preallocation, units, volume};

/// A parser's function.
pub type Body = fn(&[u8]) -> bool;

/// All of them, by the names of the fuzz targets.
pub const ALL: [(&str, Body); 20] = [
    ("qcow2", qcow2),
    ("stream", stream),
    ("luks", luks),
    ("disk", disk),
    ("volumes", volumes),
    ("btrfs", btrfs),
    ("erofs", erofs),
    ("exfat", exfat),
    ("ext4", ext4),
    ("fat", fat),
    ("iso9660", iso9660),
    ("ntfs", ntfs),
    ("squashfs", squashfs),
    ("xfs", xfs),
    ("audit", look),
    ("delta", patch),
    ("undo", take_back),
    ("packed", packed),
    ("tar", tar),
    ("options", options),
];

/// Memory that a small image may take while it is worked with, in bytes.
const MAX_MEMORY: u64 = 1 << 28;
/// Disks up to this size are made to try a delta on them, in bytes.
const MAX_DISK: u64 = 1 << 30;
/// More iterations than this would only slow the search for passphrases down.
const MAX_ITERATIONS: u8 = 4;
/// The smallest header of LUKS version 2.
const LUKS2_HEADER: usize = 0x4000;

/// A qcow2 image: opened, read, checked, written, repaired.
pub fn qcow2(bytes: &[u8]) -> bool {
    let mut understood = false;
    for check in [false, true] {
        let memory = Arc::new(Memory::from_bytes(bytes));
        let options = OpenOptions { check, ..OpenOptions::default() };
        let Ok(image) = Qcow2::open(Arc::clone(&memory) as Arc<dyn Block>, options) else { continue };
        understood |= !check;
        if image.lacks_data_file() {
            let _ = image.data_file_name();
            let _ = image.set_data_file(Arc::new(Memory::new(1 << 16)));
        }
        let size = image.size();
        let mut buf = vec![0; size.min(1 << 17) as usize];
        let _ = image.read_at(&mut buf, 0);
        let last = size - buf.len() as u64;
        let _ = image.read_at(&mut buf, last);
        let _ = image.status(0..size);
        let _ = image.info();
        let _ = image.check();
        let _ = image.write_at(&buf, 0);
        let _ = image.discard(0..size);
        let _ = image.create_snapshot("s", Duration::ZERO);
        let _ = image.flush();
        for bitmap in image.bitmaps().unwrap_or_default() {
            let _ = image.bitmap(&bitmap.name).map(|bits| bits.dirty_bytes());
            let _ = image.clear_bitmap(&bitmap.name);
        }
        let _ = image.add_bitmap("b", None, true);
        let _ = image.write_at(&buf, last);
        let _ = image.resize(size.min(1 << 20), Preallocation::Off);
        let _ = image.repair(Fix::All);
        drop(image);
        let file = Arc::clone(&memory) as Arc<dyn Block>;
        let change = Amendment { refcount_bits: Some(64), version: Some(3), ..Amendment::default() };
        let _ = Qcow2::amend(&file, None, &change);
        assert!(memory.allocated_bytes().unwrap_or(0) < MAX_MEMORY);
    }
    understood
}

/// A qcow2 image that comes through a pipe.
pub fn stream(bytes: &[u8]) -> bool {
    let mut input = bytes;
    let Ok(reader) = StreamReader::open(&mut input, &[]) else { return false };
    let size = reader.size();
    let (mut pieces, limit) = (0_u64, 4 + (bytes.len() as u64) * 2);
    let read = reader.run(&mut |offset, data| {
        assert!(!data.is_empty() && offset.checked_add(data.len() as u64).is_some_and(|end| end <= size));
        pieces += 1;
        if pieces < limit { Ok(()) } else { Err(Error::Cancelled) }
    });
    read.is_ok()
}

/// A LUKS volume, and the header of one: looked at, opened with a passphrase, read and written.
pub fn luks(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    // The upper bytes of all iteration counts: of the digest, and of eight slots.
    for at in std::iter::once(164).chain((0..8).map(|slot| 212 + slot * 48)) {
        if let Some(count) = bytes.get_mut(at..at + 3) {
            count[0] = 0;
            count[1] = 0;
            count[2] = count[2].min(MAX_ITERATIONS);
        }
    }
    // Version 2 is only looked at behind a right checksum, and without a passphrase: its costs are in its text.
    let second = bytes.get(6..8) == Some(&[0, 2]) && bytes.len() >= LUKS2_HEADER;
    if second {
        bytes[8..16].copy_from_slice(&(LUKS2_HEADER as u64).to_be_bytes());
        bytes[72..104].fill(0);
        bytes[72..78].copy_from_slice(b"sha256");
        bytes[256..264].fill(0);
        bytes[448..512].fill(0);
        let digest = HashAlg::Sha256.digest(&[&bytes[..LUKS2_HEADER]]);
        bytes[448..480].copy_from_slice(&digest);
    }
    let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(&bytes));
    let passwords = [None, Some(&b"abc"[..])];
    let mut understood = false;
    for password in passwords.into_iter().take(if second { 1 } else { 2 }) {
        for detached in [false, true] {
            let header = detached.then(|| Arc::clone(&memory));
            let Ok(image) = Luks::open(Arc::clone(&memory), header, password, false) else { continue };
            understood = true;
            let _ = image.info();
            let size = image.size();
            let mut buf = vec![0; size.min(1 << 16) as usize];
            let _ = image.read_at(&mut buf, 0);
            let _ = image.write_at(&buf, size - buf.len() as u64);
            let _ = image.status(0..size);
        }
    }
    understood
}

/// A disk: its partitions, what they hold, and every file of the file systems.
pub fn disk(bytes: &[u8]) -> bool {
    let disk: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
    walk::disk(&disk, 500).1
}

/// Disks of 8 MiB whose parts that are not empty follow each other, see [`unrolled`]: what volumes lie on them. There
/// may be parts of a second disk: a group of volumes on both.
pub fn volumes(bytes: &[u8]) -> bool {
    let both = unrolled(bytes, 16 << 20);
    let half = |at: u64| -> Arc<dyn Block> {
        let mut half = vec![0; 8 << 20];
        both.read_at(&mut half, at).expect("memory can be read");
        Arc::new(Memory::from_bytes(&half))
    };
    let disks = [half(0), half(8 << 20)];
    let mut understood = disks.iter().any(|disk| matches!(volume::partitions(disk), Ok(Some(_))));
    for disk in &disks {
        understood |= matches!(detect(&**disk), Ok(Some(_)));
    }
    if let Ok(groups) = volume::lvm::Groups::read(&disks) {
        for group in groups.all() {
            for logical in group.logical_volumes() {
                let Ok(opened) = group.open(&logical.name) else { continue };
                let mut buf = vec![0; opened.size().min(1 << 16) as usize];
                let _ = opened.read_at(&mut buf, 0);
                let last = opened.size() - buf.len() as u64;
                let _ = opened.read_at(&mut buf, last);
            }
        }
    }
    understood
}

/// A file system on a device: all that can be read of it.
fn file_system<F: FileSystem>(
    device: Memory,
    open: impl FnOnce(Arc<dyn Block>) -> libimage::fs::system::Result<F>,
) -> bool {
    open(Arc::new(device)).is_ok_and(|fs| {
        walk::tree(&fs, 200);
        true
    })
}

/// btrfs on 16 MiB, see [`unrolled`], with nodes of 4 KiB. Checksums are put right first.
pub fn btrfs(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    for part in bytes.chunks_exact_mut(PART) {
        let node = part.split_at_mut(PART_HEADER).1;
        let sum = crc32c::crc32c(&node[32..]);
        node[..4].copy_from_slice(&sum.to_le_bytes());
    }
    file_system(unrolled(&bytes, 16 << 20), |device| Btrfs::open(device, &Vec::new))
}

/// erofs. A checksum of the superblock is not asked for.
pub fn erofs(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if let Some(flags) = bytes.get_mut(1024 + 8) {
        *flags &= !1;
    }
    file_system(Memory::from_bytes(&bytes), Erofs::open)
}

/// exFAT.
pub fn exfat(bytes: &[u8]) -> bool {
    file_system(Memory::from_bytes(bytes), ExFat::open)
}

/// ext2, ext3, ext4.
pub fn ext4(bytes: &[u8]) -> bool {
    file_system(Memory::from_bytes(bytes), Ext4::open)
}

/// FAT on 34 MiB, see [`unrolled`].
pub fn fat(bytes: &[u8]) -> bool {
    file_system(unrolled(bytes, 34 << 20), Fat::open)
}

/// ISO 9660.
pub fn iso9660(bytes: &[u8]) -> bool {
    file_system(Memory::from_bytes(bytes), Iso::open)
}

/// NTFS.
pub fn ntfs(bytes: &[u8]) -> bool {
    file_system(Memory::from_bytes(bytes), Ntfs::open)
}

/// squashfs.
pub fn squashfs(bytes: &[u8]) -> bool {
    file_system(Memory::from_bytes(bytes), Squashfs::open)
}

/// xfs on 32 MiB, see [`unrolled`]; of version 4, which has no checksums.
pub fn xfs(bytes: &[u8]) -> bool {
    file_system(unrolled(bytes, 32 << 20), Xfs::open)
}

/// Bytes of a part of a sparse device: its number, and 4 KiB.
const PART: usize = PART_HEADER + 4096;
const PART_HEADER: usize = 4;

/// A device of `size` bytes of whose parts only those were kept that are not empty, each behind its number.
fn unrolled(bytes: &[u8], size: u64) -> Memory {
    let device = Memory::new(size);
    for part in bytes.chunks_exact(PART) {
        let (number, content) = part.split_at(PART_HEADER);
        let number = number.first_chunk().copied().map_or(0, u32::from_le_bytes);
        // What belongs nowhere is left out.
        let _ = device.write_at(content, u64::from(number) * 4096);
    }
    device
}

/// An upload: what it is, what it could be taken for, and whether it is safe.
pub fn look(bytes: &[u8]) -> bool {
    let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
    let guess = probe::guess(&bytes[..bytes.len().min(probe::PROBE_BYTES)]);
    let _ = probe::probe(&*memory);
    let found = formats(&memory).unwrap_or_default();
    let bounds = Bounds { max_virtual_size: Some(1 << 40) };
    let audited = audit(&memory, bounds);
    if let Ok(audited) = &audited {
        for finding in &audited.findings {
            assert!(!finding.text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", finding.text);
        }
    }
    guess != probe::Guess::Known(Format::Raw) || !found.is_empty()
}

/// A delta, applied to an empty disk of the size that it wants. Its checksums are put right first: noise behind a
/// wrong one is refused at once.
pub fn patch(bytes: &[u8]) -> bool {
    let bytes = seal_delta(bytes);
    let size_at =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk().copied()).map_or(0, u64::from_le_bytes);
    let (old, new) = (size_at(8), size_at(16));
    if old > MAX_DISK || new > MAX_DISK {
        return false;
    }
    let disk = Arc::new(Memory::new(old));
    let verified = delta::verify(&bytes[..], "delta", &*disk, &Silent).is_ok();
    let file = in_memory(&bytes);
    if let Ok(patched) = delta::Patched::new(Arc::clone(&disk) as Arc<dyn Block>, &file.1) {
        let mut buf = vec![0; patched.size().min(1 << 17) as usize];
        let _ = patched.read_at(&mut buf, 0);
        let last = patched.size() - buf.len() as u64;
        let _ = patched.read_at(&mut buf, last);
        let _ = patched.status(0..patched.size());
    }
    let _ = delta::apply(&bytes[..], "delta", &*disk, &Silent);
    assert!(disk.allocated_bytes().unwrap_or(0) < MAX_MEMORY);
    verified
}

/// An undo file, with its checksums put right, and an image to put back.
pub fn take_back(bytes: &[u8]) -> bool {
    let bytes = seal_undo(bytes);
    let size = bytes.get(8..).and_then(|b| b.first_chunk().copied()).map_or(0, u64::from_le_bytes);
    let image = Memory::new(size.min(1 << 20));
    let file = in_memory(&bytes);
    let undone = undo::undo(&image, &file.1);
    assert!(image.allocated_bytes().unwrap_or(0) < MAX_MEMORY);
    undone.is_ok()
}

/// Everything that a command line says of images and objects. Nothing is opened whose name has a slash or could
/// hide one, and nothing for writing.
pub fn options(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    for part in split_commas(text) {
        let _ = units::parse_size(&part);
        let _ = Format::by_name(&part);
        let _ = Driver::by_name(&part);
    }
    if let Ok(value) = json::parse(text) {
        let line = json::line(&value);
        assert!(json::parse(&line).is_ok(), "{line}");
        let _ = json::lines(&value);
    }
    let mut objects = Objects::default();
    let _ = object_help(text);
    let harmless = !text.contains(['/', '\\']) && !text.contains("read-only") && !text.contains("file=");
    if harmless {
        let _ = objects.add(text);
    }
    let specs = [Spec::name(text.as_ref()), Spec::image_opts(text.as_ref(), &|_| ())];
    let mut understood = objects.secret("s").is_ok();
    for spec in specs.into_iter().flatten().filter(|_| harmless) {
        let context = Context { objects: &objects, warn: &|_| (), untrusted: true };
        let read_only = libimage::open::OpenOptions { read_only: true, ..Default::default() };
        if let Ok(image) = Image::open_spec(spec, read_only, &context) {
            understood = true;
            let block = image.block();
            let mut buf = vec![0; block.size().min(1 << 12) as usize];
            let _ = block.read_at(&mut buf, 0);
            let _ = image.name();
        }
    }
    understood
}

/// A file without a name, and the path by which it can be opened while it lives.
fn in_memory(bytes: &[u8]) -> (File, PathBuf) {
    let made = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(made.expect("a file in memory"));
    file.write_all(bytes).expect("memory for a small file");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, path.into())
}

/// Puts a checksum where it belongs, if there is room for one.
fn seal(bytes: &mut [u8], body: std::ops::Range<usize>) {
    let Some(sum) = bytes.get(body.clone()).map(crc32fast::hash) else { return };
    if let Some(place) = bytes.get_mut(body.end..body.end + 4) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn number32(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().copied().map(|b| u32::from_le_bytes(b) as usize)
}

/// A delta with right checksums as far as its records can be followed.
fn seal_delta(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    seal(&mut bytes, 0..28);
    let hashed = number32(&bytes, 24) == Some(0);
    let old = number(&bytes, 8).unwrap_or(0);
    let mut at = 32;
    while let (Some(&kind), Some(offset), Some(length), Some(payload)) =
        (bytes.get(at), number(&bytes, at + 1), number(&bytes, at + 9), number32(&bytes, at + 17))
    {
        let covered = if hashed && kind != b'E' { old.saturating_sub(offset).min(length) } else { 0 };
        let end = covered.div_ceil(4096).saturating_mul(8).saturating_add(payload as u64 + 21);
        let Some(end) = usize::try_from(end).ok().filter(|end| *end < bytes.len()) else { break };
        seal(&mut bytes, at..at + end);
        at += end + 4;
    }
    bytes
}

/// An undo file with right checksums as far as its records can be followed.
fn seal_undo(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    seal(&mut bytes, 0..16);
    let mut at = 20;
    while let Some(&kind) = bytes.get(at) {
        let length = match kind {
            b'O' => number32(&bytes, at + 9).map(|length| length as u64 + 13),
            _ => number(&bytes, at + 9).and_then(|count| count.checked_mul(12)?.checked_add(17)),
        };
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length < bytes.len()) else { break };
        seal(&mut bytes, at..at + length);
        at += length + 4;
    }
    bytes
}

/// Reads what a filter shows of some bytes: its ends, and all of it if that is little.
fn filtered(bytes: &[u8], filter: &str) -> bool {
    let memory: Arc<dyn Block> = Arc::new(Memory::from_bytes(bytes));
    let stack = Stack::new(vec![Named::parse(filter).expect("a filter that there is")]);
    let open: libimage::filter::named::Open = Arc::new(move |_| Ok(Arc::clone(&memory)));
    let Ok(shown) = stack.open(&open) else { return false };
    let size = shown.size();
    let mut buf = vec![0; size.min(1 << 20) as usize];
    let first = shown.read_at(&mut buf, 0);
    let last = size - buf.len() as u64;
    let _ = shown.read_at(&mut buf, last);
    let _ = shown.status(0..size);
    let _ = shown.prefetch(0..size);
    first.is_ok()
}

/// A compressed file: xz, gzip or zstd. The checksums of the last index of xz are put right first.
pub fn packed(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.starts_with(b"\xfd7zXZ") && bytes.len() >= 24 {
        let footer = bytes.len() - 12;
        let size = bytes[footer + 4..].first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        if let Some(index) = footer.checked_sub(size.saturating_add(1).saturating_mul(4)) {
            let sum = crc32fast::hash(&bytes[index..footer - 4]);
            bytes[footer - 4..footer].copy_from_slice(&sum.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[footer + 4..footer + 10]);
        bytes[footer..footer + 4].copy_from_slice(&sum.to_le_bytes());
    }
    let filters = [
        "xz,xz-max-block=1M",
        "gzip,gzip-max-size=16M",
        "zstd,zstd-max-frame=1M,zstd-max-size=16M",
        "bzip2,bzip2-max-size=16M",
    ];
    filters.into_iter().filter(|filter| filtered(&bytes, filter)).count() > 0
}

/// A tar archive with a member `image`. The sums of all blocks are put right first: most are no headers.
pub fn tar(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512) {
        // Only what looks like a header: data need not be touched.
        if block[148..154].iter().all(|byte| (b'0'..=b'7').contains(byte)) {
            block[148..156].fill(b' ');
            let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    filtered(&bytes, "tar,tar-entry=image")
}
