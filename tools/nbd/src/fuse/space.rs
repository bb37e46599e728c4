//! Holes in a file, asked for and made, and the system's numbers for what goes wrong with an image.

use std::io::{self, ErrorKind};

use guestd_api::fuse::FallocateIn;
use libimage::{Block, Error, Zero};
use rustix::io::Errno;

/// `fallocate`'s flags.
mod mode {
    pub(super) const KEEP_SIZE: u32 = 0x01;
    pub(super) const PUNCH_HOLE: u32 = 0x02;
    pub(super) const ZERO_RANGE: u32 = 0x10;
}

/// `lseek`'s ways to look for data and holes.
mod whence {
    pub(super) const DATA: u32 = 3;
    pub(super) const HOLE: u32 = 4;
}

/// The number that stands for an error of an image. A file has no connection that could break.
pub(crate) fn errno(error: &Error) -> Errno {
    match error.errno() {
        number if is_about_connections(io::Error::from(number).kind()) => Errno::IO,
        number => number,
    }
}

fn is_about_connections(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}

/// Makes a hole, or zeroes, where that is asked for. A hole ends where the file ends; zeroes are not written beyond.
pub(super) fn allocate(block: &dyn Block, size: u64, wanted: &FallocateIn) -> Result<(), Errno> {
    let how = match wanted.mode & !mode::KEEP_SIZE {
        mode::PUNCH_HOLE => Zero::MayUnmap,
        mode::ZERO_RANGE => Zero::KeepAllocated,
        _ => return Err(Errno::OPNOTSUPP),
    };
    let end = wanted.offset.checked_add(wanted.length).ok_or(Errno::FBIG)?;
    if wanted.mode & mode::KEEP_SIZE == 0 && end > size {
        return Err(Errno::NOSPC);
    }
    let end = end.min(size);
    if wanted.offset >= end {
        return Ok(());
    }
    block.write_zeroes(wanted.offset..end, how).map_err(|error| errno(&error))
}

/// The first byte of data, or of a hole, from `offset` on. The end of the file counts as a hole.
pub(super) fn seek(block: &dyn Block, size: u64, offset: u64, how: u32) -> Result<u64, Errno> {
    let wants_data = match how {
        whence::DATA => true,
        whence::HOLE => false,
        _ => return Err(Errno::INVAL),
    };
    if offset >= size {
        return Err(Errno::NXIO);
    }
    let mut at = offset;
    while at < size {
        let extent = block.status(at..size).map_err(|error| errno(&error))?;
        if extent.zero != wants_data {
            return Ok(at);
        }
        // An extent is never empty; should one be, this ends.
        at = at.saturating_add(extent.length.max(1));
    }
    if wants_data { Err(Errno::NXIO) } else { Ok(size) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use libimage::open::{Image, OpenOptions};
    use std::sync::Arc;

    const SIZE: u64 = 1 << 20;

    /// A qcow2 image with data in its third cluster, of 64 KiB each.
    fn disk(directory: &std::path::Path) -> Arc<dyn Block> {
        let path = directory.join("disk.qcow2");
        let made = std::process::Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&path)
            .arg(SIZE.to_string())
            .status();
        assert!(made.unwrap().success());
        let block = Image::open(&path, OpenOptions::default()).unwrap().block();
        block.write_at(&[7; 65536], 131_072).unwrap();
        block
    }

    fn fallocate(mode: u32, offset: u64, length: u64) -> FallocateIn {
        FallocateIn { offset, length, mode, ..FallocateIn::default() }
    }

    #[test]
    fn data_and_holes_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let block = disk(directory.path());
        let seek = |offset, how| seek(&*block, SIZE, offset, how);
        assert_eq!(seek(0, whence::DATA), Ok(131_072));
        assert_eq!(seek(150_000, whence::DATA), Ok(150_000));
        assert_eq!(seek(196_608, whence::DATA), Err(Errno::NXIO));
        assert_eq!(seek(7, whence::HOLE), Ok(7));
        assert_eq!(seek(131_072, whence::HOLE), Ok(196_608));
        assert_eq!(seek(SIZE, whence::HOLE), Err(Errno::NXIO));
        assert_eq!(seek(0, 2), Err(Errno::INVAL));
        block.write_at(&[1], SIZE - 1).unwrap();
        assert_eq!(seek(SIZE - 1, whence::HOLE), Ok(SIZE));
    }

    #[test]
    fn holes_end_with_the_file_and_zeroes_do_not_make_it_longer() {
        let directory = tempfile::tempdir().unwrap();
        let block = disk(directory.path());
        let allocate = |mode, offset, length| allocate(&*block, SIZE, &fallocate(mode, offset, length));
        assert_eq!(allocate(3, 131_072, SIZE), Ok(()));
        assert_eq!(seek(&*block, SIZE, 0, whence::DATA), Err(Errno::NXIO));
        assert_eq!(allocate(0x10, SIZE - 10, 20), Err(Errno::NOSPC));
        assert_eq!(allocate(0x11, SIZE - 10, 20), Ok(()));
        assert_eq!(allocate(3, SIZE + 10, 20), Ok(()));
        assert_eq!(allocate(0, 0, 4096), Err(Errno::OPNOTSUPP));
        assert_eq!(allocate(3, u64::MAX, 2), Err(Errno::FBIG));
    }
}
