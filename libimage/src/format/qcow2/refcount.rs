//! Reference counts: how often each cluster of the image file is used.
//!
//! Counts are changed in cached refcount blocks and reach the file by [`Meta::commit`], in the order
//! that makes a power cut harmless: a count rises on disk before anything points at the cluster, and
//! falls only after nothing does. (qcow2 specification, "Host cluster management".)

use std::collections::BTreeSet;

use super::cache::PageCache;
use super::header::{MAX_REFTABLE_BYTES, field};
use super::meta::Meta;
use super::overlap::Kind;
use super::storage::{table_bytes, write_all};
use super::units::{Geometry, HostCluster, HostOffset, HostRun, MAX_HOST};
use crate::error::{Error, Result};

/// Position of a refcount block in an entry of the refcount table.
pub(super) const BLOCK_OFFSET: u64 = !0x1ff;
/// Table entries that are written together.
pub(super) const TABLE_SECTOR: usize = 64;

/// The refcount table and its cached blocks.
pub(super) struct Refcounts {
    pub(super) table: Vec<u64>,
    /// Sectors of the table that differ from the file.
    pub(super) table_dirty: BTreeSet<usize>,
    pub(super) blocks: PageCache,
    /// No cluster below this one is free.
    pub(super) hint: u64,
}

/// Reads count `index` of a block (or a slice of one).
pub(super) fn get(block: &[u8], index: usize, order: u32) -> u64 {
    match order {
        0..=2 => {
            let per_byte = 8 >> order;
            let shift = (index % per_byte) << order;
            let mask = (1u16 << (1 << order)) - 1;
            block.get(index / per_byte).map_or(0, |&byte| u64::from((u16::from(byte) >> shift) & mask))
        }
        _ => {
            let width = 1usize << (order - 3);
            let bytes = block.get(index * width..).and_then(|rest| rest.get(..width)).unwrap_or_default();
            bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
        }
    }
}

/// Writes count `index`; `value` must fit the width.
pub(super) fn set(block: &mut [u8], index: usize, order: u32, value: u64) {
    match order {
        0..=2 => {
            let per_byte = 8 >> order;
            let shift = (index % per_byte) << order;
            let mask = (((1u16 << (1 << order)) - 1) << shift) as u8;
            if let Some(byte) = block.get_mut(index / per_byte) {
                *byte = (*byte & !mask) | ((value << shift) as u8 & mask);
            }
        }
        _ => {
            let width = 1usize << (order - 3);
            if let Some(bytes) = block.get_mut(index * width..).and_then(|rest| rest.get_mut(..width)) {
                bytes.copy_from_slice(&value.to_be_bytes()[8 - width..]);
            }
        }
    }
}

/// Where a count lies inside its block: the page's offset in the block, the index in the page, and how
/// many counts of the page follow (itself included).
fn place(geometry: Geometry, cluster: u64) -> (u64, usize, u64) {
    let order = geometry.refcount_order;
    let per_page = (geometry.page_size() * 8) >> order;
    let within = cluster & (geometry.refblock_entries() - 1);
    (within / per_page * geometry.page_size(), (within % per_page) as usize, per_page - within % per_page)
}

impl Meta {
    /// Clusters that the refcount table can count without growing.
    pub(super) fn counted_clusters(&self) -> u64 {
        (self.refcounts.table.len() as u64).saturating_mul(self.geometry.refblock_entries())
    }

    pub(super) fn table_index(&self, cluster: HostCluster) -> usize {
        usize::try_from(cluster.0 / self.geometry.refblock_entries()).unwrap_or(usize::MAX)
    }

    /// Where the block that counts `cluster` lies, if it exists.
    pub(super) fn block_for(&self, cluster: HostCluster) -> Result<Option<u64>> {
        let Some(&entry) = self.refcounts.table.get(self.table_index(cluster)) else { return Ok(None) };
        let offset = entry & BLOCK_OFFSET;
        if !self.geometry.is_aligned(offset) || offset > i64::MAX as u64 {
            let what = format!(
                "refcount block offset {offset:#x} is not the start of a cluster; try 'check -r all'"
            );
            return Err(Error::corrupt(self.file.name(), what));
        }
        Ok(Some(offset).filter(|&offset| offset != 0))
    }

    /// How often `cluster` is used.
    pub(super) fn refcount(&mut self, cluster: HostCluster) -> Result<u64> {
        let Some(block) = self.block_for(cluster)? else { return Ok(0) };
        let (page, index, _) = place(self.geometry, cluster.0);
        let bytes = self.refcounts.blocks.load(&*self.file, block.saturating_add(page))?;
        Ok(get(bytes, index, self.geometry.refcount_order))
    }

    /// The counts of `cluster` and of those after it that lie in the same page: at least one.
    pub(super) fn refcounts_from(&mut self, cluster: HostCluster, counts: &mut Vec<u64>) -> Result<()> {
        counts.clear();
        let g = self.geometry;
        let (page, index, following) = place(g, cluster.0);
        let Some(block) = self.block_for(cluster)? else {
            counts.resize(following as usize, 0);
            return Ok(());
        };
        let bytes = self.refcounts.blocks.load(&*self.file, block.saturating_add(page))?;
        if g.refcount_order == 4 {
            let (words, _) = bytes.as_chunks::<2>();
            let words = words.iter().skip(index).take(following as usize);
            counts.extend(words.map(|word| u64::from(u16::from_be_bytes(*word))));
        } else {
            counts.extend((index..index + following as usize).map(|i| get(bytes, i, g.refcount_order)));
        }
        Ok(())
    }

    /// Sets a count whose block exists.
    pub(super) fn set_refcount(&mut self, cluster: HostCluster, value: u64) -> Result<()> {
        let Some(block) = self.block_for(cluster)? else {
            let what = format!("cluster {} has no refcount block", cluster.0);
            return Err(Error::corrupt(self.file.name(), what));
        };
        if block >= self.file.size() {
            // Writing there would blow the file up to wherever damage points.
            let block = self.geometry.host_cluster(HostOffset(block));
            return Err(self
                .found_corruption(block, "should be a refcount block but lies beyond the end of the file"));
        }
        let (page, index, _) = place(self.geometry, cluster.0);
        let bytes = self.refcounts.blocks.load_mut(&*self.file, block.saturating_add(page))?;
        set(bytes, index, self.geometry.refcount_order, value);
        if value == 0 {
            self.refcounts.hint = self.refcounts.hint.min(cluster.0);
        }
        Ok(())
    }

    /// One more reference to a cluster that is in use.
    ///
    /// # Errors
    /// When the count would not fit; nothing has changed then.
    pub(super) fn add_reference(&mut self, cluster: HostCluster) -> Result<()> {
        let count = self.refcount(cluster)?;
        if count == 0 {
            return Err(self.found_corruption(cluster, "is in use but its reference count is zero"));
        }
        if count >= self.geometry.max_refcount() {
            let what = format!(
                "cluster {} cannot be shared once more: its reference count is at the largest value that {} bits hold \
                 (a larger refcount_bits would help)",
                cluster.0,
                1u32 << self.geometry.refcount_order
            );
            return Err(Error::unsupported(self.file.name(), what));
        }
        self.set_refcount(cluster, count + 1)
    }

    /// One reference less; returns what remains. Only for references that nothing durable holds.
    pub(super) fn drop_reference(&mut self, cluster: HostCluster) -> Result<u64> {
        let count = self.refcount(cluster)?;
        let Some(left) = count.checked_sub(1) else {
            return Err(self.found_corruption(cluster, "is given up but its reference count is zero"));
        };
        self.set_refcount(cluster, left)?;
        Ok(left)
    }

    /// The first free cluster from `from` on. It may lie beyond what the table counts.
    pub(super) fn find_free(&mut self, from: u64) -> Result<u64> {
        let (geometry, order) = (self.geometry, self.geometry.refcount_order);
        let mut at = from;
        while at < self.counted_clusters() {
            let Some(block) = self.block_for(HostCluster(at))? else { return Ok(at) };
            let (page, index, left) = place(geometry, at);
            let bytes = self.refcounts.blocks.load(&*self.file, block.saturating_add(page))?;
            if let Some(found) = (0..left).find(|&i| get(bytes, index + i as usize, order) == 0) {
                return Ok(at + found);
            }
            at += left;
        }
        Ok(at)
    }

    /// How many clusters from `from` on are free, `max` at most.
    pub(super) fn free_length(&mut self, from: u64, max: u64) -> Result<u64> {
        let (geometry, order) = (self.geometry, self.geometry.refcount_order);
        let mut length = 0;
        while length < max {
            let at = from + length;
            let (page, index, left) = place(geometry, at);
            let left = left.min(max - length);
            let used = match self.block_for(HostCluster(at))? {
                None => None,
                Some(block) => {
                    let bytes = self.refcounts.blocks.load(&*self.file, block.saturating_add(page))?;
                    (0..left).find(|&i| get(bytes, index + i as usize, order) != 0)
                }
            };
            match used {
                Some(used) => return Ok(length + used),
                None => length += left,
            }
        }
        Ok(max)
    }

    /// Makes `cluster` the refcount block for `table_index`. Its own count must be set by the caller.
    pub(super) fn install_block(&mut self, table_index: usize, cluster: HostCluster) -> Result<()> {
        self.check_overlap(HostRun::one(cluster))?;
        let offset = self.geometry.host_start(cluster).0;
        // The contents come first: the table entry is written after them, at the next commit.
        write_all(&*self.file, &vec![0; self.geometry.cluster_size() as usize], offset)?;
        self.refcounts.blocks.forget(offset..offset + self.geometry.cluster_size());
        if let Some(entry) = self.refcounts.table.get_mut(table_index) {
            *entry = offset;
            self.refcounts.table_dirty.insert(table_index / TABLE_SECTOR);
            self.note_metadata(HostRun::one(cluster), Kind::RefcountBlock);
        }
        Ok(())
    }

    /// Moves the refcount table to a larger place, so that it counts at least `clusters` clusters.
    ///
    /// The new table and the blocks that count it lie right behind what the old one could count. It
    /// is all durable before one write to the header switches over.
    pub(super) fn grow_refcount_table(&mut self, clusters: u64) -> Result<()> {
        let g = self.geometry;
        let old_entries = self.refcounts.table.len() as u64;
        let base = self.counted_clusters();
        let per_cluster = g.cluster_size() / 8;
        let mut entries = (clusters / g.refblock_entries() + 1).max(old_entries + old_entries / 2);
        let (table_clusters, blocks) = loop {
            entries = entries.next_multiple_of(per_cluster);
            let table_clusters = entries / per_cluster;
            let mut blocks = 1;
            while blocks * g.refblock_entries() < table_clusters + blocks {
                blocks += 1;
            }
            if old_entries + blocks <= entries {
                break (table_clusters, blocks);
            }
            entries = old_entries + blocks;
        };
        let run = HostRun { first: HostCluster(base), count: table_clusters + blocks };
        if table_clusters * g.cluster_size() > MAX_REFTABLE_BYTES || g.host_bytes(run).end > MAX_HOST {
            let what = "the image file cannot grow: its refcount table is at its largest size (larger clusters would help)";
            return Err(Error::unsupported(self.file.name(), what));
        }
        self.check_overlap(run)?;

        // Blocks that the new table will point at must be durable before it.
        self.refcounts.blocks.write_back(&*self.file)?;
        let mut table = self.refcounts.table.clone();
        table.resize(entries as usize, 0);
        for block in 0..blocks {
            let cluster = HostCluster(base + table_clusters + block);
            let mut bytes = vec![0; g.cluster_size() as usize];
            let counted = run.count.saturating_sub(block * g.refblock_entries()).min(g.refblock_entries());
            (0..counted as usize).for_each(|index| set(&mut bytes, index, g.refcount_order, 1));
            let offset = g.host_start(cluster).0;
            write_all(&*self.file, &bytes, offset)?;
            self.refcounts.blocks.forget(offset..offset + g.cluster_size());
            if let Some(entry) = table.get_mut((old_entries + block) as usize) {
                *entry = offset;
            }
        }
        let offset = g.host_start(run.first).0;
        write_all(&*self.file, &table_bytes(&table), offset)?;
        self.file.flush()?;
        self.refcounts.blocks.set_clean();

        let old = HostRun {
            first: HostCluster(self.header.refcount_table_offset >> g.cluster_bits),
            count: u64::from(self.header.refcount_table_clusters),
        };
        self.header.refcount_table_offset = offset;
        self.header.refcount_table_clusters = table_clusters as u32;
        let bytes = self.header.refcount_table();
        self.write_header_field(field::REFCOUNT_TABLE, &bytes)?;
        self.refcounts.table = table;
        self.refcounts.table_dirty.clear();
        self.note_metadata(HostRun { first: run.first, count: table_clusters }, Kind::RefcountTable);
        let blocks = HostRun { first: HostCluster(base + table_clusters), count: blocks };
        self.note_metadata(blocks, Kind::RefcountBlock);
        self.forget_metadata(old);
        self.free_later(old, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_every_width() {
        for order in 0..=6 {
            let max = Geometry {
                version: 3,
                cluster_bits: 9,
                refcount_order: order,
                extended: false,
                data_file: false,
            }
            .max_refcount();
            let mut block = vec![0; 64];
            let entries = 512 >> order;
            for index in 0..entries {
                set(&mut block, index, order, (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) & max);
            }
            for index in 0..entries {
                assert_eq!(
                    get(&block, index, order),
                    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) & max
                );
            }
        }
        // Sub-byte counts start at the least significant bits.
        let mut block = [0; 2];
        set(&mut block, 1, 1, 3);
        assert_eq!(block, [0b1100, 0]);
    }
}
