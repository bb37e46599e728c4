//! The files that the host's kernel knows by a number.
//!
//! A node is one file, whatever its names: files are told apart by device and inode number, so all links of a
//! file are one node. A node keeps its file open (as a place only) and with that its inode number taken. When
//! too many are open, the oldest are only remembered by their handles. A node goes when the host's kernel
//! has forgotten it as often as it was told of it.

use super::kernel::{self, Handle};
use super::spelling;
use guestd_api::fuse::{Attr, ROOT};
use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nodes that are kept open.
const MAX_OPEN: usize = 16 << 10;
/// Bits of an inode number; those above tell the file systems of one tree apart.
const NUMBER_BITS: u32 = 48;

/// How a file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: (u32, u32),
    inode: u64,
}

/// Where a node's file is.
enum Place {
    /// Open.
    Open(Arc<OwnedFd>),
    /// To be found by its handle.
    Handle(Box<Handle>),
}

/// A file that the host's kernel knows.
struct Node {
    key: Key,
    place: Place,
    /// How often the kernel was told of it.
    told: u64,
}

/// A file system of the tree.
struct Device {
    number: (u32, u32),
    /// A directory of it, to find files by their handles.
    top: Option<OwnedFd>,
    /// Names do not stay what they were.
    loose_names: bool,
}

#[derive(Default)]
struct Table {
    nodes: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    next: u64,
    /// Nodes in the order in which they were opened.
    open: VecDeque<u64>,
    devices: Vec<Device>,
}

/// All of them.
pub(super) struct Nodes(Mutex<Table>);

/// What was found under a name.
pub(super) struct Found {
    pub(super) node: u64,
    pub(super) attributes: Attr,
    /// The name may be found again without asking.
    pub(super) lasting: bool,
}

/// A path that leads to an open file.
pub(super) fn path_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// What a file is; `name` may be empty, for the file itself.
pub(super) fn status(file: impl AsFd, name: &CStr) -> Result<Statx, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(file, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

fn key(status: &Statx) -> Key {
    Key { device: (status.stx_dev_major, status.stx_dev_minor), inode: status.stx_ino }
}

impl Nodes {
    /// Nodes of the tree below a directory.
    pub(super) fn new(top: OwnedFd) -> Result<Self, Errno> {
        let status = status(&top, c"")?;
        let mut table = Table { next: ROOT + 1, ..Table::default() };
        let key = key(&status);
        table.device(&top, key.device)?;
        table.by_key.insert(key, ROOT);
        table.nodes.insert(ROOT, Node { key, place: Place::Open(Arc::new(top)), told: 1 });
        Ok(Nodes(Mutex::new(table)))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a node.
    pub(super) fn file(&self, number: u64) -> Result<Arc<OwnedFd>, Errno> {
        let mut table = self.table();
        let node = table.nodes.get(&number).ok_or(Errno::STALE)?;
        let handle = match &node.place {
            Place::Open(file) => return Ok(Arc::clone(file)),
            Place::Handle(handle) => handle,
        };
        let device = table.devices.iter().find(|device| device.number == node.key.device);
        let top = device.and_then(|device| device.top.as_ref()).ok_or(Errno::STALE)?;
        let file = Arc::new(kernel::open_handle(top, handle)?);
        table.opened(number, &file);
        Ok(file)
    }

    /// The host's kernel is told of a file once more: of an open one, which becomes the node's if it is new.
    pub(super) fn tell(&self, file: OwnedFd) -> Result<Found, Errno> {
        self.tell_shared(Arc::new(file))
    }

    /// The same with a file that others use as well.
    pub(super) fn tell_shared(&self, file: Arc<OwnedFd>) -> Result<Found, Errno> {
        let status = status(&*file, c"")?;
        self.enter(file, &status)
    }

    /// The same of a file whose status is known.
    pub(super) fn enter(&self, file: Arc<OwnedFd>, status: &Statx) -> Result<Found, Errno> {
        let key = key(status);
        let mut table = self.table();
        let device = table.device(&file, key.device)?;
        let lasting = table.devices.get(device).is_some_and(|device| !device.loose_names);
        let attributes = attributes(status, device);
        let mut spare = None;
        let known = table.by_key.get(&key).copied();
        let known = known.filter(|number| match table.nodes.get(number).map(|node| &node.place) {
            Some(Place::Open(_)) => true,
            // The number may be another file's by now.
            Some(Place::Handle(handle)) => kernel::handle_of(&*file).is_ok_and(|new| new == *handle),
            None => false,
        });
        let node = match known {
            Some(number) => {
                if let Some(node) = table.nodes.get_mut(&number) {
                    node.told = node.told.saturating_add(1);
                    if matches!(node.place, Place::Handle(_)) {
                        table.opened(number, &file);
                    } else {
                        spare = Some(file);
                    }
                }
                number
            }
            None => {
                let number = table.next;
                table.next = number.wrapping_add(1);
                table.by_key.insert(key, number);
                table.nodes.insert(number, Node { key, place: Place::Open(Arc::clone(&file)), told: 1 });
                table.opened(number, &file);
                number
            }
        };
        drop(table);
        // Not closed with the table locked.
        drop(spare);
        Ok(Found { node, attributes, lasting })
    }

    /// What is seen of a file.
    pub(super) fn attributes(&self, status: &Statx) -> Attr {
        let number = key(status).device;
        let device = self.table().devices.iter().position(|device| device.number == number).unwrap_or(0);
        attributes(status, device)
    }

    /// Whether the names in a directory stay what they are.
    pub(super) fn names_last(&self, directory: u64) -> bool {
        let table = self.table();
        let Some(node) = table.nodes.get(&directory) else { return false };
        table.devices.iter().any(|device| device.number == node.key.device && !device.loose_names)
    }

    /// An inode number as it is shown, of a file next to one with these attributes.
    pub(super) fn shown_number(inode: u64, beside: &Attr) -> u64 {
        inode | (beside.ino >> NUMBER_BITS) << NUMBER_BITS
    }

    /// A file that was open for more than being a place is closed: its node keeps the place.
    pub(super) fn keep_place_only(&self, number: u64, file: &Arc<OwnedFd>) {
        let is_same = |node: &Node| matches!(&node.place, Place::Open(place) if Arc::ptr_eq(place, file));
        if !self.table().nodes.get(&number).is_some_and(is_same) {
            return;
        }
        let place = rustix::fs::open(path_of(file), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        if let Ok(place) = place
            && let Some(node) = self.table().nodes.get_mut(&number)
        {
            node.place = Place::Open(Arc::new(place));
        }
    }

    /// The host's kernel has forgotten nodes, each some number of times.
    pub(super) fn forget(&self, nodes: impl Iterator<Item = (u64, u64)>) {
        let mut gone = Vec::new();
        let mut table = self.table();
        for (number, times) in nodes.filter(|(number, _)| *number != ROOT) {
            let Some(node) = table.nodes.get_mut(&number) else { continue };
            node.told = node.told.saturating_sub(times);
            if node.told == 0 {
                let key = node.key;
                if table.by_key.get(&key) == Some(&number) {
                    table.by_key.remove(&key);
                }
                gone.extend(table.nodes.remove(&number));
            }
        }
        drop(table);
        // The last look at a file without names takes time: its blocks are given back.
        drop(gone);
    }
}

impl Table {
    /// The place of a device among those known; `file` lies on it.
    fn device(&mut self, file: &OwnedFd, number: (u32, u32)) -> Result<usize, Errno> {
        if let Some(index) = self.devices.iter().position(|device| device.number == number) {
            return Ok(index);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(path_of(file), flags, Mode::empty()).ok();
        let kind = rustix::fs::fstatfs(file)?.f_type;
        #[allow(clippy::unnecessary_cast, reason = "the type depends on the machine")]
        let loose_names = spelling::has_many(kind as i64, number);
        self.devices.push(Device { number, top, loose_names });
        Ok(self.devices.len() - 1)
    }

    /// A node is open now; if too many are, the oldest are closed.
    fn opened(&mut self, number: u64, file: &Arc<OwnedFd>) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.place = Place::Open(Arc::clone(file));
        }
        self.open.push_back(number);
        // Those that were forgotten are still in the list.
        let mut looks = 2;
        while self.open.len() > MAX_OPEN && looks > 0 {
            looks -= 1;
            let Some(oldest) = self.open.pop_front() else { return };
            if let Some(node) = self.nodes.get_mut(&oldest)
                && oldest != ROOT
                && let Place::Open(file) = &node.place
                && let Ok(handle) = kernel::handle_of(&**file)
            {
                node.place = Place::Handle(handle);
            }
        }
    }
}

/// The kernel's numbers for a device, in the form that the protocol has.
fn device_number(major: u32, minor: u32) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// What is seen of a file on the device of that place in the table.
fn attributes(status: &Statx, device: usize) -> Attr {
    let numbered = (device as u64) << NUMBER_BITS;
    let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec.cast_unsigned(), time.tv_nsec);
    let (atime, atimensec) = time(status.stx_atime);
    let (mtime, mtimensec) = time(status.stx_mtime);
    let (ctime, ctimensec) = time(status.stx_ctime);
    Attr {
        ino: status.stx_ino | numbered,
        size: status.stx_size,
        blocks: status.stx_blocks,
        atime,
        mtime,
        ctime,
        atimensec,
        mtimensec,
        ctimensec,
        mode: u32::from(status.stx_mode),
        nlink: status.stx_nlink,
        uid: status.stx_uid,
        gid: status.stx_gid,
        rdev: device_number(status.stx_rdev_major, status.stx_rdev_minor),
        blksize: status.stx_blksize,
        flags: 0,
    }
}
