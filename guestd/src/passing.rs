//! Keeps large files that pass through out of the page cache: the appliance's memory is the host's.
//!
//! What was read is dropped at once. What was written is sent to the disk while more comes in, and dropped when it is
//! there.

use rustix::fs::Advice;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;

/// Bytes that are treated together.
const WINDOW: u64 = 8 << 20;

/// A file that is read or written from one end to the other.
pub(crate) struct Passing {
    file: File,
    is_written: bool,
    /// Where the window that is being filled begins.
    start: u64,
    position: u64,
}

impl Passing {
    /// A file that is read, whose position is `position`.
    pub(crate) fn read(file: File, position: u64) -> Self {
        Passing { file, is_written: false, start: position, position }
    }

    /// A file that is written, whose position is `position`.
    pub(crate) fn written(file: File, position: u64) -> Self {
        Passing { file, is_written: true, start: position, position }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// So many more bytes have passed.
    fn pass(&mut self, count: usize) {
        self.position = self.position.saturating_add(count as u64);
        let length = self.position.saturating_sub(self.start);
        if length < WINDOW {
            return;
        }
        if self.is_written {
            // The window before this one has had time to get there. Errors show when the file is synced.
            crate::sys::start_writing(&self.file, self.start, length);
            let before = self.start.saturating_sub(WINDOW);
            crate::sys::wait_for_writing(&self.file, before, self.start.saturating_sub(before));
            self.forget(before, self.start.saturating_sub(before));
        } else {
            self.forget(self.start, length);
        }
        self.start = self.position;
    }

    fn forget(&self, from: u64, length: u64) {
        // A device or a pipe may know nothing of this; nor need it.
        if let Some(length) = NonZeroU64::new(length) {
            let _ = rustix::fs::fadvise(&self.file, from, Some(length), Advice::DontNeed);
        }
    }
}

impl Read for Passing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.pass(count);
        Ok(count)
    }
}

impl Write for Passing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.pass(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
