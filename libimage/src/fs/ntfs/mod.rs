//! NTFS, read only: compressed and sparse files, hard links, links of every kind, streams with names.
//!
//! What is shown is what ntfs-3g shows without options: everything belongs to root with mode 0777, names are told
//! apart by case, streams with names are extended attributes, the volume's own files are not listed. A log that was not
//! brought to its end is not replayed: such a volume is refused, and so is one on which Windows is hibernated.

mod boot;
mod directory;
mod inode;
mod log;
mod lznt1;
mod name;
mod record;
mod runs;
mod space;
mod special;
mod stream;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::device::Device;
use super::system::{Attributes, Entry, FileSystem, FsError, Kind, Node, Result, Statistics, up_to_end};
use crate::block::Block;
use boot::Boot;
use directory::INDEX;
use inode::{Inode, NUMBER, flag};
use name::{UpperCase, from_utf8, to_utf8, units};
use record::{Record, kind};
use special::Nature;
use stream::{Stream, Unpacked};

/// Numbers of the volume's own files: the table of all files, the log, the volume, the root, the bitmap of clusters,
/// the table of upper case; and the first that is not its own.
const TABLE: u64 = 0;
const LOG: u64 = 2;
const VOLUME: u64 = 3;
const ROOT: u64 = 5;
const BITMAP: u64 = 6;
const UPPER_CASE: u64 = 10;
const FIRST_USER: u64 = 16;
/// The version of the format that is read.
const MAJOR: u8 = 3;
/// Streams that are kept open.
const KEPT: usize = 4;
/// The largest value of an extended attribute, in bytes.
const MAX_XATTR: u64 = 64 << 10;
/// Before the names of streams.
const USER: &[u8] = b"user.";
/// Streams that ntfs-3g shows as something else.
const OWN: &[u8] = b"ntfs-3g.";

/// A view of an NTFS volume.
pub struct Ntfs {
    device: Device,
    boot: Boot,
    table: Stream,
    upper: UpperCase,
    /// Contents of files that were read lately.
    open: Mutex<VecDeque<(u64, Arc<Stream>)>>,
    unpacked: Mutex<Unpacked>,
}

impl Ntfs {
    /// Opens the volume on `block`.
    ///
    /// # Errors
    /// When there is none, it is damaged, its log has to be replayed, Windows is hibernated on it, or it has features
    /// that this reader does not know.
    pub fn open(block: Arc<dyn Block>) -> Result<Ntfs> {
        let mut fs = Ntfs::with_table(block)?;
        let volume = fs.inode(VOLUME)?;
        let information = fs.whole(&volume, kind::VOLUME_INFORMATION, &[], 256)?.unwrap_or_default();
        if information.get(8) != Some(&MAJOR) {
            let version = information.get(8).copied().unwrap_or_default();
            return Err(FsError::Unsupported(format!("it is NTFS of version {version}")));
        }
        let upper = fs.whole(&fs.inode(UPPER_CASE)?, kind::DATA, &[], UpperCase::SIZE)?;
        let upper = upper.and_then(|table| UpperCase::new(&table));
        fs.upper =
            upper.ok_or_else(|| fs.corrupt(UPPER_CASE, "the table of upper case has no possible size"))?;
        if !fs.inode(ROOT)?.record.is_directory() {
            return Err(fs.corrupt(ROOT, "the root is no directory"));
        }
        fs.check_order()?;
        Ok(fs)
    }

    /// Finds the table of all files.
    fn with_table(block: Arc<dyn Block>) -> Result<Ntfs> {
        let device = Device::new(block);
        let boot = Boot::read(&device)?;
        let first = device.bytes(boot.place(boot.table), boot.record)?;
        let wrong = |what: &str| FsError::from(device.corrupt(boot.place(boot.table), what));
        let first = Record::new(first, TABLE).map_err(wrong)?;
        let nothing = Stream::empty();
        let upper = UpperCase::default();
        let mut fs =
            Ntfs { device, boot, table: nothing, upper, open: Mutex::default(), unpacked: Mutex::default() };
        // Later parts of the table's clusters are in records that earlier parts have.
        for attribute in first.attributes() {
            let attribute = attribute.map_err(|what| fs.corrupt(TABLE, what))?;
            if attribute.kind == kind::DATA && attribute.name.is_empty() {
                let mut table = Stream::new(&fs, TABLE, &attribute)?;
                table.add(&fs, TABLE, &attribute)?;
                fs.table = table;
                break;
            }
        }
        let table = fs.stream(&Inode::new(&fs, first)?, kind::DATA, &[])?;
        fs.table = table.ok_or_else(|| fs.corrupt(TABLE, "the table of files has no data"))?;
        Ok(fs)
    }

    /// An error that says what is wrong with a file.
    fn corrupt(&self, number: u64, what: impl Into<String>) -> FsError {
        let number = number & NUMBER;
        let offset = self.boot.place(self.boot.table);
        self.device.corrupt(offset, format!("record {number} of the file table: {}", what.into())).into()
    }

    /// A record in use; its number stands in a reference, perhaps with how often the record was used.
    fn record(&self, reference: u64) -> Result<Record> {
        let (number, sequence) = (reference & NUMBER, (reference >> 48) as u16);
        let size = self.boot.record as u64;
        let end = number.checked_add(1).and_then(|next| next.checked_mul(size));
        let start = end.filter(|end| *end <= self.table.size).map(|end| end - size);
        let start = start.ok_or_else(|| self.corrupt(number, "there is no such record"))?;
        let mut bytes = vec![0; self.boot.record];
        self.read_stream(TABLE, &self.table, start, &mut bytes)?;
        let record = Record::new(bytes, number).map_err(|what| self.corrupt(number, what))?;
        if !record.is_in_use() || sequence != 0 && sequence != record.sequence() {
            return Err(self.corrupt(number, "it is not in use any more"));
        }
        Ok(record)
    }

    fn inode(&self, reference: u64) -> Result<Inode> {
        let record = self.record(reference)?;
        if record.base() != 0 {
            return Err(self.corrupt(record.number, "it is a part of another"));
        }
        Inode::new(self, record)
    }

    /// The contents of a regular file.
    fn contents(&self, node: Node) -> Result<Arc<Stream>> {
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stream)) = lock().iter().find(|(number, _)| *number == node.number) {
            return Ok(Arc::clone(stream));
        }
        let inode = self.inode(node.number)?;
        self.nature(&inode)?.kind().must_be_file()?;
        // The kernel finds the file, and ntfs-3g nothing to open.
        let stream = Arc::new(self.stream(&inode, kind::DATA, &[])?.ok_or(Errno::NOENT)?);
        let mut open = lock();
        if open.len() >= KEPT {
            open.pop_front();
        }
        open.push_back((node.number, Arc::clone(&stream)));
        Ok(stream)
    }

    /// Whether streams of something are shown as extended attributes.
    fn has_attributes(&self, inode: &Inode) -> Result<bool> {
        if inode.number() == ROOT || inode.flags & (flag::SYSTEM | flag::REPARSE) == 0 {
            return Ok(true);
        }
        if inode.flags & flag::REPARSE != 0 || inode.number() < FIRST_USER {
            return Ok(false);
        }
        Ok(matches!(self.nature(inode)?.kind(), Kind::File | Kind::Directory))
    }
}

/// The label of the volume on `block`, whose boot sector is sound; `None` if it has none.
pub(super) fn label(block: &dyn Block) -> Option<String> {
    let mut sector = [0; 512];
    block.read_at(&mut sector, 0).ok()?;
    let boot = Boot::new(&sector).ok()?;
    let mut bytes = vec![0; boot.record];
    let place = boot.place(boot.table).checked_add(VOLUME * boot.record as u64)?;
    block.read_at(&mut bytes, place).ok()?;
    let record = Record::new(bytes, VOLUME).ok()?;
    let label =
        record.attributes().filter_map(Result::ok).find(|found| found.kind == kind::VOLUME_NAME)?.value?;
    let label = String::from_utf16_lossy(&units(label)).trim_end().to_owned();
    (!label.is_empty()).then_some(label)
}

impl FileSystem for Ntfs {
    fn kind(&self) -> &'static str {
        "ntfs"
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    fn root(&self) -> Node {
        Node::new(ROOT)
    }

    fn attributes(&self, node: Node) -> Result<Attributes> {
        let inode = self.inode(node.number)?;
        let nature = self.nature(&inode)?;
        let kind = nature.kind();
        let (stream, name) = match nature {
            Nature::Directory => (kind::INDEX_ALLOCATION, INDEX),
            _ => (kind::DATA, &[][..]),
        };
        let extent = self.extent(&inode, stream, name)?;
        let (mut size, taken) = extent.map_or((0, 0), |extent| (extent.size, extent.taken));
        let mut device = (0, 0);
        match &nature {
            Nature::Symlink(target) => size = target.len() as u64,
            Nature::CharDevice(major, minor) | Nature::BlockDevice(major, minor) => device = (*major, *minor),
            _ => {}
        }
        // Whole sectors are counted for directories.
        let blocks = if kind == Kind::Directory { taken / 512 } else { taken.div_ceil(512) };
        Ok(Attributes {
            kind,
            permissions: Ntfs::permissions(&inode, &nature),
            inode: inode.number(),
            links: if kind == Kind::Directory { 1 } else { inode.record.links().into() },
            user: 0,
            group: 0,
            size,
            blocks,
            block_size: self.boot.cluster.min(4096) as u32,
            device,
            accessed: inode.accessed,
            modified: inode.modified,
            changed: inode.changed,
            // FUSE does not tell.
            created: None,
        })
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>> {
        let directory = self.directory(&self.inode(directory.number)?)?;
        Ok(self.entry(&directory, name)?.map(Node::new))
    }

    fn list(&self, directory: Node, entry: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        self.entries(&self.directory(&self.inode(directory.number)?)?, entry)
    }

    fn read_link(&self, node: Node) -> Result<Vec<u8>> {
        self.target(node)
    }

    fn read(&self, node: Node, offset: u64, into: &mut [u8]) -> Result<usize> {
        let stream = self.contents(node)?;
        let into = up_to_end(into, offset, stream.size);
        self.read_stream(node.number, &stream, offset, into)?;
        Ok(into.len())
    }

    fn data_after(&self, node: Node, offset: u64) -> Result<Option<(u64, u64)>> {
        // FUSE does not tell where holes are.
        let size = self.contents(node)?.size;
        Ok((offset < size).then_some((offset, size)))
    }

    fn xattr_names(&self, node: Node) -> Result<Vec<Vec<u8>>> {
        let inode = self.inode(node.number)?;
        let mut names = Vec::new();
        if !self.has_attributes(&inode)? {
            return Ok(names);
        }
        if inode.flags & flag::ENCRYPTED != 0 {
            return Err(FsError::Unsupported(
                "what is encrypted by Windows (EFS) has an attribute of its own".to_owned(),
            ));
        }
        inode.attributes(self, kind::DATA, None, &mut |attribute| {
            let is_first = attribute.value.is_some() || attribute.first() == 0;
            if !attribute.name.is_empty() && is_first {
                let name = to_utf8(&units(attribute.name));
                if name.starts_with(OWN) || name.contains(&0) {
                    let what = "a stream has a name that ntfs-3g takes for something else";
                    return Err(FsError::Unsupported(what.to_owned()));
                }
                names.push([USER, &name].concat());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(names)
    }

    fn xattr(&self, node: Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let inode = self.inode(node.number)?;
        let Some(name) = name.strip_prefix(USER).filter(|name| !name.is_empty()) else { return Ok(None) };
        if !self.has_attributes(&inode)? {
            return Ok(None);
        }
        let name: Vec<u8> =
            from_utf8(name).ok_or(Errno::ILSEQ)?.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        match self.extent(&inode, kind::DATA, &name)? {
            None => Ok(None),
            Some(extent) if extent.size > MAX_XATTR => {
                Err(FsError::Unsupported("a stream is too large for an extended attribute".to_owned()))
            }
            Some(_) => self.whole(&inode, kind::DATA, &name, MAX_XATTR),
        }
    }

    fn statistics(&self) -> Result<Statistics> {
        self.space()
    }
}
