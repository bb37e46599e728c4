//! The little that must be known of ELF files: which libraries a program needs, and what a kernel
//! module says of itself.

use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection};

/// The libraries (`DT_NEEDED`) of a dynamic ELF program or library; `None` if it is not a 64-bit ELF file.
pub fn needed(bytes: &[u8]) -> Option<Vec<String>> {
    let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
    let endian = file.endian();
    let mut offsets = Vec::new();
    let mut strings = (None, None);
    for header in file.elf_header().program_headers(endian, bytes).ok()? {
        let Ok(Some(entries)) = header.dynamic(endian, bytes) else { continue };
        for entry in entries {
            match entry.tag(endian) {
                object::elf::DT_NEEDED => offsets.push(entry.d_val(endian)),
                object::elf::DT_STRTAB => strings.0 = Some(entry.d_val(endian)),
                object::elf::DT_STRSZ => strings.1 = Some(entry.d_val(endian)),
                _ => {}
            }
        }
    }
    if offsets.is_empty() {
        return Some(Vec::new());
    }
    let (address, size) = (strings.0?, strings.1?);
    let table = file
        .elf_header()
        .program_headers(endian, bytes)
        .ok()?
        .iter()
        .find_map(|header| header.data_range(endian, bytes, address, size).ok().flatten())?;
    Some(offsets.into_iter().filter_map(|at| string_at(table, at)).collect())
}

fn string_at(table: &[u8], at: u64) -> Option<String> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&b| b == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// The modules that a kernel module names in its `depends=` line, with underscores for dashes; `None`
/// if it is not a kernel module.
pub fn module_depends(bytes: &[u8]) -> Option<Vec<String>> {
    let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
    let info = file.section_by_name(".modinfo")?;
    let info = info.data().ok()?;
    let line = info.split(|&b| b == 0).find_map(|line| line.strip_prefix(b"depends="))?;
    let line = String::from_utf8_lossy(line);
    Some(line.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn programs_name_their_libraries() {
        let program = std::fs::read("/bin/ls").unwrap();
        assert!(needed(&program).unwrap().iter().any(|l| l.starts_with("libc.so")));
        assert!(needed(b"#!/bin/sh\n").is_none());
        for cut in (0..program.len()).step_by(997) {
            let _ = needed(&program[..cut]);
        }
    }
}
