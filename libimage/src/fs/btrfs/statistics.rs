//! What `statfs` says: an estimate, which the kernel makes by asking what could still be allocated.

use super::super::system::{FsError, Result, Statistics};
use super::Btrfs;
use super::chunk::{DATA, Profile};
use super::entry::MAX_NAME;
use super::key::{BALANCE, DEVICES, Key, kind, tree};
use crate::fields::Fields;

/// Bytes at a device's beginning that are never allocated.
const BEGINNING: u64 = 1 << 20;
/// What each device has of a stripe.
const STRIPE: u64 = 64 << 10;
/// The kernel sets aside space to change so many items, each in this many nodes, when files are deleted.
const DELETED: u64 = 6;
const NODES: u64 = 16;
/// And never more than this.
const MOST_SET_ASIDE: u64 = 512 << 20;

/// A device: bytes in all, and how many of them chunks have.
struct Member {
    total: u64,
    used: u64,
}

impl Btrfs {
    pub(super) fn statfs(&self) -> Result<Statistics> {
        let superblock = &self.trees.superblock;
        if self.trees.get(&superblock.roots, Key::new(BALANCE, kind::TEMPORARY, 0))?.is_some() {
            return Err(FsError::Unsupported(
                "a balance is under way, which changes what is free".to_owned(),
            ));
        }
        let members = self.members()?;
        let profile = self.data_profile(members.len());
        let groups = self.needed_root(match superblock.has_block_group_tree {
            true => tree::BLOCK_GROUPS,
            false => tree::EXTENTS,
        })?;
        let overflow = || self.trees.pool.corrupt(0, "its chunks have impossible sizes");
        // All of it in bytes of the devices, with all copies.
        let (mut used, mut free) = (0u64, 0u64);
        let mut factor = (0, 1);
        for chunk in &self.trees.pool.chunks {
            let key = Key::new(chunk.start, kind::BLOCK_GROUP, chunk.length);
            let group = self.trees.get(&groups.top, key)?;
            let group =
                group.ok_or_else(|| self.trees.pool.corrupt(chunk.start, "a chunk has no block group"))?;
            let inside = Fields(&group).le64(0);
            let copies = chunk.profile.copies() as u64;
            let left = chunk.length.checked_sub(inside).ok_or_else(overflow)?;
            used = inside
                .checked_mul(copies)
                .and_then(|inside| used.checked_add(inside))
                .ok_or_else(overflow)?;
            if chunk.bits & DATA == 0 {
                continue;
            }
            factor = factor.max((rank(chunk.profile), copies));
            // Nothing new goes to groups without copies where others have them.
            let is_closed = chunk.profile <= Profile::Raid0 && profile > Profile::Raid0;
            if !is_closed {
                free =
                    left.checked_mul(copies).and_then(|left| free.checked_add(left)).ok_or_else(overflow)?;
            }
        }
        let factor = factor.1;
        let (sector, blocks) = (superblock.sector, superblock.total / factor / superblock.sector);
        let not_used = blocks.saturating_sub(used / factor / sector);
        let available = free / factor + available(&members, profile) / factor;
        Ok(Statistics {
            block_size: sector,
            blocks,
            free: not_used.saturating_sub(self.set_aside()? / sector),
            available: available / sector,
            files: 0,
            files_free: 0,
            name_length: MAX_NAME as u64,
        })
    }

    fn members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        let mut cursor =
            self.trees.find(&self.trees.superblock.chunks, Key::new(DEVICES, kind::DEVICE, 0))?;
        while cursor.key_of(DEVICES, kind::DEVICE).is_some() {
            let fields = Fields(cursor.item());
            members.push(Member { total: fields.le64(8), used: fields.le64(16) });
            cursor.advance()?;
        }
        Ok(members)
    }

    /// The profile that new data would have: the best of those that there are and that so many devices allow.
    fn data_profile(&self, devices: usize) -> Profile {
        let data = self.trees.pool.chunks.iter().filter(|chunk| chunk.bits & DATA != 0);
        let possible = data.map(|chunk| chunk.profile).filter(|profile| devices >= least_devices(*profile));
        possible.max().unwrap_or(Profile::Single)
    }

    /// Bytes that are kept free so that something can be deleted when all is full: what the trees take that change
    /// with every change, or what deleting a file needs.
    fn set_aside(&self) -> Result<u64> {
        let superblock = &self.trees.superblock;
        let mut trees = 1;
        let mut used = 0u64;
        for number in [tree::EXTENTS, tree::CHECKSUMS, tree::FREE_SPACE, tree::BLOCK_GROUPS] {
            let counts = match number {
                tree::FREE_SPACE => superblock.has_free_space_tree,
                tree::BLOCK_GROUPS => superblock.has_block_group_tree,
                _ => true,
            };
            if counts && let Some(root) = self.root_of(number)? {
                used = used.saturating_add(root.used);
                trees += 1;
            }
        }
        let item = superblock.node as u64 * NODES;
        let references = DELETED * item * if superblock.has_free_space_tree { 2 } else { 1 };
        Ok(used.max((trees + DELETED) * item + references).min(MOST_SET_ASIDE))
    }
}

/// The kernel's order of profiles, of which the last one says how many copies of data there are.
fn rank(profile: Profile) -> u8 {
    match profile {
        Profile::Single => 0,
        Profile::Raid0 => 1,
        Profile::Raid1 => 2,
        Profile::Dup => 3,
        Profile::Raid10 => 4,
        Profile::Raid5 => 5,
        Profile::Raid6 => 6,
        Profile::Raid1c3 => 7,
        Profile::Raid1c4 => 8,
    }
}

fn least_devices(profile: Profile) -> usize {
    match profile {
        Profile::Single | Profile::Raid0 | Profile::Dup => 1,
        Profile::Raid1 | Profile::Raid10 | Profile::Raid5 => 2,
        Profile::Raid1c3 | Profile::Raid6 => 3,
        Profile::Raid1c4 => 4,
    }
}

/// Bytes of the devices that could still become chunks of data.
fn available(members: &[Member], profile: Profile) -> u64 {
    let smallest = if profile == Profile::Dup { 2 * STRIPE } else { STRIPE };
    let left = members.iter().map(|member| member.total.saturating_sub(member.used) / STRIPE * STRIPE);
    let mut left: Vec<u64> =
        left.filter(|left| *left > BEGINNING + smallest).map(|left| left - BEGINNING).collect();
    left.sort_unstable_by(|one, other| other.cmp(one));
    let mut stripes = match profile {
        Profile::Raid0 => members.len(),
        Profile::Raid1 | Profile::Raid1c3 | Profile::Raid1c4 => profile.copies(),
        Profile::Raid10 => 4,
        _ => 1,
    };
    let mut sum = 0u64;
    // The smallest device first: as long as it has room, so have the others.
    while left.len() >= least_devices(profile) {
        stripes = stripes.min(left.len());
        let Some(smallest_left) = left.pop() else { break };
        if smallest_left >= smallest {
            sum = sum.saturating_add(smallest_left.saturating_mul(stripes as u64));
            let others = left.len() + 1 - stripes;
            left.iter_mut().skip(others).for_each(|other| *other = other.saturating_sub(smallest_left));
        }
    }
    sum
}
