//! What a block device holds: the file system's type, label and UUID, from its superblock.
//!
//! The names are those of `blkid`, which everybody's scripts know.

use crate::block::Block;
use crate::error::Result;

/// What was found at the beginning of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// `ext4`, `xfs`, `swap`, `LVM2_member`, `crypto_LUKS`, ...
    pub kind: String,
    /// The label, if it has a non-empty one.
    pub label: Option<String>,
    /// The UUID or serial number as `blkid` writes it.
    pub uuid: Option<String>,
}

/// Enough for every signature looked for here: btrfs has its superblock at 64 KiB.
const HEAD: usize = 68 * 1024;

/// Recognises what `block` holds; `None` when nothing is known.
///
/// # Errors
/// When it cannot be read.
pub fn detect(block: &dyn Block) -> Result<Option<Content>> {
    let mut head = vec![0; block.size().min(HEAD as u64) as usize];
    block.read_at(&mut head, 0)?;
    let head = Head(&head);
    let found = [ext, xfs, btrfs, luks, lvm2, swap, squashfs, erofs, iso9660, ntfs, exfat, f2fs, fat];
    let mut content = found.iter().find_map(|look| look(&head));
    if let Some(content) = content.as_mut().filter(|content| content.kind == "ntfs") {
        content.label = super::ntfs::label(block);
    }
    Ok(content)
}

/// The first bytes, read with bounds: past their end there is nothing.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    fn at(&self, offset: usize, length: usize) -> Option<&[u8]> {
        self.0.get(offset..offset.checked_add(length)?)
    }

    fn is(&self, offset: usize, magic: &[u8]) -> bool {
        self.at(offset, magic.len()) == Some(magic)
    }

    fn u32(&self, offset: usize) -> u32 {
        self.at(offset, 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn u16(&self, offset: usize) -> u16 {
        self.at(offset, 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
    }

    fn text(&self, offset: usize, length: usize) -> Option<String> {
        let bytes = self.at(offset, length)?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn uuid(&self, offset: usize) -> Option<String> {
        let bytes: [u8; 16] = self.at(offset, 16)?.try_into().ok()?;
        if bytes == [0; 16] {
            return None;
        }
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }
}

fn content(kind: &str, label: Option<String>, uuid: Option<String>) -> Option<Content> {
    Some(Content { kind: kind.to_owned(), label, uuid })
}

fn ext(head: &Head) -> Option<Content> {
    const SUPERBLOCK: usize = 1024;
    if !head.is(SUPERBLOCK + 56, &[0x53, 0xef]) {
        return None;
    }
    let compatible = head.u32(SUPERBLOCK + 92);
    let incompatible = head.u32(SUPERBLOCK + 96);
    let read_only = head.u32(SUPERBLOCK + 100);
    // What ext3 knows: filetype, recovery, meta_bg; sparse_super, large_file, btree_dir.
    let ext4 = incompatible & !0x16 != 0 || read_only & !0x7 != 0;
    let kind = match (incompatible & 0x8 != 0, ext4, compatible & 0x4 != 0) {
        (true, _, _) => "jbd",
        (_, true, _) => "ext4",
        (_, _, true) => "ext3",
        _ => "ext2",
    };
    content(kind, head.text(SUPERBLOCK + 120, 16), head.uuid(SUPERBLOCK + 104))
}

fn xfs(head: &Head) -> Option<Content> {
    let found = head.is(0, b"XFSB");
    found.then(|| content("xfs", head.text(108, 12), head.uuid(32)))?
}

fn btrfs(head: &Head) -> Option<Content> {
    const SUPERBLOCK: usize = 65_536;
    let found = head.is(SUPERBLOCK + 64, b"_BHRfS_M");
    found.then(|| content("btrfs", head.text(SUPERBLOCK + 299, 256), head.uuid(SUPERBLOCK + 32)))?
}

fn luks(head: &Head) -> Option<Content> {
    let found = head.is(0, b"LUKS\xba\xbe");
    let label = if head.is(6, &[0, 2]) { head.text(24, 48) } else { None };
    found.then(|| content("crypto_LUKS", label, head.text(168, 40)))?
}

fn lvm2(head: &Head) -> Option<Content> {
    // The label may be in any of the first four sectors.
    let at = (0..4).map(|i| i * 512).find(|&at| head.is(at, b"LABELONE") && head.is(at + 24, b"LVM2 001"))?;
    let raw = head.text(at + 32, 32)?;
    if !raw.is_ascii() || raw.len() != 32 {
        return content("LVM2_member", None, None);
    }
    let cuts = [0, 6, 10, 14, 18, 22, 26, 32];
    let uuid: Vec<&str> = cuts.windows(2).map(|w| &raw[w[0]..w[1]]).collect();
    content("LVM2_member", None, Some(uuid.join("-")))
}

fn swap(head: &Head) -> Option<Content> {
    let found = [4096, 8192, 65_536].iter().any(|page| head.is(page - 10, b"SWAPSPACE2"));
    found.then(|| content("swap", head.text(1052, 16), head.uuid(1036)))?
}

fn squashfs(head: &Head) -> Option<Content> {
    head.is(0, b"hsqs").then(|| content("squashfs", None, None))?
}

fn erofs(head: &Head) -> Option<Content> {
    const SUPERBLOCK: usize = 1024;
    let found = head.is(SUPERBLOCK, &[0xe2, 0xe1, 0xf5, 0xe0]);
    found.then(|| content("erofs", head.text(SUPERBLOCK + 64, 16), head.uuid(SUPERBLOCK + 48)))?
}

fn iso9660(head: &Head) -> Option<Content> {
    const DESCRIPTOR: usize = 32_768;
    if !head.is(DESCRIPTOR + 1, b"CD001") {
        return None;
    }
    let created =
        head.text(DESCRIPTOR + 813, 16).filter(|t| t.len() == 16 && t.bytes().all(|b| b.is_ascii_digit()));
    let uuid = created
        .map(|t| [&t[..4], &t[4..6], &t[6..8], &t[8..10], &t[10..12], &t[12..14], &t[14..16]].join("-"));
    content("iso9660", head.text(DESCRIPTOR + 40, 32), uuid)
}

fn ntfs(head: &Head) -> Option<Content> {
    let found = head.is(3, b"NTFS    ");
    let serial = head.at(72, 8).map(|b| b.iter().rev().map(|b| format!("{b:02X}")).collect());
    found.then(|| content("ntfs", None, serial))?
}

fn exfat(head: &Head) -> Option<Content> {
    let found = head.is(3, b"EXFAT   ");
    let serial = head.u32(100);
    found.then(|| content("exfat", None, Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff))))?
}

fn f2fs(head: &Head) -> Option<Content> {
    let found = head.is(1024, &[0x10, 0x20, 0xf5, 0xf2]);
    found.then(|| content("f2fs", None, head.uuid(1024 + 108)))?
}

fn fat(head: &Head) -> Option<Content> {
    if !head.is(510, &[0x55, 0xaa]) {
        return None;
    }
    let (label, serial) = if head.is(82, b"FAT32") {
        (head.text(71, 11), head.u32(67))
    } else if head.is(54, b"FAT1") {
        (head.text(43, 11), head.u32(39))
    } else {
        return None;
    };
    // A boot sector has sane geometry; a disk whose boot code mentions FAT does not.
    if !matches!(head.u16(11), 512 | 1024 | 2048 | 4096) || head.at(16, 1) == Some(&[0]) {
        return None;
    }
    let label = label.filter(|l| l != "NO NAME");
    content("vfat", label, Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)))
}
