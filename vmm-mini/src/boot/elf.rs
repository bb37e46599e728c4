//! The uncompressed kernel: an ELF file with loadable segments and a PVH note.
//!
//! Only what booting needs of ELF64 is read, and every number is checked against the file and guest memory.

use super::{BootError, Image, Loaded, Start, layout, le};
use crate::virtio::device::GuestMemory;

/// First bytes of an ELF file.
pub const MAGIC: &[u8; 4] = b"\x7fELF";

const HEADER_LEN: usize = 64;
const PROGRAM_HEADER_LEN: u16 = 56;
const PT_LOAD: u64 = 1;
const PT_NOTE: u64 = 4;
/// Xen's note type for the 32-bit physical entry point.
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;
/// A kernel's notes are a few hundred bytes.
const MAX_NOTES: u64 = 1 << 20;

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
}

fn segments(image: &Image<'_>) -> Result<Vec<Segment>, BootError> {
    let mut header = [0; HEADER_LEN];
    image.read(&mut header, 0)?;
    let short = BootError::Malformed("ELF header");
    let is_elf64_x86 =
        header.starts_with(MAGIC) && header[4] == 2 && header[5] == 1 && le::<2>(&header, 18) == Some(62);
    if !is_elf64_x86 {
        return Err(BootError::Malformed("ELF header: not a little-endian 64-bit x86 file"));
    }
    let (Some(table), Some(entry_len), Some(count)) =
        (le::<8>(&header, 32), le::<2>(&header, 54), le::<2>(&header, 56))
    else {
        return Err(short);
    };
    if entry_len != u64::from(PROGRAM_HEADER_LEN) {
        return Err(short);
    }
    let mut found = Vec::new();
    for index in 0..count {
        let mut entry = [0; PROGRAM_HEADER_LEN as usize];
        let at = table.checked_add(index * entry_len).ok_or(BootError::Malformed("ELF program headers"))?;
        image.read(&mut entry, at)?;
        let field = |offset| le::<8>(&entry, offset).unwrap_or(0);
        found.push(Segment {
            kind: le::<4>(&entry, 0).unwrap_or(0),
            offset: field(8),
            address: field(24),
            file_len: field(32),
            memory_len: field(40),
        });
    }
    Ok(found)
}

/// Finds the entry point among the notes of one segment.
fn pvh_entry(notes: &[u8]) -> Option<u64> {
    let mut rest = notes;
    loop {
        let name_len = usize::try_from(le::<4>(rest, 0)?).ok()?;
        let value_len = usize::try_from(le::<4>(rest, 4)?).ok()?;
        let kind = le::<4>(rest, 8)?;
        let name = rest.get(12..)?.get(..name_len)?;
        let value_at = 12_usize.checked_add(name_len.checked_next_multiple_of(4)?)?;
        let value = rest.get(value_at..)?.get(..value_len)?;
        if name == b"Xen\0" && kind == XEN_ELFNOTE_PHYS32_ENTRY {
            return match value_len {
                4 => le::<4>(value, 0),
                8 => le::<8>(value, 0).filter(|entry| *entry <= u64::from(u32::MAX)),
                _ => None,
            };
        }
        rest = rest.get(value_at.checked_add(value_len.checked_next_multiple_of(4)?)?..)?;
    }
}

/// Loads all segments and finds the PVH entry point.
pub(crate) fn load(memory: &GuestMemory, image: &Image<'_>) -> Result<Loaded, BootError> {
    let segments = segments(image)?;
    let mut entry = None;
    for note in segments.iter().filter(|segment| segment.kind == PT_NOTE && segment.file_len <= MAX_NOTES) {
        let mut bytes = vec![0; usize::try_from(note.file_len).unwrap_or(0)];
        image.read(&mut bytes, note.offset)?;
        entry = entry.or_else(|| pvh_entry(&bytes));
    }
    let entry = entry.ok_or(BootError::NoPvhEntry)?;
    let mut end = 0;
    let mut holds_entry = false;
    for segment in segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memory_len > 0) {
        let segment_end = segment.address.saturating_add(segment.memory_len);
        if segment.file_len > segment.memory_len {
            return Err(BootError::Malformed("ELF segment: larger in the file than in memory"));
        }
        if segment.address < layout::HIGH_RAM_START || segment_end > layout::LOW_RAM_MAX {
            return Err(BootError::OutsideMemory { start: segment.address, end: segment_end });
        }
        // What the file does not fill stays zero: fresh guest memory is.
        image.load(memory, segment.address, segment.offset, segment.file_len)?;
        end = end.max(segment_end);
        holds_entry |= (segment.address..segment.address + segment.file_len).contains(&entry);
    }
    if !holds_entry {
        return Err(BootError::Malformed("PVH note: the entry point lies outside the kernel"));
    }
    Ok(Loaded { start: Start::Pvh(entry), end })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use vm_memory::{Bytes, GuestAddress};

    /// An ELF file with one code segment at 1 MiB and one note segment.
    fn kernel(note_entry: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        let code_at = file.len();
        file.extend_from_slice(&[0xf4; 16]);
        let note_at = file.len();
        for word in [4_u32, 4, 7] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(b"GNU\0abcd");
        for word in [4_u32, 4, 18] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(b"Xen\0");
        file.extend_from_slice(&note_entry.to_le_bytes());
        let note_len = file.len() - note_at;
        let mut put = |index: usize, kind: u32, values: [u64; 5]| {
            let at = 64 + index * 56;
            file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            for (value, offset) in values.iter().zip([8, 16, 24, 32, 40]) {
                file[at + offset..at + offset + 8].copy_from_slice(&value.to_le_bytes());
            }
        };
        put(0, 1, [code_at as u64, 0, 0x10_0000, 16, 4096]);
        put(1, 4, [note_at as u64, 0, 0, note_len as u64, note_len as u64]);
        file
    }

    #[test]
    fn loads_segments_and_finds_the_entry() {
        let memory = crate::memory::allocate(4 << 20).unwrap();
        let loaded = load(&memory, &Image::Bytes(&kernel(0x10_0004))).unwrap();
        assert!(matches!(loaded.start, Start::Pvh(0x10_0004)));
        assert_eq!(loaded.end, 0x10_1000);
        assert_eq!(memory.read_obj::<u32>(GuestAddress(0x10_000c)).unwrap(), 0xf4f4_f4f4);
    }

    #[test]
    fn refuses_an_entry_outside_the_kernel_and_every_truncation() {
        let memory = crate::memory::allocate(4 << 20).unwrap();
        assert!(load(&memory, &Image::Bytes(&kernel(0x20_0000))).is_err());
        let whole = kernel(0x10_0000);
        for length in 0..whole.len() {
            assert!(load(&memory, &Image::Bytes(&whole[..length])).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn survives_any_single_damaged_byte() {
        let memory = crate::memory::allocate(4 << 20).unwrap();
        let whole = kernel(0x10_0000);
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = load(&memory, &Image::Bytes(&damaged));
            }
        }
    }
}
