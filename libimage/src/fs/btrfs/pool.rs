//! The devices of a file system as one space of addresses, which chunks map to them in one or more copies.

use std::sync::Arc;

use super::super::device::Device;
use super::super::system::{FsError, Result};
use super::chunk::{Chunk, Place};
use super::superblock::Superblock;
use crate::block::Block;

/// A device.
pub(super) struct Member {
    pub(super) number: u64,
    pub(super) id: [u8; 16],
    pub(super) device: Device,
}

/// All devices, and the chunks on them.
pub(super) struct Pool {
    pub(super) members: Vec<Member>,
    /// Sorted; they do not overlap.
    pub(super) chunks: Vec<Chunk>,
}

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(FsError::Unsupported(what.into()))
}

impl Pool {
    /// Finds all devices of the file system of which `first` is one; the others are sought among what `others` gives.
    pub(super) fn gather(
        first: Arc<dyn Block>,
        others: &dyn Fn() -> Vec<Arc<dyn Block>>,
    ) -> Result<(Superblock, Pool)> {
        let device = Device::new(first);
        let superblock = Superblock::read(&device)?;
        let member =
            |found: &Superblock, device| Member { number: found.device, id: found.device_id, device };
        let mut members = vec![member(&superblock, device)];
        if superblock.device == 0 {
            return unsupported("it takes the place of another device, which is not finished");
        }
        if superblock.devices > 1 {
            for block in others() {
                let device = Device::new(block);
                let Ok(found) = Superblock::read(&device) else { continue };
                // A device that is about to take the place of another one is not yet read.
                if found.id != superblock.id || found.device == 0 {
                    continue;
                }
                if members.iter().any(|other| other.number == found.device) {
                    return unsupported(format!("its device {} is there twice", found.device));
                }
                if found.generation != superblock.generation {
                    return unsupported("one of its devices missed changes");
                }
                members.push(member(&found, device));
            }
        }
        if (members.len() as u64) < superblock.devices {
            let (here, all) = (members.len(), superblock.devices);
            return unsupported(format!("of its {all} devices there are only {here}"));
        }
        Ok((superblock, Pool { members, chunks: Vec::new() }))
    }

    /// The number of a device in the list of members.
    pub(super) fn find(&self, number: u64, id: [u8; 16]) -> Option<usize> {
        self.members.iter().position(|member| member.number == number && member.id == id)
    }

    /// What messages call the file system.
    pub(super) fn name(&self) -> &str {
        self.members.first().map_or("", |member| member.device.name())
    }

    /// An error that says what is wrong at an address.
    pub(super) fn corrupt(&self, address: u64, what: &str) -> FsError {
        let place = self.chunk(address).and_then(|chunk| chunk.place(address, 0)).map(|(place, _)| place);
        let member = place.and_then(|place| self.members.get(place.member)).or(self.members.first());
        let what = format!("{what} (address {address})");
        let at = place.map_or(0, |place| place.offset);
        match member {
            Some(member) => member.device.corrupt(at, what).into(),
            None => FsError::Unsupported(what),
        }
    }

    pub(super) fn chunk(&self, address: u64) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= address);
        self.chunks.get(after.checked_sub(1)?).filter(|chunk| address - chunk.start < chunk.length)
    }

    /// How many copies there are of what lies at an address.
    pub(super) fn copies(&self, address: u64) -> Result<usize> {
        match self.chunk(address) {
            Some(chunk) => Ok(chunk.profile.copies()),
            None => Err(self.corrupt(address, "something lies where there is no chunk")),
        }
    }

    /// Fills `into` from one of the copies.
    pub(super) fn read(&self, address: u64, copy: usize, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = address.checked_add(done as u64);
            let found = at.and_then(|at| self.chunk(at)?.place(at, copy));
            let Some((Place { member, offset }, length)) = found else {
                return Err(self.corrupt(address, "something lies where there is no chunk"));
            };
            let count = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            let Some(member) = self.members.get(member) else {
                return Err(self.corrupt(address, "a chunk lies on a device that is not there"));
            };
            member.device.read(&mut rest[..count], offset)?;
            done += count;
        }
        Ok(())
    }
}
