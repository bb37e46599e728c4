//! Compressed clusters: packing and unpacking them, and where they go in the file.
//!
//! Compressed clusters lie back to back, across cluster borders, so that a host cluster may hold parts
//! of many; each of them holds one reference to it. What the codecs need is nothing of the image, so
//! that many threads can compress while none holds a lock. (qcow2 specification, "Compressed clusters".)

use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use super::alloc::InUse;
use super::claim::Claim;
use super::deflate::deflate;
use super::header::CompressionType;
use super::image::Qcow2;
use super::meta::Meta;
use super::storage::{read_padded, write_all};
use super::table::{Compressed, L2Entry, touched_by};
use super::units::{Geometry, GuestOffset, HostCluster, HostOffset, HostRun};
use crate::block::{Block, check_range};
use crate::error::{Error, Result};
use crate::sync::PoisonError;

/// Unpacked clusters that are kept for reads smaller than a cluster.
const KEPT_CLUSTERS: usize = 8;

/// Packs clusters; independent of the image it was made for, cheap to clone, usable in any thread.
#[derive(Debug, Clone)]
pub struct Compressor {
    kind: CompressionType,
    cluster_size: usize,
    level: Option<u32>,
}

impl Compressor {
    pub(super) fn new(kind: CompressionType, geometry: Geometry, level: Option<u32>) -> Self {
        Compressor { kind, cluster_size: geometry.cluster_size() as usize, level }
    }

    /// Bytes that one call packs.
    pub fn cluster_size(&self) -> usize {
        self.cluster_size
    }

    /// The packed form of one cluster (a shorter one, at the end of a disk, counts as padded with
    /// zeroes). `None` when it would not become smaller, or is too long: store it as it is then.
    pub fn compress(&self, data: &[u8]) -> Option<Vec<u8>> {
        let padded;
        let data = if data.len() == self.cluster_size {
            data
        } else if data.len() < self.cluster_size {
            let mut copy = data.to_vec();
            copy.resize(self.cluster_size, 0);
            padded = copy;
            &padded
        } else {
            return None;
        };
        // Room for one byte less than the cluster: what needs more is not worth it.
        let room = self.cluster_size - 1;
        match self.kind {
            CompressionType::Zlib => deflate(data, self.level, room),
            CompressionType::Zstd => {
                let level = self.level.map_or(0, |level| i32::try_from(level).unwrap_or(i32::MAX));
                let mut out = vec![0; room];
                let length = zstd::bulk::compress_to_buffer(data, &mut out[..], level).ok()?;
                out.truncate(length);
                Some(out)
            }
        }
    }
}

/// Unpacks exactly `cluster.len()` bytes. What follows the stream in `packed` is ignored.
pub(super) fn decompress(
    kind: CompressionType,
    packed: &[u8],
    cluster: &mut [u8],
) -> Result<(), &'static str> {
    match kind {
        CompressionType::Zlib => {
            let mut stream = Decompress::new(false);
            let mut filled = 0;
            while filled < cluster.len() {
                let consumed = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
                let input = packed.get(consumed..).unwrap_or_default();
                let output = cluster.get_mut(filled..).unwrap_or_default();
                let status = stream.decompress(input, output, FlushDecompress::None);
                let now = usize::try_from(stream.total_out()).unwrap_or(usize::MAX);
                match status {
                    Err(_) => return Err("the deflate stream is invalid"),
                    Ok(_) if now >= cluster.len() => return Ok(()),
                    Ok(Status::StreamEnd) => return Err("the deflate stream ends early"),
                    Ok(_) if now == filled && stream.total_in() == consumed as u64 => {
                        return Err("the deflate stream is cut short");
                    }
                    Ok(_) => filled = now,
                }
            }
            Ok(())
        }
        CompressionType::Zstd => {
            use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
            let mut decoder = Decoder::new().map_err(|_| "no memory for the zstd decoder")?;
            let mut input = InBuffer::around(packed);
            let mut output = OutBuffer::around(&mut *cluster);
            // Several frames may follow each other; the decoder starts over at each by itself.
            while output.pos() < output.capacity() {
                let before = (input.pos(), output.pos());
                decoder.run(&mut input, &mut output).map_err(|_| "the zstd stream is invalid")?;
                if (input.pos(), output.pos()) == before {
                    return Err("the zstd stream is cut short");
                }
            }
            Ok(())
        }
    }
}

/// An unpacked cluster, kept for the next small read.
pub(super) struct Unpacked {
    place: Compressed,
    generation: u64,
    bytes: Arc<[u8]>,
}

/// Clusters whose end is still free, beside the one that was written last.
const MAX_RESTS: usize = 16;

/// Where compressed clusters can go without taking a host cluster into use.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    /// Behind the last one.
    next: Option<HostOffset>,
    /// What remained of host clusters that could not be continued: from there to their ends.
    rests: Vec<HostOffset>,
}

impl Tail {
    /// Takes the smallest rest that holds `length` bytes out of the list.
    fn take_rest(&mut self, length: u64, g: Geometry) -> Option<HostOffset> {
        let left = |rest: &HostOffset| g.cluster_size() - g.within(rest.0);
        let fitting = self.rests.iter().enumerate().filter(|(_, rest)| left(rest) >= length);
        let (index, _) = fitting.min_by_key(|(_, rest)| left(rest))?;
        Some(self.rests.swap_remove(index))
    }

    /// `length` bytes at `offset`, a place from here, are taken.
    fn continue_at(&mut self, offset: HostOffset, length: u64, g: Geometry) {
        let end = HostOffset(offset.0 + length);
        if self.next == Some(offset) {
            self.next = Some(end);
        } else if !g.is_aligned(end.0) {
            self.rests.push(end);
        }
    }

    /// Writing goes on elsewhere.
    fn keep_rest(&mut self, g: Geometry) {
        if let Some(next) = self.next.take().filter(|next| !g.is_aligned(next.0)) {
            self.rests.push(next);
        }
        if self.rests.len() > MAX_RESTS {
            // The one with the least room is the least use.
            let least = self.rests.iter().enumerate().max_by_key(|(_, rest)| g.within(rest.0));
            if let Some(index) = least.map(|(index, _)| index) {
                self.rests.swap_remove(index);
            }
        }
    }
}

/// Host bytes for one compressed cluster, given back unless published.
struct PackedPlace<'a> {
    image: &'a Qcow2,
    offset: HostOffset,
    /// Where a reference was taken.
    touched: Option<HostRun>,
}

impl Drop for PackedPlace<'_> {
    fn drop(&mut self) {
        if let (Some(run), Ok(mut meta)) = (self.touched, self.image.meta_write()) {
            meta.tail = None;
            meta.give_back(run);
        }
    }
}

impl Meta {
    /// Clusters became free: what was unpacked from their bytes may be something else now.
    pub(super) fn compressed_released(&mut self) {
        self.generation += 1;
        self.tail = None;
    }

    /// Takes `length` bytes for compressed data, with a reference to each cluster touched.
    fn allocate_bytes(&mut self, length: u64) -> Result<(HostOffset, HostRun)> {
        let g = self.geometry;
        let mut tail = self.tail.take().unwrap_or_default();
        let place = match tail.next.filter(|next| !g.is_aligned(next.0)) {
            Some(next) if self.can_continue(next, length)? => Some(next),
            _ => tail.take_rest(length, g),
        };
        if let Some(offset) = place {
            let run = touched_by(offset, length, g);
            if self.refcount(run.first)? < g.max_refcount() {
                self.add_reference(run.first)?;
                let taken = match run.count {
                    1 => Ok(()),
                    _ => self.set_refcount(HostCluster(run.first.0 + 1), 1),
                };
                if let Err(error) = taken {
                    self.give_back(HostRun::one(run.first));
                    return Err(error);
                }
                tail.continue_at(offset, length, g);
                self.tail = Some(tail);
                return Ok((offset, run));
            }
        }
        let run = self.allocate(1)?;
        let offset = g.host_start(run.first);
        // What is left of the cluster before may do for something smaller.
        tail.keep_rest(g);
        tail.next = Some(HostOffset(offset.0 + length));
        self.tail = Some(tail);
        Ok((offset, run))
    }

    /// True if `length` bytes from `next` on end in its cluster, or in the one behind it and that is free.
    fn can_continue(&mut self, next: HostOffset, length: u64) -> Result<bool> {
        let run = touched_by(next, length, self.geometry);
        let second = HostCluster(run.first.0 + 1);
        if run.count == 1 {
            return Ok(true);
        }
        if run.count > 2
            || second.0 >= self.counted_clusters()
            || self.block_for(second)?.is_none()
            || self.refcount(second)? > 0
        {
            return Ok(false);
        }
        self.check_overlap(HostRun::one(second))?;
        Ok(true)
    }
}

impl Qcow2 {
    /// Reads part of a compressed cluster.
    pub(super) fn read_compressed(
        &self,
        place: Compressed,
        buf: &mut [u8],
        at: u64,
        generation: u64,
    ) -> Result<()> {
        let g = self.geometry;
        let inside = g.within(at) as usize;
        if buf.len() as u64 == g.cluster_size() {
            return self.unpack(place, buf, at);
        }
        let kept = {
            let list = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
            list.iter()
                .find(|kept| kept.place == place && kept.generation == generation)
                .map(|kept| Arc::clone(&kept.bytes))
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let mut cluster = vec![0; g.cluster_size() as usize];
                self.unpack(place, &mut cluster, at)?;
                let bytes: Arc<[u8]> = cluster.into();
                let mut list = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                list.truncate(KEPT_CLUSTERS - 1);
                list.push_front(Unpacked { place, generation, bytes: Arc::clone(&bytes) });
                bytes
            }
        };
        let part = bytes.get(inside..inside + buf.len()).unwrap_or_default();
        if part.len() != buf.len() {
            return Err(Error::Invalid("A compressed cluster was asked for more than it holds".to_owned()));
        }
        buf.copy_from_slice(part);
        Ok(())
    }

    fn unpack(&self, place: Compressed, cluster: &mut [u8], at: u64) -> Result<()> {
        let name = self.file.name();
        if place.offset.0 >= self.file.size() {
            let what = format!("the compressed cluster for disk offset {at} lies beyond the end of the file");
            return Err(Error::corrupt_at(name, place.offset.0, what));
        }
        let mut packed = vec![0; place.length as usize];
        read_padded(&*self.file, &mut packed, place.offset.0)?;
        decompress(self.compression, &packed, cluster).map_err(|why| {
            let what = format!("the compressed cluster for disk offset {at} cannot be unpacked: {why}");
            Error::corrupt_at(name, place.offset.0, what)
        })
    }

    /// Stores one cluster that [`Compressor::compress`] has packed, at cluster-aligned `offset`.
    ///
    /// # Errors
    /// For an offset that is not the start of a cluster of the disk, and when the file cannot be written.
    pub(super) fn write_packed(&self, offset: u64, packed: &[u8]) -> Result<()> {
        let g = self.geometry;
        if g.data_file {
            return Err(Error::Invalid("Operation not supported".to_owned()));
        }
        if self.crypt.is_some() {
            // Packed clusters are never encrypted: their contents would lie open.
            let what = "Compression and encryption not supported at the same time";
            return Err(Error::unsupported(self.file.name(), what));
        }
        if !g.is_aligned(offset) || packed.is_empty() || packed.len() as u64 >= g.cluster_size() {
            let what = format!(
                "a compressed write must cover one whole cluster of {} bytes and be smaller than it",
                g.cluster_size()
            );
            return Err(Error::unsupported(self.file.name(), what));
        }
        let length = self.size().saturating_sub(offset).clamp(1, g.cluster_size());
        let _gate = self.enter_to_write(offset, length)?;
        let cluster = g.guest_cluster(GuestOffset(offset));
        let claim = Claim::wait(self, cluster, 1)?;
        let (mut place, _in_use): (PackedPlace<'_>, InUse) = {
            let mut meta = self.meta_write()?;
            meta.make_room()?;
            meta.l2_for_write(cluster)?;
            let (offset, touched) = meta.allocate_bytes(packed.len() as u64)?;
            (PackedPlace { image: self, offset, touched: Some(touched) }, meta.freeing.in_use())
        };
        write_all(&*self.file, packed, place.offset.0)?;
        let Some(entry) = Compressed::entry(place.offset, packed.len() as u64, g) else {
            return Err(Error::unsupported(
                self.file.name(),
                "the compressed cluster lies too far into the file",
            ));
        };
        let mut meta = self.meta_write()?;
        meta.publish(cluster, |_| entry)?;
        place.touched = None;
        drop(meta);
        drop(claim);
        Ok(())
    }

    /// Packs and stores one cluster; stores it as it is when that is no gain.
    pub(super) fn write_compressed(&self, offset: u64, data: &[u8]) -> Result<()> {
        check_range(self, offset, data.len() as u64)?;
        let whole = data.len() as u64 == self.geometry.cluster_size();
        let last = offset + data.len() as u64 == self.size();
        if !self.geometry.is_aligned(offset)
            || !(whole || last)
            || data.len() as u64 > self.geometry.cluster_size()
        {
            let what = "a compressed write must cover exactly one cluster";
            return Err(Error::unsupported(self.file.name(), what));
        }
        if self.geometry.data_file {
            return Err(Error::Invalid("Operation not supported".to_owned()));
        }
        match Compressor::new(self.compression, self.geometry, None).compress(data) {
            Some(packed) => self.write_packed(offset, &packed),
            None => self.write_at(data, offset),
        }
    }
}

/// Used by checks: the entry of a compressed cluster never says COPIED.
pub(super) fn is_valid_flag(entry: L2Entry) -> bool {
    !(entry.is_compressed() && entry.is_copied())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn sample(seed: u64, length: usize) -> Vec<u8> {
        // Text-like: repeats within and beyond 4 KiB.
        (0..length as u64).map(|i| ((i * seed / 7) % 61 + (i / 5000) % 3) as u8).collect()
    }

    #[test]
    fn both_codecs_restore_and_tolerate_trailing_bytes() {
        for kind in [CompressionType::Zlib, CompressionType::Zstd] {
            for bits in [9, 12, 16, 21] {
                let geometry = Geometry {
                    version: 3,
                    cluster_bits: bits,
                    refcount_order: 4,
                    extended: false,
                    data_file: false,
                };
                let data = sample(3, 1 << bits);
                let mut packed = Compressor::new(kind, geometry, None).compress(&data).unwrap();
                let length = packed.len();
                packed.extend_from_slice(&[0xa5; 300]);
                let mut out = vec![1; 1 << bits];
                decompress(kind, &packed, &mut out).unwrap();
                assert!(out == data);
                assert!(decompress(kind, &packed[..length / 2], &mut out).is_err());
            }
        }
    }

    #[test]
    fn noise_is_not_worth_packing() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..65536)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let geometry =
            Geometry { version: 3, cluster_bits: 16, refcount_order: 4, extended: false, data_file: false };
        for kind in [CompressionType::Zlib, CompressionType::Zstd] {
            assert!(Compressor::new(kind, geometry, None).compress(&noise).is_none());
        }
    }

    #[test]
    fn deflate_streams_with_a_large_window_are_read() {
        let data = sample(11, 65536);
        let mut out = vec![0; 65536];
        let mut stream = Compress::new(Compression::best(), false);
        stream.compress(&data, &mut out, FlushCompress::Finish).unwrap();
        let length = stream.total_out() as usize;
        let mut back = vec![0; 65536];
        decompress(CompressionType::Zlib, &out[..length], &mut back).unwrap();
        assert!(back == data);
    }
}
