//! Requests about extended attributes; ACLs are some of them.

use super::nodes::{path_of, status};
use super::request::Request;
use super::tree::{Answer, Done, Tree};
use guestd_api::fuse::{GetxattrIn, GetxattrOut, OUT_HEADER, SETXATTR_ACL_KILL_SGID, SetxattrIn, init};
use rustix::fs::{AtFlags, CWD, Mode, XattrFlags};
use rustix::io::Errno;

/// The kernel's own limit for a value, and for a list of names.
const MAX_SIZE: u32 = 64 << 10;

/// Attributes that only a privileged user sees.
const FOR_ROOT: &[u8] = b"trusted.";

impl Tree {
    pub(super) fn setxattr(&self, request: &mut Request<'_>) -> Done {
        let wanted = if self.agreed(init::SETXATTR_EXT) {
            request.take()?
        } else {
            let [size, flags]: [u32; 2] = request.take()?;
            SetxattrIn { size, flags, ..SetxattrIn::default() }
        };
        let file = self.node(request)?;
        let name = request.text()?;
        let value = request.bytes(wanted.size)?;
        let path = path_of(&file);
        rustix::fs::setxattr(&path, name, value, XattrFlags::from_bits_retain(wanted.flags))?;
        if wanted.setxattr_flags & SETXATTR_ACL_KILL_SGID != 0 {
            let mode = u32::from(status(&*file, c"")?.stx_mode) & 0o7777;
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode & !0o2000), AtFlags::empty())?;
        }
        Ok(())
    }

    pub(super) fn getxattr(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: GetxattrIn = request.take()?;
        let path = path_of(&*self.node(request)?);
        let name = request.text()?;
        give(wanted.size, answer, |room| rustix::fs::getxattr(&path, name, room))
    }

    pub(super) fn listxattr(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: GetxattrIn = request.take()?;
        let path = path_of(&*self.node(request)?);
        if request.header.uid == 0 {
            return give(wanted.size, answer, |room| rustix::fs::listxattr(&path, room));
        }
        let mut names = vec![0; MAX_SIZE as usize];
        let length = rustix::fs::listxattr(&path, &mut names[..])?;
        names.truncate(length);
        let seen = names.split_inclusive(|byte| *byte == 0).filter(|name| !name.starts_with(FOR_ROOT));
        let seen = seen.flatten().copied().collect::<Vec<u8>>();
        give(wanted.size, answer, |room| {
            if room.is_empty() {
                return Ok(seen.len());
            }
            room.get_mut(..seen.len()).ok_or(Errno::RANGE)?.copy_from_slice(&seen);
            Ok(seen.len())
        })
    }

    pub(super) fn removexattr(&self, request: &mut Request<'_>) -> Done {
        let path = path_of(&*self.node(request)?);
        rustix::fs::removexattr(path, request.text()?)
    }
}

/// Answers with what `fill` puts into the room asked for; with its size if no room was.
fn give(size: u32, answer: &mut Answer, fill: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Done {
    if size == 0 {
        let size = u32::try_from(fill(&mut [])?).map_err(|_| Errno::TOOBIG)?;
        answer.put(&GetxattrOut { size, padding: 0 });
        return Ok(());
    }
    let bytes = answer.bytes();
    bytes.resize(OUT_HEADER + size.min(MAX_SIZE) as usize, 0);
    let length = fill(bytes.get_mut(OUT_HEADER..).unwrap_or_default())?;
    bytes.truncate(OUT_HEADER.saturating_add(length));
    Ok(())
}
