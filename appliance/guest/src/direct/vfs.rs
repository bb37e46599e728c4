//! Mounted file systems as one tree, with paths resolved the way the kernel does: symbolic links of one
//! file system may lead into another, and never out of the guest.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use guestd_api::{Failure, GuestString, Value};
use libimage::Block;
use libimage::fs::btrfs::Btrfs;
use libimage::fs::system::{FileSystem, FsError, Kind, Node, Result as FsResult};
use rustix::io::Errno;

use super::devices::Device;
use super::{Refusal, Served, aside};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;
/// The longest path that the kernel takes, in bytes.
pub(super) const MAX_PATH: usize = 4095;
/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 20;
/// The longest name in a directory, in bytes.
const MAX_NAME: usize = 255;

/// What is mounted where.
#[derive(Default)]
pub(super) struct Vfs {
    mounts: Vec<Mount>,
}

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
    pub(super) kind: Kind,
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

    pub(super) fn size(&self) -> Served<u64> {
        Ok(self.ask(|fs, node| fs.attributes(node))?.size)
    }

    /// Reads a whole file into `sink`, piece by piece.
    pub(super) fn read_file(&self, sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Served<()> {
        let mut buffer = vec![0; PIECE];
        let mut offset = 0;
        loop {
            let count = self.ask(|fs, node| fs.read(node, offset, &mut buffer))?;
            if count == 0 {
                return Ok(());
            }
            sink(&buffer[..count]).map_err(|source| Failure::io(&self.asked, &source))?;
            offset += count as u64;
        }
    }
}

impl Vfs {
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The mounted file systems with their mount points; `None` unless the first is the root of the tree, and each
    /// directory has at most one.
    pub(super) fn systems(&self) -> Option<Vec<(Vec<u8>, Arc<dyn FileSystem>)>> {
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
                name if name.len() > MAX_NAME => return Err(errno(path, Errno::NAMETOOLONG)),
                _ => {}
            }
            let directory = (here.len(), *above.last().unwrap_or(&above[0]));
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
        let named = names.into_iter().map(|(name, node, kind)| {
            let place = Place { mount: directory.mount, node };
            match kind {
                Some(kind) if kind != Kind::Directory => Ok(Named { name, place, kind }),
                Some(kind) => {
                    let place = self.covered(place, &join(path, &name));
                    Ok(Named { name, place, kind })
                }
                None => {
                    Ok(Named { name, place, kind: fs.attributes(node).map_err(|e| answer(e, asked))?.kind })
                }
            }
        });
        named.collect()
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
