//! An open qcow2 image.
//!
//! One lock guards all metadata ([`Meta`]); data is read and written outside of it. Operations that
//! change the image as a whole (snapshots, resizing, repair) close the gate, which every request passes:
//! they run when no request is under way. Lock order: gate, metadata, the rest.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::compress::{Compressor, Unpacked};
use super::crypt::Crypt;
use super::header::{CompressionType, Header, autoclear, field, incompatible};
use super::meta::Meta;
use super::overlap::OverlapChecks;
use super::read::View;
use super::snapshot;
use super::units::Geometry;
use crate::block::{Block, Extent, HostRange, Limits, Preallocation, Zero, check_range};
use crate::error::{Error, Result};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, Ordering, PoisonError, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};

/// Metadata that is held in memory by default, in bytes.
const DEFAULT_CACHE: u64 = 32 << 20;

/// How an image is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Refuse all writes.
    pub read_only: bool,
    /// Accept images whose refcounts, snapshots or corrupt bit would forbid normal use: for checks.
    pub check: bool,
    /// Limit for cached metadata, in bytes.
    pub cache_bytes: u64,
    /// Postpone updates of reference counts, or do not, whatever the image says.
    pub lazy_refcounts: Option<bool>,
    /// What data must not be written over.
    pub overlap_checks: OverlapChecks,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            read_only: false,
            check: false,
            cache_bytes: DEFAULT_CACHE,
            lazy_refcounts: None,
            overlap_checks: OverlapChecks::default(),
        }
    }
}

/// A qcow2 image over any storage.
///
/// It does not open its backing file: see [`Qcow2::backing_file`] and [`Qcow2::set_backing`]. What was
/// written is durable after [`Block::flush`]; dropping the image flushes too but cannot report errors, so
/// that callers end with [`Qcow2::close`].
pub struct Qcow2 {
    pub(super) file: Arc<dyn Block>,
    pub(super) geometry: Geometry,
    pub(super) compression: CompressionType,
    name: String,
    size: AtomicU64,
    read_only: bool,
    meta: RwLock<Meta>,
    gate: RwLock<()>,
    backing: RwLock<Option<Arc<dyn Block>>>,
    /// Counts released claims; waited on by those who need one.
    pub(super) release_count: Mutex<u64>,
    pub(super) released: Condvar,
    pub(super) unpacked: Mutex<VecDeque<Unpacked>>,
    /// Snapshots that are being read.
    pub(super) open_views: AtomicU32,
    /// Nothing was written yet: feature bits still stand as they were found.
    pub(super) pristine: AtomicBool,
    /// A bitmap records writes.
    pub(super) tracks: AtomicBool,
    pub(super) sparse_data: OnceLock<bool>,
    /// Where guest data lies, if not in the image file.
    pub(super) external: OnceLock<Arc<dyn Block>>,
    /// That file is a raw image of the disk by itself.
    pub(super) raw_external: bool,
    /// What guest data is encrypted with, if it is.
    pub(super) crypt: Option<Crypt>,
}

impl Qcow2 {
    /// Opens the image in `file`.
    ///
    /// A writable open of an image that was not shut down cleanly rebuilds its reference counts first.
    ///
    /// # Errors
    /// When the file is not a valid qcow2 image or needs a feature that is not implemented (the message
    /// names it); and for a writable open of an image that is marked as corrupt.
    pub fn open(file: Arc<dyn Block>, options: OpenOptions) -> Result<Self> {
        let header = Header::read(&*file, options.check)?;
        let read_only = options.read_only || file.is_read_only();
        if header.has(incompatible::CORRUPT) && !read_only && !options.check {
            let what = "qcow2: Image is corrupt; cannot be opened read/write";
            return Err(Error::unsupported(file.name(), what));
        }
        let dirty = header.has(incompatible::DIRTY);
        let image = Self::assemble(file, header, read_only, options)?;
        if dirty && !read_only && !options.check {
            image.recover()?;
        }
        Ok(image)
    }

    fn assemble(file: Arc<dyn Block>, header: Header, read_only: bool, options: OpenOptions) -> Result<Self> {
        let (geometry, compression, size) = (header.geometry, header.compression, header.size);
        let raw_external = header.autoclear & autoclear::RAW_DATA_FILE != 0;
        let crypt = Crypt::load(&file, &header)?;
        let mut meta = Meta::load(Arc::clone(&file), header, options.cache_bytes)?;
        meta.lazy_refcounts = options.lazy_refcounts;
        meta.overlap_checks = options.overlap_checks;
        let (snapshots, result) = snapshot::read(&*file, &meta.header);
        meta.snapshots = snapshots;
        match result {
            Ok(()) => {}
            Err(error) if options.check => meta.snapshot_damage = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        Ok(Qcow2 {
            name: file.name().to_owned(),
            file,
            geometry,
            compression,
            size: AtomicU64::new(size),
            read_only,
            meta: RwLock::new(meta),
            gate: RwLock::new(()),
            backing: RwLock::new(None),
            release_count: Mutex::new(0),
            released: Condvar::new(),
            unpacked: Mutex::new(VecDeque::new()),
            open_views: AtomicU32::new(0),
            pristine: AtomicBool::new(true),
            tracks: AtomicBool::new(false),
            sparse_data: OnceLock::new(),
            external: OnceLock::new(),
            raw_external,
            crypt,
        })
    }

    /// Rebuilds what an unclean shutdown left behind, and says in the header that it is clean.
    fn recover(&self) -> Result<()> {
        let report = self.repair(super::check::Fix::All)?;
        if report.check_errors > 0 || report.corruptions > 0 {
            let what = "Could not repair dirty image: run 'check -r all' on it, or open it for reading only";
            return Err(Error::unsupported(self.file.name(), what));
        }
        Ok(())
    }

    /// The name of the backing file as the header has it, if there is one.
    ///
    /// # Errors
    /// When an earlier failure left the image unusable.
    pub fn backing_file(&self) -> Result<Option<String>> {
        Ok(self.meta_read()?.header.backing_name.clone())
    }

    /// The format that the backing file is said to have.
    ///
    /// # Errors
    /// When an earlier failure left the image unusable.
    pub fn backing_format(&self) -> Result<Option<String>> {
        Ok(self.meta_read()?.header.extensions.backing_format().map(str::to_owned))
    }

    /// Sets what is read where this image holds nothing. It must be what the header names, or hold the
    /// same bytes.
    pub fn set_backing(&self, backing: Option<Arc<dyn Block>>) {
        *self.backing.write().unwrap_or_else(PoisonError::into_inner) = backing;
    }

    /// Writes another backing file name and format into the header. The opened backing stays as it is.
    ///
    /// # Errors
    /// When they do not fit the header cluster, or it cannot be written.
    pub fn set_backing_name(&self, name: Option<&str>, format: Option<&str>) -> Result<()> {
        let mut meta = self.exclusive()?.1;
        meta.commit()?;
        let before = meta.header.clone();
        meta.header.backing_name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        let format = format.filter(|_| meta.header.backing_name.is_some());
        meta.header.extensions.set_backing_format(format);
        let encoded = meta.header.encode(self.file.name());
        if let Err(error) = encoded {
            meta.header = before;
            return Err(error);
        }
        meta.write_header()
    }

    /// Something that packs clusters for [`Qcow2::write_compressed_cluster`] without touching the image.
    pub fn compressor(&self, level: Option<u32>) -> Compressor {
        Compressor::new(self.compression, self.geometry, level)
    }

    /// Stores a cluster that a [`Compressor`] of this image has packed, at a cluster's start.
    ///
    /// # Errors
    /// For an unaligned offset, too much data, and failing writes.
    pub fn write_compressed_cluster(&self, offset: u64, packed: &[u8]) -> Result<()> {
        self.write_packed(offset, packed)
    }

    /// Packs and stores one cluster (or what there is of the last one); stores it as it is where packing
    /// gains nothing.
    ///
    /// # Errors
    /// For anything but one whole cluster, and failing writes.
    pub fn write_compressed_data(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_compressed(offset, data)
    }

    /// Bytes of one cluster.
    pub fn cluster_size(&self) -> u64 {
        self.geometry.cluster_size()
    }

    /// Flushes and closes; unlike dropping, this tells of errors.
    ///
    /// # Errors
    /// When not everything could be written.
    pub fn close(self) -> Result<()> {
        self.finish()
    }

    /// Writes everything, and that the image was shut down cleanly.
    fn finish(&self) -> Result<()> {
        if !self.read_only {
            let mut meta = self.meta_write()?;
            meta.release_bitmaps(self.size())?;
            // A commit would leave counts behind where that is allowed, and say that the image is in use.
            if meta.lagging || meta.is_dirty() {
                return meta.settle();
            }
        }
        self.flush()
    }

    pub(super) fn meta_read(&self) -> Result<RwLockReadGuard<'_, Meta>> {
        self.meta.read().map_err(|_| self.poisoned())
    }

    pub(super) fn meta_write(&self) -> Result<RwLockWriteGuard<'_, Meta>> {
        self.meta.write().map_err(|_| self.poisoned())
    }

    fn poisoned(&self) -> Error {
        let what = "an internal error interrupted a change of its metadata; close it and run a check";
        Error::unsupported(self.file.name(), what)
    }

    /// Passes the gate: the image is not changed as a whole while the guard lives. Not to be nested.
    pub(super) fn enter(&self) -> Result<RwLockReadGuard<'_, ()>> {
        self.gate.read().map_err(|_| self.poisoned())
    }

    /// Closes the gate and locks the metadata: no request is under way, none begins.
    pub(super) fn exclusive(&self) -> Result<(RwLockWriteGuard<'_, ()>, RwLockWriteGuard<'_, Meta>)> {
        self.writable()?;
        let gate = self.gate.write().map_err(|_| self.poisoned())?;
        let mut meta = self.meta_write()?;
        meta.mark_for_writing()?;
        Ok((gate, meta))
    }

    /// Like [`Qcow2::exclusive`], for looking: nothing is under way, and the file is up to date.
    pub(super) fn quiet(&self) -> Result<(RwLockWriteGuard<'_, ()>, RwLockWriteGuard<'_, Meta>)> {
        let gate = self.gate.write().map_err(|_| self.poisoned())?;
        let mut meta = self.meta_write()?;
        if !self.read_only && (meta.is_dirty() || meta.freeing.has_waiting() || meta.lagging) {
            meta.settle()?;
        }
        Ok((gate, meta))
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { file: self.name.clone() }) } else { Ok(()) }
    }

    /// Passes the gate to write: checks the range, updates the feature bits before the first write, and lets
    /// bitmaps know.
    pub(super) fn enter_to_write(&self, offset: u64, length: u64) -> Result<RwLockReadGuard<'_, ()>> {
        self.writable()?;
        self.need_data_file()?;
        check_range(self, offset, length)?;
        loop {
            if self.pristine.load(Ordering::Acquire) {
                let mut meta = self.meta_write()?;
                meta.mark_for_writing()?;
                let tracks = meta.use_bitmaps(false, self.size())?;
                self.tracks.store(tracks, Ordering::Release);
                self.pristine.store(false, Ordering::Release);
            }
            let gate = self.enter()?;
            // Bitmaps, and the size, may have changed before the gate was passed.
            if self.pristine.load(Ordering::Acquire) {
                continue;
            }
            check_range(self, offset, length)?;
            if self.tracks.load(Ordering::Acquire) {
                self.record_write(offset..offset + length)?;
            }
            return Ok(gate);
        }
    }

    /// The opened backing file.
    pub(super) fn backing(&self) -> Result<Option<Arc<dyn Block>>> {
        self.backing.read().map(|backing| backing.clone()).map_err(|_| self.poisoned())
    }

    /// True if something shows where this image holds nothing, opened or not.
    pub(super) fn shows_backing(&self) -> Result<bool> {
        Ok(self.backing()?.is_some() || self.meta_read()?.header.backing_name.is_some())
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Clears bits of the incompatible features, durably.
    pub(super) fn clear_incompatible(&self, meta: &mut Meta, bits: u64) -> Result<()> {
        if meta.header.incompatible & bits == 0 || self.geometry.version < 3 {
            return Ok(());
        }
        meta.header.incompatible &= !bits;
        let bytes = meta.header.incompatible.to_be_bytes();
        meta.write_header_field(field::INCOMPATIBLE, &bytes)
    }
}

impl Drop for Qcow2 {
    fn drop(&mut self) {
        // Best effort, as documented: close() is what tells of errors.
        let _ = self.finish();
    }
}

impl Block for Qcow2 {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(self, offset, buf.len() as u64)?;
        let _gate = self.enter()?;
        self.read_view(View::Active, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let _gate = self.enter_to_write(offset, buf.len() as u64)?;
        self.write_range(buf, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zero) -> Result<()> {
        let length = range.end.saturating_sub(range.start);
        let _gate = self.enter_to_write(range.start, length)?;
        if length == 0 { Ok(()) } else { self.zero_bytes(range, how) }
    }

    fn discard(&self, range: Range<u64>) -> Result<()> {
        let length = range.end.saturating_sub(range.start);
        let _gate = self.enter_to_write(range.start, length)?;
        let _right = self.crypt.as_ref().map(|crypt| crypt.edges.enter(0, 0));
        if length == 0 { Ok(()) } else { self.discard_range(range) }
    }

    fn flush(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        let dirty = {
            let meta = self.meta_read()?;
            meta.check_usable()?;
            meta.is_dirty() || meta.freeing.has_waiting()
        };
        if dirty {
            return self.meta_write()?.commit();
        }
        if let Some(data) = self.external_data_file() {
            data.flush()?;
        }
        self.file.flush()
    }

    fn status(&self, range: Range<u64>) -> Result<Extent> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let _gate = self.enter()?;
        self.status_view(View::Active, range)
    }

    fn host_range(&self, range: Range<u64>) -> Result<Option<HostRange>> {
        check_range(self, range.start, range.end.saturating_sub(range.start))?;
        let _gate = self.enter()?;
        self.host_range_of(View::Active, range)
    }

    fn copy_from_file(&self, source: &HostRange, offset: u64) -> Result<u64> {
        let _gate = self.enter_to_write(offset, source.length)?;
        self.copy_clusters(source, offset)
    }

    fn limits(&self) -> Limits {
        Limits {
            alignment: 1,
            preferred: self.geometry.cluster_size() as u32,
            growable: false,
            // Without a backing file, what was never written is unallocated and reads as zeroes.
            zero_init: self.shows_backing().is_ok_and(|shows| !shows) && !self.shows_noise(),
        }
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn resize(&self, size: u64, preallocation: Preallocation) -> Result<()> {
        self.resize_disk(size, preallocation)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn allocated_bytes(&self) -> Option<u64> {
        let data = self.external_data_file().map_or(Some(0), Block::allocated_bytes)?;
        Some(self.file.allocated_bytes()?.saturating_add(data))
    }
}
