//! The file allocation table: for every cluster, the one after it. exFAT has the same with wider numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::device::Device;
use super::super::system::{FsError, Result};
use crate::fields::Fields;

/// The number of the first cluster.
pub(in crate::fs) const FIRST: u32 = 2;
/// Chains that are kept, and how many runs they have in all.
const KEPT: usize = 1024;
const KEPT_RUNS: usize = 1 << 20;

/// How wide the table's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fs) enum Width {
    Twelve,
    Sixteen,
    /// Of which 28 bits count.
    ThirtyTwo,
    ExFat,
}

impl Width {
    pub(in crate::fs) fn bits(self) -> u64 {
        match self {
            Width::Twelve => 12,
            Width::Sixteen => 16,
            Width::ThirtyTwo | Width::ExFat => 32,
        }
    }

    /// Numbers from this one on end a chain.
    fn end(self) -> u32 {
        match self {
            Width::Twelve => 0xff7,
            Width::Sixteen => 0xfff7,
            Width::ThirtyTwo => 0x0fff_fff7,
            Width::ExFat => 0xffff_fff8,
        }
    }
}

/// The table, and the clusters that it is about.
pub(in crate::fs) struct Table {
    pub(in crate::fs) width: Width,
    /// Its first byte.
    pub(in crate::fs) start: u64,
    /// The number behind the last cluster's.
    pub(in crate::fs) end: u32,
    /// The first byte of the first cluster.
    pub(in crate::fs) data: u64,
    /// Bytes of a cluster.
    pub(in crate::fs) cluster: u64,
    pub(in crate::fs) kept: Mutex<HashMap<u32, Arc<Chain>>>,
}

/// Clusters in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Clusters of the chain before it.
    before: u32,
    first: u32,
    count: u32,
}

/// The clusters of a file or directory.
#[derive(Debug, Default)]
pub(in crate::fs) struct Chain {
    runs: Vec<Run>,
    pub(in crate::fs) clusters: u32,
}

impl Chain {
    fn push(&mut self, cluster: u32, count: u32) {
        let before = self.clusters;
        self.clusters += count;
        match self.runs.last_mut() {
            Some(last) if last.first + last.count == cluster => last.count += count,
            _ => self.runs.push(Run { before, first: cluster, count }),
        }
    }

    /// The cluster number `index` of the chain, and how many lie in a row from there.
    fn at(&self, index: u32) -> Option<(u32, u32)> {
        let after = self.runs.partition_point(|run| run.before <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let inside = index - run.before;
        (inside < run.count).then(|| (run.first + inside, run.count - inside))
    }
}

impl Table {
    fn corrupt(&self, device: &Device, what: String) -> FsError {
        device.corrupt(self.start, what).into()
    }

    fn is_cluster(&self, number: u32) -> bool {
        (FIRST..self.end).contains(&number)
    }

    /// The entry of a cluster.
    fn entry(&self, device: &Device, number: u32) -> Result<u32> {
        let number = u64::from(number);
        let mut bytes = [0; 4];
        let (at, length) = match self.width {
            Width::Twelve => (number + number / 2, 2),
            Width::Sixteen => (number * 2, 2),
            Width::ThirtyTwo | Width::ExFat => (number * 4, 4),
        };
        device.read(bytes.get_mut(..length).unwrap_or_default(), self.start + at)?;
        let value = u32::from_le_bytes(bytes);
        Ok(match self.width {
            Width::Twelve if number % 2 == 1 => value >> 4,
            Width::Twelve => value & 0xfff,
            Width::ThirtyTwo => value & 0x0fff_ffff,
            Width::Sixteen | Width::ExFat => value,
        })
    }

    /// The cluster after another one; `None` at the end of the chain.
    pub(in crate::fs) fn next(&self, device: &Device, number: u32) -> Result<Option<u32>> {
        if !self.is_cluster(number) {
            return Err(self.corrupt(device, format!("there is no cluster {number}")));
        }
        let next = self.entry(device, number)?;
        if next >= self.width.end() {
            return Ok(None);
        }
        if !self.is_cluster(next) {
            return Err(
                self.corrupt(device, format!("after cluster {number} comes {next}, which there is not"))
            );
        }
        Ok(Some(next))
    }

    /// The chain that begins with a cluster; 0 is the empty one.
    pub(in crate::fs) fn chain(&self, device: &Device, first: u32) -> Result<Arc<Chain>> {
        let mut chain = Chain::default();
        if first == 0 {
            return Ok(Arc::new(chain));
        }
        if let Some(found) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&first) {
            return Ok(Arc::clone(found));
        }
        let mut next = Some(first);
        while let Some(cluster) = next {
            next = self.next(device, cluster)?;
            chain.push(cluster, 1);
            if chain.clusters >= self.end {
                return Err(self.corrupt(device, format!("the chain of cluster {first} has no end")));
            }
        }
        let chain = Arc::new(chain);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT || kept.values().map(|chain| chain.runs.len()).sum::<usize>() > KEPT_RUNS {
            kept.clear();
        }
        kept.insert(first, Arc::clone(&chain));
        Ok(chain)
    }

    /// Clusters in a row, as exFAT has them without a chain.
    pub(in crate::fs) fn row(&self, device: &Device, first: u32, bytes: u64) -> Result<Arc<Chain>> {
        let mut chain = Chain::default();
        let count = bytes.div_ceil(self.cluster);
        if count > 0 {
            if !self.is_cluster(first) || count > u64::from(self.end - first) {
                let what = format!("{count} clusters from cluster {first} on lie behind the end");
                return Err(self.corrupt(device, what));
            }
            chain.push(first, count as u32);
        }
        Ok(Arc::new(chain))
    }

    /// Where a cluster lies on the device.
    pub(in crate::fs) fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(FIRST)) * self.cluster
    }

    /// Where a byte of a chain, which has it, lies on the device.
    pub(in crate::fs) fn place_of(&self, chain: &Chain, offset: u64) -> u64 {
        let index = u32::try_from(offset / self.cluster).unwrap_or(u32::MAX);
        let cluster = chain.at(index).map_or(0, |(cluster, _)| cluster);
        self.place(cluster) + offset % self.cluster
    }

    /// The cluster that a byte of the device lies in.
    pub(in crate::fs) fn cluster_at(&self, place: u64) -> Option<u32> {
        let cluster = place.checked_sub(self.data)? / self.cluster;
        u32::try_from(cluster).ok()?.checked_add(FIRST).filter(|cluster| self.is_cluster(*cluster))
    }

    /// Fills `into` from the byte `offset` of a chain on.
    pub(in crate::fs) fn read(
        &self,
        device: &Device,
        chain: &Chain,
        offset: u64,
        into: &mut [u8],
    ) -> Result<()> {
        let mut done = 0;
        while done < into.len() {
            let at = offset.saturating_add(done as u64);
            let (index, inside) = (at / self.cluster, at % self.cluster);
            let Some((cluster, count)) = u32::try_from(index).ok().and_then(|index| chain.at(index)) else {
                return Err(self.corrupt(device, format!("a chain ends before its byte {at}")));
            };
            let length = (u64::from(count) * self.cluster - inside).min((into.len() - done) as u64) as usize;
            let Some(part) = into.get_mut(done..done + length) else { break };
            device.read(part, self.place(cluster) + inside)?;
            done += length;
        }
        Ok(())
    }

    /// How many clusters the table says are free.
    pub(in crate::fs) fn free(&self, device: &Device) -> Result<u64> {
        let mut free = 0;
        if self.width == Width::Twelve {
            for number in FIRST..self.end {
                free += u64::from(self.entry(device, number)? == 0);
            }
            return Ok(free);
        }
        let size = self.width.bits() / 8;
        let (mut at, end) = (u64::from(FIRST) * size, u64::from(self.end) * size);
        let mut piece = vec![0; 32 << 10];
        while at < end {
            let length = (end - at).min(piece.len() as u64);
            let bytes = piece.get_mut(..length as usize).unwrap_or_default();
            device.read(bytes, self.start + at)?;
            free += match self.width {
                Width::Sixteen => bytes.chunks_exact(2).filter(|entry| **entry == [0; 2]).count(),
                _ => bytes.chunks_exact(4).filter(|entry| Fields(entry).le32(0) & 0x0fff_ffff == 0).count(),
            } as u64;
            at += length;
        }
        Ok(free)
    }
}
