//! The boot sector: where the tables, the root directory and the clusters lie.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use super::table::{FIRST, Table, Width};
use crate::fields::Fields;

/// With more clusters than this it is no FAT12, and with more than that no FAT16. These are Linux' limits.
const MAX_12: u32 = 0xff4;
const MAX_16: u32 = 0xfff4;
const MAX_32: u32 = 0x0fff_fff6;
/// Bytes of an entry of a directory.
pub(super) const ENTRY: u64 = 32;

/// The root directory of FAT12 and FAT16, which lies before the clusters, or its first cluster.
#[derive(Debug, Clone, Copy)]
pub(super) enum Root {
    Fixed { start: u64, length: u64 },
    Cluster(u32),
}

/// Reads the boot sector.
pub(super) fn read(device: &Device) -> Result<(Table, Root)> {
    let bytes = device.bytes(0, 512)?;
    let fields = Fields(&bytes);
    let wrong = |what: String| FsError::from(device.corrupt(0, what));
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let sector = u64::from(Fields(&bytes).le16(11));
    let per_cluster = u64::from(byte(13));
    let (reserved, tables) = (u64::from(Fields(&bytes).le16(14)), u64::from(byte(16)));
    let media = byte(21);
    if !matches!(sector, 512 | 1024 | 2048 | 4096) || !per_cluster.is_power_of_two() {
        return Err(wrong(format!("sectors of {sector} bytes, {per_cluster} of them a cluster")));
    }
    if reserved == 0 || tables == 0 || !(media >= 0xf8 || media == 0xf0) {
        return Err(wrong("the boot sector is not that of a FAT".to_owned()));
    }
    let old_length = u64::from(Fields(&bytes).le16(22));
    let new_length = u64::from(fields.le32(36));
    let is_32 = old_length == 0 && new_length != 0;
    let table_length = if is_32 { new_length } else { old_length };
    let root_entries = u64::from(Fields(&bytes).le16(17));
    if !(root_entries * ENTRY).is_multiple_of(sector) {
        return Err(wrong(format!("its root directory has {root_entries} entries")));
    }
    let root_start = reserved + tables * table_length;
    let data_start = root_start + root_entries * ENTRY / sector;
    let sectors = match u64::from(Fields(&bytes).le16(19)) {
        0 => u64::from(fields.le32(32)),
        sectors => sectors,
    };
    if sectors * sector > device.size() {
        return Err(wrong(format!("it has {sectors} sectors, its device {}", device.size() / sector)));
    }
    let clusters = sectors.checked_sub(data_start).map(|sectors| sectors / per_cluster);
    // A number of sectors has 32 bits.
    let clusters = clusters.ok_or_else(|| wrong("it has no room for data".to_owned()))? as u32;
    let width = match (is_32, clusters) {
        (true, _) => Width::ThirtyTwo,
        (false, ..=MAX_12) => Width::Twelve,
        (false, _) => Width::Sixteen,
    };
    let described = table_length * sector * 8 / width.bits();
    let clusters = u64::from(clusters).min(described.saturating_sub(FIRST.into())) as u32;
    let most = match width {
        Width::Twelve => MAX_12,
        Width::Sixteen => MAX_16,
        _ => MAX_32,
    };
    if clusters > most {
        return Err(wrong(format!("it has {clusters} clusters")));
    }
    let root = match width {
        Width::ThirtyTwo => Root::Cluster(fields.le32(44)),
        _ => Root::Fixed { start: root_start * sector, length: root_entries * ENTRY },
    };
    let table = Table {
        width,
        start: reserved * sector,
        end: clusters + FIRST,
        data: data_start * sector,
        cluster: per_cluster * sector,
        kept: Default::default(),
    };
    Ok((table, root))
}
