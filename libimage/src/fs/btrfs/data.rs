//! Data: read from whatever copy has the right checksum.

use std::sync::{Arc, PoisonError};

use super::super::system::Result;
use super::Btrfs;
use super::extent::{Data, Packed};
use super::inode::Inode;
use super::key::{CHECKSUMS, Key, kind, tree};

/// Unpacked extents that are kept: those who read a file in small pieces want each many times.
const KEPT: usize = 16;

impl Btrfs {
    /// Fills `into`, which ends at the file's end at the latest, from the byte `offset` on.
    pub(super) fn read_data(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut extents = self.extents(inode, offset)?;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = offset + done as u64;
            let extent = extents.at(at)?;
            let inside = at - extent.start;
            let count = usize::try_from(extent.end - at).unwrap_or(usize::MAX).min(rest.len());
            let part = &mut rest[..count];
            match extent.data {
                Data::Hole | Data::Reserved => part.fill(0),
                Data::Inside(bytes) => copy(&bytes, inside, part),
                Data::At(address) => self.read_plain(inode, address + inside, part)?,
                Data::Packed(packed, skip) => copy(&self.unpacked(inode, packed)?, skip + inside, part),
            }
            done += count;
        }
        Ok(())
    }

    /// Reads bytes from an address on, which need not begin or end with a sector.
    fn read_plain(&self, inode: &Inode, address: u64, into: &mut [u8]) -> Result<()> {
        let sector = self.trees.superblock.sector;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let at = address + done as u64;
            let inside = at % sector;
            let whole = rest.len() - rest.len() % sector as usize;
            if inside == 0 && whole > 0 {
                self.read_sectors(inode, at, &mut rest[..whole])?;
                done += whole;
                continue;
            }
            let mut bytes = vec![0; sector as usize];
            self.read_sectors(inode, at - inside, &mut bytes)?;
            let count = rest.len().min((sector - inside) as usize);
            copy(&bytes, inside, &mut rest[..count]);
            done += count;
        }
        Ok(())
    }

    /// Fills `into`, which is whole sectors. Where the first copy is not what its checksum says, others are asked.
    fn read_sectors(&self, inode: &Inode, address: u64, into: &mut [u8]) -> Result<()> {
        let pool = &self.trees.pool;
        let copies = pool.copies(address)?;
        let first = pool.read(address, 0, into);
        if !inode.has_checksums() {
            return (1..copies).fold(first, |found, copy| found.or_else(|_| pool.read(address, copy, into)));
        }
        let sector = self.trees.superblock.sector as usize;
        let method = self.trees.superblock.method;
        let sums = self.checksums(inode, address, into.len() / sector)?;
        let mut at = address;
        for (bytes, sum) in into.chunks_exact_mut(sector).zip(sums.chunks_exact(method.size())) {
            if first.is_err() || !method.agrees(bytes, sum) {
                let mut others = usize::from(first.is_ok())..copies;
                let is_found =
                    others.any(|copy| pool.read(at, copy, bytes).is_ok() && method.agrees(bytes, sum));
                if !is_found {
                    first?;
                    return Err(pool.corrupt(at, "the checksum of data is wrong"));
                }
            }
            at += sector as u64;
        }
        Ok(())
    }

    /// The checksums of `count` sectors.
    fn checksums(&self, inode: &Inode, address: u64, count: usize) -> Result<Vec<u8>> {
        let (sector, size) = (self.trees.superblock.sector, self.trees.superblock.method.size());
        let root = self.needed_root(tree::CHECKSUMS)?;
        let mut cursor =
            self.trees.find_before(&root.top, Key::new(CHECKSUMS, kind::EXTENT_CHECKSUM, address))?;
        let mut sums = Vec::with_capacity(count * size);
        while sums.len() < count * size {
            let at = address + (sums.len() / size) as u64 * sector;
            let key = cursor.key();
            let wanted = Key::new(CHECKSUMS, kind::EXTENT_CHECKSUM, at);
            if key.is_none_or(|key| key > wanted) {
                return Err(self.corrupt_inode(inode, "there are no checksums for some of its data"));
            }
            if let Some(key) = cursor.key_of(CHECKSUMS, kind::EXTENT_CHECKSUM) {
                let item = cursor.item();
                let skip =
                    usize::try_from((at - key.offset) / sector).ok().and_then(|skip| skip.checked_mul(size));
                let found = skip.and_then(|skip| item.get(skip..)).unwrap_or_default();
                let found = &found[..found.len() - found.len() % size];
                sums.extend(&found[..found.len().min(count * size - sums.len())]);
            }
            cursor.advance()?;
        }
        Ok(sums)
    }

    fn unpacked(&self, inode: &Inode, packed: Packed) -> Result<Arc<Vec<u8>>> {
        let lock = || self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = lock().iter().find(|(other, _)| *other == packed) {
            return Ok(Arc::clone(bytes));
        }
        let mut bytes = vec![0; packed.length as usize];
        self.read_sectors(inode, packed.address, &mut bytes)?;
        let sector = self.trees.superblock.sector as usize;
        let bytes = packed.packing.unpack(&bytes, packed.unpacked as usize, sector);
        let bytes = bytes.ok_or_else(|| self.corrupt_inode(inode, "some of its data cannot be unpacked"))?;
        let bytes = Arc::new(bytes);
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((packed, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Fills `into` from the byte `skip` of `bytes` on, with zeroes behind their end.
fn copy(bytes: &[u8], skip: u64, into: &mut [u8]) {
    let from = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
    let count = from.len().min(into.len());
    let (start, rest) = into.split_at_mut(count);
    start.copy_from_slice(&from[..count]);
    rest.fill(0);
}
