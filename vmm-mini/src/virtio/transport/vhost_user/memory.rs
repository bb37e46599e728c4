//! The front-end's memory table: where guest memory lies, and how its addresses translate.
//!
//! Two address spaces meet here. Descriptors hold guest physical addresses; the addresses of the rings
//! themselves are virtual addresses of the front-end. Both are only used when they lie in a region that
//! the front-end has shared, and that its file really covers.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap};

use super::Fault;
use super::message::{Fields, MAX_FDS};
use crate::virtio::device::GuestMemory;

/// Guest memory as the front-end has shared it.
pub(super) struct MemoryMap {
    pub(super) guest: GuestMemory,
    regions: Vec<Region>,
}

#[derive(Clone, Copy)]
struct Region {
    guest: u64,
    size: u64,
    user: u64,
    /// Where it begins in its file.
    offset: u64,
}

impl MemoryMap {
    /// Maps the regions of a `SET_MEM_TABLE` body. The body may be longer than its regions need: UML
    /// always sends room for two.
    pub(super) fn new(body: &[u8], fds: Vec<OwnedFd>) -> Result<Self, Fault> {
        let mut fields = Fields(body);
        let count = fields.u32()? as usize;
        let _padding = fields.u32()?;
        if count == 0 || count > MAX_FDS || count != fds.len() {
            let text = format!("a memory table of {count} regions with {} descriptors", fds.len());
            return Err(Fault::Protocol(text));
        }
        let mut mapped = Vec::with_capacity(count);
        for fd in fds {
            let region = Region {
                guest: fields.u64()?,
                size: fields.u64()?,
                user: fields.u64()?,
                offset: fields.u64()?,
            };
            let mapping = region.map(fd).map_err(|error| Fault::Refused("map guest memory", error))?;
            mapped.push((region, mapping));
        }
        mapped.sort_by_key(|(region, _)| region.guest);
        let (regions, mappings) = mapped.into_iter().unzip();
        let guest = GuestMemory::from_regions(mappings)
            .map_err(|error| Fault::Refused("map guest memory", io::Error::other(error)))?;
        Ok(MemoryMap { guest, regions })
    }

    /// Translates a virtual address of the front-end.
    pub(super) fn user_to_guest(&self, address: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let inside = address.checked_sub(region.user).filter(|inside| *inside < region.size)?;
            region.guest.checked_add(inside).map(GuestAddress)
        })
    }
}

impl Region {
    fn map(&self, fd: OwnedFd) -> io::Result<GuestRegionMmap<()>> {
        let refuse = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
        let file = File::from(fd);
        let end = self.offset.checked_add(self.size).ok_or_else(|| refuse("The region wraps around"))?;
        // Touching a mapping beyond the end of its file would be fatal.
        if end > file.metadata()?.len() {
            return Err(refuse("The region is larger than its file"));
        }
        let size = usize::try_from(self.size).map_err(|_| refuse("The region is too large"))?;
        let region = MmapRegionBuilder::new(size)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_SHARED | libc::MAP_NORESERVE)
            .with_file_offset(FileOffset::new(file, self.offset))
            .build()
            .map_err(io::Error::other)?;
        GuestRegionMmap::new(region, GuestAddress(self.guest))
            .ok_or_else(|| refuse("The region wraps around"))
    }
}
