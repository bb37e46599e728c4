//! The architecture of a program, a library, a kernel module or an initial RAM disk.
//!
//! Only the first megabytes of a file are read, and less is believed: every number in them is checked.

use std::io::{self, Read, Write};

use guestd_api::prelude::*;
use guestd_api::{Error, Failure, Result};
use rustix::io::Errno;

use super::is_dir;

/// How much of a file is looked at.
const HEAD: usize = 3 << 20;
/// How much it may be once unpacked.
const MAX_UNPACKED: u64 = 64 << 20;
const CPIO_HEADER: usize = 110;

/// The architecture, by libguestfs' names: `x86_64`, `i386`, `aarch64`, ...
///
/// # Errors
/// When the file cannot be read, or nothing in it tells.
pub fn file_architecture(guest: &dyn Actions, path: &str) -> Result<String> {
    let failed = |why: String| Error::Action { action: "file_architecture", failure: Failure::new(why) };
    let unknown = || failed(format!("unknown architecture: {path}"));
    let mut head = Head(Vec::new());
    match guest.download(path, &mut head) {
        // It had enough.
        Err(_) if head.0.len() == HEAD => {}
        Err(Error::Action { failure, .. }) if failure.errno == Errno::NOENT.raw_os_error() => {
            return Err(failed(format!("lstat: {failure}")));
        }
        Err(Error::Action { .. }) if is_dir(guest, path)? => return Err(unknown()),
        done => done?,
    }
    let head = head.0;
    of_bytes(&head).map(str::to_owned).ok_or_else(unknown)
}

/// Takes the beginning of a file and no more.
struct Head(Vec<u8>);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = HEAD - self.0.len().min(HEAD);
        if room == 0 && !bytes.is_empty() {
            return Err(io::Error::other("this is enough of the file"));
        }
        let taken = room.min(bytes.len());
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    of_program(bytes).or_else(|| of_program(&unpacked(bytes)?)).or_else(|| of_ram_disk(bytes))
}

fn of_program(bytes: &[u8]) -> Option<&'static str> {
    of_elf(bytes).or_else(|| of_pe(bytes))
}

fn number(bytes: &[u8], at: usize, big: bool) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
}

/// `e_machine`, with the class and the byte order where one machine has several names.
fn of_elf(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let wide = *bytes.get(4)? == 2;
    let big = *bytes.get(5)? == 2;
    Some(match (number(bytes, 18, big)?, wide) {
        (3, _) => "i386",
        (62, _) => "x86_64",
        (183, _) => "aarch64",
        (40, _) => "arm",
        (50, _) => "ia64",
        (20, _) => "ppc",
        (21, _) if big => "ppc64",
        (21, _) => "ppc64le",
        (243, true) => "riscv64",
        (243, false) => "riscv32",
        (22, true) => "s390x",
        (22, false) => "s390",
        (2 | 18, _) => "sparc",
        (43, _) => "sparc64",
        (258, _) => "loongarch64",
        _ => return None,
    })
}

/// Programs of Windows, and kernels that firmware starts.
fn of_pe(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let at: [u8; 4] = bytes.get(0x3c..0x40)?.try_into().ok()?;
    let at = usize::try_from(u32::from_le_bytes(at)).ok()?;
    if bytes.get(at..at.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    Some(match number(bytes, at.checked_add(4)?, false)? {
        0x14c => "i386",
        0x8664 => "x86_64",
        0xaa64 => "aarch64",
        0x1c0 | 0x1c4 => "arm",
        0x200 => "ia64",
        _ => return None,
    })
}

/// The beginning of what is packed with gzip or zstd; it may well be cut off.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    let done = match bytes {
        [0x1f, 0x8b, ..] => {
            flate2::read::MultiGzDecoder::new(bytes).take(MAX_UNPACKED).read_to_end(&mut whole)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::stream::read::Decoder::new(bytes).ok()?.take(MAX_UNPACKED).read_to_end(&mut whole)
        }
        _ => return None,
    };
    // Only a part of the file was read: an unexpected end is expected.
    drop(done);
    (!whole.is_empty()).then_some(whole)
}

/// The first program in a cpio archive, or in the packed one that follows a plain one with microcode.
fn of_ram_disk(bytes: &[u8]) -> Option<&'static str> {
    let mut rest = bytes;
    for _ in 0..4 {
        if rest.starts_with(b"07070") {
            let (found, after) = of_cpio(rest);
            if found.is_some() {
                return found;
            }
            rest = after;
        } else {
            return of_cpio(&unpacked(rest)?).0;
        }
        let padding = rest.iter().position(|byte| *byte != 0)?;
        rest = rest.get(padding..)?;
    }
    None
}

/// Looks through one archive; returns what comes after it.
fn of_cpio(archive: &[u8]) -> (Option<&'static str>, &[u8]) {
    let mut rest = archive;
    while let Some((name, contents, after)) = cpio_entry(rest) {
        if name == b"TRAILER!!!" {
            return (None, after);
        }
        if let Some(found) = of_program(contents) {
            return (Some(found), after);
        }
        if after.len() >= rest.len() {
            break;
        }
        rest = after;
    }
    (None, &[])
}

/// One entry: its name, its contents, what follows.
fn cpio_entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if !bytes.starts_with(b"07070") {
        return None;
    }
    let field = |index: usize| {
        let at = 6 + index * 8;
        let digits = std::str::from_utf8(bytes.get(at..at + 8)?).ok()?;
        usize::from_str_radix(digits, 16).ok()
    };
    let (size, name_size) = (field(6)?, field(11)?);
    let name_end = CPIO_HEADER.checked_add(name_size)?;
    let name = bytes.get(CPIO_HEADER..name_end.checked_sub(1)?)?;
    let start = name_end.checked_next_multiple_of(4)?;
    let end = start.checked_add(size)?;
    // The last one may be cut off.
    let contents = bytes.get(start..end.min(bytes.len()))?;
    let after = bytes.get(end.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((name, contents, after))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn elf(machine: u16) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        bytes.extend(machine.to_le_bytes());
        bytes
    }

    fn cpio(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, contents) in entries {
            let field = |value: usize| format!("{value:08x}");
            let fields = [0, 0, 0, 0, 0, 0, contents.len(), 0, 0, 0, 0, name.len() + 1, 0].map(field);
            write!(archive, "070701{}{name}\0", fields.concat()).unwrap();
            archive.resize(archive.len().next_multiple_of(4), 0);
            archive.extend(*contents);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
        archive
    }

    #[test]
    fn programs_and_ram_disks() {
        assert_eq!(of_bytes(&elf(62)), Some("x86_64"));
        assert_eq!(of_bytes(&elf(183)), Some("aarch64"));
        assert_eq!(of_bytes(&std::fs::read("/bin/sh").unwrap()), Some(std::env::consts::ARCH));
        assert_eq!(of_bytes(b"#!/bin/sh\n"), None);
        let ram_disk = cpio(&[("init", b"#!/bin/sh"), ("bin/ls", &elf(62)), ("TRAILER!!!", b"")]);
        assert_eq!(of_bytes(&ram_disk), Some("x86_64"));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&ram_disk).unwrap();
        let packed = packed.finish().unwrap();
        let mut both = cpio(&[("early/microcode", b"xyz"), ("TRAILER!!!", b"")]);
        both.resize(both.len() + 512, 0);
        both.extend(&packed);
        assert_eq!(of_bytes(&both), Some("x86_64"));
        assert_eq!(of_bytes(&zstd::bulk::compress(&elf(243), 1).unwrap()), Some("riscv64"));
    }

    #[test]
    fn nonsense_is_not_believed() {
        for bytes in [&b"\x7fELF"[..], b"MZ", b"070701ffffffff", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd\0"] {
            assert_eq!(of_bytes(bytes), None);
        }
        let mut archive = cpio(&[("a", b"")]);
        archive[6 + 48..6 + 56].copy_from_slice(b"ffffffff");
        assert_eq!(of_bytes(&archive), None);
        let mut pe = b"MZ".to_vec();
        pe.resize(0x3c, 0);
        pe.extend(0xffff_fff0_u32.to_le_bytes());
        assert_eq!(of_bytes(&pe), None);
    }

    proptest! {
        #[test]
        fn no_bytes_surprise(
            start in prop::sample::select(vec![&b"\x7fELF"[..], b"MZ", b"070701", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b""]),
            rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'0'), Just(b'f')], 0..300),
        ) {
            of_bytes(&[start, &rest].concat());
        }
    }
}
