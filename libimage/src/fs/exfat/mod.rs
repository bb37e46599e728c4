//! exFAT, as Linux shows it.
//!
//! There are no owners and permissions: everything belongs to root with mode 0755, without `w` where a file is
//! read-only. Times without a zone are taken for UTC; the root has none, and the beginning of 1970 is shown. Linux
//! gives out inode numbers as it meets files; here they are where the first entry of a file lies. What was reserved
//! behind the data of a file reads as zeroes.

mod boot;
mod case;
mod entry;

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::Device;
use super::fat::table::{Chain, FIRST, Table};
use super::fat::{utf8, without_dots};
use super::system::{Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, Time};
use crate::block::Block;
use crate::fields::Fields;
use case::UpperCase;
use entry::{ENTRY, SECONDARY, Set, kind};

/// The root's number: no entry can have it, because the boot region is there.
const ROOT: u64 = 1;
/// The longest name, in bytes: 255 letters of up to six.
const NAME_LENGTH: u64 = 255 * 6;
/// The largest directory.
const MAX_DIRECTORY: u64 = 256 << 20;

/// A view of an exFAT file system.
pub struct ExFat {
    device: Device,
    table: Table,
    root: Arc<Chain>,
    upper: UpperCase,
    /// The first cluster of the bitmap of clusters in use, and its bytes.
    bitmap: (u32, u64),
}

/// A directory's clusters, and its size.
struct Directory {
    chain: Arc<Chain>,
    size: u64,
    in_a_row: bool,
}

impl ExFat {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none or it is damaged.
    pub fn open(block: Arc<dyn Block>) -> Result<ExFat> {
        let device = Device::new(block);
        let (table, first) = boot::read(&device)?;
        let root = table.chain(&device, first)?;
        let (mut upper, mut bitmap) = (None, None);
        let top = Directory {
            size: u64::from(root.clusters).saturating_mul(table.cluster),
            chain: Arc::clone(&root),
            in_a_row: false,
        };
        raw_entries(&device, &table, &top, &mut |_, entry| {
            match entry.first() {
                Some(&kind::UPPER_CASE) => upper = Some(entry.to_vec()),
                Some(&kind::BITMAP) => bitmap = Some((Fields(entry).le32(20), Fields(entry).le64(24))),
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let (Some(upper), Some(bitmap)) = (upper, bitmap) else {
            let what = "the table of upper case or the bitmap of clusters is missing";
            return Err(device.corrupt(table.place(first), what).into());
        };
        if bitmap.1 < u64::from(table.end - FIRST).div_ceil(8) {
            return Err(device.corrupt(table.place(bitmap.0), "the bitmap of clusters is too short").into());
        }
        let upper = UpperCase::read(&device, &table, &upper)?;
        Ok(ExFat { device, table, root, upper, bitmap })
    }

    /// The set of entries of a node; none for the root.
    fn set(&self, node: Node) -> Result<Option<Set>> {
        if node.number == ROOT {
            return Ok(None);
        }
        // The lowest bit says whether the clusters of the directory lie in a row.
        let (number, in_a_row) = (node.number / 2, node.number % 2 == 1);
        let mut at = number.checked_mul(ENTRY as u64).ok_or(Errno::STALE)?;
        let mut cluster = self.table.cluster_at(at).ok_or(Errno::STALE)?;
        let mut bytes = self.device.bytes(at, ENTRY)?;
        let [kind, count, ..] = *bytes else { return Err(Errno::STALE.into()) };
        if kind != kind::FILE || !SECONDARY.contains(&count) {
            return Err(Errno::STALE.into());
        }
        for _ in 0..count {
            at += ENTRY as u64;
            if at - self.table.place(cluster) == self.table.cluster {
                let next =
                    if in_a_row { Some(cluster + 1) } else { self.table.next(&self.device, cluster)? };
                cluster = next.filter(|next| *next < self.table.end).ok_or(Errno::STALE)?;
                at = self.table.place(cluster);
            }
            bytes.extend(self.device.bytes(at, ENTRY)?);
        }
        Set::new(&bytes).map(Some).map_err(|what| self.device.corrupt(number * ENTRY as u64, what).into())
    }

    fn chain(&self, set: &Set) -> Result<Arc<Chain>> {
        match (set.first, set.in_a_row) {
            (0, _) => Ok(Arc::default()),
            (first, true) => self.table.row(&self.device, first, set.size),
            (first, false) => self.table.chain(&self.device, first),
        }
    }

    fn directory(&self, set: Option<&Set>) -> Result<Directory> {
        let chain = match set {
            None => Arc::clone(&self.root),
            Some(set) if set.kind() != Kind::Directory => return Err(Errno::NOTDIR.into()),
            Some(set) => self.chain(set)?,
        };
        let size = u64::from(chain.clusters).saturating_mul(self.table.cluster);
        Ok(Directory { chain, size, in_a_row: set.is_some_and(|set| set.in_a_row) })
    }

    /// Goes through the sets of a directory.
    fn entries(
        &self,
        directory: &Directory,
        entry: &mut dyn FnMut(Node, Set) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        // A set that was begun: where, its bytes so far, and the entries that are to come.
        let mut begun: Option<(u64, Vec<u8>, u8)> = None;
        raw_entries(&self.device, &self.table, directory, &mut |at, bytes| {
            if let Some((start, mut set, left)) = begun.take() {
                set.extend(bytes);
                if left > 1 {
                    begun = Some((start, set, left - 1));
                    return Ok(ControlFlow::Continue(()));
                }
                let set = Set::new(&set).map_err(|what| self.device.corrupt(start, what))?;
                return entry(Node::new(start / ENTRY as u64 * 2 + u64::from(directory.in_a_row)), set);
            }
            if let [kind::FILE, count, ..] = *bytes {
                if !SECONDARY.contains(&count) {
                    return Err(self.device.corrupt(at, "a set of entries has no possible length").into());
                }
                begun = Some((at, bytes.to_vec(), count));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match begun {
            Some((at, ..)) => Err(self.device.corrupt(at, "a set of entries is cut").into()),
            None => Ok(()),
        }
    }

    fn file(&self, node: Node) -> Result<Set> {
        let set = self.set(node)?;
        set.filter(|set| set.kind() == Kind::File).ok_or(FsError::Errno(Errno::ISDIR))
    }
}

/// What is done with each entry, and the place of that.
type EachEntry<'a> = dyn FnMut(u64, &[u8]) -> Result<ControlFlow<()>> + 'a;

/// Goes through the entries of a directory up to its end.
fn raw_entries(
    device: &Device,
    table: &Table,
    directory: &Directory,
    entry: &mut EachEntry<'_>,
) -> Result<()> {
    if directory.size > MAX_DIRECTORY.max(table.cluster) {
        return Err(device.corrupt(0, "a directory is larger than 256 MiB").into());
    }
    // Clusters can be large, and most directories are small.
    let piece = table.cluster.min(32 << 10);
    let mut bytes = vec![0; piece as usize];
    let mut done = 0;
    while done < directory.size {
        table.read(device, &directory.chain, done, &mut bytes)?;
        let at = table.place_of(&directory.chain, done);
        for (index, bytes) in bytes.chunks_exact(ENTRY).enumerate() {
            let is_end = bytes.first() == Some(&kind::END);
            if is_end || entry(at + (index * ENTRY) as u64, bytes)?.is_break() {
                return Ok(());
            }
        }
        done += piece;
    }
    Ok(())
}

impl FileSystem for ExFat {
    fn kind(&self) -> &'static str {
        "exfat"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(ROOT)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        let set = self.set(node)?;
        let kind = set.as_ref().map_or(Kind::Directory, Set::kind);
        let (mut size, mut links) = (set.as_ref().map_or(0, |set| set.size), 1);
        if kind == Kind::Directory {
            let directory = self.directory(set.as_ref())?;
            if set.is_none() {
                size = directory.size;
            }
            links = 2;
            self.entries(&directory, &mut |_, set| {
                links += u32::from(set.kind() == Kind::Directory);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let times = |set: &Set| (set.accessed, set.modified, set.created);
        let (accessed, modified, created) =
            set.as_ref().map_or((Time::default(), Time::default(), Time::default()), times);
        Ok(Attributes {
            kind,
            permissions: set.as_ref().map_or(0o755, Set::permissions),
            inode: if node.number == ROOT { ROOT } else { node.number / 2 },
            links,
            user: 0,
            group: 0,
            size,
            blocks: size.div_ceil(self.table.cluster).saturating_mul(self.table.cluster / 512),
            block_size: self.table.cluster as u32,
            device: (0, 0),
            accessed,
            modified,
            // Linux has no use for a third time.
            changed: modified,
            created: Some(created),
        })
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        let directory = self.directory(self.set(directory)?.as_ref())?;
        let Ok(name) = std::str::from_utf8(without_dots(name)) else { return Ok(None) };
        let name: Vec<u16> = name.encode_utf16().collect();
        let mut found = None;
        self.entries(&directory, &mut |node, set| {
            if self.upper.same(&name, &set.name) {
                found = Some(node);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let directory = self.directory(self.set(directory)?.as_ref())?;
        self.entries(&directory, &mut |node, set| {
            let name = utf8(&set.name);
            if name.is_empty() || name.contains(&b'/') {
                let what = "a name is empty or has a slash in it";
                return Err(self.device.corrupt(node.number / 2 * ENTRY as u64, what).into());
            }
            Ok(entry(Entry { name: &name, node, kind: Some(set.kind()) }))
        })
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        self.set(node)?;
        Err(Errno::INVAL.into())
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let set = self.file(node)?;
        let within = |end: u64| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = into.len().min(within(set.size));
        let into = into.get_mut(..count).unwrap_or_default();
        let (written, rest) = into.split_at_mut(count.min(within(set.valid)));
        if !written.is_empty() {
            self.table.read(&self.device, &*self.chain(&set)?, offset, written)?;
        }
        rest.fill(0);
        Ok(count)
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let size = self.file(node)?.size;
        Ok((offset < size).then_some((offset, size)))
    }

    fn statistics(&self) -> Result<Statistics> {
        let blocks = u64::from(self.table.end - FIRST);
        let chain = self.table.chain(&self.device, self.bitmap.0)?;
        let mut used = 0;
        let (mut at, end) = (0, blocks.div_ceil(8));
        let mut piece = vec![0; 32 << 10];
        while at < end {
            let length = (end - at).min(piece.len() as u64);
            let bytes = piece.get_mut(..length as usize).unwrap_or_default();
            self.table.read(&self.device, &chain, at, bytes)?;
            at += length;
            if at == end
                && let Some(last) = bytes.last_mut()
                && blocks % 8 != 0
            {
                *last &= 0xff >> (8 - blocks % 8);
            }
            used += bytes.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        }
        let free = blocks.saturating_sub(used);
        Ok(Statistics {
            block_size: self.table.cluster,
            blocks,
            free,
            available: free,
            files: 0,
            files_free: 0,
            name_length: NAME_LENGTH,
        })
    }
}
