//! Mounted file systems as one tree, with paths resolved the way the kernel does: symbolic links of one
//! file system may lead into another, and never out of the guest.

use std::rc::Rc;

use guestd_api::{Failure, GuestString, Value};
use libimage::fs::ext::{Ext, Kind, Listing, PathError};
use rustix::io::Errno;

use super::devices::Device;
use super::{Refusal, Served, aside};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;
/// The longest path that the kernel takes, in bytes.
pub(super) const MAX_PATH: usize = 4095;
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
    /// Where: `/` or a path without a slash at its end.
    pub(super) point: Vec<u8>,
    /// The option that it was mounted with, if any: an appliance that takes over mounts it the same way.
    pub(super) options: GuestString,
    fs: Ext,
}

/// A path without symbolic links in it, and the file system that holds it.
pub(super) struct Found<'a> {
    fs: &'a Ext,
    inside: Vec<u8>,
    /// What is there; `None` if only the directory around it exists.
    pub(super) kind: Option<Kind>,
    /// The path in the whole tree.
    pub(super) path: Vec<u8>,
    /// The path as it was asked for, which is how errors name it.
    asked: Vec<u8>,
}

impl Found<'_> {
    pub(super) fn list(&self) -> Served<Rc<Listing>> {
        self.fs.list(&self.inside).map_err(|e| answer(e, &self.asked))
    }

    pub(super) fn read_link(&self) -> Served<Vec<u8>> {
        self.fs.read_link(&self.inside).map_err(|e| answer(e, &self.asked))
    }

    pub(super) fn size(&self) -> Served<u64> {
        self.fs.size(&self.inside).map_err(|e| answer(e, &self.asked))
    }

    pub(super) fn read_file(&self, sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Served<()> {
        self.fs.read_file(&self.inside, sink).map_err(|e| answer(e, &self.asked))
    }
}

impl Vfs {
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    pub(super) fn mount(
        &mut self,
        device: &Device,
        target: &GuestString,
        options: &GuestString,
    ) -> Served<Value> {
        let point = self.mount_point(target)?;
        let content = device.content()?;
        match content.as_ref().map(|c| c.kind.as_str()) {
            Some("ext2" | "ext3" | "ext4") => {}
            Some(other) => return aside(format!("{} holds {other}", device.name)),
            None => return aside(format!("{} holds no known file system", device.name)),
        }
        let device_name = GuestString::from(device.name.clone());
        if self.mounts.iter().any(|m| m.device == device_name && m.point == point) {
            return aside(format!("{} is mounted there already", device.name));
        }
        let fs = Ext::open(device.block()?).or_else(|e| aside(e.to_string()))?;
        self.mounts.push(Mount { device: device_name, point, options: options.clone(), fs });
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
        match found.kind {
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
                if place.kind.is_none() {
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
        let mut kind = Some(Kind::Directory);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            // Whatever is walked from is a directory.
            kind = Some(Kind::Directory);
            match &name[..] {
                b"." => continue,
                b".." => {
                    here.truncate(here.iter().rposition(|&b| b == b'/').unwrap_or(0));
                    continue;
                }
                name if name.len() > MAX_NAME => return Err(errno(path, Errno::NAMETOOLONG)),
                _ => {}
            }
            kind = self.lookup(&here, &name, path)?;
            let directory = here.len();
            here.push(b'/');
            here.extend_from_slice(&name);
            let last = ahead.is_empty();
            match kind {
                Some(Kind::Symlink) if !last || follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(errno(path, Errno::LOOP));
                    }
                    let target = self.found(here.clone(), kind, path)?.read_link()?;
                    here.truncate(if target.starts_with(b"/") { 0 } else { directory });
                    ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
                    // A link to the root or to where it lies is a link to a directory.
                    kind = Some(Kind::Directory);
                }
                Some(Kind::Directory) => {}
                Some(_) if !last => return Err(errno(path, Errno::NOTDIR)),
                None if !last => return Err(errno(path, Errno::NOENT)),
                _ => {}
            }
        }
        if here.is_empty() {
            here.push(b'/');
        }
        self.found(here, kind, path)
    }

    /// What is in a directory that `find` came to; `path` has no links in it.
    pub(super) fn list(&self, path: &[u8], asked: &[u8]) -> Served<Rc<Listing>> {
        self.found(path.to_vec(), Some(Kind::Directory), asked)?.list()
    }

    /// What `name` is in `directory`, which is a path without links and without a slash at its end.
    fn lookup(&self, directory: &[u8], name: &[u8], asked: &[u8]) -> Served<Option<Kind>> {
        let around = if directory.is_empty() { b"/" } else { directory };
        Ok(self.list(around, asked)?.get(name).copied())
    }

    /// Says which file system holds a path that has no links in it: of those mounted at or above it, the
    /// latest, which hides what was there before.
    fn found(&self, path: Vec<u8>, kind: Option<Kind>, asked: &[u8]) -> Served<Found<'_>> {
        let holder = self.mounts.iter().rev().find_map(|m| Some((m, inside(&path, &m.point)?)));
        let Some((mount, rest)) = holder else { return aside("nothing is mounted there") };
        let inside = if rest.is_empty() { b"/".to_vec() } else { rest.to_vec() };
        Ok(Found { fs: &mount.fs, inside, kind, path, asked: asked.to_vec() })
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

fn answer(error: PathError, path: &[u8]) -> Refusal {
    match error {
        PathError::Errno(source) => Failure::io(path, &source).into(),
        PathError::NotServed(why) => Refusal::StepAside(why),
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
