//! Changing what an existing image is: its version, the width of its reference counts, its features.
//!
//! Each change prepares everything elsewhere in the file and ends with one write to the header's first sector,
//! so that an interruption leaves the image as it was, or as it should be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::CheckReport;
use super::header::{CompressionType, autoclear, compatible, field, incompatible};
use super::image::{OpenOptions, Qcow2};
use super::meta::Meta;
use super::storage::{read_table, write_all};
use super::table::{L1Entry, L2Entry, Mapping};
use super::units::{Geometry, HostCluster, HostOffset, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};

/// Changes to an image; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Amendment {
    /// 2 or 3.
    pub version: Option<u32>,
    /// Width of a reference count in bits.
    pub refcount_bits: Option<u32>,
    /// Allow users of the image to postpone updates of reference counts.
    pub lazy_refcounts: Option<bool>,
    /// Another name for the data file; an empty one takes it out of the header.
    pub data_file: Option<String>,
    /// The data file is a raw image by itself. That can only cease.
    pub data_file_raw: Option<bool>,
}

impl Amendment {
    fn is_empty(&self) -> bool {
        self.version.is_none()
            && self.refcount_bits.is_none()
            && self.lazy_refcounts.is_none()
            && self.data_file.is_none()
            && self.data_file_raw.is_none()
    }
}

fn refuse(what: impl Into<String>) -> Result<()> {
    Err(Error::Invalid(what.into()))
}

impl Qcow2 {
    /// Refuses what cannot be changed, as far as that can be told without looking at the tables.
    ///
    /// # Errors
    /// With QEMU's words.
    pub fn check_amendment(&self, change: &Amendment) -> Result<()> {
        let g = self.geometry;
        // Going down comes last: until then the image is what it was, or more.
        let version = change.version.unwrap_or(g.version);
        let highest = version.max(g.version);
        let width = 1 << g.refcount_order;
        let bits = change.refcount_bits.unwrap_or(width);
        if !bits.is_power_of_two() || bits > 64 {
            return refuse("Refcount width must be a power of two and may not exceed 64 bits");
        }
        if change.data_file.is_some() && !g.data_file {
            return refuse("data-file can only be set for images that use an external data file");
        }
        if change.data_file_raw == Some(true) && !self.raw_external {
            return refuse("data-file-raw cannot be set on existing images");
        }
        if bits != width && highest < 3 {
            return refuse(
                "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
            );
        }
        if change.lazy_refcounts == Some(true) && highest < 3 {
            return refuse(
                "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
            );
        }
        match version < g.version {
            true => self.check_downgrade(bits),
            false => Ok(()),
        }
    }

    fn check_downgrade(&self, refcount_bits: u32) -> Result<()> {
        let meta = self.meta_read()?;
        if self.geometry.data_file {
            return refuse("Cannot downgrade an image with a data file");
        }
        if refcount_bits != 16 {
            return refuse("compat=0.10 requires refcount_bits=16");
        }
        let grown = |snapshot: &super::Snapshot| {
            snapshot.vm_state_size > u64::from(u32::MAX) || snapshot.disk_size != self.size()
        };
        if meta.snapshots.iter().any(grown) {
            return refuse("Internal snapshots prevent downgrade of image");
        }
        let features = meta.header.incompatible & !(incompatible::DIRTY | incompatible::COMPRESSION);
        if features != 0 {
            return refuse(format!("Cannot downgrade an image with incompatible features {features:#x} set"));
        }
        if meta.has_live_bitmaps() {
            // Older readers would not know of them, and leave their clusters to nobody.
            return refuse("Cannot downgrade an image with bitmaps; remove them first");
        }
        Ok(())
    }

    /// Makes the changes to the image in `file`, which nobody else has open. Its backing file is needed where
    /// something may show through.
    ///
    /// # Errors
    /// As [`Qcow2::check_amendment`]; for a damaged image; and when the file cannot be written. The changes
    /// before the one that failed have been made.
    pub fn amend(file: &Arc<dyn Block>, backing: Option<Arc<dyn Block>>, change: &Amendment) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        let open = || Self::open(Arc::clone(file), OpenOptions::default());
        let image = open()?;
        image.check_amendment(change)?;
        let version = change.version.unwrap_or(image.geometry.version);
        if version > image.geometry.version {
            image.upgrade()?;
        }
        image.close()?;
        if let Some(bits) = change.refcount_bits {
            let image = open()?;
            if bits != 1 << image.geometry.refcount_order {
                image.set_refcount_order(bits.trailing_zeros())?;
            }
            image.close()?;
        }
        let image = open()?;
        image.set_features(change)?;
        if version < image.geometry.version {
            image.set_backing(backing);
            image.downgrade()?;
        }
        image.close()
    }

    /// Version 3 has a longer header, and snapshots that say how large their disk was.
    fn upgrade(&self) -> Result<()> {
        let (_gate, mut meta) = self.exclusive()?;
        meta.commit()?;
        if !meta.snapshots.is_empty() {
            let list = meta.snapshots.clone();
            meta.write_snapshots(list)?;
            meta.commit()?;
        }
        meta.header.geometry.version = 3;
        if self.geometry.cluster_size() > 4096 {
            meta.header.extensions.add_feature_names();
        }
        meta.write_header()
    }

    /// Counts references anew with another width.
    fn set_refcount_order(&self, order: u32) -> Result<()> {
        let (_gate, mut meta) = self.exclusive()?;
        let meta = &mut *meta;
        meta.settle()?;
        let mut report = CheckReport::default();
        let references = meta.count_references(&mut report, None)?;
        if !report.is_clean() {
            let what = "the image is damaged; repair it with 'check -r all' first";
            return Err(Error::unsupported(self.name(), what));
        }
        let wider = Geometry { refcount_order: order, ..self.geometry };
        let too_large = references.touched().find(|&cluster| references.get(cluster) > wider.max_refcount());
        if let Some(cluster) = too_large {
            return refuse(format!(
                "Cannot decrease refcount entry width to {} bits: Cluster at offset {:#x} has a refcount of {}",
                1u32 << order,
                self.geometry.host_start(cluster).0,
                references.get(cluster)
            ));
        }
        self.write_refcounts(meta, &references, wider)?;
        meta.header.geometry.refcount_order = order;
        meta.write_header()
    }

    /// Changes what the header alone says.
    fn set_features(&self, change: &Amendment) -> Result<()> {
        let (_gate, mut meta) = self.exclusive()?;
        meta.settle()?;
        if let Some(name) = &change.data_file {
            let name = Some(name.as_str()).filter(|name| !name.is_empty());
            meta.header.extensions.set_data_file(name);
            meta.write_header()?;
        }
        if change.data_file_raw == Some(false) && meta.header.autoclear & autoclear::RAW_DATA_FILE != 0 {
            meta.header.autoclear &= !autoclear::RAW_DATA_FILE;
            let bytes = meta.header.autoclear.to_be_bytes();
            meta.write_header_field(field::AUTOCLEAR, &bytes)?;
        }
        if let Some(lazy) = change.lazy_refcounts.filter(|_| meta.header.geometry.version >= 3) {
            let before = meta.header.compatible;
            let bit = compatible::LAZY_REFCOUNTS;
            meta.header.compatible = if lazy { before | bit } else { before & !bit };
            if meta.header.compatible != before {
                let bytes = meta.header.compatible.to_be_bytes();
                meta.write_header_field(field::COMPATIBLE, &bytes)?;
            }
        }
        Ok(())
    }

    /// Version 2 knows no zero clusters, and no features.
    fn downgrade(&self) -> Result<()> {
        let has_backing = self.shows_backing()?;
        let (_gate, mut meta) = self.exclusive()?;
        let meta = &mut *meta;
        meta.settle()?;
        let tables = meta.all_tables()?;
        if self.compression != CompressionType::Zlib {
            for &table in &tables {
                if meta.entries_of(table)?.iter().any(|entry| entry.is_compressed()) {
                    return refuse(
                        "Cannot downgrade an image with zstd compression type and existing compressed clusters",
                    );
                }
            }
        }
        for table in tables {
            meta.expand_zeroes(table, has_backing)?;
        }
        meta.settle()?;
        meta.header.geometry.version = 2;
        meta.header.compression = CompressionType::Zlib;
        (meta.header.incompatible, meta.header.compatible, meta.header.autoclear) = (0, 0, 0);
        meta.write_header()
    }
}

impl Meta {
    /// The L2 tables of the disk and of all snapshots, each once.
    fn all_tables(&mut self) -> Result<BTreeSet<HostOffset>> {
        let mut tables = BTreeSet::new();
        let mut lists = vec![self.l1.clone()];
        for snapshot in &self.snapshots {
            lists.push(read_table(&*self.file, snapshot.l1_offset, snapshot.l1_size as usize)?);
        }
        for entry in lists.into_iter().flatten() {
            tables.extend(self.l2_table(L1Entry(entry))?);
        }
        Ok(tables)
    }

    fn entries_of(&mut self, table: HostOffset) -> Result<Vec<L2Entry>> {
        let g = self.geometry;
        let mut entries = Vec::new();
        for page in (0..g.cluster_size()).step_by(g.page_size() as usize) {
            let bytes = self.l2.load(&*self.file, table.0 + page)?;
            entries.extend((0..g.entries_per_page()).filter_map(|index| L2Entry::read(bytes, index, g)));
        }
        self.make_room()?;
        Ok(entries)
    }

    /// Replaces zero clusters of a table by nothing, or by clusters full of zeroes where a backing file would
    /// show. A table that is shared holds its references as often as it is shared.
    fn expand_zeroes(&mut self, table: HostOffset, has_backing: bool) -> Result<()> {
        let g = self.geometry;
        let shared = self.refcount(g.host_cluster(table))?;
        for (index, entry) in (0u64..).zip(self.entries_of(table)?) {
            if !entry.has_zero_flag(g) {
                continue;
            }
            let decoded = entry.decode(g).map_err(|bad| Error::corrupt(self.file.name(), bad.text(entry)))?;
            let Mapping::Zero(old) = decoded else { continue };
            // A cluster that is kept for nothing else is used, what is shared with other tables is not touched.
            let kept = match old {
                Some(host) if self.refcount(g.host_cluster(host))? == shared => Some(host),
                _ => None,
            };
            let new = match kept {
                Some(host) => {
                    write_all(&*self.file, &vec![0; g.cluster_size() as usize], host.0)?;
                    L2Entry::owned(host, g).with_copied(entry.is_copied())
                }
                None if has_backing => self.zero_cluster(shared)?,
                None => L2Entry::UNALLOCATED,
            };
            let byte = index * g.l2_entry_size();
            let page = table.0 + (byte & !(g.page_size() - 1));
            let at = (byte & (g.page_size() - 1)) / g.l2_entry_size();
            new.write(self.l2.load_mut(&*self.file, page)?, at as usize, g);
            if let Some(host) = old.filter(|_| kept.is_none()) {
                let run = HostRun::one(g.host_cluster(host));
                (0..shared).for_each(|_| self.free_later(run, true));
            }
            self.make_room()?;
        }
        Ok(())
    }

    /// A new cluster full of zeroes that is referred to `count` times.
    fn zero_cluster(&mut self, count: u64) -> Result<L2Entry> {
        let g = self.geometry;
        let run = self.allocate(1)?;
        let host = g.host_start(run.first);
        let written = write_all(&*self.file, &vec![0; g.cluster_size() as usize], host.0);
        let counted = written.and_then(|()| self.count_again(run.first, count));
        if let Err(error) = counted {
            self.give_back(run);
            return Err(error);
        }
        Ok(L2Entry::owned(host, g).with_copied(count == 1))
    }

    fn count_again(&mut self, cluster: HostCluster, count: u64) -> Result<()> {
        for done in 1..count {
            if let Err(error) = self.add_reference(cluster) {
                (1..done).for_each(|_| self.give_back(HostRun::one(cluster)));
                return Err(error);
            }
        }
        Ok(())
    }
}
