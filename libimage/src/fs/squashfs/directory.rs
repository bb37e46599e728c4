//! Directories: runs of sorted names whose inodes lie in one block; large ones have an index.

use std::ops::ControlFlow;

use rustix::io::Errno;

use super::super::system::{Entry, Node, Result};
use super::Squashfs;
use super::inode::{Body, Inode, kind_of};
use super::metadata::{METADATA, Place};
use crate::fields::Fields;

/// What the size of a directory counts for `.` and `..`, which are not stored.
const DOTS: u64 = 3;
/// Entries of a run.
const MAX_RUN: u32 = 256;
const MAX_NAME: usize = 256;

impl Squashfs {
    /// Goes through the entries of a directory; from where its index says that `name` is, if one is looked for.
    pub(super) fn entries(
        &self,
        directory: &Inode,
        name: Option<&[u8]>,
        entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let Body::Directory { mut place, index } = directory.body else {
            return Err(Errno::NOTDIR.into());
        };
        let wrong = |what: &str| Err(self.corrupt_inode(directory, what));
        let mut left = directory.size.saturating_sub(DOTS);
        if let Some(name) = name
            && let Some((skipped, there)) = self.skip_to(name, place, index)?
        {
            (left, place) = (left.saturating_sub(skipped), there);
        }
        while left > 0 {
            let header = self.take(&mut place, 12)?;
            let fields = Fields(&header);
            let count = fields.le32(0).saturating_add(1);
            if count > MAX_RUN {
                return wrong("a run of names in a directory is too long");
            }
            left = left.saturating_sub(12);
            for _ in 0..count {
                let head = self.take(&mut place, 8)?;
                let length = usize::from(Fields(&head).le16(6)) + 1;
                if length > MAX_NAME {
                    return wrong("a name is too long");
                }
                let found = self.take(&mut place, length)?;
                if found.iter().any(|byte| matches!(byte, 0 | b'/')) {
                    return wrong("a name has a slash or zero in it");
                }
                let Some(kind) = kind_of(Fields(&head).le16(4)) else {
                    return wrong("an entry is of no kind");
                };
                left = left.saturating_sub(8 + length as u64);
                let node = Node::new(u64::from(fields.le32(4)) << 16 | u64::from(Fields(&head).le16(0)));
                if entry(Entry { name: &found, node, kind: Some(kind) }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The last run whose first name is not behind `name`: how many bytes come before it, and where it is.
    fn skip_to(&self, name: &[u8], start: Place, index: (u16, Place)) -> Result<Option<(u64, Place)>> {
        let (count, mut place) = index;
        let mut found = None;
        for _ in 0..count {
            let head = self.take(&mut place, 12)?;
            let fields = Fields(&head);
            let length = (fields.le32(8) as usize).saturating_add(1);
            if length > MAX_NAME {
                break;
            }
            if &self.take(&mut place, length)?[..] > name {
                break;
            }
            let skipped = u64::from(fields.le32(0));
            let block = self.superblock.directory_table.saturating_add(fields.le32(4).into());
            let offset = ((start.offset as u64 + skipped) % METADATA as u64) as usize;
            found = Some((skipped, Place { block, offset }));
        }
        Ok(found)
    }
}
