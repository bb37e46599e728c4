//! The boot sector: how large clusters and records are, and where the table of all files begins.

use super::super::device::Device;
use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// The largest cluster, in bytes.
const MAX_CLUSTER: u64 = 2 << 20;
/// Possible sizes of records of the file table and of blocks of an index, in bytes.
const RECORDS: std::ops::RangeInclusive<u32> = 512..=65536;
/// Clusters that can be addressed.
const MAX_CLUSTERS: u64 = 1 << 48;

/// The layout of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot {
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// How many clusters there are.
    pub(super) clusters: u64,
    /// The cluster at which the file table begins.
    pub(super) table: u64,
    /// Bytes of a record of the file table.
    pub(super) record: usize,
}

impl Boot {
    /// Reads the boot sector.
    pub(super) fn read(device: &Device) -> Result<Boot> {
        let bytes = device.bytes(0, 512)?;
        let boot = Boot::new(&bytes).map_err(|what| device.corrupt(0, what))?;
        if boot.clusters > device.size() / boot.cluster {
            return Err(FsError::Image(device.corrupt(0, "the volume is larger than its device")));
        }
        Ok(boot)
    }

    /// From the bytes of the sector.
    pub(super) fn new(bytes: &[u8]) -> Result<Boot, &'static str> {
        let fields = Fields(bytes);
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        if bytes.get(3..11) != Some(b"NTFS    ") {
            return Err("there is no NTFS");
        }
        let sector = u64::from(fields.le16(11));
        if !sector.is_power_of_two() || !(256..=4096).contains(&sector) {
            return Err("its sectors have no possible size");
        }
        // Above 128 sectors it is the power of two, negative.
        let in_cluster = match byte(13) {
            count @ 1..=128 => u64::from(count),
            power @ 240..=255 => 1 << (256 - u64::from(power)),
            _ => 0,
        };
        let cluster = sector * in_cluster;
        if !in_cluster.is_power_of_two() || cluster > MAX_CLUSTER {
            return Err("its clusters have no possible size");
        }
        let clusters = fields.le64(40) / in_cluster;
        let table = fields.le64(48);
        if clusters == 0 || clusters > MAX_CLUSTERS || table >= clusters {
            return Err("its parts do not fit into it");
        }
        let record = size(byte(64), cluster).ok_or("its records have no possible size")?;
        Ok(Boot { cluster, clusters, table, record: record as usize })
    }

    /// Where a cluster lies, in bytes.
    pub(super) fn place(&self, cluster: u64) -> u64 {
        cluster.saturating_mul(self.cluster)
    }
}

/// A size in clusters, or the power of two, negative, in bytes.
fn size(code: u8, cluster: u64) -> Option<u32> {
    let size = match code.cast_signed() {
        count @ 1.. => u32::try_from(cluster * u64::from(count.unsigned_abs())).ok()?,
        power => 1u32.checked_shl(power.unsigned_abs().into())?,
    };
    (size.is_power_of_two() && RECORDS.contains(&size)).then_some(size)
}

/// Bytes of a block of an index, if the size in its root is possible.
pub(super) fn index_block(size: u32) -> Option<usize> {
    (size.is_power_of_two() && RECORDS.contains(&size)).then_some(size as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn sector(in_cluster: u8, record: u8) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[3..11].copy_from_slice(b"NTFS    ");
        bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
        bytes[13] = in_cluster;
        bytes[40..48].copy_from_slice(&100_000u64.to_le_bytes());
        bytes[48..56].copy_from_slice(&4u64.to_le_bytes());
        bytes[64] = record;
        bytes
    }

    #[test]
    fn sizes_are_counts_or_powers() {
        let plain = Boot::new(&sector(8, 0xf6)).unwrap();
        assert_eq!(plain, Boot { cluster: 4096, clusters: 12_500, table: 4, record: 1024 });
        assert_eq!(Boot::new(&sector(0xf8, 0xf6)).unwrap().cluster, 512 * 256);
        assert_eq!(Boot::new(&sector(0xf4, 0xf6)).unwrap().cluster, 2 << 20);
        assert_eq!(Boot::new(&sector(2, 1)).unwrap().record, 1024);
        for (in_cluster, record) in
            [(0, 0xf6), (3, 0xf6), (200, 0xf6), (0xf3, 0xf6), (8, 0), (8, 3), (8, 0x80)]
        {
            assert!(Boot::new(&sector(in_cluster, record)).is_err(), "{in_cluster} {record}");
        }
    }
}
