//! Mounted file systems as one tree, with paths resolved the way the kernel does: symbolic links of one
//! file system may lead into another, and never out of the guest.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use guestd_api::{Failure, GuestString, Value};
use libimage::Block;
use libimage::fs::btrfs::Btrfs;
use libimage::fs::system::{Attributes, FileSystem, FsError, Kind, Node, Result as FsResult};
use rustix::io::Errno;

use super::device::Device;
use super::{Refusal, Served, aside};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;
/// The longest path that the kernel takes, in bytes.
pub(super) const MAX_PATH: usize = 4095;
/// The longest name in a directory, in bytes; NTFS counts letters, and does so itself.
const MAX_NAME: usize = 255;
/// Above this many names of one directory it is cheaper to list the directory than to look each one up.
const MANY: usize = 16;

/// What is mounted where.
#[derive(Default)]
pub(super) struct Vfs {
    mounts: Vec<Mount>,
}

/// A file system, after its mount point.
pub type MountedSystem = (Vec<u8>, Arc<dyn FileSystem>);

/// How something was mounted: options, device or subvolume, mount point.
pub(crate) type MountedAs = (GuestString, GuestString, GuestString);

/// One mounted file system.
pub(super) struct Mount {
    /// The device, under the name that users know.
    pub(super) device: GuestString,
    /// What was asked for: the device, or a subvolume on it.
    pub(super) mountable: GuestString,
    /// Where: `/` or a path without a slash at its end.
    pub(super) point: Vec<u8>,
    /// The option that it was mounted with, if any: an appliance that takes over mounts it the same way.
    pub(super) options: GuestString,
    /// It lies on several devices, of which the kernel names one.
    pub(super) is_spread: bool,
    /// The kernel's number for the device.
    number: (u32, u32),
    /// As detected on the device; it makes the number of the file system.
    uuid: Option<String>,
    fs: Arc<dyn FileSystem>,
}

/// Something in one of the mounted file systems.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Which of the mounts.
    mount: usize,
    node: Node,
}

/// Where a path leads when all symbolic links are followed.
pub(super) struct Found<'a> {
    vfs: &'a Vfs,
    /// What is there and what kind of thing it is; `None` if only the directory around it exists.
    there: Option<(Place, Kind)>,
    /// The path in the whole tree, without symbolic links.
    pub(super) path: Vec<u8>,
    /// The path as it was asked for, which is how errors name it.
    asked: Vec<u8>,
}

/// A name in a directory, and what it leads to.
pub(super) struct Named {
    pub(super) name: Vec<u8>,
    pub(super) place: Place,
    /// What the directory itself has there, whatever is mounted over it.
    pub(super) below: Place,
    pub(super) kind: Kind,
    /// The directory says what kind of thing it is.
    pub(super) told: bool,
}

/// Finds names of a directory.
pub(super) struct NamesIn<'a> {
    vfs: &'a Vfs,
    directory: Vec<u8>,
    known: HashMap<Vec<u8>, Place>,
}

impl NamesIn<'_> {
    /// What a name is, a link itself; `None` if there is nothing that it leads to.
    pub(super) fn find(&self, name: &GuestString) -> Served<Option<Place>> {
        let name = name.as_bytes();
        if let Some(place) = self.known.get(name) {
            return Ok(Some(*place));
        }
        match self.vfs.resolve(&join(&self.directory, name), false) {
            Ok(found) => Ok(found.there.map(|(place, _)| place)),
            Err(Refusal::StepAside(why)) => aside(why),
            Err(_) => Ok(None),
        }
    }
}

impl<'a> Found<'a> {
    /// What kind of thing is there, if anything.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.there.map(|(_, kind)| kind)
    }

    /// What is there; an error if nothing.
    pub(super) fn place(&self) -> Served<Place> {
        self.there.map(|(place, _)| place).ok_or_else(|| errno(&self.asked, Errno::NOENT))
    }

    /// Asks its file system about it.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&'a dyn FileSystem, Node) -> FsResult<T>) -> Served<T> {
        let place = self.place()?;
        question(&*self.vfs.mounts[place.mount].fs, place.node).map_err(|e| answer(e, &self.asked))
    }

    /// What `stat` says of it.
    pub(super) fn attributes(&self) -> Served<Attributes> {
        self.ask(|fs, node| fs.attributes(node))
    }

    pub(super) fn size(&self) -> Served<u64> {
        Ok(self.attributes()?.size)
    }

    /// Fills `into` from the byte `offset` on; less only at the end of the file.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> Served<usize> {
        self.ask(|fs, node| fs.read(node, offset, into))
    }

    /// The file system that it lies in, and what it is there: for who reads it when paths lead elsewhere.
    pub(super) fn file_system(&self) -> Served<(Arc<dyn FileSystem>, Node)> {
        let place = self.place()?;
        Ok((Arc::clone(&self.vfs.mounts[place.mount].fs), place.node))
    }

    /// How errors name it.
    pub(super) fn asked(&self) -> &[u8] {
        &self.asked
    }
}

impl Vfs {
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// What is mounted and how, in order.
    pub(super) fn mounted_as(&self) -> Vec<MountedAs> {
        self.mounts().map(|m| (m.options.clone(), m.mountable.clone(), m.point.clone().into())).collect()
    }

    /// The mounted file systems with their mount points; `None` unless the first is the root of the tree, and each
    /// directory has at most one.
    pub(super) fn systems(&self) -> Option<Vec<MountedSystem>> {
        let all: Vec<_> = self.mounts.iter().map(|m| (m.point.clone(), Arc::clone(&m.fs))).collect();
        let roots = all.iter().filter(|(point, _)| point == b"/").count();
        (roots == 1 && all.first()?.0 == b"/").then_some(all)
    }

    /// Mounts what is on a device, which was asked for by a name and with options; `others` gives those on which the
    /// rest of it may be.
    pub(super) fn mount(
        &mut self,
        device: &Device,
        others: &dyn Fn() -> Vec<Arc<dyn Block>>,
        (mountable, options): (&GuestString, &GuestString),
        target: &GuestString,
    ) -> Served<Value> {
        let point = self.mount_point(target)?;
        let Some(content) = device.content()? else {
            return aside(format!("{} holds no known file system", device.name));
        };
        let device_name = GuestString::from(device.name.clone());
        if self.mounts.iter().any(|m| m.device == device_name && m.point == point) {
            return aside(format!("{} is mounted there already", device.name));
        }
        let is_spread = Cell::new(false);
        let others = || {
            is_spread.set(true);
            others()
        };
        let opened: FsResult<Arc<dyn FileSystem>> = match &device.subvolume {
            None => libimage::fs::open(&content.kind, device.block()?, &others),
            Some(_) if content.kind != "btrfs" => return aside(format!("{} has no subvolumes", device.name)),
            Some(path) => match Btrfs::open(device.block()?, &others).and_then(|fs| fs.within(path)) {
                Ok(fs) => Ok(Arc::new(fs)),
                Err(error) => Err(error),
            },
        };
        let fs = opened.or_else(|e| aside(format!("{}: {e}", device.name)))?;
        let (mountable, options) = (mountable.clone(), options.clone());
        self.mounts.push(Mount {
            device: device_name,
            mountable,
            point,
            options,
            is_spread: is_spread.get(),
            number: device.number,
            uuid: content.uuid,
            fs,
        });
        Ok(Value::Void)
    }

    /// Where a mount goes: an existing directory. Without any mount there is only the root.
    fn mount_point(&self, target: &GuestString) -> Served<Vec<u8>> {
        let path = target.as_bytes();
        if !path.starts_with(b"/") {
            return aside("it is not an absolute path");
        }
        if self.mounts.is_empty() {
            return match components(path).all(|name| name == b"." || name == b"..") {
                true => Ok(b"/".to_vec()),
                false => Err(errno(path, Errno::NOENT)),
            };
        }
        let found = self.resolve(path, true)?;
        match found.kind() {
            Some(Kind::Directory) => Ok(found.path),
            Some(_) => Err(Failure::new(format!("{target}: mount point is not a directory"))
                .with_errno(Errno::NOTDIR.raw_os_error())
                .into()),
            None => Err(errno(path, Errno::NOENT)),
        }
    }

    /// Takes a mount off, named by its place; or by its device, under the name that users know.
    pub(super) fn unmount(&mut self, what: &GuestString, device: Option<&Device>) -> Served<Value> {
        let found = match device {
            Some(device) => {
                let name = GuestString::from(device.name.clone());
                self.mounts.iter().rposition(|m| m.device == name)
            }
            None => {
                let place = self.resolve(what.as_bytes(), true)?;
                if place.kind().is_none() {
                    return Err(errno(what.as_bytes(), Errno::NOENT));
                }
                self.mounts.iter().rposition(|m| m.point == place.path)
            }
        };
        let Some(index) = found else { return Err(Failure::new(format!("{what}: not mounted")).into()) };
        let point = &self.mounts[index].point;
        let later = &self.mounts[index + 1..];
        if later.iter().any(|m| inside(point, &m.point).is_some()) {
            return aside("another file system is mounted over it");
        }
        if later.iter().any(|m| inside(&m.point, point).is_some()) {
            return Err(errno(what.as_bytes(), Errno::BUSY));
        }
        self.mounts.remove(index);
        Ok(Value::Void)
    }

    /// Follows `path`; its last component too, if `follow` says so. A slash or `.` at the end makes the
    /// component before it one that is not the last.
    pub(super) fn resolve(&self, path: &[u8], follow: bool) -> Served<Found<'_>> {
        if !path.starts_with(b"/") {
            return aside("it is not an absolute path");
        }
        if self.mounts.is_empty() {
            return Err(Failure::new("you must call 'mount' first to mount the root filesystem").into());
        }
        if path.len() > MAX_PATH {
            return Err(errno(path, Errno::NAMETOOLONG));
        }
        // What is still to be walked, last component first.
        let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut here: Vec<u8> = Vec::new();
        // The directories that the walk went down through; what was come to, if it is no directory.
        let mut above = vec![self.top()?];
        let mut end = None;
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match &name[..] {
                b"." => continue,
                b".." => {
                    here.truncate(here.iter().rposition(|&b| b == b'/').unwrap_or(0));
                    above.truncate((above.len() - 1).max(1));
                    continue;
                }
                _ => {}
            }
            let directory = (here.len(), *above.last().unwrap_or(&above[0]));
            if name.len() > MAX_NAME && self.kind_of(directory.1) != "ntfs" {
                return Err(errno(path, Errno::NAMETOOLONG));
            }
            here.push(b'/');
            here.extend_from_slice(&name);
            let found = self.child(directory.1, &here, &name).map_err(|e| answer(e, path))?;
            let last = ahead.is_empty();
            match found {
                Some((place, Kind::Symlink)) if !last || follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(errno(path, Errno::LOOP));
                    }
                    let target = self.mounts[place.mount].fs.read_link(place.node);
                    let target = target.map_err(|e| answer(e, path))?;
                    if target.starts_with(b"/") {
                        here.clear();
                        above.truncate(1);
                    } else {
                        here.truncate(directory.0);
                    }
                    ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                Some((place, Kind::Directory)) => above.push(place),
                Some(_) if !last => return Err(errno(path, Errno::NOTDIR)),
                None if !last => return Err(errno(path, Errno::NOENT)),
                other => end = Some(other),
            }
        }
        if here.is_empty() {
            here.push(b'/');
        }
        let there = end.unwrap_or_else(|| above.last().map(|&place| (place, Kind::Directory)));
        Ok(Found { vfs: self, there, path: here, asked: path.to_vec() })
    }

    /// The root of the latest of the mounts at `/`.
    fn top(&self) -> Served<Place> {
        match self.mounts.iter().rposition(|m| m.point == b"/") {
            Some(mount) => Ok(self.root_of(mount)),
            None => aside("nothing is mounted there"),
        }
    }

    fn root_of(&self, mount: usize) -> Place {
        Place { mount, node: self.mounts[mount].fs.root() }
    }

    /// What `name` is in a directory; `path` is its path in the whole tree.
    fn child(&self, directory: Place, path: &[u8], name: &[u8]) -> FsResult<Option<(Place, Kind)>> {
        let fs = &self.mounts[directory.mount].fs;
        let Some(node) = fs.lookup(directory.node, name)? else { return Ok(None) };
        let kind = fs.attributes(node)?.kind;
        Ok(Some((self.covered(Place { mount: directory.mount, node }, path), kind)))
    }

    /// What is seen at a path: what was found there, or what was mounted over it later.
    fn covered(&self, place: Place, path: &[u8]) -> Place {
        let later = self.mounts.iter().rposition(|m| m.point == path).filter(|&mount| mount > place.mount);
        later.map_or(place, |mount| self.root_of(mount))
    }

    /// What is in a directory whose path in the whole tree is `path`; errors name it as `asked`.
    pub(super) fn list(&self, directory: Place, path: &[u8], asked: &[u8]) -> Served<Vec<Named>> {
        let fs = &self.mounts[directory.mount].fs;
        let mut names = Vec::new();
        let listed = fs.list(directory.node, &mut |entry| {
            names.push((entry.name.to_vec(), entry.node, entry.kind));
            ControlFlow::Continue(())
        });
        listed.map_err(|e| answer(e, asked))?;
        // Few directories have anything mounted in them, so that paths need not be made.
        let has_mounts = self.mounts.iter().skip(1).any(|m| inside(&m.point, path).is_some());
        let named = names.into_iter().map(|(name, node, kind)| {
            let below = Place { mount: directory.mount, node };
            let told = kind.is_some();
            let kind = match kind {
                Some(kind) => kind,
                None => fs.attributes(node).map_err(|e| answer(e, asked))?.kind,
            };
            let is_covered = has_mounts && kind == Kind::Directory;
            let place = if is_covered { self.covered(below, &join(path, &name)) } else { below };
            Ok(Named { name, place, below, kind, told })
        });
        named.collect()
    }

    /// Asks the file system of a place about it; errors name it as `asked`.
    pub(super) fn ask<'a, T>(
        &'a self,
        place: Place,
        asked: &[u8],
        question: impl FnOnce(&'a dyn FileSystem, Node) -> FsResult<T>,
    ) -> Served<T> {
        question(&*self.mounts[place.mount].fs, place.node).map_err(|e| answer(e, asked))
    }

    /// What `stat` says of a place.
    pub(super) fn attributes(&self, place: Place, asked: &[u8]) -> Served<Attributes> {
        self.ask(place, asked, |fs, node| fs.attributes(node))
    }

    /// What a path leads to when all links are followed; an error if nothing.
    pub(super) fn existing(&self, path: &GuestString) -> Served<Found<'_>> {
        self.there(path, true)
    }

    /// The same where the last link is perhaps not to be followed.
    pub(super) fn there(&self, path: &GuestString, follow: bool) -> Served<Found<'_>> {
        let found = self.resolve(path.as_bytes(), follow)?;
        found.place()?;
        Ok(found)
    }

    /// For finding `names` of a directory.
    pub(super) fn names_in(&self, directory: &GuestString, names: &[GuestString]) -> Served<NamesIn<'_>> {
        // Nothing can be said before something is mounted.
        self.resolve(b"/", true)?;
        if let Some(name) = names.iter().find(|name| name.as_bytes().contains(&b'/')) {
            let why = format!("names: '{name}': this is a list of names without '/'");
            return Err(Failure::new(why).into());
        }
        let mut known = HashMap::new();
        if names.len() > MANY
            && let Ok(found) = self.resolve(directory.as_bytes(), true)
            && found.kind() == Some(Kind::Directory)
        {
            let listed = self.list(found.place()?, &found.path, directory.as_bytes())?;
            known.extend(listed.into_iter().map(|named| (named.name, named.place)));
        }
        Ok(NamesIn { vfs: self, directory: directory.as_bytes().to_vec(), known })
    }

    /// The number of the device that a place is on.
    pub(super) fn device_number(&self, place: Place) -> i64 {
        super::stat::device_number(self.mounts[place.mount].number)
    }

    /// What tells a file from all others: names of the same file have the same.
    pub(super) fn identity(&self, place: Place) -> (usize, Node) {
        (place.mount, place.node)
    }

    /// Whether a place is the top of its file system.
    pub(super) fn is_top(&self, place: Place) -> bool {
        self.mounts[place.mount].fs.root() == place.node
    }

    /// The type of the file system of a place, with the kernel's name.
    pub(super) fn kind_of(&self, place: Place) -> &'static str {
        self.mounts[place.mount].fs.kind()
    }

    /// The number by which `statfs` knows the file system; `None` where only the kernel knows how it is made.
    pub(super) fn file_system_id(&self, place: Place) -> Option<u64> {
        let mount = &self.mounts[place.mount];
        match mount.fs.kind() {
            "ext2" | "ext3" | "ext4" => {
                let digits = mount.uuid.as_ref()?.replace('-', "");
                let bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
                let [a, b] = *bytes.as_chunks::<8>().0 else { return None };
                Some(u64::from_le_bytes(a) ^ u64::from_le_bytes(b))
            }
            "xfs" | "vfat" | "exfat" | "iso9660" | "squashfs" | "erofs" => {
                Some(self.device_number(place).cast_unsigned())
            }
            // A program serves it, and the kernel gives those none.
            "ntfs" => Some(0),
            _ => None,
        }
    }

    /// The options of its mount, as `statfs` tells them.
    pub(super) fn mount_flags(&self, place: Place) -> i64 {
        const READ_ONLY: i64 = 0x1;
        const VALID: i64 = 0x20;
        const RELATIVE_ACCESS_TIMES: i64 = 0x1000;
        let mount = &self.mounts[place.mount];
        let always = matches!(mount.fs.kind(), "iso9660" | "squashfs" | "erofs");
        let read_only = if always || mount.options == "ro" { READ_ONLY } else { 0 };
        read_only | VALID | RELATIVE_ACCESS_TIMES
    }
}

/// A name in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The directory around a path of the whole tree.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) if slash > 0 => path.get(..slash).unwrap_or(path),
        _ => b"/",
    }
}

/// The rest of `path` below `point`, with its leading slash; `None` if it does not lie below.
fn inside<'a>(path: &'a [u8], point: &[u8]) -> Option<&'a [u8]> {
    if point == b"/" {
        return Some(path);
    }
    let rest = path.strip_prefix(point)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// The parts of a path; a slash at its end counts as a `.` there.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let end = path.ends_with(b"/").then_some(&b"."[..]);
    path.split(|&b| b == b'/').filter(|name| !name.is_empty()).chain(end)
}

/// A failure as the kernel gives it.
pub(super) fn errno(path: &[u8], errno: Errno) -> Refusal {
    Failure::io(path, &errno.into()).into()
}

fn answer(error: FsError, path: &[u8]) -> Refusal {
    match error {
        FsError::Errno(source) => errno(path, source),
        other => Refusal::StepAside(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_hold_what_lies_below_them() {
        assert_eq!(inside(b"/boot/efi", b"/boot"), Some(&b"/efi"[..]));
        assert_eq!(inside(b"/boot", b"/boot"), Some(&b""[..]));
        assert_eq!(inside(b"/bootx", b"/boot"), None);
        assert_eq!(inside(b"/x", b"/"), Some(&b"/x"[..]));
    }

    #[test]
    fn a_slash_at_the_end_is_a_part() {
        let parts =
            |path| components(path).map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>();
        assert_eq!(parts(b"//a/./b//"), ["a", ".", "b", "."]);
        assert_eq!(parts(b"/a/.."), ["a", ".."]);
        assert_eq!(parts(b"/"), ["."]);
    }
}
