//! What is neither a plain file nor a directory: the forms that Unix, Windows and its Linux gave to links and devices.
//!
//! ntfs-3g shows a reparse point that it does not know as a symbolic link that leads nowhere, and so does this.

use std::ops::ControlFlow;

use rustix::io::Errno;

use super::super::system::{FsError, Kind, Node, Result};
use super::inode::{Inode, NUMBER, flag};
use super::name::{to_utf8, units};
use super::record::kind;
use super::{FIRST_USER, Ntfs, ROOT};
use crate::fields::Fields;

/// The largest reparse point, in bytes.
const MAX_REPARSE: u64 = 64 << 10;
/// The head of one: its tag, and the length of what follows.
const HEAD: usize = 8;
/// The longest path, in units of UTF-16.
const MAX_PATH: u64 = 4096;
/// What the contents of a special file of Interix begin with.
const MAGIC: u64 = 8;
/// Magic, major and minor number.
const DEVICE: u64 = 24;
/// The flag of a symbolic link that it is relative.
const RELATIVE: u32 = 1;
/// The version of a symbolic link of Windows' Linux.
const LINK_VERSION: u32 = 2;
/// The extended attribute with the numbers of a device.
const LX_DEVICE: &[u8] = b"$LXDEV";
/// Parts of a path that are looked at.
const MAX_PARTS: usize = 31;
const BACKSLASH: u16 = b'\\' as u16;
const QUESTION: u16 = b'?' as u16;
const COLON: u16 = b':' as u16;
const DOT: u16 = b'.' as u16;
const SLASH: u16 = b'/' as u16;

/// Tags of reparse points.
mod tag {
    pub(super) const JUNCTION: u32 = 0xa000_0003;
    pub(super) const SYMLINK: u32 = 0xa000_000c;
    pub(super) const LX_SYMLINK: u32 = 0xa000_001d;
    pub(super) const AF_UNIX: u32 = 0x8000_0023;
    pub(super) const LX_FIFO: u32 = 0x8000_0024;
    pub(super) const LX_CHAR: u32 = 0x8000_0025;
    pub(super) const LX_BLOCK: u32 = 0x8000_0026;
}

/// What an inode is.
pub(super) enum Nature {
    File,
    /// A file of the system without any data: nobody may do anything with it.
    Sealed,
    Directory,
    /// With its target.
    Symlink(Vec<u8>),
    /// With its major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

impl Nature {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Nature::File | Nature::Sealed => Kind::File,
            Nature::Directory => Kind::Directory,
            Nature::Symlink(_) => Kind::Symlink,
            Nature::CharDevice(..) => Kind::CharDevice,
            Nature::BlockDevice(..) => Kind::BlockDevice,
            Nature::Fifo => Kind::Fifo,
            Nature::Socket => Kind::Socket,
        }
    }
}

impl Ntfs {
    /// What an inode is.
    pub(super) fn nature(&self, inode: &Inode) -> Result<Nature> {
        if inode.flags & flag::REPARSE != 0 {
            let (tag, point) = self.reparse_point(inode)?;
            return self.reparsed(inode, tag, &point);
        }
        if inode.record.is_directory() {
            return Ok(Nature::Directory);
        }
        if inode.flags & flag::SYSTEM == 0 || inode.number() < FIRST_USER {
            return Ok(Nature::File);
        }
        self.of_interix(inode)
    }

    /// What kind of thing an entry of a directory leads to; its name has a copy of the flags.
    pub(super) fn kind_in_directory(&self, reference: u64, flags: u32) -> Result<Kind> {
        if flags & (flag::REPARSE | flag::SYSTEM) == 0 {
            let is_directory = flags & flag::DIRECTORY != 0;
            return Ok(if is_directory { Kind::Directory } else { Kind::File });
        }
        let inode = self.inode(reference)?;
        if inode.flags & flag::REPARSE == 0 {
            return Ok(self.nature(&inode)?.kind());
        }
        // Targets need not be found for that.
        Ok(match self.reparse_point(&inode)?.0 {
            tag::AF_UNIX => Kind::Socket,
            tag::LX_FIFO => Kind::Fifo,
            tag::LX_CHAR => Kind::CharDevice,
            tag::LX_BLOCK => Kind::BlockDevice,
            _ => Kind::Symlink,
        })
    }

    fn reparse_point(&self, inode: &Inode) -> Result<(u32, Vec<u8>)> {
        let point = self.whole(inode, kind::REPARSE_POINT, &[], MAX_REPARSE)?;
        let point = point.filter(|point| point.len() >= HEAD);
        let point = point.ok_or_else(|| self.corrupt(inode.number(), "its reparse point is missing"))?;
        Ok((Fields(&point).le32(0), point))
    }

    fn reparsed(&self, inode: &Inode, tag: u32, point: &[u8]) -> Result<Nature> {
        let body = point.get(HEAD..).unwrap_or_default();
        let unknown = || Nature::Symlink(format!("unsupported reparse tag 0x{tag:08x}").into_bytes());
        let wrong = || self.corrupt(inode.number(), "its reparse point is damaged");
        if matches!(tag, tag::JUNCTION | tag::SYMLINK | tag::LX_SYMLINK)
            && usize::from(Fields(point).le16(4)) != body.len()
        {
            return Err(wrong());
        }
        Ok(match tag {
            tag::AF_UNIX => Nature::Socket,
            tag::LX_FIFO => Nature::Fifo,
            tag::LX_CHAR => {
                let (major, minor) = self.lx_device(inode)?;
                Nature::CharDevice(major, minor)
            }
            tag::LX_BLOCK => {
                let (major, minor) = self.lx_device(inode)?;
                Nature::BlockDevice(major, minor)
            }
            tag::LX_SYMLINK if Fields(body).le32(0) == LINK_VERSION => {
                let target = body.get(4..).filter(|target| !target.is_empty() && !target.contains(&0));
                Nature::Symlink(target.ok_or_else(wrong)?.to_vec())
            }
            tag::SYMLINK => {
                let fields = Fields(body);
                let start = 12 + usize::from(fields.le16(0));
                let target = body.get(start..start + usize::from(fields.le16(2))).ok_or_else(wrong)?;
                let target = units(target);
                let is_marked = fields.le32(8) & RELATIVE != 0;
                match target[..] {
                    [BACKSLASH, BACKSLASH | QUESTION, ..] if is_marked => unknown(),
                    [] | [BACKSLASH, BACKSLASH | QUESTION, ..] => return absolute(),
                    _ if !is_marked => unknown(),
                    [BACKSLASH, ..] | [_, COLON, ..] => return absolute(),
                    _ => self.relative(inode, target)?.map_or_else(unknown, Nature::Symlink),
                }
            }
            tag::JUNCTION => return absolute(),
            _ => unknown(),
        })
    }

    /// The numbers of a device of Windows' Linux: an extended attribute in the sense of OS/2.
    fn lx_device(&self, inode: &Inode) -> Result<(u32, u32)> {
        let wrong = || self.corrupt(inode.number(), "it has no numbers for its device");
        let all = self.whole(inode, kind::EA, &[], MAX_REPARSE)?.ok_or_else(wrong)?;
        let mut rest = &all[..];
        loop {
            let next = Fields(rest).le32(0) as usize;
            let name_length = usize::from(rest.get(5).copied().ok_or_else(wrong)?);
            if rest.get(8..8 + name_length) == Some(LX_DEVICE) && Fields(rest).le16(6) == 8 {
                let value =
                    rest.get(8 + name_length + 1..).filter(|value| value.len() >= 8).ok_or_else(wrong)?;
                return Ok((Fields(value).le32(0), Fields(value).le32(4)));
            }
            rest = rest.get(next..).filter(|_| next > 0).ok_or_else(wrong)?;
        }
    }

    /// The target of a relative link with the letters of each part as they are in its directory, and slashes. `None`
    /// if there is no such thing. What comes behind another link, or is a last part of one letter, is not looked at.
    fn relative(&self, inode: &Inode, mut target: Vec<u16>) -> Result<Option<Vec<u8>>> {
        let mut here = self.parent(inode)?;
        let mut at = 0;
        for _ in 0..MAX_PARTS {
            let rest = target.get(at..).unwrap_or_default();
            if rest.len() < 2 {
                return Ok(Some(to_utf8(&target)));
            }
            let Some(directory) = &here else { return Ok(None) };
            let length = rest.iter().position(|unit| *unit == BACKSLASH);
            let end = at + length.unwrap_or(rest.len());
            let part = target.get(at..end).unwrap_or_default().to_vec();
            let is_last = length.is_none();
            if let Some(separator) = target.get_mut(end) {
                *separator = SLASH;
            }
            at = end + 1;
            match &part[..] {
                [DOT] if !is_last => {}
                [DOT, DOT] if !is_last => here = self.parent(directory)?,
                _ => {
                    if !directory.record.is_directory() {
                        return Ok(None);
                    }
                    let found = self.entry_in_any_case(&self.directory(directory)?, &part)?;
                    let Some((reference, name)) = found else { return Ok(None) };
                    if let Some(place) =
                        target.get_mut(end - part.len()..end).filter(|_| name.len() == part.len())
                    {
                        place.copy_from_slice(&name);
                    }
                    let next = self.inode(reference)?;
                    let is_link = next.flags & flag::REPARSE != 0;
                    if is_last && !is_link && next.record.is_directory() != inode.record.is_directory() {
                        return Ok(None);
                    }
                    if is_last || is_link {
                        return Ok(Some(to_utf8(&target)));
                    }
                    here = Some(next);
                }
            }
        }
        Err(FsError::Unsupported("a symbolic link of Windows has very many parts".to_owned()))
    }

    /// The directory in which the first name of something is; `None` for the root.
    fn parent(&self, inode: &Inode) -> Result<Option<Inode>> {
        if inode.number() == ROOT {
            return Ok(None);
        }
        let mut parent = None;
        inode.attributes(self, kind::FILE_NAME, None, &mut |attribute| {
            parent = attribute.value.map(|value| Fields(value).le64(0) & NUMBER);
            Ok(ControlFlow::Break(()))
        })?;
        let parent = parent.ok_or_else(|| self.corrupt(inode.number(), "it has no name"))?;
        self.inode(parent).map(Some)
    }

    /// The permissions of an inode.
    pub(super) fn permissions(inode: &Inode, nature: &Nature) -> u32 {
        let is_of_linux = inode.flags & flag::REPARSE != 0 && !matches!(nature, Nature::Symlink(_));
        if is_of_linux || matches!(nature, Nature::Sealed) { 0 } else { 0o777 }
    }

    /// What Interix made of a file of the system.
    fn of_interix(&self, inode: &Inode) -> Result<Nature> {
        let Some(data) = self.extent(inode, kind::DATA, &[])? else { return Ok(Nature::Sealed) };
        let is_hidden = inode.flags & flag::HIDDEN != 0;
        match data.size {
            0 if !is_hidden => return Ok(Nature::Fifo),
            1 if !is_hidden => return Ok(Nature::Socket),
            ..=MAGIC => return Ok(Nature::File),
            size if size > MAGIC + 2 * MAX_PATH => return Ok(Nature::File),
            _ => {}
        }
        let content = self.whole(inode, kind::DATA, &[], MAGIC + 2 * MAX_PATH)?.unwrap_or_default();
        let (magic, rest) = content.split_at_checked(MAGIC as usize).unwrap_or_default();
        let number = |at| u32::try_from(Fields(rest).le64(at)).unwrap_or_default();
        Ok(match magic {
            b"IntxLNK\x01" => {
                let target = to_utf8(&units(rest));
                if target.is_empty() || target.contains(&0) {
                    return Err(self.corrupt(inode.number(), "the target of a symbolic link is cut"));
                }
                Nature::Symlink(target)
            }
            b"IntxCHR\0" if data.size == DEVICE => Nature::CharDevice(number(0), number(8)),
            b"IntxBLK\0" if data.size == DEVICE => Nature::BlockDevice(number(0), number(8)),
            _ => Nature::File,
        })
    }

    /// The target of a symbolic link.
    pub(super) fn target(&self, node: Node) -> Result<Vec<u8>> {
        match self.nature(&self.inode(node.number)?)? {
            Nature::Symlink(target) => Ok(target),
            _ => Err(Errno::INVAL.into()),
        }
    }
}

fn absolute<T>() -> Result<T> {
    Err(FsError::Unsupported("a link of Windows leads to a place that depends on the mount".to_owned()))
}
