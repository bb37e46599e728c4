//! FAT12, FAT16 and FAT32 with long names, as Linux' `vfat` shows them.
//!
//! There are no owners and permissions: everything belongs to root with mode 0755, without `w` where a file is
//! read-only. Times are taken for UTC. Linux gives out inode numbers as it meets files; here they are where the
//! entry of a file lies. Listings do not end at the mark of the end, as Linux' do not.

mod boot;
mod name;
pub(in crate::fs) mod table;
mod time;

pub(in crate::fs) use name::{utf8, without_dots};

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::Device;
use super::system::{Attributes, Entry, FileSystem, Kind, Node, Result, Statistics, Time, up_to_end};
use crate::block::Block;
use crate::fields::Fields;
use boot::{ENTRY, Root};
use name::Long;
use table::{Chain, Table, Width};

/// The root's number: no entry can have it, because the boot sector is there.
const ROOT: u64 = 1;
/// The first byte of the name of an entry that was removed.
const REMOVED: u8 = 0xe5;
/// Bits of an entry's attributes.
const READ_ONLY: u8 = 0x01;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// The longest name, in bytes: 255 letters of up to six.
const NAME_LENGTH: u64 = 255 * 6;

/// A view of a FAT file system.
pub struct Fat {
    device: Device,
    table: Table,
    root: Root,
}

/// An entry of a directory, and where it lies.
struct Found<'a> {
    at: u64,
    bytes: &'a [u8],
}

impl Found<'_> {
    fn has(&self, bit: u8) -> bool {
        self.bytes.get(11).is_some_and(|bits| bits & bit != 0)
    }

    fn is_used(&self) -> bool {
        !matches!(self.bytes.first(), None | Some(&0 | &REMOVED)) && !self.has(VOLUME)
    }

    fn is_dots(&self) -> bool {
        matches!(self.bytes.get(..11), Some(b".          " | b"..         "))
    }

    fn kind(&self) -> Kind {
        if self.has(DIRECTORY) { Kind::Directory } else { Kind::File }
    }

    fn node(&self) -> Node {
        Node::new(self.at / ENTRY)
    }
}

/// What a node is: the root has no entry.
enum Place {
    Root,
    Entry(Vec<u8>),
}

impl Place {
    fn found(&self) -> Option<Found<'_>> {
        match self {
            Place::Root => None,
            Place::Entry(bytes) => Some(Found { at: 0, bytes }),
        }
    }

    fn kind(&self) -> Kind {
        self.found().map_or(Kind::Directory, |found| found.kind())
    }
}

impl Fat {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none or it is damaged.
    pub fn open(block: Arc<dyn Block>) -> Result<Fat> {
        let device = Device::new(block);
        let (table, root) = boot::read(&device)?;
        let fs = Fat { device, table, root };
        if let Root::Cluster(first) = fs.root {
            fs.table.chain(&fs.device, first)?;
        }
        Ok(fs)
    }

    fn place(&self, node: Node) -> Result<Place> {
        if node.number == ROOT {
            return Ok(Place::Root);
        }
        let at = node.number.checked_mul(ENTRY).ok_or(Errno::STALE)?;
        let is_fixed = match self.root {
            Root::Fixed { start, length } => (start..start + length).contains(&at),
            Root::Cluster(_) => false,
        };
        if !is_fixed && self.table.cluster_at(at).is_none() {
            return Err(Errno::STALE.into());
        }
        let bytes = self.device.bytes(at, ENTRY as usize)?;
        match (Found { at, bytes: &bytes }).is_used() {
            true => Ok(Place::Entry(bytes)),
            false => Err(Errno::STALE.into()),
        }
    }

    /// The clusters of a file or directory; `None` for a root that is in none.
    fn chain(&self, place: &Place) -> Result<Option<Arc<Chain>>> {
        let first = match (place, self.root) {
            (Place::Root, Root::Fixed { .. }) => return Ok(None),
            (Place::Root, Root::Cluster(first)) => first,
            (Place::Entry(bytes), _) => {
                let high = if self.table.width == Width::ThirtyTwo { Fields(bytes).le16(20) } else { 0 };
                u32::from(Fields(bytes).le16(26)) | u32::from(high) << 16
            }
        };
        self.table.chain(&self.device, first).map(Some)
    }

    fn directory_size(&self, place: &Place) -> Result<u64> {
        Ok(match (self.chain(place)?, self.root) {
            (Some(chain), _) => u64::from(chain.clusters) * self.table.cluster,
            (None, Root::Fixed { length, .. }) => length,
            (None, Root::Cluster(_)) => 0,
        })
    }

    /// Goes through all entries of a directory, used or not.
    fn raw_entries(
        &self,
        place: &Place,
        entry: &mut dyn FnMut(Found<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if place.kind() != Kind::Directory {
            return Err(Errno::NOTDIR.into());
        }
        let chain = self.chain(place)?;
        let size = self.directory_size(place)?;
        let piece = match self.root {
            Root::Fixed { length, .. } if chain.is_none() => length,
            _ => self.table.cluster,
        };
        let mut bytes = vec![0; piece as usize];
        let mut done = 0;
        while done < size {
            let at = match (&chain, self.root) {
                (None, Root::Fixed { start, .. }) => {
                    self.device.read(&mut bytes, start)?;
                    start
                }
                (Some(chain), _) => {
                    self.table.read(&self.device, chain, done, &mut bytes)?;
                    self.table.place_of(chain, done)
                }
                (None, Root::Cluster(_)) => return Ok(()),
            };
            for (index, bytes) in bytes.chunks_exact(ENTRY as usize).enumerate() {
                if entry(Found { at: at + index as u64 * ENTRY, bytes })?.is_break() {
                    return Ok(());
                }
            }
            done += piece;
        }
        Ok(())
    }

    /// Goes through what is in a directory: the name that is shown, and the short one.
    fn entries(
        &self,
        place: &Place,
        entry: &mut dyn FnMut(Entry<'_>, &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut long = None;
        self.raw_entries(place, &mut |found| {
            if found.bytes.get(11) == Some(&name::LONG) {
                long = Long::with(long.take(), found.bytes);
                return Ok(ControlFlow::Continue(()));
            }
            let long = long.take();
            if !found.is_used() || found.is_dots() {
                return Ok(ControlFlow::Continue(()));
            }
            let short = name::short(found.bytes);
            let long = long.and_then(|long| long.of(found.bytes.get(..11).unwrap_or_default()));
            let name = long.as_ref().unwrap_or(&short);
            if long.is_none() && short.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            if name.is_empty() || name.contains(&b'/') {
                return Err(self.device.corrupt(found.at, "a name is empty or has a slash in it").into());
            }
            Ok(entry(Entry { name, node: found.node(), kind: Some(found.kind()) }, &short))
        })
    }

    /// The names of a directory: two of its own, and one in each directory in it.
    fn links(&self, place: &Place) -> Result<u32> {
        let mut links = match place {
            Place::Root => 2,
            // Their `.` and `..` are counted.
            Place::Entry(_) => 0,
        };
        self.raw_entries(place, &mut |found| {
            links += u32::from(found.is_used() && found.has(DIRECTORY));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(links)
    }

    fn file(&self, node: Node) -> Result<(Place, u64)> {
        let place = self.place(node)?;
        match &place {
            Place::Entry(bytes) if place.kind() == Kind::File => {
                let size = Fields(bytes).le32(28);
                Ok((place, size.into()))
            }
            _ => Err(Errno::ISDIR.into()),
        }
    }
}

impl FileSystem for Fat {
    fn kind(&self) -> &'static str {
        "vfat"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(ROOT)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        let place = self.place(node)?;
        let kind = place.kind();
        let found = place.found();
        let (size, links) = match (kind, &found) {
            (Kind::Directory, _) => (self.directory_size(&place)?, self.links(&place)?),
            (_, found) => (found.as_ref().map_or(0, |found| Fields(found.bytes).le32(28).into()), 1),
        };
        let is_read_only = kind == Kind::File && found.as_ref().is_some_and(|found| found.has(READ_ONLY));
        let (mut accessed, mut modified, mut created) = (Time::default(), Time::default(), Time::default());
        if let Some(Found { bytes, .. }) = found {
            accessed = time::time(Fields(bytes).le16(18), 0, 0);
            modified = time::time(Fields(bytes).le16(24), Fields(bytes).le16(22), 0);
            let hundredths = bytes.get(13).copied().unwrap_or_default();
            created = time::time(Fields(bytes).le16(16), Fields(bytes).le16(14), hundredths);
        }
        Ok(Attributes {
            kind,
            permissions: if is_read_only { 0o555 } else { 0o755 },
            inode: node.number,
            links,
            user: 0,
            group: 0,
            size,
            blocks: size.next_multiple_of(self.table.cluster) / 512,
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
        let mut found = None;
        self.entries(&self.place(directory)?, &mut |entry, short| {
            if name::same(name, short) || name::same(name, entry.name) {
                found = Some(entry.node);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(&self.place(directory)?, &mut |found, _| entry(found))
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        self.place(node)?;
        Err(Errno::INVAL.into())
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let (place, size) = self.file(node)?;
        let into = up_to_end(into, offset, size);
        let count = into.len();
        if let (Some(chain), [_, ..]) = (self.chain(&place)?, &*into) {
            self.table.read(&self.device, &chain, offset, into)?;
        }
        Ok(count)
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let (_, size) = self.file(node)?;
        Ok((offset < size).then_some((offset, size)))
    }

    fn statistics(&self) -> Result<Statistics> {
        let free = self.table.free(&self.device)?;
        Ok(Statistics {
            block_size: self.table.cluster,
            blocks: u64::from(self.table.end - table::FIRST),
            free,
            available: free,
            files: 0,
            files_free: 0,
            name_length: NAME_LENGTH,
        })
    }
}
