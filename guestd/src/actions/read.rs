//! Reading files as text, lines or bytes.

use super::regular::refuse_endless;
use crate::disks::Device;
use crate::worker::{DevOrPath, GuestPath, Worker};
use guestd_api::actions::read::Server;
use guestd_api::forms::dump::{Encoding, HexDump, strings_in};
use guestd_api::wire::MAX_REPLY;
use guestd_api::{Failure, GuestString};
use std::collections::VecDeque;
use std::fs::{File, FileType};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};

impl Worker {
    /// Opens a file of the guest for reading.
    pub(super) fn open(&self, path: &GuestPath) -> Result<File, Failure> {
        let _guest = self.guest()?;
        // A pipe would wait for somebody to write to it.
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path.path())
            .map_err(|e| path.failure(e))?;
        let kind = file.metadata().map_err(|e| path.failure(e))?.file_type();
        if kind.is_dir() {
            return Err(path.failure(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        refuse_endless(path, kind)?;
        Ok(file)
    }

    fn whole(&self, path: &GuestPath) -> Result<Vec<u8>, Failure> {
        let limit = MAX_REPLY as u64 / 2;
        let file = self.open(path)?;
        let mut length = file.metadata().map_err(|e| path.failure(e))?.len();
        let mut bytes = Vec::new();
        if length <= limit {
            // The length of some files, those of /proc for instance, is known at their end only.
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| path.failure(e))?;
            length = bytes.len() as u64;
        }
        if length > limit {
            return Err(Failure::new(format!(
                "{}: file is too large for this action, use download",
                text(path)
            ))
            .with_errno(libc::EFBIG));
        }
        Ok(bytes)
    }

    /// Calls for each piece of a file, none of them empty, all but the last a multiple of 16 bytes.
    fn pieces(
        &self,
        path: &GuestPath,
        mut piece: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut file = self.open(path)?;
        loop {
            self.task.check()?;
            let mut buffer = Vec::with_capacity(64 << 10);
            file.by_ref().take(64 << 10).read_to_end(&mut buffer).map_err(|e| path.failure(e))?;
            if buffer.is_empty() {
                return Ok(());
            }
            piece(&buffer)?;
        }
    }

    /// Calls for each line, without its end, until told to stop.
    fn each_line(&self, path: &GuestPath, mut line: impl FnMut(&[u8]) -> bool) -> Result<(), Failure> {
        let mut reader = BufReader::with_capacity(64 << 10, self.open(path)?);
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let limit = MAX_REPLY as u64 / 2;
            let count =
                reader.by_ref().take(limit).read_until(b'\n', &mut buffer).map_err(|e| path.failure(e))?;
            if count == 0 {
                return Ok(());
            }
            self.task.check()?;
            if !line(buffer.strip_suffix(b"\n").unwrap_or(&buffer)) {
                return Ok(());
            }
        }
    }

    fn first_lines(&self, path: &GuestPath, count: i32) -> Result<Vec<GuestString>, Failure> {
        let mut lines = Vec::new();
        match usize::try_from(count) {
            Ok(0) => drop(self.open(path)?),
            Ok(count) => self.each_line(path, |line| {
                lines.push(GuestString::from(line));
                lines.len() < count
            })?,
            Err(_) => {
                self.each_line(path, |line| {
                    lines.push(GuestString::from(line));
                    true
                })?;
                lines.truncate(lines.len().saturating_sub(count.unsigned_abs() as usize));
            }
        }
        Ok(lines)
    }

    fn last_lines(&self, path: &GuestPath, count: i32) -> Result<Vec<GuestString>, Failure> {
        let mut lines = VecDeque::new();
        match usize::try_from(count) {
            Ok(count) => self.each_line(path, |line| {
                lines.push_back(GuestString::from(line));
                if lines.len() > count {
                    lines.pop_front();
                }
                true
            })?,
            Err(_) => {
                let mut skip = count.unsigned_abs().saturating_sub(1);
                self.each_line(path, |line| {
                    match skip.checked_sub(1) {
                        Some(less) => skip = less,
                        None => lines.push_back(GuestString::from(line)),
                    }
                    true
                })?;
            }
        }
        Ok(lines.into())
    }

    /// Reads as much as there is up to `count` bytes.
    fn piece(&self, file: &File, count: i32, offset: i64, subject: &[u8]) -> Result<Vec<u8>, Failure> {
        let count = usize::try_from(count).map_err(|_| Failure::new("count is negative"))?;
        let offset = u64::try_from(offset).map_err(|_| Failure::new("offset is negative"))?;
        if count > MAX_REPLY / 2 {
            return Err(Failure::new(format!("{count} bytes are too many at once, read in pieces")));
        }
        let mut bytes = vec![0; count];
        let mut have = 0;
        while let Some(rest @ [_, ..]) = bytes.get_mut(have..) {
            match file.read_at(rest, offset.saturating_add(have as u64)) {
                Ok(0) => break,
                Ok(more) => have = have.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::io(subject, &error)),
            }
        }
        bytes.truncate(have);
        Ok(bytes)
    }

    /// Counts bytes that fit a test of the byte and the one before it.
    fn count(&self, path: &GuestPath, fits: impl Fn(u8, u8) -> bool) -> Result<i32, Failure> {
        let mut file = self.open(path)?;
        let mut buffer = vec![0; 64 << 10];
        let (mut total, mut before) = (0u64, b' ');
        loop {
            self.task.check()?;
            match file.read(&mut buffer) {
                Ok(0) => return i32::try_from(total).map_err(|_| Failure::new("more than fits the result")),
                Ok(count) => {
                    for byte in buffer.iter().take(count) {
                        total = total.saturating_add(u64::from(fits(before, *byte)));
                        before = *byte;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(path.failure(error)),
            }
        }
    }
}

/// What is not a regular file is told by its type alone.
fn special_file(kind: FileType) -> Option<&'static str> {
    let names = [
        (kind.is_dir(), "directory"),
        (kind.is_char_device(), "character device"),
        (kind.is_block_device(), "block device"),
        (kind.is_fifo(), "FIFO"),
        (kind.is_symlink(), "symbolic link"),
        (kind.is_socket(), "socket"),
    ];
    names.into_iter().find(|(is, _)| *is).map(|(_, name)| name)
}

fn text(path: &GuestPath) -> GuestString {
    path.as_ref().into()
}

impl Server for Worker {
    fn cat(&self, path: GuestPath) -> Result<GuestString, Failure> {
        let mut bytes = self.whole(&path)?;
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
        Ok(bytes.into())
    }

    fn read_file(&self, path: GuestPath) -> Result<Vec<u8>, Failure> {
        self.whole(&path)
    }

    fn read_lines(&self, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        Ok(super::lines(&self.whole(&path)?))
    }

    fn pread(&self, path: GuestPath, count: i32, offset: i64) -> Result<Vec<u8>, Failure> {
        self.piece(&self.open(&path)?, count, offset, path.as_ref())
    }

    fn pread_device(&self, device: Device, count: i32, offset: i64) -> Result<Vec<u8>, Failure> {
        let file = File::open(&device.node).map_err(|e| device.failure(e))?;
        self.piece(&file, count, offset, device.shown.as_bytes())
    }

    fn head(&self, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.first_lines(&path, 10)
    }

    fn head_n(&self, nrlines: i32, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.first_lines(&path, nrlines)
    }

    fn tail(&self, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.last_lines(&path, 10)
    }

    fn tail_n(&self, nrlines: i32, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.last_lines(&path, nrlines)
    }

    fn wc_c(&self, path: GuestPath) -> Result<i32, Failure> {
        self.count(&path, |_, _| true)
    }

    fn wc_l(&self, path: GuestPath) -> Result<i32, Failure> {
        self.count(&path, |_, byte| byte == b'\n')
    }

    fn wc_w(&self, path: GuestPath) -> Result<i32, Failure> {
        let blank = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
        self.count(&path, |before, byte| blank(before) && !blank(byte))
    }

    fn hexdump(&self, path: GuestPath) -> Result<GuestString, Failure> {
        let mut dump = HexDump::default();
        self.pieces(&path, |piece| dump.add(piece))?;
        Ok(dump.finish().into())
    }

    fn strings(&self, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        self.strings_e("s".into(), path)
    }

    fn strings_e(&self, encoding: GuestString, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        let encoding = Encoding::parse(&encoding)?;
        Ok(strings_in(&self.whole(&path)?, encoding))
    }

    fn file(&self, path: DevOrPath) -> Result<GuestString, Failure> {
        let (file, options) = match &path {
            DevOrPath::Device(device) => (device.open()?, "-zbsL"),
            DevOrPath::Path(path) => {
                let kind = {
                    let _guest = self.guest()?;
                    let subject = || GuestString::from([b"lstat: ", path.as_ref()].concat());
                    path.path().symlink_metadata().map_err(|e| Failure::io(subject(), &e))?.file_type()
                };
                if let Some(name) = special_file(kind) {
                    return Ok(name.into());
                }
                (self.open(path)?, "-zb")
            }
        };
        let text = self.tool("file")?.arg(options).arg("-").stdin(file).run()?;
        Ok(text.trim_ascii_end().into())
    }

    fn zfile(&self, meth: GuestString, path: GuestPath) -> Result<GuestString, Failure> {
        let unpack = match meth.to_str() {
            Some("gzip" | "compress") => "zcat",
            Some("bzip2") => "bzcat",
            _ => return Err(Failure::new("unknown method").with_errno(libc::EINVAL)),
        };
        let file = self.open(&path)?;
        let script = format!("{unpack} | file -bsL -");
        let text = self.tool("bash")?.arg("-c").arg(script).stdin(file).run()?;
        Ok(text.trim_ascii_end().into())
    }
}
