//! Symbolic links: targets lie in the inode, or, when they are longer, in blocks.

use super::super::system::{Kind, Result};
use super::Xfs;
use super::header;
use super::inode::{Fork, Inode, Layout};
use crate::fields::Fields;
use rustix::io::Errno;

/// What begins a piece of a target, since version 5.
const MAGIC: u32 = 0x5853_4c4d;
/// Bytes of a piece before the target.
const HEADER: usize = 56;
/// The longest target.
const MAX_TARGET: usize = 1024;

impl Xfs {
    pub(super) fn target(&self, inode: &Inode) -> Result<Vec<u8>> {
        if inode.kind()? != Kind::Symlink {
            return Err(Errno::INVAL.into());
        }
        let wrong = |what| self.corrupt_inode(inode.number, what);
        let size = usize::try_from(inode.size()).ok().filter(|size| (1..=MAX_TARGET).contains(size));
        let size = size.ok_or_else(|| wrong("the target of the symbolic link is too long"))?;
        let fork = self.data(inode)?;
        let target = match fork.layout {
            Layout::Local => fork.bytes.get(..size).map(<[u8]>::to_vec),
            _ => Some(self.target_in_blocks(inode, &fork, size)?),
        };
        let target = target.filter(|target| !target.contains(&0));
        target.ok_or_else(|| wrong("the target of the symbolic link is cut"))
    }

    fn target_in_blocks(&self, inode: &Inode, fork: &Fork<'_>, size: usize) -> Result<Vec<u8>> {
        let wrong = |what| self.corrupt_inode(inode.number, what);
        let mut target = Vec::new();
        let mut logical = 0;
        while target.len() < size {
            // Each extent is a piece with a header of its own.
            let run = self.run_at(fork, logical)?;
            let most = (MAX_TARGET as u64 + HEADER as u64).div_ceil(self.superblock.block_size);
            let Some(place) = run.at.filter(|_| run.count <= most) else {
                return Err(wrong("the target of the symbolic link has no end"));
            };
            let bytes = self.blocks(place, run.count)?;
            logical += run.count;
            let (mut start, mut length) = (0, bytes.len());
            if self.superblock.is_v5 {
                let fields = Fields(&bytes);
                self.check_header(&header::BODY, &bytes, place, inode.number)?;
                let (offset, count) = (fields.be32(4) as usize, fields.be32(8) as usize);
                if fields.be32(0) != MAGIC || offset != target.len() || count == 0 {
                    return Err(wrong("a piece of the symbolic link's target is none"));
                }
                (start, length) = (HEADER, count);
            }
            let length = length.min(size - target.len());
            let piece = bytes.get(start..start + length);
            target.extend(piece.ok_or_else(|| wrong("a piece of the symbolic link's target is cut"))?);
        }
        Ok(target)
    }
}
