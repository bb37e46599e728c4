//! Guessing a format from the first bytes of a file.
//!
//! Guessing is dangerous for raw images: whoever writes their first sector chooses what the guess
//! will be. So writable raw images that were guessed are guarded (see [`super::raw`]), and whatever is
//! recognised but not implemented is refused by name rather than taken for raw.

use super::Format;
use crate::block::Block;
use crate::error::{Error, Result};

/// How much of a file is looked at.
pub const PROBE_BYTES: usize = 512;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// A format that can be opened.
    Known(Format),
    /// A format that is recognised only.
    Other(&'static str),
}

/// Recognises the beginning of an image, at most [`PROBE_BYTES`] of it.
pub fn guess(head: &[u8]) -> Guess {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let version = head.get(4..8).and_then(|v| v.try_into().ok()).map(u32::from_be_bytes);
    if starts(b"QFI\xfb") {
        return if version == Some(1) { Guess::Other("qcow") } else { Guess::Known(Format::Qcow2) };
    }
    if starts(b"LUKS\xba\xbe\x00\x01") {
        return Guess::Known(Format::Luks);
    }
    let others: [(&[u8], usize, &str); 9] = [
        (b"QED\0", 0, "qed"),
        (b"KDMV", 0, "vmdk"),
        (b"COWD", 0, "vmdk"),
        (b"# Disk DescriptorFile", 0, "vmdk"),
        (b"\x7f\x10\xda\xbe", 64, "vdi"),
        (b"vhdxfile", 0, "vhdx"),
        (b"conectix", 0, "vpc"),
        (b"WithoutFreeSpace", 0, "parallels"),
        (b"WithouFreSpacExt", 0, "parallels"),
    ];
    for (magic, offset, name) in others {
        if head.get(offset..).is_some_and(|rest| rest.starts_with(magic)) {
            return Guess::Other(name);
        }
    }
    Guess::Known(Format::Raw)
}

/// Guesses the format of what `storage` holds.
///
/// # Errors
/// When it cannot be read, or holds a format that is recognised but not implemented.
pub fn probe(storage: &dyn Block) -> Result<Format> {
    let mut head = [0; PROBE_BYTES];
    let length = storage.size().min(PROBE_BYTES as u64) as usize;
    let head = &mut head[..length];
    storage.read_at(head, 0)?;
    match guess(head) {
        Guess::Known(format) => Ok(format),
        Guess::Other(name) => Err(Error::unsupported(
            storage.name(),
            format!(
                "it looks like a {name} image, which cannot be opened; give the format (-f raw) if it is something else"
            ),
        )),
    }
}
