//! Repairing an image: counts that are wrong, flags that contradict them, or all refcount structures anew.
//!
//! A rebuild writes complete new structures behind the end of the file and then lets the header point at
//! them in one write: whenever it is interrupted, the image is at worst what it was before.

use std::collections::BTreeMap;

use super::check::{CheckReport, Fix};
use super::header::{MAX_REFTABLE_BYTES, MAX_SNAPSHOTS, field, incompatible};
use super::image::Qcow2;
use super::meta::Meta;
use super::refcount;
use super::references::References;
use super::storage::{table_bytes, write_all};
use super::units::{Geometry, HostCluster};
use crate::block::Block;
use crate::error::{Error, Result};

impl Qcow2 {
    /// Checks the image and repairs what `fix` allows. The report tells what is left; a check afterwards
    /// gives the final verdict.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn repair(&self, fix: Fix) -> Result<CheckReport> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { file: self.name().to_owned() });
        }
        let (_gate, mut meta) = self.quiet()?;
        let meta = &mut *meta;
        meta.check_places()?;
        let mut report = self.new_report(meta)?;
        if fix == Fix::All {
            self.repair_snapshot_table(meta, &mut report)?;
        }
        let found = self.compare(meta, &mut report, Some(fix))?;
        if found.rebuild && fix == Fix::All {
            report.messages.push("Rebuilding refcount structure".to_owned());
            self.rebuild_refcounts(meta)?;
            let before = std::mem::take(&mut report);
            report = self.new_report(meta)?;
            self.compare(meta, &mut report, Some(fix))?;
            report.corruptions_fixed =
                before.corruptions_fixed + before.corruptions.saturating_sub(report.corruptions);
            report.leaks_fixed = before.leaks_fixed + before.leaks.saturating_sub(report.leaks);
            report.messages.splice(0..0, before.messages);
        } else if found.rebuild {
            report.check_error("ERROR need to rebuild refcount structures".to_owned());
            return Ok(report);
        } else if report.leaks > 0 || report.corruptions > 0 {
            self.correct_counts(meta, &found.references, &mut report, fix)?;
        }
        let clean = report.is_clean();
        meta.check_copied(&mut report, fix == Fix::All || clean)?;
        meta.commit()?;
        if report.check_errors == 0 && report.corruptions == 0 {
            self.clear_incompatible(meta, incompatible::DIRTY | incompatible::CORRUPT)?;
        }
        self.file.flush()?;
        Ok(report)
    }

    /// Sets counts that differ, as far as `fix` allows. Raising comes before lowering.
    fn correct_counts(
        &self,
        meta: &mut Meta,
        references: &References,
        report: &mut CheckReport,
        fix: Fix,
    ) -> Result<()> {
        let clusters = self.geometry.clusters_for(self.file.size());
        for raising in [true, false] {
            if raising && fix != Fix::All {
                continue;
            }
            let mut next = HostCluster(0);
            loop {
                let cluster = references.next_relevant(meta, next);
                if cluster.0 >= clusters {
                    break;
                }
                next = HostCluster(cluster.0 + 1);
                if cluster.0.is_multiple_of(4096) {
                    meta.make_room()?;
                }
                let (Ok(refcount), reference) = (meta.refcount(cluster), references.get(cluster)) else {
                    continue;
                };
                if refcount == reference || (refcount < reference) != raising {
                    continue;
                }
                meta.set_refcount(cluster, reference)?;
                let text =
                    format!("Repairing cluster {} refcount={refcount} reference={reference}", cluster.0);
                if raising {
                    report.fixed_corruption(text);
                    report.corruptions = report.corruptions.saturating_sub(1);
                } else {
                    report.fixed_leak(text);
                    report.leaks = report.leaks.saturating_sub(1);
                }
            }
            meta.commit()?;
        }
        Ok(())
    }

    fn rebuild_refcounts(&self, meta: &mut Meta) -> Result<()> {
        // The old structures are not counted: they are free once the header points at the new ones.
        let references = meta.count_references(&mut CheckReport::default(), None)?;
        let table = self.write_refcounts(meta, &references, self.geometry)?;
        let bytes = meta.header.refcount_table();
        meta.write_header_field(field::REFCOUNT_TABLE, &bytes)?;
        meta.refcounts.table = table;
        meta.refcounts.table_dirty.clear();
        meta.forget_refcounts();
        Ok(())
    }

    /// Writes new refcount structures for what is referred to, behind the end of the file, with counts of the
    /// width that `g` has, and names them in the header in memory. Returns the new table.
    pub(super) fn write_refcounts(
        &self,
        meta: &mut Meta,
        references: &References,
        g: Geometry,
    ) -> Result<Vec<u64>> {
        let last = references.touched().last().map_or(0, |cluster| cluster.0 + 1);
        let base = g.clusters_for(self.file.size()).max(last);
        let per_block = g.refblock_entries();
        let mut blocks: BTreeMap<u64, u64> =
            references.touched().map(|cluster| (cluster.0 / per_block, 0)).collect();
        let table_clusters = loop {
            let last = blocks.last_key_value().map_or(0, |(index, _)| index + 1);
            let table_clusters = g.clusters_for(last * 8);
            let end = base + table_clusters + blocks.len() as u64;
            let missing: Vec<u64> = (base / per_block..=(end - 1) / per_block)
                .filter(|index| !blocks.contains_key(index))
                .collect();
            if missing.is_empty() {
                break table_clusters;
            }
            blocks.extend(missing.into_iter().map(|index| (index, 0)));
        };
        if table_clusters * g.cluster_size() > MAX_REFTABLE_BYTES {
            return Err(Error::unsupported(self.file.name(), "the refcount table would become too large"));
        }
        let end = base + table_clusters + blocks.len() as u64;
        let mut table = vec![0u64; (table_clusters * g.cluster_size() / 8) as usize];
        for (position, (&index, place)) in (0u64..).zip(blocks.iter_mut()) {
            *place = (base + table_clusters + position) << g.cluster_bits;
            if let Some(entry) = table.get_mut(index as usize) {
                *entry = *place;
            }
            let mut bytes = vec![0; g.cluster_size() as usize];
            for slot in 0..per_block {
                let cluster = index * per_block + slot;
                let count =
                    if (base..end).contains(&cluster) { 1 } else { references.get(HostCluster(cluster)) };
                if count > 0 {
                    refcount::set(&mut bytes, slot as usize, g.refcount_order, count);
                }
            }
            write_all(&*self.file, &bytes, *place)?;
        }
        let offset = base << g.cluster_bits;
        write_all(&*self.file, &table_bytes(&table), offset)?;
        self.file.flush()?;
        meta.header.refcount_table_offset = offset;
        meta.header.refcount_table_clusters = table_clusters as u32;
        Ok(table)
    }

    /// Drops snapshots that cannot be read from the header's count, so that the image becomes usable.
    fn repair_snapshot_table(&self, meta: &mut Meta, report: &mut CheckReport) -> Result<()> {
        let Some(what) = meta.snapshot_damage.take() else { return Ok(()) };
        report.corruptions = report.corruptions.saturating_sub(1);
        report.fixed_corruption(format!("Repairing {what}"));
        meta.header.snapshot_count = (meta.snapshots.len() as u32).min(MAX_SNAPSHOTS);
        if meta.snapshots.is_empty() {
            meta.header.snapshots_offset = 0;
        }
        let bytes = meta.header.snapshot_table();
        meta.write_header_field(field::SNAPSHOTS, &bytes)
    }
}
