//! Reading an image from something that cannot seek, in one pass.
//!
//! Images are mostly laid out so that the tables come before the data that they map. What comes before its
//! table is kept in memory, up to a limit; an image that asks for more has to be saved to a file first. A
//! cluster that was given away once is never taken for something else.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Read;

use super::super::compress::decompress;
use super::super::header::{CryptMethod, Header};
use super::super::table::{Compressed, L1Entry, L2Entry, Mapping, entry_at};
use super::super::units::{Geometry, GuestCluster, HostOffset};
use crate::error::{Error, Result};
use crate::job::zero::is_zero;
use crate::storage::Memory;

/// Bytes that may be kept for tables to come.
const MAX_KEPT: usize = 64 << 20;
/// Bytes of compressed data that are kept for tables to come: neighbours share clusters.
const MAX_RECENT: usize = 8 << 20;
const NAME: &str = "standard input";

/// What a cluster of the file holds.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// A cluster of the L1 table, by number.
    L1(u64),
    /// The L2 table with this index.
    L2(usize),
    /// A cluster of the disk.
    Data(u64),
}

/// An image that is being read from beginning to end.
pub struct StreamReader<'a> {
    input: &'a mut dyn Read,
    header: Header,
    g: Geometry,
    first: Vec<u8>,
    /// What is known of clusters to come.
    expected: HashMap<u64, Role>,
    l1: Vec<u8>,
    l1_missing: u64,
    /// Compressed clusters that are not complete yet, by where they begin: their place and the guest's cluster.
    packed: BTreeMap<u64, (Compressed, u64)>,
    /// Clusters that compressed data needs.
    window: BTreeMap<u64, Vec<u8>>,
    /// Clusters that nobody has asked for yet, except those that are zero.
    kept: HashMap<u64, Vec<u8>>,
    /// Those of them that hold compressed data whose tables are known, oldest first.
    recent: VecDeque<u64>,
    /// Clusters that have been given away, one bit each.
    given: Vec<u64>,
    /// Clusters that were read.
    read: u64,
}

impl<'a> StreamReader<'a> {
    /// Reads the header. `head` is what has been read of the stream already.
    ///
    /// # Errors
    /// When it is no image, or one that needs other files or a key.
    pub fn open(input: &'a mut dyn Read, head: &[u8]) -> Result<Self> {
        let mut first = head.to_vec();
        fill(input, &mut first, 512)?;
        let bits = first.get(20..24).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_be_bytes(*b));
        if (9..=21).contains(&bits) {
            fill(input, &mut first, 1 << bits)?;
        }
        let header = Header::read(&Memory::from_bytes(&first), false)?;
        let g = header.geometry;
        let refused = [
            (header.backing_name.is_some(), "an image with a backing file"),
            (g.data_file, "an image with a data file"),
            (header.crypt != CryptMethod::None, "an encrypted image"),
            (g.extended, "an image with subclusters"),
        ];
        if let Some((_, what)) = refused.iter().find(|(wrong, _)| *wrong) {
            let what = format!("{what} cannot be read from a pipe; save it to a file first");
            return Err(Error::unsupported(NAME, what));
        }
        let l1_clusters = g.clusters_for(u64::from(header.l1_size) * 8);
        let start = header.l1_offset >> g.cluster_bits;
        let expected = (0..l1_clusters).map(|i| (start + i, Role::L1(i))).collect();
        Ok(StreamReader {
            input,
            g,
            first,
            expected,
            l1: Vec::new(),
            l1_missing: l1_clusters,
            packed: BTreeMap::new(),
            window: BTreeMap::new(),
            kept: HashMap::new(),
            recent: VecDeque::new(),
            given: Vec::new(),
            read: 0,
            header,
        })
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.header.size
    }

    /// Bytes of a cluster: data comes in these units.
    pub fn cluster_size(&self) -> u64 {
        self.g.cluster_size()
    }

    /// Reads everything, and calls `take` with the bytes of the disk as they come, a cluster (or what there is
    /// of the last one) at a time, with their offset. What is not mentioned is zero.
    ///
    /// # Errors
    /// When the stream ends too early or is damaged, when too much comes before its tables; and what `take`
    /// returns.
    pub fn run(mut self, take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>) -> Result<()> {
        let size = self.g.cluster_size() as usize;
        let first = std::mem::take(&mut self.first);
        self.give(0)?;
        self.read = 1;
        drop(first);
        loop {
            let mut bytes = Vec::with_capacity(size);
            fill(self.input, &mut bytes, size)?;
            if bytes.is_empty() {
                break;
            }
            let ends = bytes.len() < size;
            bytes.resize(size, 0);
            let index = self.read;
            self.read += 1;
            self.deliver(index, bytes, take)?;
            if ends {
                break;
            }
        }
        if self.l1_missing > 0 || !self.expected.is_empty() || !self.packed.is_empty() {
            let what = "the stream ends before everything that its tables name has come";
            return Err(Error::corrupt_at(NAME, self.read << self.g.cluster_bits, what));
        }
        Ok(())
    }

    /// Deals with one cluster of the file.
    fn deliver(
        &mut self,
        index: u64,
        bytes: Vec<u8>,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let end = self.read << self.g.cluster_bits;
        // Compressed data shares clusters, and begins in one and ends in the next.
        if self.packed.range(..end).next().is_some() {
            if self.expected.contains_key(&index) {
                return Err(used_twice(index << self.g.cluster_bits));
            }
            self.window.insert(index, bytes.clone());
            while let Some((&start, &(place, guest))) = self.packed.iter().next() {
                if place.offset.0 + place.length > end {
                    break;
                }
                self.packed.remove(&start);
                self.unpack(place, guest, take)?;
            }
            let needed = self.packed.keys().next().map_or(u64::MAX, |start| start >> self.g.cluster_bits);
            self.window = self.window.split_off(&needed);
            return self.keep_recent(index, bytes);
        }
        match self.expected.remove(&index) {
            None => self.keep(index, bytes),
            Some(role) => {
                self.give(index)?;
                self.play(role, bytes, take)
            }
        }
    }

    fn play(
        &mut self,
        role: Role,
        bytes: Vec<u8>,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        match role {
            Role::Data(guest) => self.emit(guest, bytes, take),
            Role::L2(index) => self.map(index, &bytes, take),
            Role::L1(part) => {
                let start = (part << self.g.cluster_bits) as usize;
                self.l1.resize(self.l1.len().max(start + bytes.len()), 0);
                if let Some(place) = self.l1.get_mut(start..start + bytes.len()) {
                    place.copy_from_slice(&bytes);
                }
                self.l1_missing -= 1;
                if self.l1_missing > 0 { Ok(()) } else { self.map_tables(take) }
            }
        }
    }

    /// The L1 table is complete.
    fn map_tables(&mut self, take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>) -> Result<()> {
        let l1 = std::mem::take(&mut self.l1);
        for index in 0..self.header.l1_size as usize {
            let Some(table) = entry_at(&l1, index).and_then(|entry| L1Entry(entry).table()) else { continue };
            if !self.g.is_aligned(table.0) {
                return Err(Error::corrupt_at(NAME, table.0, "an L2 table is not at the start of a cluster"));
            }
            self.want(table, Role::L2(index), take)?;
        }
        Ok(())
    }

    /// An L2 table has come.
    fn map(
        &mut self,
        table: usize,
        bytes: &[u8],
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let g = self.g;
        for index in 0..g.l2_entries() {
            let Some(entry) = L2Entry::read(bytes, index as usize, g) else { break };
            let guest = table as u64 * g.l2_entries() + index;
            let wrong = |bad: super::super::table::BadEntry| Error::corrupt(NAME, bad.text(entry));
            match entry.decode(g).map_err(wrong)? {
                Mapping::Unallocated | Mapping::Zero(_) | Mapping::Mixed(..) => {}
                _ if g.guest_start(GuestCluster(guest)).0 >= self.header.size => {}
                Mapping::Data(host) => self.want(host, Role::Data(guest), take)?,
                Mapping::Compressed(place) => {
                    if place.offset.0 + place.length > self.read << g.cluster_bits {
                        if self.packed.insert(place.offset.0, (place, guest)).is_some() {
                            return Err(used_twice(place.offset.0));
                        }
                        self.begin_window(place);
                    } else {
                        self.unpack(place, guest, take)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What was kept of a compressed cluster that is still to be completed.
    fn begin_window(&mut self, place: Compressed) {
        for cluster in place.touched(self.g).clusters().filter(|cluster| cluster.0 < self.read) {
            if let Some(bytes) = self.kept.get(&cluster.0) {
                self.window.insert(cluster.0, bytes.clone());
            }
        }
    }

    /// A table names the cluster at `host`: it is dealt with now if it has come, else when it comes.
    fn want(
        &mut self,
        host: HostOffset,
        role: Role,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let cluster = host.0 >> self.g.cluster_bits;
        if cluster >= self.read {
            if self.expected.insert(cluster, role).is_some() {
                return Err(used_twice(host.0));
            }
            return Ok(());
        }
        self.give(cluster)?;
        match self.kept.remove(&cluster) {
            Some(bytes) => self.play(role, bytes, take),
            // It was zero: as data that is what the target shows anyway, as a table it maps nothing.
            None => Ok(()),
        }
    }

    fn unpack(
        &mut self,
        place: Compressed,
        guest: u64,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let g = self.g;
        let mut packed = Vec::with_capacity(place.length as usize);
        let (mut at, end) = (place.offset.0, place.offset.0 + place.length);
        while at < end {
            let cluster = at >> g.cluster_bits;
            let inside = g.within(at) as usize;
            let length = (end - at).min(g.cluster_size() - g.within(at)) as usize;
            if self.is_given(cluster) {
                return Err(used_twice(at));
            }
            let bytes = self.window.get(&cluster).or_else(|| self.kept.get(&cluster));
            match bytes.and_then(|bytes| bytes.get(inside..inside + length)) {
                Some(part) => packed.extend_from_slice(part),
                // What is zero is not kept.
                None => packed.resize(packed.len() + length, 0),
            }
            at += length as u64;
        }
        let mut cluster = vec![0; g.cluster_size() as usize];
        decompress(self.header.compression, &packed, &mut cluster)
            .map_err(|why| Error::corrupt_at(NAME, place.offset.0, format!("a compressed cluster: {why}")))?;
        self.emit(guest, cluster, take)
    }

    fn emit(
        &self,
        guest: u64,
        mut bytes: Vec<u8>,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let start = self.g.guest_start(GuestCluster(guest)).0;
        bytes.truncate(self.header.size.saturating_sub(start).min(bytes.len() as u64) as usize);
        if bytes.is_empty() { Ok(()) } else { take(start, bytes) }
    }

    fn keep(&mut self, cluster: u64, bytes: Vec<u8>) -> Result<()> {
        if is_zero(&bytes) {
            return Ok(());
        }
        if (self.kept.len() + 1) * bytes.len() > MAX_KEPT {
            let what = "too much of the image comes before the tables that map it; save it to a file first";
            return Err(Error::unsupported(NAME, what));
        }
        self.kept.insert(cluster, bytes);
        Ok(())
    }

    /// Keeps a cluster of compressed data for a while: the next table may map the rest of it.
    fn keep_recent(&mut self, cluster: u64, bytes: Vec<u8>) -> Result<()> {
        let length = bytes.len();
        self.keep(cluster, bytes)?;
        self.recent.push_back(cluster);
        if self.recent.len() > 2
            && self.recent.len() * length > MAX_RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.kept.remove(&oldest);
            self.give(oldest)?;
        }
        Ok(())
    }

    /// Notes that a cluster has found its use.
    fn give(&mut self, cluster: u64) -> Result<()> {
        if self.is_given(cluster) {
            return Err(used_twice(cluster << self.g.cluster_bits));
        }
        let word = (cluster / 64) as usize;
        self.given.resize(self.given.len().max(word + 1), 0);
        if let Some(word) = self.given.get_mut(word) {
            *word |= 1 << (cluster % 64);
        }
        Ok(())
    }

    fn is_given(&self, cluster: u64) -> bool {
        let word = self.given.get((cluster / 64) as usize);
        word.is_some_and(|word| word & (1 << (cluster % 64)) != 0)
    }
}

fn used_twice(offset: u64) -> Error {
    let what = "a cluster is used twice, or too late to be read in one pass; save the image to a file first";
    Error::corrupt_at(NAME, offset, what)
}

/// Reads until `bytes` has `length` bytes or the stream ends.
fn fill(input: &mut dyn Read, bytes: &mut Vec<u8>, length: usize) -> Result<()> {
    let missing = length.saturating_sub(bytes.len()) as u64;
    let read = input.take(missing).read_to_end(bytes);
    read.map(drop).map_err(|source| Error::io("read", NAME, source))
}
