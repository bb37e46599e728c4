//! Every format that a file could be taken for, by the marks that programs go by.

use super::Candidate;
use super::look::Look;
use crate::error::Result;
use crate::fields::Fields;

/// Where descriptors in plain text may have their marks.
const TEXT: usize = 512;

/// Marks at fixed places: format, offset, bytes.
const MARKS: [(&str, u64, &[u8]); 24] = [
    ("qed", 0, b"QED\0"),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vdi", 64, b"\x7f\x10\xda\xbe"),
    ("vhdx", 0, b"vhdxfile"),
    ("vpc", 0, b"conectix"),
    ("luks", 0, b"LUKS\xba\xbe"),
    ("parallels", 0, b"WithoutFreeSpace"),
    ("parallels", 0, b"WithouFreSpacExt"),
    ("bochs", 0, b"Bochs Virtual HD Image"),
    ("cloop", 0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"),
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("bzip2", 0, b"BZh"),
    ("lz4", 0, b"\x04\x22\x4d\x18"),
    ("zip", 0, b"PK\x03\x04"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("tar", 257, b"ustar"),
    ("elf", 0, b"\x7fELF"),
    ("script", 0, b"#!/"),
    ("pdf", 0, b"%PDF-"),
    ("wim", 0, b"MSWIM\0\0\0"),
    ("android-sparse", 0, b"\x3a\xff\x26\xed"),
];

/// All candidates, those whose marks come first in the file first.
pub(super) fn candidates(look: &Look) -> Result<Vec<Candidate>> {
    let mut list = Vec::new();
    let mut add = |format, offset| {
        if !list.iter().any(|known: &Candidate| known.format == format) {
            list.push(Candidate { format, offset });
        }
    };
    let head = look.at(0, TEXT)?;
    if head.starts_with(b"QFI\xfb") {
        add(if Fields(&head).be32(4) == 1 { "qcow" } else { "qcow2" }, 0);
    }
    for (format, offset, mark) in MARKS {
        if look.is(offset, mark)? {
            add(format, offset);
        }
    }
    if is_vmdk_descriptor(&head) {
        add("vmdk", 0);
    }
    // Footers: a fixed VHD has its only mark in its last sector (older ones in the last 511 bytes), a DMG its
    // trailer there.
    for back in [512, 511] {
        if let Some(at) = look.size().checked_sub(back)
            && look.is(at, b"conectix")?
        {
            add("vpc", at);
        }
    }
    if let Some(at) = look.size().checked_sub(512)
        && look.is(at, b"koly")?
    {
        add("dmg", at);
    }
    Ok(list)
}

/// A text of comments and blank lines, and then a version: QEMU takes that for a VMDK descriptor, wherever it
/// is from.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    if head.starts_with(b"# Disk DescriptorFile") {
        return true;
    }
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") || line.iter().all(|byte| *byte == b' ') {
            continue;
        }
        return matches!(line, b"version=1" | b"version=2" | b"version=3");
    }
    false
}
