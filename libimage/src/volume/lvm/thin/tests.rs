#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::tree::{BLOCK, Found, Nodes};
use super::*;
use crate::storage::Memory;

const CHUNK: usize = 64 << 10;

/// A block with its checksum.
fn sealed(mut bytes: Vec<u8>, salt: u32) -> Vec<u8> {
    bytes.resize(BLOCK as usize, 0);
    let sum = !crc32c::crc32c(&bytes[4..]) ^ salt;
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn node(number: u64, is_leaf: bool, entries: &[(u64, u64)]) -> Vec<u8> {
    const MOST: u32 = 252;
    let mut bytes = vec![0; 32 + 16 * MOST as usize];
    let flags: u32 = if is_leaf { 2 } else { 1 };
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    for (at, value) in [(16, entries.len() as u32), (20, MOST), (24, 8)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    for (index, (key, value)) in entries.iter().enumerate() {
        bytes[32 + 8 * index..][..8].copy_from_slice(&key.to_le_bytes());
        bytes[32 + 8 * (MOST as usize + index)..][..8].copy_from_slice(&value.to_le_bytes());
    }
    sealed(bytes, 121_107)
}

fn superblock(flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK as usize];
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    for (at, value) in [(32, MAGIC), (48, 5), (320, 1)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for (at, value) in [(40, 2u32), (336, (CHUNK / 512) as u32), (340, 8)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    sealed(bytes, SUPERBLOCK_SALT)
}

/// Volume 7 has its chunks 1 and 2 in the pool's chunks 3 and 0, and its chunk 9 in chunk 2.
fn metadata(flags: u32) -> Vec<u8> {
    let at_time = |chunk: u64| chunk << 24 | 77;
    [
        superblock(flags),
        node(1, true, &[(7, 2)]),
        node(2, false, &[(1, 3), (9, 4)]),
        node(3, true, &[(1, at_time(3)), (2, at_time(0))]),
        node(4, true, &[(9, at_time(2))]),
    ]
    .concat()
}

fn memory(bytes: &[u8]) -> Arc<dyn Block> {
    Arc::new(Memory::from_bytes(bytes))
}

fn pool(metadata: &[u8]) -> Result<Pool> {
    let data: Vec<u8> = (1..=4).flat_map(|chunk| [chunk; CHUNK]).collect();
    Pool::open(memory(metadata), memory(&data))
}

#[test]
fn chunks_come_from_the_pool_and_the_rest_from_the_origin() {
    let size = 12 * CHUNK as u64;
    let first = |block: &Arc<dyn Block>| -> Vec<u8> {
        let byte = |chunk: u64| {
            let mut bytes = [0; 2];
            block.read_at(&mut bytes, (chunk + 1) * CHUNK as u64 - 1 - u64::from(chunk == 11)).unwrap();
            bytes[0]
        };
        (0..12).map(byte).collect()
    };
    let thin = pool(&metadata(0)).unwrap().volume(7, size, None).unwrap();
    assert_eq!(first(&thin), [0, 4, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0]);
    assert!(thin.status(0..size).unwrap().zero);
    assert_eq!(thin.status(3 * CHUNK as u64..size).unwrap().length, 6 * CHUNK as u64);
    let origin = memory(&[9; 4 * CHUNK]);
    let thin = pool(&metadata(0)).unwrap().volume(7, size, Some(origin)).unwrap();
    assert_eq!(first(&thin), [9, 4, 1, 9, 0, 0, 0, 0, 0, 3, 0, 0]);
    assert_eq!(pool(&metadata(0)).unwrap().transaction, 5);
}

#[test]
fn what_is_not_sound_is_not_read() {
    assert!(pool(&metadata(NEEDS_CHECK)).is_err());
    assert!(pool(&metadata(0)).unwrap().volume(6, 1, None).is_err());
    for at in (0..5 * BLOCK as usize).step_by(509) {
        let mut bytes = metadata(0);
        bytes[at] ^= 0x10;
        let thin = pool(&bytes).and_then(|pool| pool.volume(7, 12 * CHUNK as u64, None));
        let read = thin.and_then(|thin| thin.read_at(&mut vec![0; 12 * CHUNK], 0));
        assert!(read.is_err(), "a wrong byte at {at} was not seen");
    }
}

#[test]
fn a_tree_that_turns_in_circles_ends() {
    let nodes = Nodes::new(memory(&[vec![0; BLOCK as usize], node(1, false, &[(0, 1)])].concat()));
    assert!(nodes.find(1, 5).is_err());
    let empty = Nodes::new(memory(&[vec![0; BLOCK as usize], node(1, true, &[])].concat()));
    assert_eq!(empty.find(1, 5).unwrap(), Found { value: None, empty: u64::MAX - 5 });
}
