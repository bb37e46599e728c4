#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use flate2::write::GzEncoder;

use super::*;
use crate::block::Block;
use crate::filter::model;
use crate::storage::Memory;

/// Bytes that can be packed, with holes in them.
fn content() -> Vec<u8> {
    let mut bytes = model::bytes(700_001);
    bytes[65_536..262_144].fill(0);
    bytes
}

fn block(bytes: &[u8]) -> Arc<dyn Block> {
    Arc::new(Memory::from_bytes(bytes))
}

fn xz_of(bytes: &[u8], block_size: u64) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let size = format!("--block-size={block_size}");
    let output = Command::new("xz").args(["-1", "-c", "-T1", &size]).arg(file.path()).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Frames, each of which says how long it is.
fn frames_of(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(|part| ::zstd::bulk::compress(part, 1).unwrap()).collect()
}

/// Reads all of it, and pieces of it, in no order.
fn check(opened: &dyn Block, bytes: &[u8]) {
    assert!(model::all(opened) == bytes);
    let size = bytes.len() as u64;
    for number in 0..200_u64 {
        let start = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % size;
        let end = (start + 1 + number * 331).min(size);
        assert!(model::read(opened, start..end) == bytes[start as usize..end as usize]);
    }
    opened.prefetch(0..size).unwrap();
    let mut at = 0;
    while at < size {
        let extent = opened.status(at..size).unwrap();
        let end = at + extent.length;
        assert!(
            extent.length > 0 && (!extent.zero || bytes[at as usize..end as usize].iter().all(|&b| b == 0))
        );
        at = end;
    }
    assert!(opened.is_read_only() && opened.write_at(&[1], 0).is_err());
    assert!(opened.read_at(&mut [0; 2], size - 1).is_err());
}

#[test]
fn xz_is_read_by_its_blocks() {
    let bytes = content();
    let options = XzOptions { max_block: 1 << 20, max_depth: 2 };
    for size in [50_000, 1 << 20] {
        check(&*xz(block(&xz_of(&bytes, size)), options).unwrap(), &bytes);
    }
    // Two streams, with padding between and behind them.
    let (one, two) = bytes.split_at(123_457);
    let both = [xz_of(one, 30_000), vec![0; 8], xz_of(&[], 4096), xz_of(two, 100_000), vec![0; 4]].concat();
    check(&*xz(block(&both), options).unwrap(), &bytes);
    assert_eq!(xz(block(&xz_of(&[], 4096)), options).unwrap().size(), 0);
}

#[test]
fn xz_that_is_damaged_or_too_large_is_refused() {
    let bytes = content();
    let packed = xz_of(&bytes, 100_000);
    let options = XzOptions { max_block: 100_000, max_depth: 2 };
    assert!(xz(block(&packed), XzOptions { max_block: 99_999, ..options }).is_err());
    // Ends, begins and an index that are not as they were.
    for bad in [
        &packed[..packed.len() - 4],
        &packed[4..],
        &packed[..20],
        &[],
        &[[0; 4].as_slice(), &packed].concat(),
    ] {
        assert!(xz(block(bad), options).is_err());
    }
    let mut read = 0;
    for at in (0..packed.len()).step_by(97) {
        let mut bad = packed.clone();
        bad[at] ^= 0x10;
        if let Ok(opened) = xz(block(&bad), options) {
            read += 1;
            let mut all = vec![0; opened.size() as usize];
            assert!(opened.read_at(&mut all, 0).is_err(), "{at}");
        }
    }
    assert!(read > 0, "blocks have checksums of their own");
}

#[test]
fn gzip_is_read_with_all_its_members() {
    let bytes = content();
    let (one, two) = bytes.split_at(300_000);
    let open = |bytes: &[u8], most| gzip(&*block(bytes), most, &Whole::default());
    check(&*open(&gzip_of(&bytes), u64::MAX).unwrap(), &bytes);
    check(&*open(&[gzip_of(one), gzip_of(two)].concat(), u64::MAX).unwrap(), &bytes);
    for behind in [&[0; 1000][..], b"garbage"] {
        check(&*open(&[&gzip_of(&bytes), behind].concat(), u64::MAX).unwrap(), &bytes);
    }
    let packed = gzip_of(&bytes);
    assert!(open(&packed, bytes.len() as u64 - 1).is_err());
    assert!(open(&packed[..packed.len() - 1], u64::MAX).is_err());
    assert!(open(&[], u64::MAX).is_err());
    let mut bad = packed.clone();
    bad[packed.len() / 2] ^= 1;
    assert!(open(&bad, u64::MAX).is_err());
    assert!(open(&[&packed[..], &packed[..50]].concat(), u64::MAX).is_err());
}

#[test]
fn gzip_is_unpacked_once() {
    let (bytes, whole) = (content(), Whole::default());
    let first = gzip(&*block(&gzip_of(&bytes)), u64::MAX, &whole).unwrap();
    let second = gzip(&*block(&[]), u64::MAX, &whole).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn zstd_is_read_by_its_frames() {
    let bytes = content();
    let options = ZstdOptions { max_frame: 1 << 20, max_depth: 2, max_size: 1 << 20 };
    let open = |packed: &[u8], options| zstd(block(packed), options, &Whole::default());
    let frames = frames_of(&bytes, 60_000);
    let plain = frames.concat();
    check(&*open(&plain, options).unwrap(), &bytes);
    // A frame that is skipped, and one that is empty.
    let skipped = [0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let mixed = [&skipped[..], &frames_of(&[], 1).concat(), &plain].concat();
    check(&*open(&mixed, options).unwrap(), &bytes);
    // With a table of the frames at the end.
    let mut table = Vec::new();
    for (frame, part) in frames.iter().zip(bytes.chunks(60_000)) {
        table.extend((frame.len() as u32).to_le_bytes());
        table.extend((part.len() as u32).to_le_bytes());
    }
    table.extend((frames.len() as u32).to_le_bytes());
    table.extend([0, 0xb1, 0xea, 0x92, 0x8f]);
    let header = [&[0x5e, 0x2a, 0x4d, 0x18][..], &(table.len() as u32).to_le_bytes()].concat();
    check(&*open(&[&plain[..], &header, &table].concat(), options).unwrap(), &bytes);
    // As a stream, which does not say how long it is; and with frames that are too long to be kept.
    let stream = ::zstd::stream::encode_all(&bytes[..], 1).unwrap();
    check(&*open(&stream, options).unwrap(), &bytes);
    let small = ZstdOptions { max_frame: 1000, ..options };
    check(&*open(&plain, small).unwrap(), &bytes);
    assert!(open(&plain, ZstdOptions { max_size: 1000, ..small }).is_err());
    for bad in [&plain[..plain.len() - 1], &plain[1..], &[]] {
        assert!(open(bad, options).is_err());
    }
}
