//! Who may change what: claims on guest clusters, and host clusters that nobody refers to yet.
//!
//! A claim keeps everybody else from changing the mapping of the guest clusters that it names. Host clusters
//! that were taken into use are given back unless they are published.

use std::ops::Range;

use super::image::Qcow2;
use super::meta::Meta;
use super::units::{GuestCluster, HostRun};
use crate::error::Result;
use crate::sync::{MutexGuard, PoisonError};

/// The right to change the mapping of some guest clusters, until dropped.
pub(super) struct Claim<'a> {
    image: &'a Qcow2,
    pub(super) range: Range<u64>,
}

impl<'a> Claim<'a> {
    /// Claims clusters unless somebody else has any of them. `meta` is the image's own.
    pub(super) fn new(image: &'a Qcow2, meta: &mut Meta, first: GuestCluster, count: u64) -> Option<Self> {
        let range = first.0..first.0.saturating_add(count);
        if meta.is_claimed(&range) {
            return None;
        }
        meta.claims.push(range.clone());
        Some(Claim { image, range })
    }

    /// Claims clusters, waiting for others to be done with them.
    pub(super) fn wait(image: &'a Qcow2, first: GuestCluster, count: u64) -> Result<Self> {
        loop {
            let seen = image.claims_released();
            let mut meta = image.meta_write()?;
            if let Some(claim) = Self::new(image, &mut meta, first, count) {
                return Ok(claim);
            }
            drop(meta);
            image.wait_for_release(seen);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Ok(mut meta) = self.image.meta_write()
            && let Some(position) = meta.claims.iter().position(|claimed| *claimed == self.range)
        {
            meta.claims.swap_remove(position);
        }
        self.image.announce_release();
    }
}

/// Host clusters that were taken into use but that no table refers to yet.
pub(super) struct PendingClusters<'a> {
    pub(super) image: &'a Qcow2,
    pub(super) run: HostRun,
}

impl PendingClusters<'_> {
    /// The first `count` clusters have been published and are no longer ours to give back.
    pub(super) fn published(&mut self, count: u64) {
        self.run.first.0 += count;
        self.run.count -= count;
    }
}

impl Drop for PendingClusters<'_> {
    fn drop(&mut self) {
        if self.run.count > 0
            && let Ok(mut meta) = self.image.meta_write()
        {
            meta.give_back(self.run);
        }
    }
}

impl Meta {
    pub(super) fn is_claimed(&self, range: &Range<u64>) -> bool {
        self.claims.iter().any(|claimed| claimed.start < range.end && range.start < claimed.end)
    }
}

impl Qcow2 {
    pub(super) fn claims_released(&self) -> u64 {
        *self.releases()
    }

    /// Waits until claims have been released since `seen` was read.
    pub(super) fn wait_for_release(&self, seen: u64) {
        let mut now = self.releases();
        while *now == seen {
            now = self.released.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn announce_release(&self) {
        *self.releases() += 1;
        self.released.notify_all();
    }

    fn releases(&self) -> MutexGuard<'_, u64> {
        self.release_count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
