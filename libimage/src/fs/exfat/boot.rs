//! The boot region: where the table, the clusters and the root directory lie, under a checksum.

use super::super::device::Device;
use super::super::fat::table::{FIRST, Table, Width};
use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// Sectors under the checksum; the one behind them repeats it.
const SECTORS: usize = 11;
/// Bytes that are not under it, because they change: flags, and how full it is.
const CHANGING: [usize; 3] = [106, 107, 112];
/// As many clusters as the specification allows.
const MAX_CLUSTERS: u32 = 0xffff_fff5;

/// Reads the boot region: the table, and the first cluster of the root directory.
pub(super) fn read(device: &Device) -> Result<(Table, u32)> {
    let wrong = |what: &str| FsError::from(device.corrupt(0, what));
    let bytes = device.bytes(0, 512)?;
    let fields = Fields(&bytes);
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    if bytes.get(3..11) != Some(b"EXFAT   ") || bytes.get(510..512) != Some(&[0x55, 0xaa]) {
        return Err(wrong("there is no exFAT"));
    }
    let (sector_bits, cluster_bits) = (byte(108), byte(109));
    if !(9..=12).contains(&sector_bits) || cluster_bits > 25 - sector_bits {
        return Err(wrong("its sectors or clusters have no possible size"));
    }
    let sector = 1usize << sector_bits;
    let region = device.bytes(0, sector * (SECTORS + 1))?;
    let (checked, sums) = region.split_at_checked(sector * SECTORS).unwrap_or_default();
    let sum = checked.iter().enumerate().filter(|(at, _)| !CHANGING.contains(at));
    let sum = sum.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add((*byte).into()));
    if sums.chunks_exact(4).any(|stored| stored != sum.to_le_bytes()) {
        return Err(wrong("the checksum of its boot region is wrong"));
    }
    if byte(105) != 1 {
        return Err(FsError::Unsupported(format!("it is exFAT {}.{}", byte(105), byte(104))));
    }
    if byte(110) != 1 {
        return Err(FsError::Unsupported(format!("it has {} allocation tables", byte(110))));
    }
    let in_bytes = |sectors: u32| u64::from(sectors) << sector_bits;
    let (start, length, data) = (fields.le32(80), fields.le32(84), fields.le32(88));
    let clusters = fields.le32(92);
    let table = Table {
        width: Width::ExFat,
        start: in_bytes(start),
        end: clusters
            .checked_add(FIRST)
            .filter(|_| clusters <= MAX_CLUSTERS)
            .ok_or_else(|| wrong("it is too large"))?,
        data: in_bytes(data),
        cluster: 1 << (sector_bits + cluster_bits),
        kept: Default::default(),
    };
    let is_sound = u64::from(table.end) * 4 <= in_bytes(length)
        && table.start + in_bytes(length) <= table.data
        && table.data + u64::from(clusters) * table.cluster <= device.size();
    if !is_sound {
        return Err(wrong("its parts do not fit into it"));
    }
    Ok((table, fields.le32(96)))
}
