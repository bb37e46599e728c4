//! Writing an image to something that takes bytes in order.
//!
//! Nothing is stored in between. Clusters are packed twice where they are to be compressed: once to learn
//! their lengths, which the tables in front of them name, and once to write them.

use std::io::Write;
use std::ops::Range;

use super::super::compress::Compressor;
use super::super::create::CreateOptions;
use super::super::refcount;
use super::super::storage::table_bytes;
use super::super::table::{Compressed, L1Entry, L2Entry};
use super::super::units::{Geometry, GuestCluster, HostCluster, HostOffset};
use super::layout::{Contents, Layout, Piece, length_of, place_of};
use crate::block::{Block, Preallocation};
use crate::error::{Error, Result};
use crate::job::Progress;
use crate::job::ordered::ordered;

/// Bytes of the disk that are dealt with at once.
const PIECE: u64 = 1 << 20;

/// How an image is written.
pub struct StreamManner<'a> {
    /// Threads, at least one.
    pub workers: usize,
    /// Compress the clusters, with this effort.
    pub compress: Option<Option<u32>>,
    /// Learns of every byte, and may cancel.
    pub progress: &'a dyn Progress,
}

/// Writes the image of `source` that `options` describe to `out`. The source must not change meanwhile.
///
/// # Errors
/// For options that only a file can fulfil; when the source cannot be read or the target not be written.
pub fn write_stream(
    source: &dyn Block,
    options: &CreateOptions,
    out: &mut dyn Write,
    manner: &StreamManner,
) -> Result<()> {
    let refused = [
        (options.backing_file.is_some(), "a backing file"),
        (options.data_file.is_some(), "a data file"),
        (options.encryption.is_some(), "encryption"),
        (options.preallocation != Preallocation::Off, "preallocation"),
        (manner.compress.is_some() && options.refcount_bits < 16, "compression with refcount_bits below 16"),
    ];
    if let Some((_, what)) = refused.iter().find(|(wrong, _)| *wrong) {
        return Err(Error::Invalid(format!("An image that is written to a pipe cannot have {what}")));
    }
    options.validate()?;
    let g = options.geometry()?;
    let writer = Writer { source, g, manner, compressor: None };
    writer.write(options, out)
}

struct Writer<'a> {
    source: &'a dyn Block,
    g: Geometry,
    manner: &'a StreamManner<'a>,
    compressor: Option<Compressor>,
}

impl Writer<'_> {
    fn write(mut self, options: &CreateOptions, out: &mut dyn Write) -> Result<()> {
        let g = self.g;
        let size = self.source.size().next_multiple_of(512);
        let mut contents = self.look(size)?;
        let rounds = 1 + u64::from(self.manner.compress.is_some());
        self.manner.progress.step("Writing", contents.clusters().count() as u64 * g.cluster_size() * rounds);
        if let Some(level) = self.manner.compress {
            self.compressor = Some(Compressor::new(options.compression, g, level));
            contents.packed = self.measure(&contents)?;
        }
        let bytes = contents.place(g, |_, _, _| {});
        let mut tables: Vec<u64> =
            contents.clusters().map(|(_, c)| g.l1_index(GuestCluster(c)) as u64).collect();
        tables.dedup();
        let l1_entries = g.l1_entries_for(size);
        let layout = Layout::new(g, l1_entries, tables.len() as u64, g.clusters_for(bytes))?;

        let mut out = Output { out, at: 0 };
        let mut header = options.header(g);
        header.size = size;
        header.l1_size = u32::try_from(l1_entries).unwrap_or(u32::MAX);
        header.l1_offset = g.host_start(HostCluster(layout.l1_at())).0;
        header.refcount_table_clusters = u32::try_from(layout.refcount_table).unwrap_or(u32::MAX);
        out.write(&header.encode("the new image")?)?;
        self.write_refcounts(&layout, &mut contents, &mut out)?;

        out.pad_to(g.host_start(HostCluster(layout.l1_at())).0)?;
        let mut l1 = vec![0; l1_entries as usize];
        for (&index, cluster) in tables.iter().zip(layout.l2_at()..) {
            if let Some(entry) = l1.get_mut(index as usize) {
                *entry = L1Entry::owned(g.host_start(HostCluster(cluster))).0;
            }
        }
        out.write(&table_bytes(&l1))?;
        drop(l1);
        self.write_l2(&layout, &mut contents, &mut out)?;
        self.write_data(&layout, &contents, &mut out)
    }

    /// Where the source holds data, as far as it knows.
    fn look(&self, size: u64) -> Result<Contents> {
        let g = self.g;
        let per_piece = (PIECE >> g.cluster_bits).max(1);
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut at, end) = (0, self.source.size());
        while at < end {
            self.cancelled()?;
            let extent = self.source.status(at..end)?;
            let (start, stop) = (at, at + extent.length);
            at = stop;
            if extent.zero {
                continue;
            }
            // A cluster that is stored in part counts as data, once.
            let after_last = pieces.last().map_or(0, |last| last.first + last.count);
            let mut cluster = (start >> g.cluster_bits).max(after_last);
            let stop = g.clusters_for(stop.min(size));
            while cluster < stop {
                match pieces.last_mut() {
                    Some(last) if last.first + last.count == cluster && last.count < per_piece => {
                        last.count += 1;
                        cluster += 1;
                    }
                    _ => pieces.push(Piece { first: cluster, count: 0, start: 0 }),
                }
            }
        }
        Ok(Contents { pieces, packed: Vec::new() })
    }

    /// The packed length of every data cluster.
    fn measure(&self, contents: &Contents) -> Result<Vec<u32>> {
        let mut lengths = Vec::new();
        let count = contents.pieces.len() as u64;
        let make = |number| {
            let Some(piece) = contents.pieces.get(number as usize) else { return Ok(Vec::new()) };
            let mut lengths = Vec::new();
            self.each_cluster(piece, |bytes| {
                let packed = self.compressor.as_ref().and_then(|compressor| compressor.compress(bytes));
                lengths.push(packed.map_or(0, |packed| packed.len() as u32));
            })?;
            Ok(lengths)
        };
        ordered(count, self.manner.workers, make, |part| {
            self.manner.progress.advance(part.len() as u64 * self.g.cluster_size());
            lengths.extend(part);
            Ok(())
        })?;
        Ok(lengths)
    }

    fn write_refcounts(&self, layout: &Layout, contents: &mut Contents, out: &mut Output) -> Result<()> {
        let g = self.g;
        // Metadata and plain clusters have one reference each; a cluster of packed data has many.
        let mut counts = vec![1u32; layout.total() as usize];
        if !contents.packed.is_empty() {
            counts.iter_mut().skip(layout.data_at() as usize).for_each(|count| *count = 0);
            let base = g.host_start(HostCluster(layout.data_at())).0;
            contents.place(g, |_, start, packed| {
                let run = super::super::table::touched_by(HostOffset(base + start), length_of(g, packed), g);
                for cluster in run.clusters() {
                    if let Some(count) = counts.get_mut(cluster.0 as usize) {
                        *count += 1;
                    }
                }
            });
        }
        out.pad_to(g.cluster_size())?;
        let blocks = layout.refcount_blocks_at()..layout.l1_at();
        let table: Vec<u64> = blocks.map(|cluster| g.host_start(HostCluster(cluster)).0).collect();
        out.write(&table_bytes(&table))?;
        out.pad_to(g.host_start(HostCluster(layout.refcount_blocks_at())).0)?;
        for part in counts.chunks(g.refblock_entries() as usize) {
            let mut block = vec![0; g.cluster_size() as usize];
            for (index, &count) in part.iter().enumerate() {
                refcount::set(&mut block, index, g.refcount_order, u64::from(count));
            }
            out.write(&block)?;
        }
        Ok(())
    }

    fn write_l2(&self, layout: &Layout, contents: &mut Contents, out: &mut Output) -> Result<()> {
        let g = self.g;
        out.pad_to(g.host_start(HostCluster(layout.l2_at())).0)?;
        let base = g.host_start(HostCluster(layout.data_at())).0;
        let mut table = vec![0; g.cluster_size() as usize];
        let mut current = None;
        let mut result = Ok(());
        contents.place(g, |cluster, start, packed| {
            let cluster = GuestCluster(cluster);
            let index = g.l1_index(cluster);
            if current.is_some_and(|current| current != index) && result.is_ok() {
                result = out.write(&table);
                table.fill(0);
            }
            current = Some(index);
            let host = HostOffset(base + start);
            let entry = match packed {
                0 => Some(L2Entry::owned(host, g)),
                length => Compressed::entry(host, u64::from(length), g),
            };
            match entry {
                Some(entry) => drop(entry.write(&mut table, g.l2_index(cluster) as usize, g)),
                None => {
                    let what = "The compressed image becomes too large for its format".to_owned();
                    result = Err(Error::Invalid(what));
                }
            }
        });
        result?;
        if current.is_some() { out.write(&table) } else { Ok(()) }
    }

    fn write_data(&self, layout: &Layout, contents: &Contents, out: &mut Output) -> Result<()> {
        let g = self.g;
        let base = g.host_start(HostCluster(layout.data_at())).0;
        out.pad_to(base)?;
        // Where the packed lengths of each piece begin.
        let firsts: Vec<usize> = contents
            .pieces
            .iter()
            .scan(0, |index, piece| {
                let first = *index;
                *index += piece.count as usize;
                Some(first)
            })
            .collect();
        let make = |number: u64| {
            let number = number as usize;
            let (Some(piece), Some(&first)) = (contents.pieces.get(number), firsts.get(number)) else {
                return Ok((0, Vec::new()));
            };
            let lengths = contents.packed.get(first..first + piece.count as usize).unwrap_or_default();
            self.bytes_of(piece, lengths).map(|bytes| (piece.count, bytes))
        };
        ordered(contents.pieces.len() as u64, self.manner.workers, make, |(count, bytes)| {
            self.manner.progress.advance(count * g.cluster_size());
            out.write(&bytes)
        })?;
        out.pad_to(g.host_start(HostCluster(layout.total())).0)?;
        out.out.flush().map_err(|source| Error::io("write to", "standard output", source))
    }

    /// What one piece becomes in the file, from the end of what is before it.
    fn bytes_of(&self, piece: &Piece, lengths: &[u32]) -> Result<Vec<u8>> {
        let g = self.g;
        let mut bytes: Vec<u8> = Vec::new();
        let mut lengths = lengths.iter().copied();
        let mut changed = false;
        self.each_cluster(piece, |cluster| {
            let length = lengths.next().unwrap_or(0);
            let end = piece.start + bytes.len() as u64;
            bytes.resize((place_of(g, end, length) - piece.start) as usize, 0);
            if length == 0 {
                bytes.extend_from_slice(cluster);
                return;
            }
            let packed = self.compressor.as_ref().and_then(|compressor| compressor.compress(cluster));
            changed |= packed.as_ref().is_none_or(|packed| packed.len() != length as usize);
            bytes.extend(packed.unwrap_or_default());
        })?;
        if changed {
            let what = "it was changed while it was being read; what was written is no image";
            return Err(Error::unsupported(self.source.name(), what));
        }
        Ok(bytes)
    }

    /// Reads a piece and calls `take` for each of its clusters, the last one padded with zeroes.
    fn each_cluster(&self, piece: &Piece, mut take: impl FnMut(&[u8])) -> Result<()> {
        self.cancelled()?;
        let g = self.g;
        let range: Range<u64> = piece.first << g.cluster_bits..(piece.first + piece.count) << g.cluster_bits;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let visible = self.source.size().min(range.end).saturating_sub(range.start) as usize;
        if let Some(visible) = bytes.get_mut(..visible) {
            let read = self.source.read_at(visible, range.start);
            read.map_err(|e| e.context(format!("error while reading at byte {}", range.start)))?;
        }
        bytes.chunks(g.cluster_size() as usize).for_each(&mut take);
        Ok(())
    }

    fn cancelled(&self) -> Result<()> {
        if self.manner.progress.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// The target and how far it is.
struct Output<'a> {
    out: &'a mut dyn Write,
    at: u64,
}

impl Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        let written = self.out.write_all(bytes);
        written.map_err(|source| Error::io("write to", "standard output", source))
    }

    /// Writes zeroes up to `offset`.
    fn pad_to(&mut self, offset: u64) -> Result<()> {
        let zeroes = [0; 4096];
        while self.at < offset {
            let part = (offset - self.at).min(zeroes.len() as u64) as usize;
            self.write(zeroes.get(..part).unwrap_or_default())?;
        }
        Ok(())
    }
}
