//! Arrays that are written down here as md lays them out. Those that Linux made are compared with Linux's own view
//! in the tests of the whole system.

use super::*;
use crate::block::Block;
use crate::storage::Memory;
use std::sync::Arc;

const CHUNK: usize = 512;
/// Where the superblock of the format 1.2 is, and where data begins behind it.
const PLACE: usize = 4096;
const DATA: usize = 16 << 10;

/// An array that is to be written down.
#[derive(Clone)]
struct Plan {
    level: i32,
    layout: u32,
    places: u16,
    /// Of each member, in sectors.
    size: u64,
    events: u64,
    features: u32,
    in_sync: bool,
}

fn plan(level: i32, layout: u32, places: u16, size: u64) -> Plan {
    let features = if level == 0 { 0x1000 } else { 0 };
    Plan { level, layout, places, size, events: 9, features, in_sync: true }
}

/// The member of a place, with a letter in every sector of its data.
fn member(plan: &Plan, role: u16, letters: &[u8]) -> Vec<u8> {
    let mut superblock = vec![0u8; 256 + 2 * usize::from(plan.places) + 2];
    let mut put = |at: usize, bytes: &[u8]| superblock[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1u32.to_le_bytes());
    put(8, &plan.features.to_le_bytes());
    put(16, b"an array of ours");
    put(32, b"host:data");
    put(72, &plan.level.to_le_bytes());
    put(76, &plan.layout.to_le_bytes());
    put(80, &(if plan.level > 0 { plan.size } else { 0 }).to_le_bytes());
    put(88, &1u32.to_le_bytes());
    put(92, &u32::from(plan.places).to_le_bytes());
    put(128, &(DATA as u64 / 512).to_le_bytes());
    put(136, &(letters.len() as u64).to_le_bytes());
    put(144, &8u64.to_le_bytes());
    put(160, &u32::from(role).to_le_bytes());
    put(200, &plan.events.to_le_bytes());
    put(208, &(if plan.in_sync { u64::MAX } else { 0 }).to_le_bytes());
    put(220, &(u32::from(plan.places) + 1).to_le_bytes());
    for place in 0..plan.places {
        put(256 + 2 * usize::from(place), &place.to_le_bytes());
    }
    put(256 + 2 * usize::from(plan.places), &0xffffu16.to_le_bytes());
    let sum: u64 = superblock
        .chunks(4)
        .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        .sum();
    let sum = (sum as u32).wrapping_add((sum >> 32) as u32);
    superblock[216..220].copy_from_slice(&sum.to_le_bytes());
    let mut device = vec![0; DATA];
    device[PLACE..PLACE + superblock.len()].copy_from_slice(&superblock);
    device.extend(letters.iter().flat_map(|letter| [*letter; CHUNK]));
    device
}

fn found(devices: &[Vec<u8>]) -> crate::Result<Vec<Array>> {
    let blocks: Vec<_> =
        devices.iter().map(|bytes| Arc::new(Memory::from_bytes(bytes)) as Arc<dyn Block>).collect();
    arrays(&blocks)
}

/// The letters of the only array, or why it cannot be read.
fn read_all(devices: &[Vec<u8>]) -> Result<String, String> {
    let found = found(devices).map_err(|e| e.to_string())?;
    let [array] = found.as_slice() else { panic!("one array, not {}", found.len()) };
    let block = array.open().map_err(|e| e.to_string())?;
    let mut bytes = vec![0; block.size() as usize];
    block.read_at(&mut bytes, 0).map_err(|e| e.to_string())?;
    assert!(bytes.chunks(CHUNK).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
    Ok(bytes.chunks(CHUNK).map(|sector| char::from(sector[0])).collect())
}

fn made(plan: &Plan, members: &[&[u8]]) -> Vec<Vec<u8>> {
    (0..).zip(members).map(|(role, letters)| member(plan, role, letters)).collect()
}

/// The parity of sectors of two letters.
fn both(a: u8, b: u8) -> u8 {
    a ^ b
}

#[test]
fn pieces_are_where_md_has_them() {
    let mirror = made(&plan(1, 0, 2, 3), &[b"abcX", b"abcX"]);
    assert_eq!(read_all(&mirror).unwrap(), "abc");
    assert_eq!(read_all(&mirror[1..]).unwrap(), "abc");
    assert_eq!(read_all(&made(&plan(0, 2, 2, 0), &[b"ace", b"bdf"])).unwrap(), "abcdef");
    assert_eq!(read_all(&made(&plan(-1, 0, 2, 0), &[b"abc", b"de"])).unwrap(), "abcde");
    // Two copies next to each other, on three members.
    let copies = made(&plan(10, 0x102, 3, 4), &[b"abde", b"acdf", b"bcef"]);
    assert_eq!(read_all(&copies).unwrap(), "abcdef");
    assert_eq!(read_all(&copies[1..]).unwrap(), "abcdef");
    assert!(read_all(&copies[2..]).unwrap_err().contains("too many"));
    for (layout, letters) in [
        (0, [[b'a', b'c', 0], [b'b', 0, b'e'], [0, b'd', b'f']]),
        (1, [[0, b'c', b'e'], [b'a', 0, b'f'], [b'b', b'd', 0]]),
        (2, [[b'a', b'd', 0], [b'b', 0, b'e'], [0, b'c', b'f']]),
        (3, [[0, b'd', b'e'], [b'a', 0, b'f'], [b'b', b'c', 0]]),
        (4, [[0, 0, 0], [b'a', b'c', b'e'], [b'b', b'd', b'f']]),
        (5, [[b'a', b'c', b'e'], [b'b', b'd', b'f'], [0, 0, 0]]),
    ] {
        let mut members = letters;
        for row in 0..3 {
            let sum = members.iter().fold(0, |sum, member| both(sum, member[row]));
            members.iter_mut().filter(|member| member[row] == 0).for_each(|member| member[row] = sum);
        }
        let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
        let all = made(&plan(5, layout, 3, 3), &members);
        assert_eq!(read_all(&all).as_deref(), Ok("abcdef"), "{layout}");
        for missing in 0..3 {
            let mut left = all.clone();
            left.remove(missing);
            assert_eq!(read_all(&left).as_deref(), Ok("abcdef"), "{layout} without {missing}");
        }
        let dirty = made(&Plan { in_sync: false, ..plan(5, layout, 3, 3) }, &members);
        assert_eq!(read_all(&dirty).as_deref(), Ok("abcdef"));
        assert!(read_all(&dirty[1..]).unwrap_err().contains("parity may be wrong"));
    }
}

#[test]
fn zones_of_different_members() {
    // One row of three, then one of two that begins where the third piece of the array would be.
    let since: [&[u8]; 3] = [b"a", b"bdf", b"ceg"];
    assert_eq!(read_all(&made(&plan(0, 2, 3, 0), &since)).unwrap(), "abcdefg");
    let before: [&[u8]; 3] = [b"a", b"beg", b"cdf"];
    assert_eq!(read_all(&made(&plan(0, 1, 3, 0), &before)).unwrap(), "abcdefg");
    let unsaid = Plan { features: 0, ..plan(0, 2, 3, 0) };
    assert!(read_all(&made(&unsaid, &since)).unwrap_err().contains("zones"));
}

#[test]
fn what_fell_behind_is_never_read() {
    let plan = plan(1, 0, 2, 3);
    let old = member(&Plan { events: 5, ..plan.clone() }, 0, b"old");
    let new = member(&plan, 1, b"new");
    for order in [[old.clone(), new.clone()], [new.clone(), old]] {
        assert_eq!(read_all(&order).unwrap(), "new");
        assert_eq!(found(&order).unwrap()[0].others.len(), 1);
    }
    let one_behind = member(&Plan { events: 8, ..plan.clone() }, 0, b"old");
    assert!(read_all(&[one_behind, new.clone()]).unwrap_err().contains("last change"));
    assert!(read_all(&[new.clone(), new]).unwrap_err().contains("one place"));
    for (feature, why) in
        [(2, "rebuilt"), (4, "reshaped"), (8, "bad blocks"), (0x200, "journal"), (1 << 20, "known")]
    {
        let odd = Plan { features: feature, ..plan.clone() };
        let error = read_all(&made(&odd, &[b"abc", b"abc"])).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

/// A bit that is not as it was written is noticed, wherever it is: nothing is read from a wrong place.
#[test]
fn damage_is_refused() {
    let whole = made(&plan(5, 2, 3, 3), &[b"abc", b"def", b"ghi"]);
    let right = read_all(&whole).unwrap();
    let length = 256 + 2 * 4;
    for bit in 0..length * 8 {
        let mut devices = whole.clone();
        devices[1][PLACE + bit / 8] ^= 1 << (bit % 8);
        match found(&devices) {
            Err(_) => {}
            // Without its magic or version it is no member, and the others are enough.
            Ok(_) => assert!(bit <= 32, "{bit}"),
        }
    }
    assert_eq!(right.len(), 6);
    assert!(found(&[vec![0; 100], vec![0; 5000]]).unwrap().is_empty());
}
