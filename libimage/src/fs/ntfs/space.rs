//! How full the volume is, as ntfs-3g counts it.

use super::super::system::{Result, Statistics};
use super::record::kind;
use super::stream::Stream;
use super::{BITMAP, Ntfs, TABLE};

/// Names may be as long as this, in letters.
const NAME_LENGTH: u64 = 255;
/// Bytes of a bitmap that are looked at together.
const PIECE: u64 = 64 << 10;

impl Ntfs {
    pub(super) fn space(&self) -> Result<Statistics> {
        let clusters = self.stream(&self.inode(BITMAP)?, kind::DATA, &[])?;
        let records = self.stream(&self.inode(TABLE)?, kind::BITMAP, &[])?;
        let (Some(clusters), Some(records)) = (clusters, records) else {
            return Err(self.corrupt(BITMAP, "a bitmap of what is in use is missing"));
        };
        let free = self.zeroes(BITMAP, &clusters)?;
        let free_records = self.zeroes(TABLE, &records)?;
        // Records that free space could hold.
        let (cluster, record) = (self.boot.cluster, self.boot.record as u64);
        let possible = if cluster >= record { free * (cluster / record) } else { free / (record / cluster) };
        let reserved = records.reserved.saturating_sub(records.size);
        Ok(Statistics {
            block_size: cluster,
            blocks: self.boot.clusters,
            free,
            available: free,
            files: records.reserved.saturating_mul(8).saturating_add(possible),
            files_free: possible.saturating_add(free_records).saturating_add(reserved.saturating_mul(8)),
            name_length: NAME_LENGTH,
        })
    }

    /// How many bits of a bitmap are not set.
    fn zeroes(&self, number: u64, bitmap: &Stream) -> Result<u64> {
        if !bitmap.is_solid(&self.boot) {
            return Err(self.corrupt(number, "a bitmap of what is in use has holes"));
        }
        let mut bytes = Vec::new();
        let (mut at, mut count) = (0, 0);
        while at < bitmap.size {
            bytes.resize((bitmap.size - at).min(PIECE) as usize, 0);
            self.read_stream(number, bitmap, at, &mut bytes)?;
            count += bytes.iter().map(|byte| u64::from(byte.count_zeros())).sum::<u64>();
            at += bytes.len() as u64;
        }
        Ok(count)
    }
}
