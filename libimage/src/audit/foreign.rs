//! Formats that are recognised but not opened here: how large a disk they claim, and what they refer to.

use super::look::Look;
use super::{Audit, Severity};
use crate::error::Result;
use crate::fields::Fields;

/// Descriptors are short texts; more than this is not looked at.
const MAX_DESCRIPTOR: usize = 1 << 20;

pub(super) fn inspect(format: &str, offset: u64, look: &Look, audit: &mut Audit) -> Result<()> {
    // All headers are at the beginning, but for the VHD's, which may be a footer.
    let head = look.at(if format == "vpc" { offset } else { 0 }, 512)?;
    let f = Fields(&head);
    let size = match format {
        "qcow" => {
            if f.be64(8) != 0 {
                let length = (f.be32(16) as usize).min(1023);
                let name = look.at(f.be64(8), length)?;
                audit.refers("backing file", &String::from_utf8_lossy(&name));
            }
            Some(f.be64(24))
        }
        "qed" => {
            if f.le64(16) & 1 != 0 {
                let length = (f.le32(60) as usize).min(1023);
                let name = look.at(u64::from(f.le32(56)), length)?;
                audit.refers("backing file", &String::from_utf8_lossy(&name));
            }
            Some(f.le64(48))
        }
        "vmdk" => vmdk(look, &head, audit)?,
        "vdi" => {
            if head.get(424..456).is_some_and(|ids| ids.iter().any(|byte| *byte != 0)) {
                audit.say(Severity::Danger, "reference", "It is a difference to another VDI image");
            }
            Some(f.le64(368))
        }
        "vpc" => {
            if f.be32(60) == 4 {
                audit.say(Severity::Danger, "reference", "It is a difference to another VHD image");
            }
            if offset > 0 {
                let text =
                    "Its only mark is in its last sector: programs that look at the first take it for raw";
                audit.say(Severity::Warning, "footer-only", text);
            }
            Some(f.be64(48))
        }
        "parallels" => f.le64(36).checked_mul(512),
        "luks" => {
            audit.say(Severity::Warning, "encrypted", "It is encrypted: what is in it cannot be looked at");
            None
        }
        "vhdx" => vhdx(look)?,
        "bochs" | "cloop" | "dmg" => None,
        other => {
            let text = format!("It is a {other} file, not a disk image: unpack it and look again");
            audit.say(Severity::Danger, "not-an-image", text);
            None
        }
    };
    if audit.virtual_size.is_none() {
        audit.virtual_size = size;
    }
    Ok(())
}

/// The descriptor says which files make up the disk.
fn vmdk(look: &Look, head: &[u8], audit: &mut Audit) -> Result<Option<u64>> {
    let f = Fields(head);
    let sparse = head.starts_with(b"KDMV");
    let (text, size) = if sparse {
        let at = f.le64(28).saturating_mul(512);
        let length = f.le64(36).saturating_mul(512).min(MAX_DESCRIPTOR as u64) as usize;
        (look.at(at, length)?, f.le64(12).checked_mul(512))
    } else {
        (look.at(0, MAX_DESCRIPTOR)?, None)
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut total = 0u64;
    for line in text.split(['\n', '\0']).map(str::trim) {
        let (key, value) = line.split_once('=').map_or(("", ""), |(key, value)| (key.trim(), value.trim()));
        let value = value.trim_matches('"');
        match key {
            "createType" if sparse && !matches!(value, "monolithicSparse" | "streamOptimized") => {
                let text = format!(
                    "Its descriptor says that it is of the kind '{value}', its header that it is one file"
                );
                audit.say(Severity::Danger, "contradiction", text);
            }
            "parentFileNameHint" => audit.refers("parent", value),
            _ => {}
        }
        let mut words = line.split_whitespace();
        if !matches!(words.next(), Some("RW" | "RDONLY" | "NOACCESS")) {
            continue;
        }
        total = total.saturating_add(words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0));
        // An image that is one file names itself, and nobody opens it by that name.
        if let Some((_, name)) = line.split_once('"').filter(|_| !sparse) {
            audit.refers("extent", name.split('"').next().unwrap_or(name));
        }
    }
    if sparse && size == Some(0) {
        audit.say(
            Severity::Danger,
            "contradiction",
            "Its header describes no disk, so its descriptor decides",
        );
    }
    Ok(if sparse { size } else { total.checked_mul(512) })
}

/// The size is an item of the metadata region, which the region table names.
fn vhdx(look: &Look) -> Result<Option<u64>> {
    const METADATA: [u8; 16] =
        [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
    const VIRTUAL_SIZE: [u8; 16] =
        [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
    let regions = look.at(192 << 10, 64 << 10)?;
    let entry =
        regions.get(16..).unwrap_or_default().chunks_exact(32).find(|entry| entry.starts_with(&METADATA));
    let Some(entry) = entry else { return Ok(None) };
    let region = Fields(entry).le64(16);
    let table = look.at(region, 64 << 10)?;
    let item =
        table.get(32..).unwrap_or_default().chunks_exact(32).find(|item| item.starts_with(&VIRTUAL_SIZE));
    let Some(item) = item else { return Ok(None) };
    let value = look.at(region.saturating_add(u64::from(Fields(item).le32(16))), 8)?;
    Ok((value.len() == 8).then(|| Fields(&value).le64(0)))
}
