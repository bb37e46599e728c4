//! Mounted file systems as one tree, with paths resolved the way the kernel does: symbolic links of one
//! file system may lead into another, and never out of the guest.

use guestd_api::{Failure, GuestString, Value};
use libimage::fs::ext::{Entry, Ext, Kind, PathError};

use super::devices::Device;
use super::{Refusal, Served, aside};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

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
}

impl Found<'_> {
    pub(super) fn read_dir(&self) -> Served<Vec<Entry>> {
        self.fs.read_dir(&self.inside).map_err(|e| answer(e, &self.path))
    }

    pub(super) fn read_link(&self) -> Served<Vec<u8>> {
        self.fs.read_link(&self.inside).map_err(|e| answer(e, &self.path))
    }

    pub(super) fn size(&self) -> Served<u64> {
        self.fs.size(&self.inside).map_err(|e| answer(e, &self.path))
    }

    pub(super) fn read_file(&self, sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Served<()> {
        self.fs.read_file(&self.inside, sink).map_err(|e| answer(e, &self.path))
    }
}

impl Vfs {
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    pub(super) fn mount(&mut self, device: &Device, point: &GuestString) -> Served<Value> {
        let content = device.content()?;
        match content.as_ref().map(|c| c.kind.as_str()) {
            Some("ext2" | "ext3" | "ext4") => {}
            Some(other) => return aside(format!("{} holds {other}", device.name)),
            None => return aside(format!("{} holds no known file system", device.name)),
        }
        let point = if point == "/" { b"/".to_vec() } else { self.resolve(point.as_bytes(), true)?.path };
        let fs = Ext::open(device.block()?).or_else(|e| aside(e.to_string()))?;
        self.mounts.push(Mount { device: device.name.clone().into(), point, fs });
        Ok(Value::Void)
    }

    pub(super) fn unmount(&mut self, what: &GuestString) -> Served<Value> {
        let found = self.mounts.iter().rposition(|m| m.device == *what || m.point == what.as_bytes());
        let Some(index) = found else { return aside("it is not mounted by that name") };
        let point = self.mounts[index].point.clone();
        let busy = self.mounts.iter().any(|m| m.point != point && inside(&m.point, &point).is_some());
        if busy {
            return Err(Failure::new(format!("{}: target is busy.", String::from_utf8_lossy(&point)))
                .with_errno(16)
                .into());
        }
        self.mounts.remove(index);
        Ok(Value::Void)
    }

    /// Follows `path`; its last component too, if `follow` says so.
    pub(super) fn resolve(&self, path: &[u8], follow: bool) -> Served<Found<'_>> {
        if self.mounts.is_empty() {
            return Err(Failure::new("you must call 'mount' first to mount a filesystem").into());
        }
        if !path.starts_with(b"/") {
            return aside("it is not an absolute path");
        }
        let errno = |number, what: &str| -> Refusal {
            Failure::new(format!("{}: {what}", String::from_utf8_lossy(path))).with_errno(number).into()
        };
        // What is still to be walked, last component first.
        let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut here: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                let parent = here.iter().rposition(|&b| b == b'/').unwrap_or(0);
                here.truncate(parent);
                continue;
            }
            let directory = here.len();
            here.push(b'/');
            here.extend_from_slice(&name);
            let last = ahead.is_empty();
            match self.lookup(&here)?.kind {
                Some(Kind::Symlink) if !last || follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(errno(40, "Too many levels of symbolic links"));
                    }
                    let target = self.lookup(&here)?.read_link()?;
                    here.truncate(if target.starts_with(b"/") { 0 } else { directory });
                    ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                Some(Kind::Directory) => {}
                Some(_) if !last => return Err(errno(20, "Not a directory")),
                None if !last => return Err(errno(2, "No such file or directory")),
                _ => {}
            }
        }
        if here.is_empty() {
            here.push(b'/');
        }
        let found = self.lookup(&here)?;
        // A slash at the end demands a directory.
        if path.ends_with(b"/") && found.kind.is_some_and(|k| k != Kind::Directory) {
            return Err(errno(20, "Not a directory"));
        }
        Ok(found)
    }

    /// Finds what is at a path that has no links in it.
    fn lookup(&self, path: &[u8]) -> Served<Found<'_>> {
        let holder = self.mounts.iter().rev().filter_map(|m| Some((m, inside(path, &m.point)?)));
        let Some((mount, rest)) = holder.max_by_key(|(m, _)| m.point.len()) else {
            return aside("nothing is mounted there");
        };
        let inside = if rest.is_empty() { b"/".to_vec() } else { rest.to_vec() };
        let kind = mount.fs.kind(&inside, false).map_err(|e| answer(e, path))?;
        Ok(Found { fs: &mount.fs, inside, kind, path: path.to_vec() })
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

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty() && *name != b".")
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
}
