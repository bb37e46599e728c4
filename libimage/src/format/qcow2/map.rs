//! From a guest offset to where its bytes are.
//!
//! Runs are as long as the cached part of the tables can tell, so that one large request becomes few
//! large ones. Looking up needs no exclusive access; a page that is not cached is reported as missing.

use super::cache::Absent;
use super::meta::Meta;
use super::subcluster::Part;
use super::table::{BadEntry, Compressed, L1Entry, L2Entry, Mapping};
use super::units::{GuestCluster, GuestOffset, HostOffset};
use crate::error::{Error, Result};

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Zeroes; a host cluster at the offset may be kept for them.
    Zero(Option<HostOffset>),
    /// The backing file, or zeroes without one.
    Backing,
    /// The same; a host cluster at the offset is kept for what will be written.
    Reserved(HostOffset),
    /// The image file, from this offset on.
    Data(HostOffset),
    /// One compressed cluster.
    Compressed(Compressed),
}

/// The answer to a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// So many bytes come from there.
    Found(Source, u64),
    /// The page of an L2 table at this host offset must be loaded first.
    Missing(u64),
}

/// Position of an L2 entry: its page in the file and its index there.
pub(super) struct EntryPlace {
    pub(super) page: u64,
    pub(super) index: usize,
}

impl Meta {
    /// Where the entry for `cluster` lies in `table`.
    pub(super) fn entry_place(&self, table: HostOffset, cluster: GuestCluster) -> EntryPlace {
        let size = self.geometry.l2_entry_size();
        let byte = self.geometry.l2_index(cluster) * size;
        let page = self.geometry.page_size();
        EntryPlace { page: table.0 + (byte & !(page - 1)), index: ((byte & (page - 1)) / size) as usize }
    }

    /// Finds the source of up to `length` bytes from `at` on, by the given L1 table.
    pub(super) fn look_up(&self, l1: &[u64], at: GuestOffset, length: u64) -> Result<Lookup> {
        let g = self.geometry;
        let mut run: Option<(Source, u64)> = None;
        let end = at.0.saturating_add(length);
        let mut position = at.0;
        while position < end {
            let cluster = g.guest_cluster(GuestOffset(position));
            let index = g.l1_index(cluster);
            let entry = L1Entry(l1.get(index).copied().unwrap_or(0));
            let Some(table) = self.l2_table(entry)? else {
                let covered = (index as u64 + 1).saturating_mul(g.l2_coverage()).min(end);
                if !extend(&mut run, Source::Backing, covered - position) {
                    break;
                }
                position = covered;
                continue;
            };
            let place = self.entry_place(table, cluster);
            let Some(page) = self.l2.get(place.page) else {
                match run {
                    None => return Ok(Lookup::Missing(place.page)),
                    Some(_) => break,
                }
            };
            let (after, more) = self.scan(page, place.index, position, end, &mut run)?;
            position = after;
            if !more {
                break;
            }
        }
        // An empty request never gets here; a run always holds at least one byte.
        let (source, length) = run.unwrap_or((Source::Backing, 0));
        Ok(Lookup::Found(source, length))
    }

    /// Extends `run` over entries of one page; false when the run ends there.
    fn scan(
        &self,
        page: &[u8],
        first: usize,
        mut position: u64,
        request_end: u64,
        run: &mut Option<(Source, u64)>,
    ) -> Result<(u64, bool)> {
        let g = self.geometry;
        let mut index = first;
        while position < request_end {
            let Some(entry) = L2Entry::read(page, index, g) else { break };
            let inside = g.within(position);
            let source = match self.decode(entry, g.guest_cluster(GuestOffset(position))) {
                Ok(Mapping::Mixed(host, map)) => {
                    // Part by part; the next round begins where this cluster goes on.
                    let (part, length) = map.run(g.subcluster(position) as u32);
                    let source = source_of_part(part, host, inside);
                    let end = (g.subcluster(position) + u64::from(length)) * g.unit_size();
                    let length = (end - inside).min(request_end - position);
                    if !extend(run, source, length) {
                        return Ok((position, false));
                    }
                    position += length;
                    index += usize::from(end == g.cluster_size());
                    continue;
                }
                Ok(mapping) => source_of(mapping, inside),
                // Damage ends a run; a request that begins with it fails.
                Err(error) if run.is_none() => return Err(error),
                Err(_) => return Ok((position, false)),
            };
            let part = (g.cluster_size() - inside).min(request_end - position);
            if !extend(run, source, part) {
                return Ok((position, false));
            }
            position += part;
            index += 1;
        }
        Ok((position, true))
    }

    /// Decodes the entry of `cluster`, or says what is wrong with it.
    pub(super) fn decode(&self, entry: L2Entry, cluster: GuestCluster) -> Result<Mapping> {
        let mut result = entry.decode(self.geometry);
        if self.geometry.data_file
            && let Ok(Mapping::Data(host) | Mapping::Mixed(Some(host), _)) = result
            && host.0 != self.geometry.guest_start(cluster).0
        {
            result = Err(BadEntry::Displaced);
        }
        result.map_err(|bad| Error::corrupt(self.file.name(), bad.text(entry)))
    }

    /// The page that holds the entry for `cluster` in the active tables, if it is in the file only.
    pub(super) fn absent_page(&self, cluster: GuestCluster) -> Option<Absent> {
        let entry = L1Entry(self.l1.get(self.geometry.l1_index(cluster)).copied()?);
        let table = self.l2_table(entry).ok()?.filter(|table| table.0 < self.file.size())?;
        let place = self.entry_place(table, cluster);
        self.l2.get(place.page).is_none().then(|| self.l2.absent(place.page))
    }

    /// The entry for `cluster` in the active tables, loading what is needed.
    pub(super) fn entry(&mut self, cluster: GuestCluster) -> Result<L2Entry> {
        let entry = L1Entry(self.l1.get(self.geometry.l1_index(cluster)).copied().unwrap_or(0));
        let Some(table) = self.l2_table(entry)? else { return Ok(L2Entry::UNALLOCATED) };
        let place = self.entry_place(table, cluster);
        let page = self.l2.load(&*self.file, place.page)?;
        Ok(L2Entry::read(page, place.index, self.geometry).unwrap_or(L2Entry::UNALLOCATED))
    }
}

fn source_of(mapping: Mapping, inside: u64) -> Source {
    match mapping {
        Mapping::Unallocated | Mapping::Mixed(..) => Source::Backing,
        Mapping::Zero(host) => Source::Zero(host.map(|host| HostOffset(host.0 + inside))),
        Mapping::Data(host) => Source::Data(HostOffset(host.0 + inside)),
        Mapping::Compressed(compressed) => Source::Compressed(compressed),
    }
}

fn source_of_part(part: Part, host: Option<HostOffset>, inside: u64) -> Source {
    let host = host.map(|host| HostOffset(host.0 + inside));
    match (part, host) {
        (Part::Data, Some(host)) => Source::Data(host),
        (Part::Zero, host) => Source::Zero(host),
        (Part::Below, Some(host)) => Source::Reserved(host),
        // Stored without a place is refused when the entry is decoded.
        (Part::Below | Part::Data, None) => Source::Backing,
    }
}

/// Lengthens the run if `source` continues it; false if it does not.
fn extend(run: &mut Option<(Source, u64)>, source: Source, length: u64) -> bool {
    match run {
        None => {
            *run = Some((source, length));
            true
        }
        Some((first, total)) => {
            let follows = match (*first, source) {
                (Source::Zero(None), Source::Zero(None)) | (Source::Backing, Source::Backing) => true,
                (Source::Zero(Some(a)), Source::Zero(Some(b)))
                | (Source::Data(a), Source::Data(b))
                | (Source::Reserved(a), Source::Reserved(b)) => a.0 + *total == b.0,
                _ => false,
            };
            if follows {
                *total += length;
            }
            follows
        }
    }
}
