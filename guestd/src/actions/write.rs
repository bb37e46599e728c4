//! Making files and changing their content.

use super::regular::refuse_endless;
use crate::disks::Device;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::write::Server;
use guestd_api::{Failure, GuestString};
use rustix::fs::FallocateFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::SystemTime;

impl Worker {
    /// Opens a file of the guest as the options say. What has no bytes of its own is refused: a pipe would
    /// wait for its other end, and a device may have no end.
    pub(super) fn open_with(&self, path: &GuestPath, options: &OpenOptions) -> Result<File, Failure> {
        let _guest = self.guest()?;
        let mut options = options.clone();
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path.path()).map_err(|e| path.failure(e))?;
        refuse_endless(path, file.metadata().map_err(|e| path.failure(e))?.file_type())?;
        Ok(file)
    }

    /// Writes a piece; how much went through counts.
    fn put(&self, file: &File, content: &GuestString, offset: i64, subject: &[u8]) -> Result<i32, Failure> {
        let offset = u64::try_from(offset).map_err(|_| Failure::new("offset is negative"))?;
        let count = file.write_at(content.as_bytes(), offset).map_err(|e| Failure::io(subject, &e))?;
        i32::try_from(count).map_err(|_| Failure::new("more was written than fits the result"))
    }

    /// Makes a file of `length` bytes of a pattern repeated.
    fn fill_with(&self, path: &GuestPath, pattern: &[u8], length: i32) -> Result<(), Failure> {
        let length = u64::try_from(length).map_err(|_| Failure::new("len: length is negative"))?;
        // Whole patterns, so that each piece starts where the one before it ended.
        let times = (64usize << 10).checked_div(pattern.len()).unwrap_or(0).max(1);
        let piece = pattern.repeat(times);
        let mut file = self.open_with(path, File::options().write(true).create(true).truncate(true))?;
        let mut left = length;
        while left > 0 {
            self.task.check()?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            file.write_all(piece.get(..count).unwrap_or_default()).map_err(|e| path.failure(e))?;
            left = left.saturating_sub(count as u64);
            self.task.progress(length.saturating_sub(left), length);
        }
        Ok(())
    }

    fn write_zeroes(&self, path: &GuestPath, mut file: File, length: u64) -> Result<(), Failure> {
        let zeroes = vec![0; 64 << 10];
        let mut left = length;
        while left > 0 {
            self.task.check()?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(zeroes.len());
            file.write_all(zeroes.get(..count).unwrap_or_default()).map_err(|e| path.failure(e))?;
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }
}

impl Server for Worker {
    fn write(&self, path: GuestPath, content: GuestString) -> Result<(), Failure> {
        let mut file = self.open_with(&path, File::options().write(true).create(true).truncate(true))?;
        file.write_all(content.as_bytes()).map_err(|e| path.failure(e))
    }

    fn write_append(&self, path: GuestPath, content: GuestString) -> Result<(), Failure> {
        let mut file = self.open_with(&path, File::options().append(true).create(true))?;
        file.write_all(content.as_bytes()).map_err(|e| path.failure(e))
    }

    fn pwrite(&self, path: GuestPath, content: GuestString, offset: i64) -> Result<i32, Failure> {
        let file = self.open_with(&path, File::options().write(true))?;
        self.put(&file, &content, offset, path.as_ref())
    }

    fn pwrite_device(&self, device: Device, content: GuestString, offset: i64) -> Result<i32, Failure> {
        let file = File::options().write(true).open(&device.node).map_err(|e| device.failure(e))?;
        let count = self.put(&file, &content, offset, device.shown.as_bytes())?;
        file.sync_all().map_err(|e| device.failure(e))?;
        Ok(count)
    }

    fn touch(&self, path: GuestPath) -> Result<(), Failure> {
        let _guest = self.guest()?;
        // Opening a pipe or a device would wait or do something.
        match path.path().metadata() {
            Ok(metadata) if !metadata.is_file() => {
                return Err(Failure::new(format!(
                    "{}: touch can only be used on a regular files",
                    GuestString::from(path.as_ref())
                )));
            }
            _ => {}
        }
        let mut options = File::options();
        let file =
            options.write(true).create(true).truncate(false).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
        let file = file.open(path.path()).map_err(|e| path.failure(e))?;
        let now = SystemTime::now();
        file.set_times(std::fs::FileTimes::new().set_accessed(now).set_modified(now))
            .map_err(|e| path.failure(e))
    }

    fn truncate(&self, path: GuestPath) -> Result<(), Failure> {
        self.truncate_size(path, 0)
    }

    fn truncate_size(&self, path: GuestPath, size: i64) -> Result<(), Failure> {
        let size =
            u64::try_from(size).map_err(|_| path.failure(io::Error::from_raw_os_error(libc::EINVAL)))?;
        let file = self.open_with(&path, File::options().write(true))?;
        file.set_len(size).map_err(|e| path.failure(e))
    }

    fn fill(&self, c: i32, len: i32, path: GuestPath) -> Result<(), Failure> {
        let byte = u8::try_from(c)
            .map_err(|_| Failure::new(format!("{c}: byte number must be in range [0..255]")))?;
        self.fill_with(&path, &[byte], len)
    }

    fn fill_pattern(&self, pattern: GuestString, len: i32, path: GuestPath) -> Result<(), Failure> {
        if pattern.is_empty() {
            return Err(Failure::new("pattern string is empty"));
        }
        self.fill_with(&path, pattern.as_bytes(), len)
    }

    fn fallocate(&self, path: GuestPath, len: i32) -> Result<(), Failure> {
        if len < 0 {
            return Err(Failure::new("length < 0").with_errno(libc::EINVAL));
        }
        self.fallocate64(path, len.into())
    }

    fn fallocate64(&self, path: GuestPath, len: i64) -> Result<(), Failure> {
        let len = u64::try_from(len).map_err(|_| path.failure(io::Error::from_raw_os_error(libc::EINVAL)))?;
        let file = self.open_with(&path, File::options().write(true).create(true).truncate(true))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Where the file system cannot reserve space, zeroes that are written do as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.write_zeroes(&path, file, len)
            }
            Err(error) => Err(path.failure(error)),
        }
    }

    fn fill_dir(&self, dir: GuestPath, nr: i32) -> Result<(), Failure> {
        for number in 0..nr {
            self.task.check()?;
            let name = GuestString::from(format!("{number:08}"));
            let _guest = self.guest()?;
            let mut options = File::options();
            options.write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            options.open(dir.join(&name)).map_err(|e| {
                Failure::io([b"create: ", dir.join(&name).as_os_str().as_encoded_bytes()].concat(), &e)
            })?;
        }
        Ok(())
    }

    fn write_file(&self, path: GuestPath, content: GuestString, size: i32) -> Result<(), Failure> {
        let bytes = content.as_bytes();
        let piece = match usize::try_from(size) {
            Ok(0) => Some(bytes),
            Ok(size) => bytes.get(..size),
            Err(_) => return Err(Failure::new("size cannot be negative")),
        };
        let piece = piece.ok_or_else(|| Failure::new("size parameter is larger than string content"))?;
        self.write(path, piece.into())
    }
}
