//! Checking an image: do its reference counts and COPIED flags say what its tables say?
//!
//! Findings are told in QEMU's words, because people search for them. A check changes nothing; what
//! repairs is in [`super::repair`].

use super::image::Qcow2;
use super::meta::Meta;
use super::references::References;
use super::table::{L1Entry, L2Entry};
use super::units::{HostCluster, HostOffset};
use crate::block::Block;
use crate::error::{Error, Result};

/// Findings that are kept as text; more are only counted.
const MAX_MESSAGES: usize = 10_000;
/// Beyond this a check gives up.
const MAX_CLUSTERS: u64 = i32::MAX as u64;

/// What a repair may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Give back clusters that nobody uses.
    Leaks,
    /// Whatever can be put right.
    All,
}

/// The result of a check or repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Findings, each one line (or two), in QEMU's words.
    pub messages: Vec<String>,
    /// What kept the check from being complete.
    pub check_errors: u64,
    /// Errors that endanger data, as far as they were not repaired.
    pub corruptions: u64,
    /// Clusters that are counted as used but are not, as far as they were not repaired.
    pub leaks: u64,
    /// Repaired corruptions.
    pub corruptions_fixed: u64,
    /// Repaired leaks.
    pub leaks_fixed: u64,
    /// End of the last cluster in use, in bytes.
    pub image_end_offset: u64,
    /// Clusters of the disk.
    pub total_clusters: u64,
    /// Of these, such as the image stores.
    pub allocated_clusters: u64,
    /// Of these, such as do not follow their predecessor in the file.
    pub fragmented_clusters: u64,
    /// Of the stored ones, such as are compressed.
    pub compressed_clusters: u64,
}

pub(super) type Report = CheckReport;

impl CheckReport {
    fn message(&mut self, text: String) {
        match self.messages.len() {
            n if n < MAX_MESSAGES => self.messages.push(text),
            MAX_MESSAGES => self.messages.push("(more findings of this kind are only counted)".to_owned()),
            _ => {}
        }
    }

    pub(super) fn corruption(&mut self, text: String) {
        self.corruptions += 1;
        self.message(text);
    }

    pub(super) fn fixed_corruption(&mut self, text: String) {
        self.corruptions_fixed += 1;
        self.message(text);
    }

    pub(super) fn fixed_leak(&mut self, text: String) {
        self.leaks_fixed += 1;
        self.message(text);
    }

    pub(super) fn leak(&mut self, text: String) {
        self.leaks += 1;
        self.message(text);
    }

    pub(super) fn check_error(&mut self, text: String) {
        self.check_errors += 1;
        self.message(text);
    }

    /// True if nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.check_errors == 0 && self.corruptions == 0 && self.leaks == 0
    }
}

/// What the comparison found besides its report.
pub(super) struct Comparison {
    pub(super) references: References,
    /// The refcount structures cannot be put right in place.
    pub(super) rebuild: bool,
}

impl Qcow2 {
    /// Checks the image. Requests wait meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read or is too large to be checked. What is wrong with the image is in the
    /// report.
    pub fn check(&self) -> Result<CheckReport> {
        let (_gate, mut meta) = self.quiet()?;
        let mut report = self.new_report(&meta)?;
        let found = self.compare(&mut meta, &mut report, None)?;
        // Where all counts are right, and none is above one, COPIED must be set everywhere: that has been seen.
        let copied_is_right = report.is_clean() && found.references.all_owned;
        drop(found);
        if !copied_is_right {
            meta.check_copied(&mut report, false)?;
        }
        Ok(report)
    }

    pub(super) fn new_report(&self, meta: &Meta) -> Result<CheckReport> {
        let g = self.geometry;
        if g.clusters_for(self.file.size()) > MAX_CLUSTERS {
            let what = "the file has too many clusters to be checked";
            return Err(Error::unsupported(self.file.name(), what));
        }
        let mut report =
            CheckReport { total_clusters: g.clusters_for(self.size()), ..CheckReport::default() };
        if let Some(what) = &meta.snapshot_damage {
            report.corruption(format!("ERROR {what}"));
        }
        Ok(report)
    }

    /// Counts references and compares them with what the image says.
    pub(super) fn compare(
        &self,
        meta: &mut Meta,
        report: &mut CheckReport,
        fix: Option<Fix>,
    ) -> Result<Comparison> {
        let mut references = meta.count_references(report, fix)?;
        let mut rebuild = meta.count_refcount_structures(&mut references, report);
        let clusters = self.geometry.clusters_for(self.file.size());
        let mut end = 0;
        let mut next = HostCluster(0);
        let (mut counts_from, mut counts) = (0, Vec::new());
        loop {
            let cluster = references.next_relevant(meta, next);
            if cluster.0 >= clusters {
                break;
            }
            next = HostCluster(cluster.0 + 1);
            if cluster.0.is_multiple_of(4096) {
                meta.make_read_room();
            }
            let reference = references.get(cluster);
            // Counts that lie together are read together, and mostly all of them are right.
            if !(counts_from..counts_from + counts.len() as u64).contains(&cluster.0) {
                counts_from = cluster.0;
                if let Err(error) = meta.refcounts_from(cluster, &mut counts) {
                    report.check_error(format!("Can't get refcount for cluster {}: {error}", cluster.0));
                    counts.clear();
                    continue;
                }
                let (length, piece) =
                    references.piece(cluster, (counts.len() as u64).min(clusters - cluster.0));
                counts.truncate(length as usize);
                if piece.is_some_and(|piece| piece.iter().zip(&counts).all(|(&a, &b)| u64::from(a) == b)) {
                    if let Some(last) = counts.iter().rposition(|&count| count > 0) {
                        end = cluster.0 + last as u64 + 1;
                    }
                    next = HostCluster(cluster.0 + length);
                    meta.make_read_room();
                    continue;
                }
            }
            let refcount = counts.get((cluster.0 - counts_from) as usize).copied().unwrap_or(0);
            if refcount > 0 || reference > 0 {
                end = cluster.0 + 1;
            }
            if refcount == reference {
                continue;
            }
            let text = format!("cluster {} refcount={refcount} reference={reference}", cluster.0);
            if refcount < reference {
                rebuild |= refcount == 0;
                report.corruption(format!("ERROR {text}"));
            } else {
                report.leak(format!("Leaked {text}"));
            }
        }
        report.image_end_offset = end << self.geometry.cluster_bits;
        Ok(Comparison { references, rebuild })
    }
}

impl Meta {
    /// Checks that COPIED is set exactly where the count is one, in the active tables; sets it right if
    /// told so.
    pub(super) fn check_copied(&mut self, report: &mut CheckReport, repair: bool) -> Result<()> {
        let verb = if repair { "Repairing" } else { "ERROR" };
        for index in 0..self.l1.len() {
            let entry = L1Entry(self.l1.get(index).copied().unwrap_or(0));
            let Some(table) = entry.table() else { continue };
            // Unreadable counts and misplaced tables have been reported already.
            let Ok(refcount) = self.refcount(self.geometry.host_cluster(table)) else { continue };
            if (refcount == 1) != entry.is_copied() {
                let text = format!(
                    "{verb} OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={:x} refcount={refcount}",
                    entry.0
                );
                if repair {
                    report.fixed_corruption(text);
                    self.set_l1(index, entry.with_copied(refcount == 1));
                } else {
                    report.corruption(text);
                }
            }
            if self.geometry.is_aligned(table.0) && table.0 < self.file.size() {
                self.check_copied_table(table, report, repair)?;
            }
        }
        Ok(())
    }

    fn check_copied_table(
        &mut self,
        table: HostOffset,
        report: &mut CheckReport,
        repair: bool,
    ) -> Result<()> {
        let g = self.geometry;
        let verb = if repair { "Repairing" } else { "ERROR" };
        for page in (0..g.cluster_size()).step_by(g.page_size() as usize) {
            let offset = table.0 + page;
            for index in 0..g.entries_per_page() {
                let page = self.l2.load(&*self.file, offset)?;
                let Some(entry) = L2Entry::read(page, index, g) else { break };
                if entry.is_compressed() || !entry.has_cluster(g) {
                    continue;
                }
                let cluster = g.host_cluster(HostOffset(entry.raw_offset()));
                // In a data file nothing is ever shared.
                let refcount = if g.data_file { Ok(1) } else { self.refcount(cluster) };
                let Ok(refcount) = refcount else { continue };
                if (refcount == 1) == entry.is_copied() {
                    continue;
                }
                let text = format!(
                    "{verb} OFLAG_COPIED data cluster: l2_entry={:x} refcount={refcount}",
                    entry.word
                );
                if repair {
                    report.fixed_corruption(text);
                    let entry = entry.with_copied(refcount == 1);
                    entry.write(self.l2.load_mut(&*self.file, offset)?, index, g);
                } else {
                    report.corruption(text);
                }
            }
        }
        self.make_room_for_fix(repair)
    }

    fn make_room_for_fix(&mut self, repair: bool) -> Result<()> {
        if repair {
            return self.make_room();
        }
        self.make_read_room();
        Ok(())
    }
}
