//! Streams: the contents of an attribute, wherever they lie: in the record, in clusters, or packed.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use super::super::system::{FsError, Result};
use super::Ntfs;
use super::boot::Boot;
use super::inode::Inode;
use super::lznt1;
use super::record::Attribute;
use super::runs::Runs;

/// Flags of an attribute: the method of compression, of which there is one.
const METHOD: u16 = 0xff;
const LZNT1: u16 = 1;
const ENCRYPTED: u16 = 0x4000;
const SPARSE: u16 = 0x8000;
/// The largest piece that is packed as a whole, in bytes.
const MAX_UNIT: u64 = 1 << 20;
/// Unpacked pieces that are kept: those who read in small steps want each many times.
const KEPT: usize = 8;

/// Which piece it is: its file, its place there, and where it lies.
type Piece = (u64, u64, u64);
/// Pieces that were unpacked lately.
pub(super) type Unpacked = std::collections::VecDeque<(Piece, Arc<Vec<u8>>)>;

/// How large a stream is.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// In bytes.
    pub(super) size: u64,
    /// Bytes of the volume that it takes.
    pub(super) taken: u64,
}

impl Extent {
    pub(super) fn new(attribute: &Attribute<'_>) -> Extent {
        let Some(value) = attribute.value else {
            let is_thin = attribute.flags() & (LZNT1 | SPARSE) != 0;
            let taken = if is_thin { attribute.taken() } else { attribute.reserved() };
            return Extent { size: attribute.size(), taken };
        };
        let size = value.len() as u64;
        Extent { size, taken: size.next_multiple_of(8) }
    }
}

/// A stream that can be read.
pub(super) struct Stream {
    /// In bytes.
    pub(super) size: u64,
    /// Bytes reserved for it.
    pub(super) reserved: u64,
    is_encrypted: bool,
    data: Data,
}

enum Data {
    /// In the record.
    Here(Vec<u8>),
    Clusters {
        runs: Runs,
        /// Bytes behind this were never written.
        written: u64,
        /// Bytes that are packed together.
        unit: Option<u64>,
    },
}

impl Stream {
    /// From the first part of an attribute, yet without any clusters.
    pub(super) fn new(fs: &Ntfs, number: u64, attribute: &Attribute<'_>) -> Result<Stream> {
        let is_encrypted = attribute.flags() & ENCRYPTED != 0;
        if let Some(value) = attribute.value {
            let size = value.len() as u64;
            let data = Data::Here(value.to_vec());
            return Ok(Stream { size, reserved: size.next_multiple_of(8), is_encrypted, data });
        }
        let (size, written) = (attribute.size(), attribute.written());
        if size > i64::MAX.cast_unsigned() || written > size {
            return Err(fs.corrupt(number, "an attribute of it has an impossible size"));
        }
        let unit = match attribute.flags() & METHOD {
            0 => None,
            LZNT1 => {
                let unit = fs.boot.cluster.checked_shl(attribute.compression().into());
                let is_possible =
                    |unit: &u64| attribute.compression() > 0 && (4096..=MAX_UNIT).contains(unit);
                let unit = unit.filter(is_possible);
                Some(unit.ok_or_else(|| fs.corrupt(number, "it is packed in pieces of an impossible size"))?)
            }
            other => return Err(FsError::Unsupported(format!("a file is packed by method {other}"))),
        };
        let data = Data::Clusters { runs: Runs::default(), written, unit };
        Ok(Stream { size, reserved: attribute.reserved(), is_encrypted, data })
    }

    /// One without anything in it.
    pub(super) fn empty() -> Stream {
        Stream { size: 0, reserved: 0, is_encrypted: false, data: Data::Here(Vec::new()) }
    }

    /// Adds the clusters of a part.
    pub(super) fn add(&mut self, fs: &Ntfs, number: u64, attribute: &Attribute<'_>) -> Result<()> {
        let Data::Clusters { runs, .. } = &mut self.data else { return Ok(()) };
        if attribute.value.is_some() || attribute.first() != runs.end() {
            return Err(fs.corrupt(number, "the parts of an attribute do not follow each other"));
        }
        runs.unpack(attribute.packed_runs(), fs.boot.clusters).map_err(|what| fs.corrupt(number, what))?;
        if runs.end() != attribute.last().wrapping_add(1) && runs.end() != 0 {
            return Err(fs.corrupt(number, "its list of clusters is not as long as it should be"));
        }
        Ok(())
    }

    /// Whether every byte of it lies on the volume, and no more than that has.
    pub(super) fn is_solid(&self, boot: &Boot) -> bool {
        match &self.data {
            Data::Here(_) => true,
            Data::Clusters { runs, unit, .. } => {
                let space = boot.place(runs.end().min(boot.clusters));
                unit.is_none() && !runs.has_holes() && self.size <= space
            }
        }
    }
}

impl Ntfs {
    /// An attribute of a kind with a name, in UTF-16; `None` if there is none.
    pub(super) fn stream(&self, inode: &Inode, kind: u32, name: &[u8]) -> Result<Option<Stream>> {
        let mut stream = None;
        inode.attributes(self, kind, Some(name), &mut |attribute| {
            let stream = match &mut stream {
                Some(stream) => stream,
                none => none.insert(Stream::new(self, inode.number(), attribute)?),
            };
            stream.add(self, inode.number(), attribute)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(stream)
    }

    /// How large an attribute is; `None` if there is none.
    pub(super) fn extent(&self, inode: &Inode, kind: u32, name: &[u8]) -> Result<Option<Extent>> {
        let mut found = None;
        inode.attributes(self, kind, Some(name), &mut |attribute| {
            if attribute.value.is_none() && attribute.first() != 0 {
                return Err(
                    self.corrupt(inode.number(), "the parts of an attribute do not follow each other")
                );
            }
            found = Some(Extent::new(attribute));
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// All of an attribute that has at most `limit` bytes; `None` if it is not there or longer.
    pub(super) fn whole(&self, inode: &Inode, kind: u32, name: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(stream) = self.stream(inode, kind, name)?.filter(|stream| stream.size <= limit) else {
            return Ok(None);
        };
        let mut bytes = vec![0; stream.size as usize];
        self.read_stream(inode.number(), &stream, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Fills `into`, which ends at the stream's end at the latest, from the byte `offset` on.
    pub(super) fn read_stream(
        &self,
        number: u64,
        stream: &Stream,
        offset: u64,
        into: &mut [u8],
    ) -> Result<()> {
        if stream.is_encrypted && !into.is_empty() {
            return Err(FsError::Unsupported("the file is encrypted by Windows (EFS)".to_owned()));
        }
        let (runs, written, unit) = match &stream.data {
            Data::Here(bytes) => {
                let from =
                    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                copy(from, into);
                return Ok(());
            }
            Data::Clusters { runs, written, unit } => (runs, *written, *unit),
        };
        let within = usize::try_from(written.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (into, rest) = into.split_at_mut(into.len().min(within));
        rest.fill(0);
        let Some(unit) = unit else { return self.read_runs(number, runs, offset, into) };
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = offset + done as u64;
            let inside = at % unit;
            let count = rest.len().min((unit - inside) as usize);
            let part = rest.get_mut(..count).unwrap_or_default();
            match self.packed_clusters(number, runs, (at - inside) / self.boot.cluster, unit)? {
                0 => part.fill(0),
                packed if packed * self.boot.cluster == unit => self.read_runs(number, runs, at, part)?,
                packed => {
                    let first = (at - inside) / self.boot.cluster;
                    let unpacked = self.unpacked(number, runs, first, packed, unit)?;
                    copy(unpacked.get(inside as usize..).unwrap_or_default(), part);
                }
            }
            done += count;
        }
        Ok(())
    }

    fn read_runs(&self, number: u64, runs: &Runs, offset: u64, into: &mut [u8]) -> Result<()> {
        let cluster = self.boot.cluster;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = offset + done as u64;
            let inside = at % cluster;
            let run = runs.from(at / cluster);
            let run = run.ok_or_else(|| self.corrupt(number, "it is longer than its list of clusters"))?;
            let length = run.count.saturating_mul(cluster) - inside;
            let count = rest.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            let part = rest.get_mut(..count).unwrap_or_default();
            match run.at {
                None => part.fill(0),
                Some(start) => self.device.read(part, self.boot.place(start) + inside)?,
            }
            done += count;
        }
        Ok(())
    }

    /// How many clusters of a piece hold data: all of them, or fewer at its beginning, which are then packed.
    fn packed_clusters(&self, number: u64, runs: &Runs, first: u64, unit: u64) -> Result<u64> {
        let (mut at, end) = (first, first + unit / self.boot.cluster);
        let (mut held, mut is_over) = (0, false);
        while at < end {
            let run = runs.from(at);
            let run = run.ok_or_else(|| self.corrupt(number, "it is longer than its list of clusters"))?;
            let count = run.count.min(end - at);
            match run.at {
                None => is_over = true,
                Some(_) if is_over => {
                    return Err(self.corrupt(number, "a packed piece of it has a hole inside"));
                }
                Some(_) => held += count,
            }
            at += count;
        }
        Ok(held)
    }

    fn unpacked(&self, number: u64, runs: &Runs, first: u64, packed: u64, unit: u64) -> Result<Arc<Vec<u8>>> {
        let start = runs.from(first).and_then(|run| run.at).unwrap_or_default();
        let key = (number, first, start);
        let lock = || self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = lock().iter().find(|(other, _)| *other == key) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; (packed * self.boot.cluster) as usize];
        self.read_runs(number, runs, first * self.boot.cluster, &mut bytes)?;
        let mut all = vec![0; unit as usize];
        lznt1::unpack(&bytes, &mut all)
            .ok_or_else(|| self.corrupt(number, "some of its data cannot be unpacked"))?;
        let all = Arc::new(all);
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((key, Arc::clone(&all)));
        Ok(all)
    }
}

/// Fills `into` from the beginning of `bytes`, with zeroes behind their end.
fn copy(bytes: &[u8], into: &mut [u8]) {
    let count = bytes.len().min(into.len());
    let (start, rest) = into.split_at_mut(count);
    start.copy_from_slice(bytes.get(..count).unwrap_or_default());
    rest.fill(0);
}
