//! Trees that find names by their hashes: directories have one beside their entries, attributes lie in one.

use super::super::system::Result;
use super::Xfs;
use super::header;
use super::inode::Fork;
use crate::fields::Fields;

/// What inner nodes have for a magic number, before version 5 and since.
const NODE: [u16; 2] = [0xfebe, 0x3ebe];
/// Deeper trees are not made.
const MAX_LEVEL: u16 = 5;
/// Bytes of an entry of an inner node: a hash, and a block.
const ENTRY: usize = 8;

/// A leaf of such a tree, checked.
pub(super) struct Leaf {
    /// Its block in the fork.
    number: u64,
    pub(super) magic: u16,
    pub(super) bytes: Vec<u8>,
}

impl Leaf {
    fn before(&self) -> u64 {
        Fields(&self.bytes).be32(4).into()
    }

    fn after(&self) -> u64 {
        Fields(&self.bytes).be32(0).into()
    }
}

/// The hash of a name.
pub(super) fn hash(name: &[u8]) -> u32 {
    let shifted = |bytes: &[u8]| bytes.iter().fold(0, |sum: u32, byte| sum << 7 ^ u32::from(*byte));
    let (fours, rest) = name.as_chunks::<4>();
    let sum = fours.iter().fold(0u32, |sum, four| shifted(four) ^ sum.rotate_left(28));
    match rest.len() {
        0 => sum,
        count => shifted(rest) ^ sum.rotate_left(7 * count as u32),
    }
}

impl Xfs {
    /// A block of such a tree, which has `span` blocks of the file system.
    fn hash_block(&self, fork: &Fork<'_>, number: u64, span: u64) -> Result<Leaf> {
        let Some((place, bytes)) = self.fork_blocks(fork, number, span)? else {
            return Err(self.corrupt_inode(fork.owner, "a tree of names has a hole"));
        };
        self.check_header(&header::HASHES, &bytes, place, fork.owner)?;
        Ok(Leaf { number, magic: Fields(&bytes).be16(8), bytes })
    }

    /// The first leaf in which a hash can be; without one, the first of all. The tree's root is the block `root`.
    pub(super) fn hash_leaf(&self, fork: &Fork<'_>, root: u64, span: u64, hash: Option<u32>) -> Result<Leaf> {
        let is_v5 = self.superblock.is_v5;
        let (count_at, entries) = if is_v5 { (56, 64) } else { (12, 16) };
        let mut block = self.hash_block(fork, root, span)?;
        let mut expected = None;
        while block.magic == NODE[usize::from(is_v5)] {
            let (count, level) =
                (usize::from(Fields(&block.bytes).be16(count_at)), Fields(&block.bytes).be16(count_at + 2));
            let room = block.bytes.len().saturating_sub(entries) / ENTRY;
            let is_sound = (1..=room).contains(&count)
                && (1..=MAX_LEVEL).contains(&level)
                && expected.is_none_or(|expected| expected == level);
            if !is_sound {
                return Err(self.corrupt_inode(fork.owner, "a tree of names is damaged"));
            }
            let fields = Fields(&block.bytes);
            let is_before =
                |index: &usize| hash.is_some_and(|hash| fields.be32(entries + index * ENTRY) < hash);
            // Each entry has the last hash of its block.
            let index = (0..count - 1).take_while(is_before).count();
            let child = fields.be32(entries + index * ENTRY + 4);
            block = self.hash_block(fork, child.into(), span)?;
            expected = Some(level - 1);
        }
        if expected.is_some_and(|expected| expected != 0) {
            return Err(self.corrupt_inode(fork.owner, "a tree of names is damaged"));
        }
        Ok(block)
    }

    /// The leaf after one. Since each names the one before it, a walk that began at the first has an end.
    pub(super) fn hash_leaf_after(&self, fork: &Fork<'_>, leaf: &Leaf, span: u64) -> Result<Option<Leaf>> {
        if leaf.after() == 0 {
            return Ok(None);
        }
        let next = self.hash_block(fork, leaf.after(), span)?;
        if next.before() != leaf.number || next.magic != leaf.magic {
            return Err(self.corrupt_inode(fork.owner, "a chain of names is broken"));
        }
        Ok(Some(next))
    }
}

impl Leaf {
    /// Whether no other leaf comes before it.
    pub(super) fn is_first(&self) -> bool {
        self.before() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn hashes_are_those_on_disk() {
        // As xfs_db's `hash` says.
        for (name, expected) in HASHES {
            assert_eq!(hash(name.as_bytes()), expected, "{name}");
        }
    }

    const HASHES: [(&str, u32); 6] = [
        (".", 0x2e),
        ("ab", 0x30e2),
        ("abc", 0x0018_7163),
        ("lost+found", 0x021a_a60c),
        ("SGI_ACL_FILE", 0x275b_19c4),
        ("ümlaut", 0xdd9b_7312),
    ];
}
