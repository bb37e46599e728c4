//! Requests for the names in a directory, with what they lead to or without.

use super::nodes::{Nodes, path_of, status};
use super::request::Request;
use super::tree::{Answer, Done, Tree};
use guestd_api::fuse::{Dirent, EntryOut, MAX_WRITE, OUT_HEADER, ReadIn, push_dirent};
use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom};
use std::mem::MaybeUninit;

/// Bytes of names that the kernel is asked for at a time.
const AT_ONCE: usize = 32 << 10;

impl Tree {
    /// Lists names from a position on. With `plus`, the host's kernel is told of each as if it had asked.
    pub(super) fn readdir(&self, request: &mut Request<'_>, answer: &mut Answer, plus: bool) -> Done {
        let wanted: ReadIn = request.take()?;
        let place = self.node(request)?;
        let beside = self.nodes.attributes(&status(&*place, c"")?);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path_of(&place), flags, Mode::empty())?;
        if wanted.offset != 0 {
            rustix::fs::seek(&directory, SeekFrom::Start(wanted.offset))?;
        }
        let room = OUT_HEADER + wanted.size.min(MAX_WRITE) as usize;
        // An entry is longer in the answer than it is here: what does not fit is read for nothing.
        let shrunk = if plus { wanted.size / 4 } else { wanted.size } as usize;
        let mut buffer = vec![MaybeUninit::uninit(); shrunk.clamp(1024, AT_ONCE)];
        let mut names = RawDir::new(&directory, &mut buffer);
        while let Some(name) = names.next() {
            let name = name?;
            let bytes = name.file_name().to_bytes();
            let length = size_of::<EntryOut>() + size_of::<Dirent>() + bytes.len();
            if plus && answer.bytes().len() + length.next_multiple_of(8) > room {
                break;
            }
            let dirent = Dirent {
                ino: Nodes::shown_number(name.ino(), &beside),
                off: name.next_entry_cookie(),
                namelen: 0,
                kind: kind(name.file_type()),
            };
            let entry = match bytes {
                // The kernel knows these two.
                b"." | b".." => EntryOut::default(),
                _ if !plus => EntryOut::default(),
                _ => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    match rustix::fs::openat(&directory, name.file_name(), flags, Mode::empty()) {
                        Ok(file) => self.entry(&self.nodes.tell(file)?),
                        // Gone meanwhile, or broken: who asks for it hears that.
                        Err(_) => EntryOut::default(),
                    }
                }
            };
            if !push_dirent(answer.bytes(), room, plus.then_some(&entry), dirent, bytes) {
                break;
            }
        }
        Ok(())
    }
}

/// A kind of file as directories give it: its mode's upper bits.
fn kind(kind: FileType) -> u32 {
    match kind {
        FileType::Unknown => 0,
        known => known.as_raw_mode() >> 12,
    }
}
