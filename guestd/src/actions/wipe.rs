//! Zeroes: looking for them, writing them, and making data unreadable for good.

use super::regular::{about, shown};
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::Failure;
use guestd_api::actions::wipe::Server;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Bytes moved at a time.
const PIECE: usize = 1 << 20;
/// What `zero` overwrites.
const START: u64 = 128 << 10;

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

impl Worker {
    /// True if there is nothing but zeroes up to the end.
    fn only_zeroes(&self, mut file: File, failed: impl Fn(io::Error) -> Failure) -> Result<bool, Failure> {
        let mut buffer = vec![0; PIECE];
        loop {
            self.task.check()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) if is_zero(buffer.get(..count).unwrap_or_default()) => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Makes the first `length` bytes of a device zero, writing only what is not.
    fn zero_start(&self, device: &Device, length: u64) -> Result<(), Failure> {
        let failed = |e: io::Error| device.failure(e);
        let file = File::options().read(true).write(true).open(&device.node).map_err(failed)?;
        let (mut buffer, zeroes) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0u64;
        while at < length {
            self.task.check()?;
            let count = usize::try_from(length.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..count).unwrap_or_default();
            file.read_exact_at(piece, at).map_err(failed)?;
            if !is_zero(piece) {
                file.write_all_at(zeroes.get(..count).unwrap_or_default(), at).map_err(failed)?;
            }
            at = at.saturating_add(count as u64);
            self.task.progress(at, length);
        }
        file.sync_all().map_err(failed)
    }
}

/// A file that is gone when this is dropped.
struct Filler<'d> {
    directory: &'d OwnedFd,
    name: String,
    file: File,
}

impl<'d> Filler<'d> {
    /// Makes it, under a name that every file system allows.
    fn new(directory: &'d OwnedFd) -> io::Result<Self> {
        let mut random = [0; 6];
        getrandom(&mut random)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, tail) = name.split_at(8);
        let name = format!("{stem}.{}", tail.get(..3).unwrap_or_default());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            File::from(rustix::fs::openat(directory, name.as_str(), flags, Mode::from_raw_mode(0o600))?);
        Ok(Filler { directory, name, file })
    }

    /// Appends zeroes until something stands in the way; returns what, and the bytes written.
    fn fill(
        &mut self,
        mut step: impl FnMut(u64) -> Result<(), Failure>,
    ) -> Result<(io::Error, u64), Failure> {
        let zeroes = vec![0; PIECE];
        let mut size = PIECE;
        let mut written = 0u64;
        loop {
            step(written)?;
            match self.file.write(zeroes.get(..size).unwrap_or_default()) {
                Ok(count) => written = written.saturating_add(count as u64),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The last blocks are found with smaller pieces.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && size > 512 => size /= 2,
                Err(error) => return Ok((error, written)),
            }
        }
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a file system that does not let go of it.
        let _ = rustix::fs::unlinkat(self.directory, self.name.as_str(), AtFlags::empty());
    }
}

fn getrandom(buffer: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(buffer)
}

impl Server for Worker {
    fn is_zero(&self, path: GuestPath) -> Result<bool, Failure> {
        let file = self.open_regular(&path).map_err(about("open"))?;
        self.only_zeroes(file, |e| path.failure(e))
    }

    fn is_zero_device(&self, device: Device) -> Result<bool, Failure> {
        self.only_zeroes(device.open()?, |e| device.failure(e))
    }

    fn zero(&self, device: Device) -> Result<(), Failure> {
        let length = device.size()?.min(START);
        self.zero_start(&device, length)
    }

    fn zero_device(&self, device: Device) -> Result<(), Failure> {
        let length = device.size()?;
        self.zero_start(&device, length)
    }

    fn zero_free_space(&self, directory: GuestPath) -> Result<(), Failure> {
        let place = {
            let _guest = self.guest()?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(directory.path(), flags, Mode::empty()).map_err(|e| directory.failure(e))?
        };
        let space = rustix::fs::fstatvfs(&place).map_err(|e| directory.failure(e))?;
        let total = space.f_bfree.saturating_mul(space.f_frsize);
        let mut fillers = Vec::new();
        let mut before = 0u64;
        loop {
            let mut filler = Filler::new(&place).map_err(|e| directory.failure(e))?;
            let (error, written) = filler.fill(|written| {
                self.task.check()?;
                self.task.progress(before.saturating_add(written).min(total), total);
                Ok(())
            })?;
            fillers.push(filler);
            before = before.saturating_add(written);
            match error.raw_os_error() {
                Some(libc::ENOSPC) => break,
                // As large as a file can be there: the rest goes into another.
                Some(libc::EFBIG) if written > 0 => {}
                _ => return Err(directory.failure(error)),
            }
        }
        // The zeroes must be on the disk before their space is free again.
        rustix::fs::syncfs(place.as_fd()).map_err(|e| directory.failure(e))?;
        self.task.progress(total, total);
        Ok(())
    }

    fn scrub_device(&self, device: Device) -> Result<(), Failure> {
        self.tool("scrub")?.arg(&device.node).run().map(|_| ()).map_err(about(&device.shown))
    }

    fn scrub_file(&self, file: GuestPath) -> Result<(), Failure> {
        let place = self.outside_regular(&file)?;
        self.tool("scrub")?.arg("-r").arg(place).run().map(|_| ()).map_err(about(shown(&file)))
    }

    fn scrub_freespace(&self, dir: GuestPath) -> Result<(), Failure> {
        let place = self.outside_directory(&dir)?;
        self.tool("scrub")?.arg("-X").arg(place).run().map(|_| ()).map_err(about(shown(&dir)))
    }
}
