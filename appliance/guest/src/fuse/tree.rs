//! Directly read file systems as one tree, with the numbers by which the kernel knows what is in it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guestd_api::fuse::{Attr, ROOT};
use libimage::fs::system::{Attributes, FileSystem, Kind, Node, Result as FsResult, Time};
use rustix::io::Errno;

use crate::direct::MountedSystem;

/// Directories whose names are kept: the kernel reads a directory piece by piece.
const KEPT: usize = 16;
/// Names in the longest path that is followed back.
const MAX_DEPTH: usize = 4096;
/// Bits of an inode number; those above tell the file systems and subvolumes of one tree apart.
const NUMBER_BITS: u32 = 48;

/// Something in one of the file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    fs: usize,
    pub(super) node: Node,
}

/// A name in a directory.
pub(super) struct Named {
    pub(super) name: Vec<u8>,
    /// What it leads to; nothing for `..`.
    pub(super) place: Option<Place>,
    pub(super) inode: u64,
    /// The upper bits of its mode, 0 if the directory does not say.
    pub(super) kind: u32,
}

/// The tree.
pub(super) struct Tree {
    systems: Vec<Arc<dyn FileSystem>>,
    /// Directories over which a file system is mounted.
    covered: HashMap<Place, usize>,
    numbers: Mutex<Numbers>,
    lists: Mutex<VecDeque<(Place, Arc<Vec<Named>>)>>,
}

#[derive(Default)]
struct Numbers {
    places: HashMap<u64, (Place, u64)>,
    known: HashMap<Place, u64>,
    /// The directory that each was found in last, and its name there. Those of directories are kept for good: paths
    /// lead through them.
    found: HashMap<Place, (Place, Box<[u8]>)>,
    directories: HashSet<Place>,
    next: u64,
    /// File systems with their subvolumes, in the order in which they were seen.
    devices: Vec<(usize, u64)>,
}

impl Tree {
    /// The tree of mounts: each with its mount point, in the order in which they were made, the root first.
    pub(super) fn new(mounts: Vec<MountedSystem>) -> FsResult<Self> {
        let mut tree = Tree {
            systems: Vec::new(),
            covered: HashMap::new(),
            numbers: Mutex::default(),
            lists: Mutex::default(),
        };
        for (index, (point, system)) in mounts.into_iter().enumerate() {
            tree.systems.push(system);
            if index > 0 {
                let mut place = tree.top(0)?;
                for name in point.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                    place = tree.lookup(place, name)?.ok_or(Errno::NOENT)?;
                }
                tree.covered.insert(place, index);
            }
        }
        let root = tree.seen(tree.top(0)?);
        let mut numbers = tree.numbers();
        numbers.next = ROOT + 1;
        numbers.places.insert(ROOT, (root, 1));
        numbers.known.insert(root, ROOT);
        numbers.devices.push((root.fs, root.node.tree));
        drop(numbers);
        Ok(tree)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn top(&self, fs: usize) -> FsResult<Place> {
        let system = self.systems.get(fs).ok_or(Errno::NOENT)?;
        Ok(Place { fs, node: system.root() })
    }

    /// What is seen at a place: what is there, or what is mounted over it.
    fn seen(&self, mut place: Place) -> Place {
        // Mounts lie over each other at most as often as there are mounts.
        for _ in 0..self.systems.len() {
            match self.covered.get(&place).map(|fs| self.top(*fs)) {
                Some(Ok(top)) if top != place => place = top,
                _ => break,
            }
        }
        place
    }

    /// The file system of a place.
    pub(super) fn fs(&self, place: Place) -> Result<&dyn FileSystem, Errno> {
        self.systems.get(place.fs).map(|system| &**system).ok_or(Errno::STALE)
    }

    /// What a name leads to.
    pub(super) fn lookup(&self, place: Place, name: &[u8]) -> FsResult<Option<Place>> {
        let found = self.fs(place)?.lookup(place.node, name)?;
        Ok(found.map(|node| self.seen(Place { fs: place.fs, node })))
    }

    /// The place that the kernel knows by a number.
    pub(super) fn place(&self, number: u64) -> Result<Place, Errno> {
        self.numbers().places.get(&number).map(|(place, _)| *place).ok_or(Errno::STALE)
    }

    /// The kernel is told once more of a place, which was found in a directory under a name: its number.
    pub(super) fn tell(&self, place: Place, directory: Place, name: &[u8]) -> u64 {
        let mut numbers = self.numbers();
        numbers.found.insert(place, (directory, name.into()));
        numbers.directories.insert(directory);
        let number = match numbers.known.get(&place) {
            Some(number) => *number,
            None => {
                let number = numbers.next;
                numbers.next = number.wrapping_add(1);
                numbers.known.insert(place, number);
                number
            }
        };
        let told = &mut numbers.places.entry(number).or_insert((place, 0)).1;
        *told = told.saturating_add(1);
        number
    }

    /// The names that lead to a place from the top.
    pub(super) fn path(&self, number: u64) -> Result<Vec<Vec<u8>>, Errno> {
        let numbers = self.numbers();
        let top = numbers.places.get(&ROOT).ok_or(Errno::STALE)?.0;
        let mut place = numbers.places.get(&number).ok_or(Errno::STALE)?.0;
        let mut names = Vec::new();
        while place != top {
            let (directory, name) = numbers.found.get(&place).ok_or(Errno::STALE)?;
            names.push(name.to_vec());
            place = *directory;
            // A damaged file system may have directories in a circle.
            if names.len() > MAX_DEPTH {
                return Err(Errno::LOOP);
            }
        }
        names.reverse();
        Ok(names)
    }

    /// The kernel has forgotten a number so often.
    pub(super) fn forget(&self, number: u64, times: u64) {
        let mut numbers = self.numbers();
        let Some((place, told)) = numbers.places.get_mut(&number).filter(|_| number != ROOT) else { return };
        *told = told.saturating_sub(times);
        if *told == 0 {
            let place = *place;
            numbers.places.remove(&number);
            numbers.known.remove(&place);
            if !numbers.directories.contains(&place) {
                numbers.found.remove(&place);
            }
        }
    }

    /// What `stat` says of a place.
    pub(super) fn attributes(&self, place: Place) -> FsResult<Attr> {
        let found = self.fs(place)?.attributes(place.node)?;
        Ok(attributes(&found, self.device(place)))
    }

    /// The upper bits of the inode numbers of a place's file system.
    fn device(&self, place: Place) -> u64 {
        let mut numbers = self.numbers();
        let wanted = (place.fs, place.node.tree);
        let known = numbers.devices.iter().position(|device| *device == wanted);
        let index = known.unwrap_or_else(|| {
            numbers.devices.push(wanted);
            numbers.devices.len() - 1
        });
        (index as u64) << NUMBER_BITS
    }

    /// All names of a directory, `.` and `..` first.
    pub(super) fn list(&self, place: Place) -> FsResult<Arc<Vec<Named>>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = lists.iter().find(|(known, _)| *known == place) {
            return Ok(Arc::clone(list));
        }
        drop(lists);
        let dot = self.attributes(place)?.ino;
        let dots = [&b"."[..], b".."].map(|name| Named {
            name: name.to_vec(),
            place: None,
            inode: dot,
            kind: Kind::Directory.mode() >> 12,
        });
        let mut names = Vec::from(dots);
        let fs = self.fs(place)?;
        fs.list(place.node, &mut |entry| {
            names.push(Named {
                name: entry.name.to_vec(),
                place: Some(self.seen(Place { fs: place.fs, node: entry.node })),
                inode: entry.node.number,
                kind: entry.kind.map_or(0, |kind| kind.mode() >> 12),
            });
            ControlFlow::Continue(())
        })?;
        // Elsewhere a node's number is no more than what its reader finds it by.
        let is_inode = matches!(fs.kind(), "ext2" | "ext3" | "ext4" | "xfs" | "btrfs");
        for named in &mut names {
            let Some(child) = named.place else { continue };
            let found = if is_inode { None } else { self.attributes(child).ok() };
            named.inode = found.map_or_else(|| named.inode | self.device(child), |found| found.ino);
        }
        let names = Arc::new(names);
        lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.push_back((place, Arc::clone(&names)));
        if lists.len() > KEPT {
            lists.pop_front();
        }
        Ok(names)
    }
}

/// Attributes as the kernel gets them.
fn attributes(found: &Attributes, device: u64) -> Attr {
    let seconds = |time: Time| time.seconds.cast_unsigned();
    let (major, minor) = found.device;
    Attr {
        ino: found.inode | device,
        size: found.size,
        blocks: found.blocks,
        atime: seconds(found.accessed),
        mtime: seconds(found.modified),
        ctime: seconds(found.changed),
        atimensec: found.accessed.nanoseconds,
        mtimensec: found.modified.nanoseconds,
        ctimensec: found.changed.nanoseconds,
        mode: found.kind.mode() | found.permissions,
        nlink: found.links,
        uid: found.user,
        gid: found.group,
        rdev: minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12,
        blksize: found.block_size,
        flags: 0,
    }
}
