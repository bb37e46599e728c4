//! Compressed files: an index says, for each block of the file, whether a piece begins in it and where that is packed.
//!
//! Pieces begin and end anywhere, and each is packed into whole blocks of the device; the last one of a file may lie
//! right behind its index instead. The index has eight bytes for each block, or is itself packed: into 4 or 2 bytes for
//! each block, in packs of 2 or 16 that share the address of a block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::system::{FsError, Result};
use super::Erofs;
use super::inode::Inode;
use super::lz4;
use crate::fields::Fields;

/// Blocks of a file whose index is read: at 4 KiB each, 16 GiB.
const MAX_BLOCKS: u64 = 4 << 20;
/// What one piece may be: packed, and unpacked; the kernel's bounds, in bytes.
const MAX_PACKED: u64 = 1 << 20;
const MAX_PIECE: u64 = 12 << 20;
/// Files whose pieces are kept, and how many those are in all.
const KEPT_FILES: usize = 256;
const KEPT_PIECES: usize = 1 << 20;
/// Unpacked pieces that are kept, in bytes.
const KEPT_BYTES: usize = 32 << 20;

/// What the header before an index says.
const INDEX_OF_2: u16 = 0x1;
const LARGE_1: u16 = 0x2;
const LARGE_2: u16 = 0x4;
const INLINE: u16 = 0x8;
const INTERLACED: u16 = 0x10;
const FRAGMENT: u16 = 0x20;

/// What begins in a block.
const PLAIN: u16 = 0;
const NOTHING: u16 = 2;
const SECOND: u16 = 3;
/// In the place of a distance: how many blocks the piece that began in the block before is packed into.
const IS_COUNT: u16 = 1 << 11;

/// The names of the methods of compression.
const METHODS: [&str; 4] = ["LZ4", "LZMA", "deflate", "zstd"];

/// Where a file's data is packed.
pub(super) struct Pieces {
    list: Vec<Piece>,
    /// The last of them, which lies behind the index: where, and how many bytes.
    inline: Option<(u64, u64)>,
}

/// A piece of a file, up to the next one.
#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    /// The first block, and how many.
    block: u32,
    blocks: u16,
    is_packed: bool,
}

/// A block's entry in the index.
struct Entry {
    kind: u16,
    /// Where in the block a piece begins; or a distance, or a count.
    value: u16,
    /// The block where that piece is packed.
    block: u32,
}

/// What was wanted lately.
#[derive(Default)]
pub(super) struct Kept {
    files: Mutex<HashMap<u64, Arc<Pieces>>>,
    pieces: Mutex<KeptPieces>,
}

#[derive(Default)]
struct KeptPieces {
    bytes: usize,
    by_place: HashMap<(u64, u64), Arc<Vec<u8>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_known(what: &str) -> FsError {
    FsError::Unsupported(format!("the file is compressed {what}"))
}

impl Erofs {
    fn pieces(&self, inode: &Inode) -> Result<Arc<Pieces>> {
        if let Some(found) = locked(&self.kept.files).get(&inode.number) {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(self.read_pieces(inode)?);
        let mut kept = locked(&self.kept.files);
        let all: usize = kept.values().map(|pieces| pieces.list.len()).sum();
        if kept.len() >= KEPT_FILES || all > KEPT_PIECES {
            kept.clear();
        }
        kept.insert(inode.number, Arc::clone(&found));
        Ok(found)
    }

    fn read_pieces(&self, inode: &Inode) -> Result<Pieces> {
        let bits = self.superblock.block_bits;
        let at = inode.behind().next_multiple_of(8);
        let header = self.device.bytes(at, 8)?;
        let advice = Fields(&header).le16(4);
        let methods = header.get(6).copied().unwrap_or_default();
        let cluster = header.get(7).copied().unwrap_or_default();
        if cluster & 0x80 != 0 || advice & FRAGMENT != 0 {
            return Err(not_known("with its end among others' (fragments)"));
        }
        if advice & INTERLACED != 0 {
            return Err(not_known("with plain pieces that are turned around (interlaced)"));
        }
        if advice & !(INDEX_OF_2 | LARGE_1 | LARGE_2 | INLINE) != 0 || cluster & 0xf != 0 {
            return Err(not_known("with an index that is not known"));
        }
        let blocks = inode.size().div_ceil(1 << bits);
        if blocks > MAX_BLOCKS {
            return Err(not_known("and has too many blocks"));
        }
        let (entries, end) = match inode.has_full_index() {
            true => self.full_index(at + 16, blocks)?,
            false => self.packed_index(at + 8, blocks, advice)?,
        };
        let mut list: Vec<Piece> = Vec::new();
        for (number, entry) in (0_u64..).zip(&entries) {
            if entry.kind == NOTHING {
                continue;
            }
            let start = (number << bits).saturating_add(entry.value.into());
            let in_order = list.last().is_none_or(|before| before.start < start);
            if u64::from(entry.value) >= 1 << bits || !in_order || list.is_empty() && start != 0 {
                return Err(self.corrupt_inode(inode, "its index has no order"));
            }
            if start >= inode.size() {
                break;
            }
            let method = usize::from(if entry.kind == SECOND { methods >> 4 } else { methods & 0xf });
            if entry.kind != PLAIN && method != 0 {
                let name = METHODS.get(method).copied().unwrap_or("a method that is not known");
                return Err(not_known(&format!("with {name}")));
            }
            let is_large = advice & if entry.kind == SECOND { LARGE_2 } else { LARGE_1 } != 0;
            let next = entries.get(number as usize + 1).filter(|next| is_large && next.kind == NOTHING);
            let blocks = match next.map(|next| next.value) {
                Some(value) if value & IS_COUNT != 0 => value & !IS_COUNT,
                // Without a count where one belongs.
                Some(_) => return Err(self.corrupt_inode(inode, "a piece of its data has no length")),
                None => 1,
            };
            list.push(Piece { start, block: entry.block, blocks, is_packed: entry.kind != PLAIN });
        }
        if list.is_empty() && inode.size() > 0 {
            return Err(self.corrupt_inode(inode, "its index is empty"));
        }
        let inline = (advice & INLINE != 0).then(|| (end, u64::from(Fields(&header).le16(2))));
        if inline.is_some_and(|(at, length)| at >> bits != at.saturating_add(length.max(1) - 1) >> bits) {
            return Err(self.corrupt_inode(inode, "its end lies in two blocks"));
        }
        Ok(Pieces { list, inline })
    }

    /// The index in its long form, and where it ends.
    fn full_index(&self, at: u64, blocks: u64) -> Result<(Vec<Entry>, u64)> {
        let bytes = self.index_bytes(at, blocks * 8)?;
        let entries = bytes.as_chunks::<8>().0.iter().map(|entry| {
            let fields = Fields(entry);
            let kind = fields.le16(0) & 3;
            let value = if kind == NOTHING { fields.le16(4) } else { fields.le16(2) };
            Entry { kind, value, block: fields.le32(4) }
        });
        Ok((entries.collect(), at + blocks * 8))
    }

    /// The index in its packed form, and where its last pack ends.
    fn packed_index(&self, at: u64, blocks: u64, advice: u16) -> Result<(Vec<Entry>, u64)> {
        // Packs of 2 before those of 16, which lie at multiples of 32 bytes, and what is left behind them.
        let before = ((32 - at % 32) / 4) & 7;
        let small = match advice & INDEX_OF_2 {
            0 => 0,
            _ => blocks.saturating_sub(before) & !15,
        };
        if small > 0 && self.superblock.block_bits > 12 || self.superblock.block_bits > 14 {
            return Err(not_known("with an index for blocks that are too large"));
        }
        let (first, rest) = if small > 0 { (before, blocks - before - small) } else { (blocks, 0) };
        let mut entries = Vec::new();
        let mut at = at;
        for (count, in_pack, bytes) in [(first, 2, 8), (small, 16, 32), (rest, 2, 8)] {
            let length = count.div_ceil(in_pack) * bytes;
            for pack in self.index_bytes(at, length)?.chunks_exact(bytes as usize) {
                self.unpack_entries(pack, in_pack as usize, advice & LARGE_1 != 0, &mut entries);
            }
            at += length;
        }
        entries.truncate(blocks as usize);
        Ok((entries, at))
    }

    /// The entries of one pack.
    fn unpack_entries(&self, pack: &[u8], count: usize, is_large: bool, into: &mut Vec<Entry>) {
        let (packed, block) = pack.split_at_checked(pack.len() - 4).unwrap_or_default();
        let block = Fields(block).le32(0);
        let value_bits = u32::from(self.superblock.block_bits).max(12);
        let width = packed.len() * 8 / count;
        // Blocks of the pieces that were met, and whether the last of them is still counted as one.
        let (mut used, mut counted) = (0_u32, false);
        for index in 0..count {
            let bit = index * width;
            let mut word = [0; 4];
            for (to, from) in word.iter_mut().zip(pack.get(bit / 8..).unwrap_or_default()) {
                *to = *from;
            }
            let word = u32::from_le_bytes(word) >> (bit % 8);
            let (value, kind) = (word & ((1 << value_bits) - 1), (word >> value_bits & 3) as u16);
            let value = value as u16;
            let mut entry = Entry { kind, value, block: 0 };
            if kind != NOTHING {
                // With one block for each piece, the shared address is that of the piece before.
                entry.block = block.wrapping_add(used).wrapping_add(u32::from(!is_large));
                used += 1;
                counted = true;
            } else {
                if is_large && value & IS_COUNT != 0 {
                    used = used - u32::from(counted) + u32::from(value & !IS_COUNT);
                }
                counted = false;
            }
            into.push(entry);
        }
    }

    /// A part of an index, whose length is checked against the device before memory is taken for it.
    fn index_bytes(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        if at.checked_add(length).is_none_or(|end| end > self.device.size()) {
            return Err(self.device.corrupt(at, "an index of a compressed file lies behind the end").into());
        }
        Ok(self.device.bytes(at, length as usize)?)
    }

    /// The piece that the byte `offset` of a file lies in, unpacked, and where it begins.
    fn piece(&self, inode: &Inode, offset: u64) -> Result<(u64, Arc<Vec<u8>>)> {
        let pieces = self.pieces(inode)?;
        let nowhere = || self.corrupt_inode(inode, "its data lies nowhere");
        let index = pieces.list.partition_point(|piece| piece.start <= offset).checked_sub(1);
        let index = index.ok_or_else(nowhere)?;
        let piece = *pieces.list.get(index).ok_or_else(nowhere)?;
        let end = pieces.list.get(index + 1).map_or(inode.size(), |next| next.start);
        let bits = self.superblock.block_bits;
        let (at, length) = match pieces.inline.filter(|_| index + 1 == pieces.list.len()) {
            Some(inline) => inline,
            None => (u64::from(piece.block) << bits, u64::from(piece.blocks) << bits),
        };
        let size = end - piece.start;
        if length > MAX_PACKED || size > MAX_PIECE {
            return Err(not_known("in pieces that are too large"));
        }
        if let Some(found) = locked(&self.kept.pieces).by_place.get(&(at, size)) {
            return Ok((piece.start, Arc::clone(found)));
        }
        if at.saturating_add(length) > self.device.size() {
            return Err(nowhere());
        }
        let mut packed = self.device.bytes(at, length as usize)?;
        let damaged = || self.corrupt_inode(inode, "a piece of its data cannot be unpacked");
        if piece.is_packed {
            let mut whole = vec![0; size as usize];
            let zeroes = match self.superblock.zeroes_before {
                true => packed.iter().take_while(|byte| **byte == 0).count(),
                false => 0,
            };
            let from = packed.get(zeroes..).unwrap_or_default();
            lz4::unpack(from, &mut whole).ok_or_else(damaged)?;
            packed = whole;
        } else if size > length {
            return Err(damaged());
        }
        packed.truncate(size as usize);
        let found = Arc::new(packed);
        let mut kept = locked(&self.kept.pieces);
        if kept.bytes > KEPT_BYTES {
            *kept = KeptPieces::default();
        }
        kept.bytes += found.len();
        kept.by_place.insert((at, size), Arc::clone(&found));
        Ok((piece.start, found))
    }

    /// Copies what lies at the byte `offset` of a compressed file, at least one byte; returns how many.
    pub(super) fn read_packed(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize> {
        let (start, piece) = self.piece(inode, offset)?;
        let from = piece.get((offset - start) as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        let (Some(to), Some(from)) = (into.get_mut(..count), from.get(..count)) else { return Ok(0) };
        to.copy_from_slice(from);
        Ok(count)
    }
}
