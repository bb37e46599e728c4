//! A file without a name, for what need not outlive this process and may be too large for memory.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, fallocate, openat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Where they are made when `TMPDIR` does not say.
const DIRECTORY: &str = "/var/tmp";
/// Names that are tried on file systems that know no files without one.
const NAMES: u32 = 100;

/// A sparse file that disappears with the last user.
pub(super) struct Temporary {
    file: File,
    directory: String,
    /// Bytes that its file system gives out at once.
    pub(super) block: u64,
}

impl Temporary {
    /// Makes one in `$TMPDIR`, or `/var/tmp`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(super) fn new() -> Result<Self> {
        let directory = std::env::var_os("TMPDIR").filter(|name| !name.is_empty());
        let directory = directory.map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from);
        let shown = directory.display().to_string();
        let failed = |source: std::io::Error| Error::io("make a temporary file in", &shown, source);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(CWD, &directory, flags | OFlags::TMPFILE, mode) {
            Ok(file) => File::from(file),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let mut tries = 0..NAMES;
                loop {
                    let name = format!(".diskwright-{}", uuid::Uuid::new_v4().simple());
                    let path = directory.join(name);
                    match openat(CWD, &path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                        Ok(file) => {
                            std::fs::remove_file(&path).map_err(failed)?;
                            break File::from(file);
                        }
                        Err(Errno::EXIST) if tries.next().is_some() => {}
                        Err(error) => return Err(failed(error.into())),
                    }
                }
            }
            Err(error) => return Err(failed(error.into())),
        };
        let block = file.metadata().map_err(failed)?.blksize();
        Ok(Temporary { file, directory: shown, block })
    }

    fn error(&self, action: &'static str) -> impl Fn(std::io::Error) -> Error {
        move |source| Error::io(action, format!("a temporary file in {}", self.directory), source)
    }

    /// Fills `buf` from `offset`; zeroes where nothing was written.
    pub(super) fn read(&self, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
        while !buf.is_empty() {
            match self.file.read_at(buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    return Ok(());
                }
                Ok(count) => {
                    buf = buf.get_mut(count..).unwrap_or_default();
                    offset = offset.saturating_add(count as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error("read")(error)),
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(buf, offset).map_err(self.error("write"))
    }

    /// Gives space back. A file system that cannot keeps it: nobody reads it any more.
    pub(super) fn forget(&self, range: Range<u64>) {
        if !range.is_empty() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&self.file, flags, range.start, range.end - range.start);
        }
    }
}
