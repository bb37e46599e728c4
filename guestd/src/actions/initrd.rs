//! The content of initial RAM disks.
//!
//! An initial RAM disk is one or more cpio archives in a row ("newc", as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it), padded with zeroes; the last part may be
//! compressed. Archives are read as a stream: of the data only what is asked for is kept.

use super::regular::shown;
use crate::worker::{GuestPath, Worker};
use guestd_api::actions::initrd::Server;
use guestd_api::wire::MAX_REPLY;
use guestd_api::{Failure, GuestString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// Bytes of an entry's header.
const HEADER: usize = 110;
/// The longest name that is taken for one.
const MAX_NAME: u64 = 4096;
/// The name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The most that an answer holds.
const LIMIT: usize = MAX_REPLY / 2;

/// What starts a compressed part, and how it is unpacked.
const FILTERS: &[(&[u8], &str, &[&str])] = &[
    (b"\x1f\x8b", "gzip", &["-dc"]),
    (b"\xfd7zXZ\0", "xz", &["-dc"]),
    (b"\x28\xb5\x2f\xfd", "zstd", &["-dcq"]),
    (b"BZh", "bzip2", &["-dc"]),
    (b"\x89LZO", "lzop", &["-dc"]),
    (b"\x02\x21\x4c\x18", "lz4", &["-dc"]),
    (b"\x5d\0\0", "xz", &["--format=lzma", "-dc"]),
];

/// An entry's header.
#[derive(Debug)]
struct Entry {
    inode: (u64, u64),
    mode: u64,
    links: u64,
    size: u64,
    name: Vec<u8>,
}

/// Who looks at the entries.
trait Visitor {
    /// True if the entry's data is wanted.
    fn entry(&mut self, entry: &Entry) -> io::Result<bool>;
    /// Data of the last entry, in pieces.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Where in an archive the stream is.
enum Place {
    /// Before or after an archive: zeroes, or the first byte of one.
    Between,
    /// In a header or its name, of which these bytes were seen.
    Header(Vec<u8>),
    /// In data of which so much is left, and padding after it.
    Data { left: u64, padding: u64, wanted: bool },
}

/// Archives that are pushed in piece by piece.
struct Archives<'v> {
    visitor: &'v mut dyn Visitor,
    place: Place,
    /// An archive came to its end.
    complete: bool,
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() & 3
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a cpio archive: {why}"))
}

/// One of the header's numbers: eight hexadecimal digits.
fn number(header: &[u8], index: usize) -> io::Result<u64> {
    let at = index.saturating_mul(8).saturating_add(6);
    let digits =
        header.get(at..).and_then(|rest| rest.get(..8)).and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| invalid("bad number in a header"))
}

/// How long header, name and padding are together, once the header is there.
fn header_length(header: &[u8]) -> io::Result<usize> {
    if !matches!(header.get(..6), Some(b"070701" | b"070702")) {
        return Err(invalid("bad magic in a header"));
    }
    let name = number(header, 11)?;
    if !(1..=MAX_NAME).contains(&name) {
        return Err(invalid("bad length of a name"));
    }
    let length = name.saturating_add(HEADER as u64);
    usize::try_from(length.saturating_add(padding(length))).map_err(|_| invalid("bad length of a name"))
}

impl<'v> Archives<'v> {
    fn new(visitor: &'v mut dyn Visitor) -> Self {
        Archives { visitor, place: Place::Between, complete: false }
    }

    /// Takes bytes up to the end or to something that is no archive; returns how many.
    fn feed(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let used = match &mut self.place {
                Place::Between => match first {
                    0 => 1,
                    b'0' => {
                        self.place = Place::Header(Vec::new());
                        0
                    }
                    _ => break,
                },
                Place::Header(seen) => {
                    let want = if seen.len() < HEADER { HEADER } else { header_length(seen)? };
                    let used = want.saturating_sub(seen.len()).min(rest.len());
                    seen.extend_from_slice(rest.get(..used).unwrap_or_default());
                    if seen.len() == want && want > HEADER {
                        let seen = std::mem::take(seen);
                        self.header(&seen)?;
                    }
                    used
                }
                Place::Data { left: 0, padding: 0, .. } => {
                    self.place = Place::Header(Vec::new());
                    0
                }
                Place::Data { left, padding, wanted } => {
                    let in_data = *left > 0;
                    let count = if in_data { left } else { padding };
                    let used = usize::try_from(*count).unwrap_or(usize::MAX).min(rest.len());
                    *count = count.saturating_sub(used as u64);
                    // The padding is nobody's data.
                    if in_data && *wanted {
                        self.visitor.data(rest.get(..used).unwrap_or_default())?;
                    }
                    used
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// A header with its name is complete.
    fn header(&mut self, seen: &[u8]) -> io::Result<()> {
        let length = usize::try_from(number(seen, 11)?).unwrap_or(0).saturating_sub(1);
        let name = seen.get(HEADER..).and_then(|name| name.get(..length)).unwrap_or_default().to_vec();
        if name == TRAILER {
            self.complete = true;
            self.place = Place::Between;
            return Ok(());
        }
        let size = number(seen, 6)?;
        let inode = (number(seen, 0)?, number(seen, 7)?.wrapping_shl(32) | number(seen, 8)?);
        let entry = Entry { inode, mode: number(seen, 1)?, links: number(seen, 4)?, size, name };
        let wanted = self.visitor.entry(&entry)? && size > 0;
        self.place = Place::Data { left: size, padding: padding(size), wanted };
        Ok(())
    }
}

/// What is left after the last archive of an unpacked part is of no interest.
impl Write for Archives<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The names of all entries.
#[derive(Default)]
struct Names {
    names: Vec<GuestString>,
    bytes: usize,
}

impl Visitor for Names {
    fn entry(&mut self, entry: &Entry) -> io::Result<bool> {
        self.bytes = self.bytes.saturating_add(entry.name.len()).saturating_add(8);
        if self.bytes > LIMIT {
            return Err(io::Error::other("there are too many names for one answer"));
        }
        self.names.push(entry.name.as_slice().into());
        Ok(false)
    }

    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// The content of one file. Of several links to a file only the last has the data.
struct Content<'n> {
    name: &'n [u8],
    inode: Option<(u64, u64)>,
    content: Option<Vec<u8>>,
    link: bool,
}

fn plain(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b".").filter(|rest| rest.starts_with(b"/")).unwrap_or(name);
    let slashes = name.iter().take_while(|byte| **byte == b'/').count();
    name.get(slashes..).unwrap_or_default()
}

impl Visitor for Content<'_> {
    fn entry(&mut self, entry: &Entry) -> io::Result<bool> {
        let named = plain(&entry.name) == self.name;
        if named {
            let kind = entry.mode & 0o170_000;
            self.link = kind == 0o120_000;
            if kind == 0o040_000 {
                return Err(io::Error::from_raw_os_error(libc::EISDIR));
            }
            if entry.links > 1 && entry.size == 0 {
                self.inode = Some(entry.inode);
            }
        } else if !(self.inode == Some(entry.inode) && entry.links > 1 && entry.size > 0) {
            return Ok(false);
        }
        if entry.size > LIMIT as u64 {
            return Err(io::Error::other("the file is too large for this action"));
        }
        // What comes later in an initial RAM disk replaces what was there before.
        self.content = Some(Vec::new());
        Ok(true)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(content) = &mut self.content {
            content.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl Worker {
    fn read_archives(&self, path: &GuestPath, visitor: &mut dyn Visitor) -> Result<(), Failure> {
        let mut file = self.open_regular(path)?;
        let failed = |e: io::Error| path.failure(e);
        let mut archives = Archives::new(visitor);
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0u64;
        loop {
            self.task.check()?;
            let count = file.read_at(&mut buffer, at).map_err(failed)?;
            let used = archives.feed(buffer.get(..count).unwrap_or_default()).map_err(failed)?;
            at = at.saturating_add(used as u64);
            if count == 0 || used < count {
                break;
            }
        }
        let mut start = [0; 6];
        let count = file.read_at(&mut start, at).map_err(failed)?;
        let start = start.get(..count).unwrap_or_default();
        let filter = FILTERS.iter().find(|(magic, _, _)| start.starts_with(magic));
        if let (Some((_, tool, options)), Place::Between) = (filter, &archives.place) {
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
            self.unpack_part(path, file, tool, options, &mut archives)?;
        }
        if !archives.complete || !matches!(archives.place, Place::Between) {
            return Err(Failure::new(format!("{}: not an initial RAM disk, or cut short", shown(path))));
        }
        Ok(())
    }

    /// Unpacks the compressed part that the file is positioned at.
    fn unpack_part(
        &self,
        path: &GuestPath,
        file: File,
        tool: &str,
        options: &[&str],
        archives: &mut Archives<'_>,
    ) -> Result<(), Failure> {
        let mut problem = None;
        let mut tee = Tee { archives, problem: &mut problem };
        let done = self.tool(tool)?.args(options).stdin(file).finish_with(None, Some(&mut tee));
        if let Some(error) = problem {
            return Err(path.failure(error));
        }
        let done = done?;
        // Padding after the end is something these programs complain about.
        let complete = archives.complete && matches!(archives.place, Place::Between);
        if complete { Ok(()) } else { done.success().map_err(super::regular::about(shown(path))) }
    }
}

/// Remembers what was wrong with an archive: the program that feeds it only sees that nobody listens any more.
struct Tee<'t, 'v> {
    archives: &'t mut Archives<'v>,
    problem: &'t mut Option<io::Error>,
}

impl Write for Tee<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.archives.write(bytes).map_err(|error| {
            let kind = error.kind();
            *self.problem = Some(error);
            io::Error::from(kind)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Server for Worker {
    fn initrd_cat(&self, initrdpath: GuestPath, filename: GuestString) -> Result<Vec<u8>, Failure> {
        let subject = format!("{}:{filename}", shown(&initrdpath));
        let mut found = Content { name: plain(filename.as_bytes()), inode: None, content: None, link: false };
        self.read_archives(&initrdpath, &mut found)?;
        match found.content {
            Some(target) if found.link => {
                let target = GuestString::from(target);
                Err(Failure::new(format!("{subject}: is a symbolic link to '{target}'"))
                    .with_errno(libc::ELOOP))
            }
            Some(content) => Ok(content),
            None => {
                let missing = io::Error::from_raw_os_error(libc::ENOENT);
                Err(Failure::io(format!("open: {subject}"), &missing))
            }
        }
    }

    fn initrd_list(&self, path: GuestPath) -> Result<Vec<GuestString>, Failure> {
        let mut found = Names::default();
        self.read_archives(&path, &mut found)?;
        Ok(found.names)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn member(name: &str, data: &str) -> Vec<u8> {
        let mut out = b"070701".to_vec();
        let fields = [1, 0o100_644, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        fields.iter().for_each(|field| out.extend(format!("{field:08x}").bytes()));
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data.bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn pieces_of_any_size_are_the_same_archives() {
        let mut bytes =
            [member("a", "first"), member("b/c", ""), member("TRAILER!!!", ""), vec![0; 7]].concat();
        bytes.extend([member("d", "four"), member("TRAILER!!!", ""), vec![0; 300]].concat());
        let end = bytes.len();
        bytes.extend(b"\x1f\x8bpacked");
        for size in [1, 3, 110, 111, bytes.len()] {
            let mut names = Names::default();
            let mut archives = Archives::new(&mut names);
            let mut used = 0;
            for piece in bytes.chunks(size) {
                let more = archives.feed(piece).unwrap();
                used += more;
                if more < piece.len() {
                    break;
                }
            }
            assert!(archives.complete);
            assert_eq!((used, names.names), (end, vec!["a".into(), "b/c".into(), "d".into()]), "{size}");
        }
        let mut content = Content { name: b"d", inode: None, content: None, link: false };
        Archives::new(&mut content).feed(&bytes).unwrap();
        assert_eq!(content.content.unwrap(), b"four");
    }

    #[test]
    fn damage_is_an_error() {
        let mut names = Names::default();
        let good = member("a", "first");
        for (at, byte) in [(3, b'9'), (20, b'x'), (94, b'f')] {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() = byte;
            assert!(Archives::new(&mut names).feed(&bad).is_err(), "{at}");
        }
    }
}
