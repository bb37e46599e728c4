//! Contents of files: text, lines, bytes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

use guestd_api::actions::read;
use guestd_api::forms::dump::{Encoding, HexDump, strings_in};
use guestd_api::{Context, Failure, GuestString, Value};
use libimage::fs::system::Kind;
use rustix::io::Errno;

use super::devices::Devices;
use super::vfs::{Found, Vfs, errno};
use super::{MAX_CONTENT, Refusal, Served, aside, check, text};

/// Bytes of a file that are read at a time.
pub(super) const PIECE: usize = 1 << 20;

/// A regular file from some place on, as a stream.
pub(super) struct FileReader<'a> {
    found: &'a Found<'a>,
    offset: u64,
    refusal: Option<Refusal>,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(found: &'a Found<'a>, offset: u64) -> Self {
        FileReader { found, offset, refusal: None }
    }

    /// The refusal behind an error of this stream, or the error itself as one of the file.
    pub(super) fn refusal(&mut self, error: &std::io::Error) -> Refusal {
        self.refusal.take().unwrap_or_else(|| Failure::io(self.found.asked(), error).into())
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.found.read(self.offset, into) {
            Ok(count) => {
                self.offset = self.offset.saturating_add(count as u64);
                Ok(count)
            }
            Err(refusal) => {
                self.refusal = Some(refusal);
                Err(std::io::Error::other("the file cannot be read"))
            }
        }
    }
}

/// Answers a call of this group.
pub(super) fn answer(
    vfs: &Vfs,
    devices: &Devices,
    call: &read::Call,
    context: &mut Context<'_>,
) -> Served<Value> {
    use read::Call;
    match call {
        Call::cat { path } => {
            let bytes = contents(vfs, path)?;
            // Text ends where C ends it.
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            Ok(text(&bytes[..end]))
        }
        Call::read_file { path } => Ok(Value::Buffer(contents(vfs, path)?.into())),
        Call::read_lines { path } => Ok(Value::StringList(lines(&contents(vfs, path)?))),
        Call::pread { path, count, offset } => {
            let found = open(vfs, path)?;
            piece(*count, *offset, |offset, into| found.read(offset, into))
        }
        Call::pread_device { device, count, offset } => {
            let block = devices.find(device)?.block()?;
            piece(*count, *offset, |offset, into| {
                let left = block.size().saturating_sub(offset).min(into.len() as u64) as usize;
                let part = into.get_mut(..left).unwrap_or_default();
                block.read_at(part, offset).or_else(|e| aside(e.to_string()))?;
                Ok(left)
            })
        }
        Call::head { path } => first_lines(vfs, path, 10, context),
        Call::head_n { nrlines, path } => first_lines(vfs, path, *nrlines, context),
        Call::tail { path } => last_lines(vfs, path, 10, context),
        Call::tail_n { nrlines, path } => last_lines(vfs, path, *nrlines, context),
        Call::wc_c { path } => count(vfs, path, context, |_, _| true),
        Call::wc_l { path } => count(vfs, path, context, |_, byte| byte == b'\n'),
        Call::wc_w { path } => {
            let blank = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
            count(vfs, path, context, |before, byte| blank(before) && !blank(byte))
        }
        Call::hexdump { path } => {
            let mut dump = HexDump::default();
            let found = open(vfs, path)?;
            pieces(&found, context, |piece| Ok(dump.add(piece)?))?;
            Ok(text(dump.finish()))
        }
        Call::strings { path } => strings(vfs, &"s".into(), path),
        Call::strings_e { encoding, path } => strings(vfs, encoding, path),
        Call::file { .. } | Call::zfile { .. } => aside("that is for the program file to say"),
    }
}

/// A file whose contents are wanted. What has none of its own, and perhaps no end, is refused.
pub(super) fn open<'a>(vfs: &'a Vfs, path: &GuestString) -> Served<Found<'a>> {
    let found = vfs.existing(path)?;
    match found.kind() {
        Some(Kind::File) => Ok(found),
        Some(Kind::Directory) => Err(errno(path.as_bytes(), Errno::ISDIR)),
        Some(Kind::Socket) => Err(errno(path.as_bytes(), Errno::NXIO)),
        Some(Kind::Fifo) => Err(Failure::new(format!("{path}: is a named pipe"))
            .with_errno(Errno::SPIPE.raw_os_error())
            .into()),
        _ => aside("it is not a regular file"),
    }
}

/// All of a file, if that can be an answer.
pub(super) fn contents(vfs: &Vfs, path: &GuestString) -> Served<Vec<u8>> {
    let found = open(vfs, path)?;
    let size = found.size()?;
    if size > MAX_CONTENT {
        let why = format!("{path}: file is too large for this action, use download");
        return Err(Failure::new(why).with_errno(Errno::FBIG.raw_os_error()).into());
    }
    whole(&found, size)
}

/// All of a file that has `size` bytes, which the caller has bounded.
pub(super) fn whole(found: &Found<'_>, size: u64) -> Served<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut have = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(have..) {
        match found.read(have as u64, rest)? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// Calls for each piece of a file, none of them empty, all but the last a multiple of 16 bytes.
pub(super) fn pieces(
    found: &Found<'_>,
    context: &Context<'_>,
    mut piece: impl FnMut(&[u8]) -> Served<()>,
) -> Served<()> {
    let size = usize::try_from(found.size()?).unwrap_or(PIECE);
    let mut buffer = vec![0; size.clamp(16, PIECE)];
    let mut offset = 0;
    loop {
        check(context)?;
        let mut have = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(have..) {
            match found.read(offset + have as u64, rest)? {
                0 => break,
                more => have += more,
            }
        }
        if have == 0 {
            return Ok(());
        }
        piece(buffer.get(..have).unwrap_or_default())?;
        offset += have as u64;
    }
}

/// Lines without their ends, and without an empty one at the end.
pub(super) fn lines(text: &[u8]) -> Vec<GuestString> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| GuestString::from(line.strip_suffix(b"\r").unwrap_or(line))).collect()
}

fn piece(count: i32, offset: i64, mut read: impl FnMut(u64, &mut [u8]) -> Served<usize>) -> Served<Value> {
    let count = usize::try_from(count).map_err(|_| Failure::new("count is negative"))?;
    let offset = u64::try_from(offset).map_err(|_| Failure::new("offset is negative"))?;
    if count as u64 > MAX_CONTENT {
        return Err(Failure::new(format!("{count} bytes are too many at once, read in pieces")).into());
    }
    let mut bytes = vec![0; count];
    let mut have = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(have..) {
        match read(offset.saturating_add(have as u64), rest)? {
            0 => break,
            more => have += more,
        }
    }
    bytes.truncate(have);
    Ok(Value::Buffer(bytes.into()))
}

/// Calls for each line, without its end, until told to stop.
fn each_line(
    vfs: &Vfs,
    path: &GuestString,
    context: &Context<'_>,
    mut line: impl FnMut(&[u8]) -> bool,
) -> Served<()> {
    let found = open(vfs, path)?;
    let mut reader = BufReader::with_capacity(64 << 10, FileReader::new(&found, 0));
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        check(context)?;
        match reader.by_ref().take(MAX_CONTENT).read_until(b'\n', &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(reader.get_mut().refusal(&error)),
        }
        if !line(buffer.strip_suffix(b"\n").unwrap_or(&buffer)) {
            return Ok(());
        }
    }
}

fn first_lines(vfs: &Vfs, path: &GuestString, count: i32, context: &Context<'_>) -> Served<Value> {
    let mut lines: Vec<GuestString> = Vec::new();
    match usize::try_from(count) {
        Ok(0) => drop(open(vfs, path)?),
        Ok(count) => each_line(vfs, path, context, |line| {
            lines.push(line.into());
            lines.len() < count
        })?,
        Err(_) => {
            each_line(vfs, path, context, |line| {
                lines.push(line.into());
                true
            })?;
            lines.truncate(lines.len().saturating_sub(count.unsigned_abs() as usize));
        }
    }
    Ok(Value::StringList(lines))
}

fn last_lines(vfs: &Vfs, path: &GuestString, count: i32, context: &Context<'_>) -> Served<Value> {
    let mut lines: VecDeque<GuestString> = VecDeque::new();
    match usize::try_from(count) {
        Ok(count) => each_line(vfs, path, context, |line| {
            lines.push_back(line.into());
            if lines.len() > count {
                lines.pop_front();
            }
            true
        })?,
        Err(_) => {
            let mut skip = count.unsigned_abs().saturating_sub(1);
            each_line(vfs, path, context, |line| {
                match skip.checked_sub(1) {
                    Some(less) => skip = less,
                    None => lines.push_back(line.into()),
                }
                true
            })?;
        }
    }
    Ok(Value::StringList(lines.into()))
}

/// Counts bytes that fit a test of the byte before and the byte.
fn count(
    vfs: &Vfs,
    path: &GuestString,
    context: &Context<'_>,
    fits: impl Fn(u8, u8) -> bool,
) -> Served<Value> {
    let found = open(vfs, path)?;
    let (mut total, mut before) = (0u64, b' ');
    pieces(&found, context, |piece| {
        for byte in piece {
            total += u64::from(fits(before, *byte));
            before = *byte;
        }
        Ok(())
    })?;
    let total = i32::try_from(total).map_err(|_| Failure::new("more than fits the result"))?;
    Ok(Value::Int(total.into()))
}

fn strings(vfs: &Vfs, encoding: &GuestString, path: &GuestString) -> Served<Value> {
    let encoding = Encoding::parse(encoding)?;
    Ok(Value::StringList(strings_in(&contents(vfs, path)?, encoding)))
}
