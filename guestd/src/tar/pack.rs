//! Packs directories as `tar -c` does, byte for byte: GNU tar's format, in the order in which the file system has
//! the names.
//!
//! What things are is asked for in batches, and small files are read in batches. Files that change meanwhile give
//! an archive that is whole, and a complaint.

use super::ring::{BATCH, ReadFile, Ring};
use crate::passing::Passing;
use guestd_api::Failure;
use guestd_api::forms::tar::{BLOCK, Entry, Names, RECORD, padding, put_header};
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};

/// Files up to this size are read in batches.
const SMALL: u64 = 64 << 10;
/// Bytes that a batch reads at most.
const MOST: u64 = 1 << 20;
/// How deep directories may lie in each other: each level costs memory.
const DEEPEST: usize = 4096;

/// A directory whose entries are being packed.
struct Level {
    /// Its name in the archive, with a slash at the end.
    name: Vec<u8>,
    /// The names in it that were not looked at yet, the next one last.
    left: Vec<CString>,
    /// What comes before those, the next one last.
    seen: Vec<Found>,
}

/// A packing under way. The thread is in the guest's root, and in the directory that is packed.
pub(crate) struct Packer<'a> {
    ring: Ring,
    names: Names,
    check: &'a dyn Fn() -> Result<(), Failure>,
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    written: u64,
    /// Files with several names, and the first of them that was packed.
    links: HashMap<(u32, u32, u64), Vec<u8>>,
    read: Vec<u8>,
    complaints: Vec<String>,
}

/// Something to be packed.
struct Found {
    /// In the archive; a directory's with a slash at the end.
    name: Vec<u8>,
    path: CString,
    what: libc::statx,
}

impl Found {
    fn kind(&self) -> u32 {
        u32::from(self.what.stx_mode) & libc::S_IFMT
    }

    fn is_small_file(&self) -> bool {
        self.kind() == libc::S_IFREG && (1..=SMALL).contains(&self.what.stx_size)
    }
}

impl<'a> Packer<'a> {
    /// Writes to `out`. `check` fails when the packing is to be given up. `None` where this kernel cannot do it.
    pub(crate) fn new(
        names: Names,
        out: &'a mut dyn Write,
        check: &'a dyn Fn() -> Result<(), Failure>,
    ) -> Option<Self> {
        Some(Packer {
            ring: Ring::new()?,
            names,
            check,
            out,
            buffer: Vec::with_capacity(guestd_api::exchange::PIECE),
            written: 0,
            links: HashMap::new(),
            read: Vec::new(),
            complaints: Vec::new(),
        })
    }

    /// Packs the thread's working directory as `.`. What went wrong without ending it, in GNU tar's words.
    pub(crate) fn run(mut self) -> Result<Vec<String>, Failure> {
        self.pack().map_err(|error| match (self.check)() {
            Err(failure) => failure,
            Ok(()) => Failure::io("tar", &error),
        })?;
        Ok(self.complaints)
    }

    fn pack(&mut self) -> io::Result<()> {
        let top = self.status(&[], vec![c".".to_owned()])?;
        let mut levels = Vec::new();
        for top in top {
            self.batch(vec![top], &mut levels)?;
        }
        while let Some(mut level) = levels.pop() {
            (self.check)().map_err(|failure| io::Error::other(failure.to_string()))?;
            if level.seen.is_empty() {
                let from = level.left.len().saturating_sub(BATCH);
                let mut names = level.left.split_off(from);
                names.reverse();
                level.seen = self.status(&level.name, names)?;
                level.seen.reverse();
            }
            // What is in a directory comes before what follows it.
            let directory = level.seen.iter().rposition(|found| found.kind() == libc::S_IFDIR);
            let mut now = level.seen.split_off(directory.unwrap_or(0));
            now.reverse();
            if !(level.seen.is_empty() && level.left.is_empty()) {
                levels.push(level);
            }
            self.batch(now, &mut levels)?;
        }
        self.put(&[0; 2 * BLOCK])?;
        let padding = self.written.next_multiple_of(RECORD) - self.written;
        self.put(&vec![0; padding as usize])?;
        self.send()
    }

    /// What the names of a directory are. What cannot be seen is complained of.
    fn status(&mut self, directory: &[u8], names: Vec<CString>) -> io::Result<Vec<Found>> {
        let below = directory.strip_prefix(b"./").unwrap_or(directory);
        let paths = names.iter().map(|name| CString::new([below, name.as_bytes()].concat()));
        let (answers, paths) = self.ring.status(paths.collect::<Result<_, _>>()?)?;
        let mut all = Vec::with_capacity(paths.len());
        for ((answer, path), name) in answers.into_iter().zip(paths).zip(names) {
            let mut name = [directory, name.as_bytes()].concat();
            match answer {
                Ok(what) => {
                    if u32::from(what.stx_mode) & libc::S_IFMT == libc::S_IFDIR {
                        name.push(b'/');
                    }
                    all.push(Found { name, path, what });
                }
                Err(error) => self.complain(&name, "Cannot stat", error),
            }
        }
        Ok(all)
    }

    /// Packs what was found, in its order; a directory among it becomes a level.
    fn batch(&mut self, found: Vec<Found>, levels: &mut Vec<Level>) -> io::Result<()> {
        let mut rest = found.as_slice();
        while !rest.is_empty() {
            // As many as one reading may take.
            let mut bytes = 0;
            let mut count = 0;
            for found in rest {
                if found.is_small_file() {
                    bytes += found.what.stx_size;
                }
                if bytes > MOST {
                    break;
                }
                count += 1;
            }
            let (now, later) = rest.split_at_checked(count.max(1)).unwrap_or((rest, &[]));
            rest = later;
            self.together(now, levels)?;
        }
        Ok(())
    }

    fn together(&mut self, found: &[Found], levels: &mut Vec<Level>) -> io::Result<()> {
        let small = found.iter().filter(|found| found.is_small_file());
        let wanted =
            small.map(|found| ReadFile { name: found.path.clone(), size: found.what.stx_size as usize });
        let (counts, data) = self.ring.read(wanted.collect(), std::mem::take(&mut self.read))?;
        let mut counts = counts.into_iter();
        let mut data_left = data.as_slice();
        for found in found {
            let content = if found.is_small_file() {
                let size = found.what.stx_size as usize;
                let (content, rest) = data_left.split_at_checked(size).unwrap_or_default();
                data_left = rest;
                Some((counts.next().unwrap_or(Err(Errno::IO)), content))
            } else {
                None
            };
            self.one(found, content, levels)?;
        }
        self.read = data;
        Ok(())
    }

    /// Packs one thing. `content` is what was read of a small file, and how much of it.
    fn one(
        &mut self,
        found: &Found,
        content: Option<(Result<u32, Errno>, &[u8])>,
        levels: &mut Vec<Level>,
    ) -> io::Result<()> {
        let kind = found.kind();
        if kind != libc::S_IFDIR && found.what.stx_nlink > 1 {
            let file = (found.what.stx_dev_major, found.what.stx_dev_minor, found.what.stx_ino);
            if let Some(first) = self.links.get(&file).cloned() {
                return self.header(found, b'1', 0, &first);
            }
        }
        match kind {
            libc::S_IFREG => match content {
                Some((Err(error), _)) => {
                    self.complain(&found.name, "Cannot open", error);
                    return Ok(());
                }
                Some((Ok(count), content)) => {
                    self.header(found, b'0', found.what.stx_size, b"")?;
                    self.put(content)?;
                    self.pad(found.what.stx_size)?;
                    if u64::from(count) < found.what.stx_size {
                        self.shrank(found, found.what.stx_size - u64::from(count));
                    }
                }
                None => self.large(found)?,
            },
            libc::S_IFDIR => return self.directory(found, levels),
            libc::S_IFLNK => match rustix::fs::readlink(&*found.path, Vec::new()) {
                Ok(target) => self.header(found, b'2', 0, target.as_bytes())?,
                Err(error) => {
                    self.complain(&found.name, "Cannot readlink", error);
                    return Ok(());
                }
            },
            libc::S_IFCHR => self.header(found, b'3', 0, b"")?,
            libc::S_IFBLK => self.header(found, b'4', 0, b"")?,
            libc::S_IFIFO => self.header(found, b'6', 0, b"")?,
            // Sockets belong to who listens to them.
            _ => return Ok(()),
        }
        if found.what.stx_nlink > 1 {
            let file = (found.what.stx_dev_major, found.what.stx_dev_minor, found.what.stx_ino);
            self.links.insert(file, found.name.clone());
        }
        Ok(())
    }

    fn directory(&mut self, found: &Found, levels: &mut Vec<Level>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, &*found.path, flags, Mode::empty()).and_then(Dir::new);
        let directory = match opened {
            Ok(directory) if levels.len() < DEEPEST => directory,
            opened => {
                let error = opened.err().unwrap_or(Errno::NAMETOOLONG);
                self.complain(&found.name, "Cannot open", error);
                return Ok(());
            }
        };
        self.header(found, b'5', 0, b"")?;
        let mut left = Vec::new();
        for entry in directory {
            match entry {
                Ok(entry) if is_dots(entry.file_name()) => {}
                Ok(entry) => left.push(entry.file_name().to_owned()),
                Err(error) => {
                    self.complain(&found.name, "Cannot read", error);
                    break;
                }
            }
        }
        left.reverse();
        levels.push(Level { name: found.name.clone(), left, seen: Vec::new() });
        Ok(())
    }

    /// An empty or a large file.
    fn large(&mut self, found: &Found) -> io::Result<()> {
        let size = found.what.stx_size;
        if size == 0 {
            return self.header(found, b'0', 0, b"");
        }
        // Not waiting: it may have become a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = match rustix::fs::open(&*found.path, flags, Mode::empty()) {
            Ok(file) => Passing::read(File::from(file), 0),
            Err(error) => {
                self.complain(&found.name, "Cannot open", error);
                return Ok(());
            }
        };
        self.header(found, b'0', size, b"")?;
        let mut left = size;
        while left > 0 {
            (self.check)().map_err(|failure| io::Error::other(failure.to_string()))?;
            self.room()?;
            let room = (self.buffer.capacity() - self.buffer.len()) as u64;
            let before = self.buffer.len();
            let done = (&mut file).take(room.min(left)).read_to_end(&mut self.buffer);
            if let Err(error) = done {
                let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                self.complain(&found.name, "Read error", error);
                break;
            }
            let count = (self.buffer.len() - before) as u64;
            if count == 0 {
                self.shrank(found, left);
                break;
            }
            self.written += count;
            left -= count;
        }
        let zeroes = vec![0; guestd_api::exchange::PIECE];
        while left > 0 {
            let part = left.min(zeroes.len() as u64);
            self.put(zeroes.get(..part as usize).unwrap_or_default())?;
            left -= part;
        }
        self.pad(size)
    }

    fn header(&mut self, found: &Found, kind: u8, size: u64, link: &[u8]) -> io::Result<()> {
        let what = &found.what;
        let entry = Entry {
            name: &found.name,
            link,
            kind,
            mode: u32::from(what.stx_mode & 0o7777),
            user: what.stx_uid,
            group: what.stx_gid,
            size,
            modified: what.stx_mtime.tv_sec,
            device: matches!(kind, b'3' | b'4').then_some((what.stx_rdev_major, what.stx_rdev_minor)),
        };
        let mut header = Vec::with_capacity(BLOCK);
        put_header(&mut header, &entry, &self.names);
        self.put(&header)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.put([0; BLOCK].get(..padding(size)).unwrap_or_default())
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.room()?;
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            self.written += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Makes room in the buffer if it is full.
    fn room(&mut self) -> io::Result<()> {
        if self.buffer.len() == self.buffer.capacity() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn shrank(&mut self, found: &Found, by: u64) {
        let name = String::from_utf8_lossy(&found.name);
        self.complaints.push(format!("tar: {name}: File shrank by {by} bytes; padding with zeros"));
    }

    fn complain(&mut self, name: &[u8], what: &str, error: Errno) {
        let why = Failure::io("", &error.into());
        self.complaints.push(format!("tar: {}: {what}{}", String::from_utf8_lossy(name), why.message));
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
