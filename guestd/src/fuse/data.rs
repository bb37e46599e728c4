//! Requests about what is in files: opened, read, written, made durable, copied.

use super::attributes::kill_suidgid;
use super::names::opening;
use super::nodes::path_of;
use super::request::Request;
use super::tree::{Answer, Done, Tree};
use guestd_api::fuse::{
    CopyFileRangeIn, FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, FSYNC_FDATASYNC, FallocateIn, FsyncIn,
    LseekIn, LseekOut, MAX_WRITE, OPEN_KILL_SUIDGID, OUT_HEADER, OpenIn, OpenOut, ReadIn, ReleaseIn,
    WRITE_KILL_SUIDGID, WriteIn, WriteOut, op,
};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::sync::Arc;

impl Tree {
    pub(super) fn open(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: OpenIn = request.take()?;
        let place = self.node(request)?;
        let asked = OFlags::from_bits_retain(wanted.flags);
        let flags = opening(wanted.flags) & !OFlags::EXCL;
        let mut open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
        let file = match rustix::fs::open(path_of(&place), flags, Mode::empty()) {
            // To some files can only be appended: then what is written must come as it is, not in pages.
            Err(Errno::PERM) if asked.contains(OFlags::APPEND) => {
                open_flags |= FOPEN_DIRECT_IO;
                rustix::fs::open(path_of(&place), flags | OFlags::APPEND, Mode::empty())?
            }
            opened => opened?,
        };
        if wanted.open_flags & OPEN_KILL_SUIDGID != 0 {
            kill_suidgid(&file)?;
        }
        let fh = self.opened(Arc::new(file), request.header.nodeid);
        answer.put(&OpenOut { fh, open_flags, padding: 0 });
        Ok(())
    }

    pub(super) fn release(&self, request: &mut Request<'_>) -> Done {
        self.closed(request.take::<ReleaseIn>()?.fh);
        Ok(())
    }

    pub(super) fn read(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: ReadIn = request.take()?;
        let bytes = answer.bytes();
        bytes.resize(OUT_HEADER + wanted.size.min(MAX_WRITE) as usize, 0);
        let room = bytes.get_mut(OUT_HEADER..).unwrap_or_default();
        let done = self.read_into(request.header.nodeid, &wanted, room)?;
        bytes.truncate(OUT_HEADER + done);
        Ok(())
    }

    /// Reads what is wanted, as far as there is room; how much it was.
    pub(super) fn read_into(&self, node: u64, wanted: &ReadIn, room: &mut [u8]) -> Result<usize, Errno> {
        let file = self.open_file(wanted.fh, node, OFlags::RDONLY)?;
        let mut done = 0;
        while let Some(rest) = room.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&*file, rest, wanted.offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    pub(super) fn write(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: WriteIn = request.take()?;
        let data = request.bytes(wanted.size)?;
        self.write_from(request.header.nodeid, &wanted, data, answer)
    }

    /// Writes data where it is wanted, and answers how much.
    pub(super) fn write_from(&self, node: u64, wanted: &WriteIn, data: &[u8], answer: &mut Answer) -> Done {
        let file = self.open_file(wanted.fh, node, OFlags::RDWR)?;
        if wanted.write_flags & WRITE_KILL_SUIDGID != 0 {
            kill_suidgid(&file)?;
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(&*file, rest, wanted.offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        let size = u32::try_from(done).map_err(|_| Errno::INVAL)?;
        answer.put(&WriteOut { size, padding: 0 });
        Ok(())
    }

    pub(super) fn fsync(&self, request: &mut Request<'_>) -> Done {
        let wanted: FsyncIn = request.take()?;
        let how = if request.header.opcode == op::FSYNCDIR { OFlags::DIRECTORY } else { OFlags::RDWR };
        let file = self.open_file(wanted.fh, request.header.nodeid, how)?;
        if wanted.fsync_flags & FSYNC_FDATASYNC != 0 {
            rustix::fs::fdatasync(&*file)
        } else {
            rustix::fs::fsync(&*file)
        }
    }

    pub(super) fn syncfs(&self, request: &Request<'_>) -> Done {
        let file = self.open_file(0, request.header.nodeid, OFlags::RDONLY)?;
        rustix::fs::syncfs(&*file)
    }

    pub(super) fn fallocate(&self, request: &mut Request<'_>) -> Done {
        let wanted: FallocateIn = request.take()?;
        let file = self.open_file(wanted.fh, request.header.nodeid, OFlags::RDWR)?;
        let flags = FallocateFlags::from_bits_retain(wanted.mode);
        rustix::fs::fallocate(&*file, flags, wanted.offset, wanted.length)
    }

    pub(super) fn lseek(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        let wanted: LseekIn = request.take()?;
        let file = self.open_file(wanted.fh, request.header.nodeid, OFlags::RDONLY)?;
        // Of the open file only the position changes, which nobody uses.
        let from = match i32::try_from(wanted.whence) {
            Ok(libc::SEEK_DATA) => SeekFrom::Data(wanted.offset),
            Ok(libc::SEEK_HOLE) => SeekFrom::Hole(wanted.offset),
            _ => return Err(Errno::INVAL),
        };
        answer.put(&LseekOut { offset: rustix::fs::seek(&*file, from)? });
        Ok(())
    }

    pub(super) fn copy_file_range(&self, request: &mut Request<'_>, answer: &mut Answer) -> Done {
        // The kernel asks again for what is missing; so nobody waits too long for one answer.
        const AT_ONCE: u64 = 256 << 20;
        let wanted: CopyFileRangeIn = request.take()?;
        let from = self.open_file(wanted.fh_in, request.header.nodeid, OFlags::RDONLY)?;
        let to = self.open_file(wanted.fh_out, wanted.nodeid_out, OFlags::RDWR)?;
        let (mut from_at, mut to_at) = (wanted.off_in, wanted.off_out);
        let length = usize::try_from(wanted.len.min(AT_ONCE)).map_err(|_| Errno::INVAL)?;
        let size = rustix::fs::copy_file_range(&*from, Some(&mut from_at), &*to, Some(&mut to_at), length)?;
        answer.put(&WriteOut { size: u32::try_from(size).map_err(|_| Errno::INVAL)?, padding: 0 });
        Ok(())
    }
}
