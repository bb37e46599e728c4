//! Counting references: what the reference counts should be, found by walking everything that refers to
//! clusters of the file.
//!
//! Memory is taken only for parts of the file that something refers to, and nothing beyond the file's end
//! is counted, so that no header can make a check large.

use super::check::{Fix, Report};
use super::compress::is_valid_flag;
use super::meta::Meta;
use super::refcount::BLOCK_OFFSET;
use super::storage::{read_padded, read_table};
use super::subcluster::Subclusters;
use super::table::{COPIED, L1Entry, L2Entry, Mapping};
use super::units::{Geometry, HostCluster, HostOffset, HostRun, MAX_HOST};
use crate::error::Result;

const CHUNK: u64 = 4096;

/// How often each cluster of the file is referred to.
pub(super) struct References {
    geometry: Geometry,
    file_size: u64,
    /// By number; of the chunks that nothing refers to only their absence is kept.
    chunks: Vec<Option<Box<[u32]>>>,
    /// Nothing is referred to twice, and every entry seen so far says so.
    pub(super) all_owned: bool,
}

impl References {
    pub(super) fn new(geometry: Geometry, file_size: u64) -> Self {
        // Larger files than that are not checked.
        let chunks = geometry.clusters_for(file_size).div_ceil(CHUNK).min(1 << 20);
        let chunks = (0..chunks).map(|_| None).collect();
        References { geometry, file_size, chunks, all_owned: true }
    }

    /// The largest count is small: whether it is reached has to be looked at for every cluster.
    fn is_crowded(&self) -> bool {
        self.geometry.refcount_order < 4
    }

    fn chunk(&self, number: u64) -> Option<&[u32]> {
        self.chunks.get(number as usize)?.as_deref()
    }

    pub(super) fn get(&self, cluster: HostCluster) -> u64 {
        let chunk = self.chunk(cluster.0 / CHUNK);
        u64::from(chunk.and_then(|chunk| chunk.get((cluster.0 % CHUNK) as usize)).copied().unwrap_or(0))
    }

    /// How often `count` clusters from `first` on are referred to, as far as that is one piece of memory: at
    /// least for one cluster. `None` if nothing refers to them.
    pub(super) fn piece(&self, first: HostCluster, count: u64) -> (u64, Option<&[u32]>) {
        let within = first.0 % CHUNK;
        let count = count.min(CHUNK - within);
        let piece =
            self.chunk(first.0 / CHUNK).and_then(|c| c.get(within as usize..(within + count) as usize));
        (count, piece)
    }

    /// Counts a reference to each of `count` neighbouring clusters that lie within the file and are far from
    /// the largest count; false if that is not so, and nothing was counted then.
    fn add_run(&mut self, first: u64, count: u64) -> bool {
        let end = first.saturating_add(count);
        if end > self.geometry.clusters_for(self.file_size) || self.is_crowded() {
            return false;
        }
        let mut at = first;
        while at < end {
            let part = (end - at).min(CHUNK - at % CHUNK);
            let Some(chunk) = self.chunks.get_mut((at / CHUNK) as usize) else { return true };
            let chunk = chunk.get_or_insert_with(|| vec![0; CHUNK as usize].into());
            let within = (at % CHUNK) as usize;
            for count in chunk.get_mut(within..within + part as usize).unwrap_or_default() {
                self.all_owned &= *count == 0;
                *count = count.saturating_add(1);
            }
            at += part;
        }
        true
    }

    /// The first cluster from `from` on that something may refer to or that a refcount block counts. Large
    /// holes of sparse files are passed over quickly.
    pub(super) fn next_relevant(&self, meta: &Meta, from: HostCluster) -> HostCluster {
        let end = self.geometry.clusters_for(self.file_size);
        let mut at = from.0;
        while at < end
            && self.chunk(at / CHUNK).is_none()
            && matches!(meta.block_for(HostCluster(at)), Ok(None))
        {
            let block = self.geometry.refblock_entries();
            at = (at / CHUNK * CHUNK + CHUNK).min(at / block * block + block);
        }
        HostCluster(at)
    }

    /// Clusters that something refers to, in order.
    pub(super) fn touched(&self) -> impl Iterator<Item = HostCluster> {
        let chunks = (0u64..).zip(&self.chunks).filter(|(_, chunk)| chunk.is_some());
        chunks
            .map(|(number, _)| number)
            .flat_map(|chunk| (chunk * CHUNK..(chunk + 1) * CHUNK).map(HostCluster))
            .filter(|&cluster| self.get(cluster) > 0)
    }

    /// Counts a reference to every cluster that the bytes touch.
    fn add(&mut self, offset: u64, length: u64, report: &mut Report) {
        if length == 0 {
            return;
        }
        let end = offset.saturating_add(length);
        if end.saturating_sub(self.file_size) >= self.geometry.cluster_size() {
            report.corruption(format!(
                "ERROR: counting reference for region exceeding the end of the file by one cluster or more: \
                 offset {offset:#x} size {length:#x}"
            ));
            return;
        }
        let (first, last) = (offset >> self.geometry.cluster_bits, (end - 1) >> self.geometry.cluster_bits);
        let max = self.geometry.max_refcount().min(u64::from(u32::MAX));
        for cluster in first..=last {
            let Some(chunk) = self.chunks.get_mut((cluster / CHUNK) as usize) else { continue };
            let chunk = chunk.get_or_insert_with(|| vec![0; CHUNK as usize].into());
            let Some(count) = chunk.get_mut((cluster % CHUNK) as usize) else { continue };
            if u64::from(*count) >= max {
                let start = cluster << self.geometry.cluster_bits;
                report.corruption(format!(
                    "ERROR: overflow cluster offset={start:#x}\nUse qemu-img amend to increase the refcount entry width or \
                     qemu-img convert to create a clean copy if the image cannot be opened for writing"
                ));
                continue;
            }
            self.all_owned &= *count == 0;
            *count += 1;
        }
    }
}

impl Meta {
    /// Counts everything but the refcount structures themselves.
    pub(super) fn count_references(&mut self, report: &mut Report, fix: Option<Fix>) -> Result<References> {
        let g = self.geometry;
        let mut references = References::new(g, self.file.size());
        references.add(0, g.cluster_size(), report);
        let l1 = self.l1.clone();
        references.add(self.header.l1_offset, l1.len() as u64 * 8, report);
        self.count_tables(&l1, true, &mut references, report, fix)?;
        if g.data_file && !self.snapshots.is_empty() {
            report.corruption(format!("ERROR {} snapshots in image with data file", self.snapshots.len()));
        }
        for snapshot in self.snapshots.clone() {
            references.add(snapshot.l1_offset, u64::from(snapshot.l1_size) * 8, report);
            let l1 = read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize)?;
            self.count_tables(&l1, false, &mut references, report, fix)?;
        }
        let table = super::snapshot::encoded_length(&self.snapshots);
        references.add(self.header.snapshots_offset, table, report);
        if let Some(Ok((offset, length))) = self.header.extensions.encryption_header() {
            references.add(offset, length, report);
        }
        if self.has_live_bitmaps() {
            self.count_bitmaps(&mut references, report)?;
        }
        Ok(references)
    }

    fn count_tables(
        &mut self,
        l1: &[u64],
        active: bool,
        references: &mut References,
        report: &mut Report,
        fix: Option<Fix>,
    ) -> Result<()> {
        let g = self.geometry;
        let mut table_bytes = vec![0; g.cluster_size() as usize];
        for &entry in l1.iter().filter(|&&entry| entry != 0) {
            let entry = L1Entry(entry);
            references.all_owned &= entry.is_copied() || !active;
            if entry.has_reserved_bits() {
                report.corruption(format!("ERROR found L1 entry with reserved bits set: {:x}", entry.0));
            }
            // Flags without an offset count as a table in the first cluster, which is what they say.
            let table = entry.table().unwrap_or(HostOffset(0));
            references.add(table.0, g.cluster_size(), report);
            if !g.is_aligned(table.0) {
                let what = format!(
                    "ERROR l2_offset={:#x}: Table is not cluster aligned; L1 entry corrupted",
                    table.0
                );
                report.corruption(what);
                continue;
            }
            if table.0 >= references.file_size {
                continue;
            }
            // Nothing is changed but by repairs: the whole table at once comes from the file.
            let mut expected = None;
            if fix.is_none() {
                read_padded(&*self.file, &mut table_bytes, table.0)?;
                let mut index = 0;
                while index < g.l2_entries() as usize {
                    let run = owned_run(&table_bytes, index, g);
                    if run.count > 1 && references.add_run(run.first.0, run.count) {
                        let start = g.host_start(run.first).0;
                        if active {
                            report.allocated_clusters += run.count;
                            report.fragmented_clusters +=
                                u64::from(expected.is_some_and(|expected| expected != start));
                            expected = Some(start + (run.count << g.cluster_bits));
                        }
                        index += run.count as usize;
                        continue;
                    }
                    let Some(entry) = L2Entry::read(&table_bytes, index, g) else { break };
                    check_entry(g, entry, active, &mut expected, references, report, fix);
                    index += 1;
                }
                continue;
            }
            for page in (0..g.cluster_size()).step_by(g.page_size() as usize) {
                let offset = table.0 + page;
                for index in 0..g.entries_per_page() {
                    let bytes = self.l2.load(&*self.file, offset)?;
                    let Some(entry) = L2Entry::read(bytes, index, g) else { break };
                    let repaired = check_entry(g, entry, active, &mut expected, references, report, fix);
                    if let Some(repaired) = repaired {
                        let bytes = self.l2.load_mut(&*self.file, offset)?;
                        repaired.write(bytes, index, g);
                    }
                }
            }
            self.make_read_room();
        }
        Ok(())
    }

    /// Counts the refcount table and its blocks. True if they must be rebuilt.
    pub(super) fn count_refcount_structures(
        &mut self,
        references: &mut References,
        report: &mut Report,
    ) -> bool {
        let g = self.geometry;
        let table = &self.refcounts.table;
        references.add(self.header.refcount_table_offset, table.len() as u64 * 8, report);
        let mut rebuild = table.is_empty() || !g.is_aligned(self.header.refcount_table_offset);
        for (index, &entry) in table.iter().enumerate().filter(|(_, entry)| **entry != 0) {
            let offset = entry & BLOCK_OFFSET;
            if entry & !BLOCK_OFFSET != 0 {
                report.corruption(format!("ERROR refcount table entry {index} has reserved bits set"));
                rebuild = true;
            } else if !g.is_aligned(offset) {
                report.corruption(format!(
                    "ERROR refcount block {index} is not cluster aligned; refcount table entry corrupted"
                ));
                rebuild = true;
            } else if offset >= references.file_size.next_multiple_of(g.cluster_size()) {
                report.corruption(format!("ERROR refcount block {index} is outside image"));
                rebuild = true;
            } else {
                references.add(offset, g.cluster_size(), report);
                let count = references.get(HostCluster(offset >> g.cluster_bits));
                if count != 1 {
                    report.corruption(format!("ERROR refcount block {index} refcount={count}"));
                    rebuild = true;
                }
            }
        }
        rebuild
    }

    /// Counts the clusters of persistent bitmaps. (qcow2 specification, "Bitmaps".)
    fn count_bitmaps(&self, references: &mut References, report: &mut Report) -> Result<()> {
        const FIXED: u64 = 24;
        const TABLE_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
        let Some((count, length, offset)) = self.header.extensions.bitmap_directory() else {
            report.check_error("ERROR: the bitmaps extension is not valid".to_owned());
            return Ok(());
        };
        references.add(offset, length, report);
        let mut at = offset;
        for _ in 0..count {
            let mut entry = [0; FIXED as usize];
            if at.saturating_add(FIXED) > offset.saturating_add(length) || at >= self.file.size() {
                report.corruption("ERROR: the bitmap directory is cut short".to_owned());
                return Ok(());
            }
            read_padded(&*self.file, &mut entry, at)?;
            let [a, b, c, d, e, f, g, h, i, j, k, l, .., n0, n1, e0, e1, e2, e3] = entry;
            let table = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let entries = u64::from(u32::from_be_bytes([i, j, k, l]));
            let name = u64::from(u16::from_be_bytes([n0, n1]));
            let extra = u64::from(u32::from_be_bytes([e0, e1, e2, e3]));
            if entries * 8 > 0x0800_0000 {
                report.corruption(format!("ERROR: a bitmap table with {entries} entries is too large"));
                return Ok(());
            }
            references.add(table, entries * 8, report);
            for entry in read_table(&*self.file, table, entries as usize)? {
                if entry & TABLE_OFFSET != 0 {
                    references.add(entry & TABLE_OFFSET, self.geometry.cluster_size(), report);
                }
            }
            at = at.saturating_add((FIXED + extra + name).next_multiple_of(8));
        }
        Ok(())
    }
}

/// Clusters of the file that neighbouring entries from `index` on map one after the other, all of them
/// plain data and marked as owned. Of other entries there are none.
fn owned_run(table: &[u8], index: usize, g: Geometry) -> HostRun {
    let none = HostRun { first: HostCluster(0), count: 0 };
    if g.extended || g.data_file {
        return none;
    }
    let (entries, _) = table.as_chunks::<8>();
    let mut words = entries.get(index..).unwrap_or_default().iter().map(|word| u64::from_be_bytes(*word));
    let Some(first) = words.next() else { return none };
    let host = HostOffset(first & !COPIED);
    if first & COPIED == 0 || host.0 == 0 || !g.is_aligned(host.0) || host.0 >= MAX_HOST {
        return none;
    }
    let step = g.cluster_size();
    let following = words.zip(1u64..).take_while(|&(word, i)| word == first.wrapping_add(i * step)).count();
    HostRun { first: g.host_cluster(host), count: following as u64 + 1 }
}

/// Counts what one entry refers to, and reports what is wrong with it. Returns what it should be instead
/// if that is to be repaired.
fn check_entry(
    g: Geometry,
    entry: L2Entry,
    active: bool,
    expected: &mut Option<u64>,
    references: &mut References,
    report: &mut Report,
    fix: Option<Fix>,
) -> Option<L2Entry> {
    if entry == L2Entry::UNALLOCATED {
        return None;
    }
    if entry.is_compressed() {
        return check_compressed(g, entry, active, references, report, fix);
    }
    if entry.has_reserved_bits() {
        report.corruption(format!("ERROR found l2 entry with reserved bits set: {:x}", entry.word));
    }
    let offset = entry.raw_offset();
    if !entry.has_cluster(g) {
        if entry.map.data() != 0 {
            report.corruption("ERROR: Unallocated cluster has non-zero subcluster allocation map".to_owned());
        }
        return None;
    }
    if entry.map.is_contradictory() {
        report.corruption(format!(
            "ERROR offset={offset:x}: Allocated cluster has corrupted subcluster allocation bitmap"
        ));
    }
    let mut repaired = None;
    if !g.is_aligned(offset) {
        // Where nothing of it is read, giving it up is no loss.
        let holds_data = if g.extended { entry.map.data() != 0 } else { !entry.has_zero_flag(g) };
        if holds_data {
            let what =
                format!("ERROR offset={offset:x}: Data cluster is not properly aligned; L2 entry corrupted.");
            report.corruption(what);
        } else {
            let text = format!(
                "offset={offset:x}: Preallocated cluster is not properly aligned; L2 entry corrupted."
            );
            if fix == Some(Fix::All) {
                report.fixed_corruption(format!("Repairing {text}"));
                repaired = Some(L2Entry { word: L2Entry::zero(g).word, map: entry.map });
            } else {
                report.corruption(format!("ERROR {text}"));
            }
        }
    }
    if repaired.is_some() {
        return repaired;
    }
    if active {
        references.all_owned &= entry.is_copied();
        report.allocated_clusters += 1;
        report.fragmented_clusters += u64::from(expected.is_some_and(|expected| expected != offset));
        *expected = Some(offset.saturating_add(g.cluster_size()));
    }
    if !g.data_file {
        references.add(offset, g.cluster_size(), report);
    }
    None
}

/// The same for a compressed cluster.
fn check_compressed(
    g: Geometry,
    entry: L2Entry,
    active: bool,
    references: &mut References,
    report: &mut Report,
    fix: Option<Fix>,
) -> Option<L2Entry> {
    let mut repaired = None;
    if !is_valid_flag(entry) {
        let offset = entry.word & 0x00ff_ffff_ffff_ffff;
        let text = format!("coffset={offset:#x}: copied flag must never be set for compressed clusters");
        if fix == Some(Fix::All) {
            report.fixed_corruption(format!("Repairing: {text}"));
            repaired = Some(entry.with_copied(false));
        } else {
            report.corruption(format!("ERROR: {text}"));
        }
    }
    if g.data_file {
        report.corruption(format!("ERROR compressed cluster with data file, entry={:#x}", entry.word));
        return repaired;
    }
    if entry.map != Subclusters::NONE {
        report.corruption(format!(
            "ERROR compressed cluster with non-zero subcluster allocation bitmap, entry={:#x}",
            entry.word
        ));
        return repaired;
    }
    match entry.decode(g) {
        Ok(Mapping::Compressed(place)) => references.add(place.offset.0, place.length, report),
        _ => report
            .corruption(format!("ERROR: compressed cluster descriptor {:#x} points too far", entry.word)),
    }
    if active {
        report.allocated_clusters += 1;
        report.compressed_clusters += 1;
        report.fragmented_clusters += 1;
    }
    repaired
}
