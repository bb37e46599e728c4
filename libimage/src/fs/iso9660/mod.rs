//! ISO 9660, the file system of CDs, with Rock Ridge, or Joliet where there is none, as Linux shows it.

mod name;
mod record;
mod rock;
mod volume;

use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::Device;
use super::system::{Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics};
use crate::block::Block;
use record::Record;
use rock::Rock;
use volume::Volume;

/// Pieces that a file may be in.
const MAX_SECTIONS: usize = 1000;

/// A view of an ISO 9660 file system. Nodes are the places of directory records: for directories that of their
/// own `.`.
pub struct Iso {
    device: Device,
    volume: Volume,
    is_joliet: bool,
    /// Bytes of each record before the entries of Rock Ridge.
    skip: usize,
}

/// A node: its record and what extensions say.
struct Inode {
    record: Record,
    rock: Rock,
    kind: Kind,
    permissions: u32,
}

impl Iso {
    /// Opens the file system on `block`.
    ///
    /// # Errors
    /// When there is none or it is damaged.
    pub fn open(block: Arc<dyn Block>) -> Result<Iso> {
        let device = Device::new(block);
        let (volume, joliet) = volume::read(&device)?;
        let mut fs = Iso { device, volume, is_joliet: false, skip: 0 };
        let root = fs.node(fs.root())?;
        if root.kind != Kind::Directory {
            return Err(fs.device.corrupt(fs.volume.root, "the root is no directory").into());
        }
        if let Some(joliet) = joliet {
            // A root that is empty but for Joliet is that of a CD which was made wrongly.
            let mut is_empty = true;
            fs.records(fs.volume.root, &mut |_| {
                is_empty = false;
                Ok(ControlFlow::Break(()))
            })?;
            if !root.rock.is_announced || is_empty {
                (fs.volume.root, fs.is_joliet) = (joliet.root, true);
                fs.volume.blocks = joliet.blocks;
                fs.node(fs.root())?;
            }
        }
        if !fs.is_joliet {
            fs.skip = root.rock.skip.unwrap_or(0);
        }
        Ok(fs)
    }

    fn node(&self, node: Node) -> Result<Inode> {
        let record = self.record(node.number)?.ok_or(Errno::STALE)?;
        let rock = self.rock(&record)?;
        let (kind, permissions) = match rock.owners {
            Some([mode, ..]) => {
                let kind = Kind::of_mode(mode);
                let wrong = || FsError::from(self.device.corrupt(record.at, "a file has no possible mode"));
                (kind.ok_or_else(wrong)?, mode & 0o7777)
            }
            None if record.is_directory() => (Kind::Directory, 0o555),
            None => (Kind::File, 0o555),
        };
        if (kind == Kind::Directory) != record.is_directory() && rock.moved_to.is_none() {
            return Err(self.device.corrupt(record.at, "a record is of a directory, and of none").into());
        }
        Ok(Inode { record, rock, kind, permissions })
    }

    /// The node whose attributes these are: for a directory that was moved, the one that it was moved to.
    fn real(&self, node: Node) -> Result<Inode> {
        let inode = self.node(node)?;
        let Some(block) = inode.rock.moved_to else { return Ok(inode) };
        let inode = self.node(Node::new(block.saturating_mul(self.volume.block_size)))?;
        if inode.kind != Kind::Directory || inode.rock.moved_to.is_some() {
            return Err(self.device.corrupt(inode.record.at, "a directory that was moved is none").into());
        }
        Ok(inode)
    }

    /// The node of a record that is in a directory.
    fn node_of(&self, record: &Record) -> Node {
        Node::new(match record.is_directory() {
            true => record.extent() * self.volume.block_size,
            false => record.at,
        })
    }

    /// Goes through the records of the directory at a byte of the device but for `.` and `..`; of a file in several
    /// pieces all are shown.
    fn records(&self, start: u64, each: &mut dyn FnMut(Record) -> Result<ControlFlow<()>>) -> Result<()> {
        let own = self.record(start)?.ok_or(Errno::STALE)?;
        let end = start.saturating_add(own.size());
        let mut at = start;
        while at < end {
            let Some(record) = self.record(at)? else {
                at = (at + 1).next_multiple_of(self.volume.block_size);
                continue;
            };
            at += record.length();
            if !record.is_dots() && each(record)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes through what is in a directory.
    fn entries(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let directory = self.real(directory)?;
        if directory.kind != Kind::Directory {
            return Err(Errno::NOTDIR.into());
        }
        // Of a file in several pieces, the first one is the node, and the last one has the name.
        let mut first = None;
        self.records(directory.record.at, &mut |record| {
            let node = first.take().unwrap_or_else(|| self.node_of(&record));
            if record.goes_on() {
                first = Some(node);
                return Ok(ControlFlow::Continue(()));
            }
            let rock = self.rock(&record)?;
            if record.is_associated() || rock.is_moved {
                return Ok(ControlFlow::Continue(()));
            }
            let name = match () {
                () if !rock.name.is_empty() => rock.name,
                () if self.is_joliet => name::joliet(record.name()),
                () => name::plain(record.name()),
            };
            if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                let what = "a name is empty or has a slash or zero in it";
                return Err(self.device.corrupt(record.at, what).into());
            }
            Ok(entry(Entry { name: &name, node, kind: None }))
        })
    }

    /// Calls `each` with the place and size of all pieces of a file.
    fn sections(&self, first: &Record, each: &mut dyn FnMut(u64, u64)) -> Result<()> {
        each(first.extent() * self.volume.block_size, first.size());
        let (mut at, mut goes_on) = (first.at + first.length(), first.goes_on());
        for _ in 0..MAX_SECTIONS {
            if !goes_on {
                return Ok(());
            }
            let record = match self.record(at)? {
                Some(record) => record,
                None => {
                    let at = (at + 1).next_multiple_of(self.volume.block_size);
                    let missing = || self.device.corrupt(at, "a piece of a file is missing");
                    self.record(at)?.ok_or_else(missing)?
                }
            };
            each(record.extent() * self.volume.block_size, record.size());
            (at, goes_on) = (record.at + record.length(), record.goes_on());
        }
        Err(self.device.corrupt(first.at, "a file is in too many pieces").into())
    }

    fn size(&self, inode: &Inode) -> Result<u64> {
        let mut size = 0;
        self.sections(&inode.record, &mut |_, length| size += length)?;
        Ok(size)
    }

    fn file(&self, node: Node) -> Result<Inode> {
        let inode = self.real(node)?;
        inode.kind.must_be_file()?;
        Ok(inode)
    }
}

impl FileSystem for Iso {
    fn kind(&self) -> &'static str {
        "iso9660"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(self.volume.root)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        let inode = self.real(node)?;
        let (record, rock) = (&inode.record, &inode.rock);
        let stored = match inode.kind {
            Kind::Directory => record.size(),
            _ => self.size(&inode)?,
        };
        let size = match inode.kind {
            Kind::Symlink => rock.target.len() as u64,
            _ => rock.packed.unwrap_or(stored),
        };
        let [_, links, user, group] = rock.owners.unwrap_or([0, 1, 0, 0]);
        let time = record.time();
        Ok(Attributes {
            kind: inode.kind,
            permissions: inode.permissions,
            inode: node.number >> 5,
            links,
            user,
            group,
            size,
            blocks: stored.div_ceil(512),
            block_size: self.volume.block_size as u32,
            device: rock.device,
            accessed: rock.accessed.unwrap_or(time),
            modified: rock.modified.unwrap_or(time),
            changed: rock.changed.unwrap_or(time),
            created: None,
        })
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        // With Joliet, neither case nor dots at the end count.
        let plain = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('.').to_ascii_lowercase();
        let wanted = plain(name);
        let mut found = None;
        self.entries(directory, &mut |entry| {
            if entry.name == name || self.is_joliet && plain(entry.name) == wanted {
                found = Some(entry.node);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(directory, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        let inode = self.node(node)?;
        if inode.kind != Kind::Symlink {
            return Err(Errno::INVAL.into());
        }
        if inode.rock.target.is_empty() || inode.rock.target.contains(&0) {
            return Err(self.device.corrupt(inode.record.at, "a symbolic link has no target").into());
        }
        Ok(inode.rock.target)
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.file(node)?;
        if inode.rock.packed.is_some() {
            return Err(FsError::Unsupported("the file is packed with zisofs".to_owned()));
        }
        if inode.record.is_interleaved() {
            return Err(FsError::Unsupported("the file is interleaved with others".to_owned()));
        }
        let mut sections = Vec::new();
        self.sections(&inode.record, &mut |place, length| sections.push((place, length)))?;
        let (mut before, mut done) = (0, 0);
        for (place, length) in sections {
            let inside = offset.saturating_add(done as u64).saturating_sub(before);
            before += length;
            let count = length.saturating_sub(inside).min((into.len() - done) as u64) as usize;
            if let Some(part @ [_, ..]) = into.get_mut(done..done + count) {
                self.device.read(part, place + inside)?;
                done += count;
            }
        }
        Ok(done)
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        let inode = self.file(node)?;
        let size = inode.rock.packed.map_or_else(|| self.size(&inode), Ok)?;
        Ok((offset < size).then_some((offset, size)))
    }

    fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics {
            block_size: self.volume.block_size,
            blocks: self.volume.blocks,
            free: 0,
            available: 0,
            files: 0,
            files_free: 0,
            name_length: 255,
        })
    }
}
