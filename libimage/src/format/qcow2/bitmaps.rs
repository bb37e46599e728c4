//! Persistent dirty bitmaps: making, changing and removing them, and recording writes while the image is open.
//!
//! A bitmap that records is marked as in use in the file before the first write, and the mark goes only when
//! its new contents are there: whoever finds the mark knows that nobody can tell what was written. Every other
//! change writes the new contents and a new directory first, and then lets the header name that.

use std::ops::Range;

use super::bitmap::{self, AUTO, Bitmap, GRANULARITY_BITS, IN_USE, MAX_BITMAPS, MAX_NAME, MAX_STORED_BYTES};
use super::dirty::DirtyBits;
use super::header::autoclear;
use super::image::Qcow2;
use super::info::BitmapInfo;
use super::meta::Meta;
use super::overlap::Kind;
use super::storage::{table_bytes, write_all};
use super::units::{HostCluster, HostRun};
use crate::block::Block;
use crate::error::{Error, Result};
use crate::sync::Ordering;

impl Qcow2 {
    /// The persistent bitmaps, in the order of the directory.
    ///
    /// # Errors
    /// When the directory is damaged.
    pub fn bitmaps(&self) -> Result<Vec<BitmapInfo>> {
        self.meta_read()?.bitmap_infos()
    }

    /// What a bitmap says is dirty.
    ///
    /// # Errors
    /// [`Error::NotFound`]; and when it is inconsistent or damaged.
    pub fn bitmap(&self, name: &str) -> Result<DirtyBits> {
        let mut meta = self.meta_write()?;
        let size = self.size();
        let (file, g) = (std::sync::Arc::clone(&self.file), self.geometry);
        let list = meta.bitmaps()?;
        let bitmap = find(list, name)?;
        bitmap.check_usable()?;
        bitmap.load(&*file, g, size).cloned()
    }

    /// Adds a bitmap of which nothing is dirty. Without a granularity it is that of a cluster, but between 4
    /// and 64 KiB. An enabled one records writes from now on.
    ///
    /// # Errors
    /// With QEMU's words when there is one of that name or such a bitmap is not possible.
    pub fn add_bitmap(&self, name: &str, granularity: Option<u64>, enabled: bool) -> Result<()> {
        let granularity = granularity.unwrap_or_else(|| self.cluster_size().clamp(4096, 65536));
        if name.is_empty() {
            return Err(Error::Invalid("Bitmap name cannot be empty".to_owned()));
        }
        if name.len() > MAX_NAME {
            return Err(Error::Invalid(format!(
                "Can't make bitmap '{name}' persistent in '{}': Name length exceeds maximum ({MAX_NAME} characters)",
                self.name()
            )));
        }
        let bits = granularity.trailing_zeros();
        if !granularity.is_power_of_two() || !GRANULARITY_BITS.contains(&bits) {
            let what = "Granularity must be power of 2 and at least 512";
            return Err(Error::Invalid(what.to_owned()));
        }
        let bitmap = Bitmap::new(name, self.size(), bits, enabled);
        let persistent = |why: &str| {
            Err(Error::Invalid(format!("Can't make bitmap '{name}' persistent in '{}': {why}", self.name())))
        };
        self.change_bitmaps(|list| {
            if list.iter().any(|bitmap| bitmap.name == name) {
                return Err(Error::Invalid(format!("Bitmap already exists: {name}")));
            }
            if self.geometry.version < 3 {
                return persistent("Cannot store dirty bitmaps in qcow2 v2 files");
            }
            if bitmap.bits.as_ref().is_some_and(|bits| bits.stored_bytes() > MAX_STORED_BYTES) {
                return persistent("Too much space will be occupied by the bitmap. Use larger granularity");
            }
            if list.len() >= MAX_BITMAPS {
                return persistent("Maximum number of persistent bitmaps is already reached");
            }
            list.push(bitmap);
            Ok(())
        })
    }

    /// Removes a bitmap, consistent or not.
    ///
    /// # Errors
    /// [`Error::NotFound`]; and when the file cannot be written.
    pub fn remove_bitmap(&self, name: &str) -> Result<()> {
        self.change_bitmaps(|list| {
            find(list, name)?;
            list.retain(|bitmap| bitmap.name != name);
            Ok(())
        })
    }

    /// Lets a bitmap record writes, or stops it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; and when it is inconsistent.
    pub fn enable_bitmap(&self, name: &str, enabled: bool) -> Result<()> {
        self.change_bitmaps(|list| {
            let bitmap = find(list, name)?;
            bitmap.check_usable()?;
            bitmap.flags = if enabled { bitmap.flags | AUTO } else { bitmap.flags & !AUTO };
            Ok(())
        })
    }

    /// Makes everything clean in a bitmap.
    ///
    /// # Errors
    /// [`Error::NotFound`]; and when it is inconsistent.
    pub fn clear_bitmap(&self, name: &str) -> Result<()> {
        self.change_bits(name, |bits| {
            bits.clear();
            Ok(())
        })
    }

    /// Makes dirty in a bitmap what is dirty in `other`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; when it is inconsistent, or of a disk of another size.
    pub fn merge_bitmap(&self, name: &str, other: &DirtyBits) -> Result<()> {
        self.change_bits(name, |bits| bits.merge(other))
    }

    fn change_bits(&self, name: &str, change: impl FnOnce(&mut DirtyBits) -> Result<()>) -> Result<()> {
        let size = self.size();
        self.change_bitmaps(|list| {
            let bitmap = find(list, name)?;
            bitmap.check_usable()?;
            change(bitmap.load(&*self.file, self.geometry, size)?)?;
            bitmap.changed = true;
            Ok(())
        })
    }

    /// Changes the list of bitmaps, and stores it. When that fails, it is as it was.
    fn change_bitmaps(&self, change: impl FnOnce(&mut Vec<Bitmap>) -> Result<()>) -> Result<()> {
        let (_gate, mut meta) = self.exclusive()?;
        let mut list = meta.bitmaps()?.clone();
        change(&mut list)?;
        meta.store_bitmaps(list)?;
        // The next write finds out which of them record.
        self.tracks.store(false, Ordering::Release);
        self.pristine.store(true, Ordering::Release);
        Ok(())
    }

    /// Remembers that `range` of the disk is written.
    pub(super) fn record_write(&self, range: Range<u64>) -> Result<()> {
        let mut meta = self.meta_write()?;
        let list = meta.bitmaps.iter_mut().flatten();
        for bitmap in list.filter(|bitmap| bitmap.live && bitmap.is_enabled()) {
            if let Some(bits) = &mut bitmap.bits {
                bits.set(range.clone());
                bitmap.changed = true;
            }
        }
        Ok(())
    }
}

/// The bitmap of this name.
fn find<'l>(list: &'l mut [Bitmap], name: &str) -> Result<&'l mut Bitmap> {
    let found = list.iter_mut().find(|bitmap| bitmap.name == name);
    found.ok_or_else(|| Error::NotFound(format!("Dirty bitmap '{name}' not found")))
}

impl Meta {
    pub(super) fn bitmap_infos(&self) -> Result<Vec<BitmapInfo>> {
        let read;
        let list = match &self.bitmaps {
            Some(list) => list,
            None => {
                read = self.read_bitmaps()?;
                &read
            }
        };
        let info = |bitmap: &Bitmap| BitmapInfo {
            name: bitmap.name.clone(),
            granularity: 1u64.checked_shl(bitmap.granularity_bits).unwrap_or(0),
            in_use: bitmap.is_inconsistent(),
            auto: bitmap.is_enabled(),
        };
        Ok(list.iter().map(info).collect())
    }

    fn read_bitmaps(&self) -> Result<Vec<Bitmap>> {
        match self.header.live_bitmap_directory() {
            None => Ok(Vec::new()),
            Some(named) => bitmap::read_directory(&*self.file, named, self.geometry),
        }
    }

    /// The bitmaps, read where they were not yet.
    pub(super) fn bitmaps(&mut self) -> Result<&mut Vec<Bitmap>> {
        let list = match self.bitmaps.take() {
            Some(list) => list,
            None => self.read_bitmaps()?,
        };
        Ok(self.bitmaps.insert(list))
    }

    /// Marks bitmaps as in use, durably, and reads them: those that record writes, or all. True if any
    /// records.
    pub(super) fn use_bitmaps(&mut self, all: bool, size: u64) -> Result<bool> {
        let (file, g) = (std::sync::Arc::clone(&self.file), self.geometry);
        let mut marked = false;
        for bitmap in self.bitmaps()? {
            let wanted = (all || bitmap.is_enabled()) && !bitmap.live && !bitmap.is_inconsistent();
            if !wanted || bitmap.check_usable().is_err() || bitmap.load(&*file, g, size).is_err() {
                // What cannot be kept up to date is marked, so that nobody trusts it.
                if !wanted || !bitmap.is_enabled() || bitmap.is_inconsistent() {
                    continue;
                }
            } else {
                bitmap.live = true;
            }
            bitmap.flags |= IN_USE;
            if let Some(place) = bitmap.flags_place() {
                write_all(&*file, &bitmap.flags.to_be_bytes(), place)?;
                marked = true;
            }
        }
        if marked {
            self.file.flush()?;
        }
        Ok(self.bitmaps()?.iter().any(|bitmap| bitmap.live && bitmap.is_enabled()))
    }

    /// Stores the bitmaps that are in use by us, and says that they no longer are.
    pub(super) fn release_bitmaps(&mut self, size: u64) -> Result<()> {
        if self.bitmaps.iter().flatten().all(|bitmap| !bitmap.live) {
            return Ok(());
        }
        self.commit()?;
        let mut list = self.bitmaps()?.clone();
        for bitmap in list.iter_mut().filter(|bitmap| bitmap.live) {
            bitmap.flags &= !IN_USE;
            bitmap.live = false;
            if let Some(bits) = bitmap.bits.as_mut().filter(|bits| bits.size() != size) {
                bits.resize(size);
                bitmap.changed = true;
            }
        }
        self.store_bitmaps(list)
    }

    /// Writes what has changed of the bitmaps, and a new directory, and lets the header name it.
    fn store_bitmaps(&mut self, mut list: Vec<Bitmap>) -> Result<()> {
        self.check_usable()?;
        self.places();
        let mut taken = Vec::new();
        let stored = self.write_bitmaps(&mut list, &mut taken);
        let stored = stored.and_then(|directory| self.commit().map(|()| directory));
        let directory = match stored {
            Ok(directory) => directory,
            Err(error) => {
                taken.into_iter().for_each(|run| self.give_back(run));
                return Err(error);
            }
        };
        // What only the present directory refers to.
        let file = std::sync::Arc::clone(&self.file);
        let g = self.geometry;
        let mut old = Vec::new();
        for bitmap in self.read_bitmaps()? {
            if list.iter().any(|kept| kept.table_offset == bitmap.table_offset) {
                continue;
            }
            let data = bitmap.data_clusters(&*file, g)?;
            old.extend(data.into_iter().map(|offset| HostRun::one(HostCluster(offset >> g.cluster_bits))));
            old.push(HostRun {
                first: HostCluster(bitmap.table_offset >> g.cluster_bits),
                count: g.clusters_for(u64::from(bitmap.table_entries) * 8),
            });
        }
        let present = self.header.live_bitmap_directory();
        let present = present.map(|(_, length, offset)| HostRun {
            first: HostCluster(offset >> g.cluster_bits),
            count: g.clusters_for(length),
        });

        self.header.extensions.set_bitmap_directory(directory);
        match directory {
            Some(_) => self.header.autoclear |= autoclear::BITMAPS,
            None => self.header.autoclear &= !autoclear::BITMAPS,
        }
        self.write_header()?;
        if let Some(run) = present {
            self.forget_metadata(run);
            old.push(run);
        }
        if let Some((_, length, offset)) = directory {
            let first = HostCluster(offset >> g.cluster_bits);
            self.note_metadata(HostRun { first, count: g.clusters_for(length) }, Kind::BitmapDirectory);
        }
        self.bitmaps = Some(list);
        old.into_iter().for_each(|run| self.free_later(run, true));
        self.commit()
    }

    /// Writes bits, tables and the directory of `list` to new clusters, which are noted in `taken`.
    fn write_bitmaps(
        &mut self,
        list: &mut [Bitmap],
        taken: &mut Vec<HostRun>,
    ) -> Result<Option<(u32, u64, u64)>> {
        let g = self.geometry;
        let file = std::sync::Arc::clone(&self.file);
        for bitmap in list.iter_mut().filter(|bitmap| bitmap.changed && !bitmap.live) {
            let Some(bits) = &bitmap.bits else { continue };
            let entries = g.clusters_for(bits.stored_bytes()).max(1);
            let mut table = vec![0; entries as usize];
            for (index, entry) in (0u64..).zip(&mut table) {
                if let Some(bytes) = bits.store(index << g.cluster_bits, g.cluster_size()) {
                    let run = self.allocate(1)?;
                    taken.push(run);
                    *entry = g.host_start(run.first).0;
                    write_all(&*file, &bytes, *entry)?;
                }
            }
            let run = self.allocate_table(g.clusters_for(entries * 8))?;
            taken.push(run);
            bitmap.table_offset = g.host_start(run.first).0;
            bitmap.table_entries = entries as u32;
            write_all(&*file, &table_bytes(&table), bitmap.table_offset)?;
            bitmap.changed = false;
        }
        if list.is_empty() {
            return Ok(None);
        }
        let length = bitmap::encode_directory(list, 0).len() as u64;
        let run = self.allocate_table(g.clusters_for(length))?;
        taken.push(run);
        let offset = g.host_start(run.first).0;
        write_all(&*file, &bitmap::encode_directory(list, offset), offset)?;
        Ok(Some((list.len() as u32, length, offset)))
    }
}
