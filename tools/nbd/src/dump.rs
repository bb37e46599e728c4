//! `nbd dump`: the bytes of an export, for people, as `nbddump` and `hexdump -C` show them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use cli::getopt::{Name, Opt, opt, ours};
use nbd_protocol::client::Connection;

use crate::ansi::{self, Colours};
use crate::arguments::{self, Command, Usage, Words};
use crate::origin::{Complaint, Origin};

/// Bytes of a line.
const LINE: usize = 16;
/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;
/// The context that tells where zeroes are.
const ALLOCATION: &str = "base:allocation";
/// Its flag for bytes that are read as zeroes.
const ZERO: u64 = 2;

const OPTIONS: &[Opt] = &{
    let [a, b, c, d, e, f, g, h] = ansi::OPTIONS;
    [
        arguments::HELP,
        arguments::VERSION,
        opt('n', "length", "N", "show N bytes at most"),
        opt('\0', "limit", "N", ""),
        ours("offset", "N", "begin at byte N"),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ]
};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "dump",
    peer: "nbddump",
    about: "Hexdump the content of a disk over NBD",
    operands: "NBD-URI | [ CMD ARGS ... ]",
    options: OPTIONS,
    operands_last: false,
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let mut colours = Colours::of_output();
    let (mut length, mut offset) = (u64::MAX, 0);
    let operands = words.read(|name, value| {
        match name {
            _ if colours.option(name) => {}
            Name::Long("offset") => offset = number(value, "offset")?,
            _ => length = number(value, "length")?,
        }
        Ok(())
    })?;
    let Some(origin) = Origin::parse(operands)? else {
        return Err(Usage::error(&COMMAND, "one NBD URI, or a command in brackets, is expected"));
    };
    let connection = origin.connect(&[ALLOCATION])?;
    let size = connection.it.info().size;
    let end = offset.saturating_add(length).min(size);
    let mut dump = Dump::new(colours, offset, size);
    show(&connection.it, offset..end.max(offset), &mut dump)?;
    dump.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// A decimal number as `scanf` reads it: what follows the digits does not matter, and a negative one is very large.
fn number(value: &OsString, option: &str) -> Result<u64> {
    let text = arguments::string(value)?;
    let trimmed = text.trim_start();
    let (sign, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let digits = digits.get(..count).filter(|digits| !digits.is_empty());
    let digits = digits.ok_or_else(|| anyhow!("could not parse --{option} option: {text}"))?;
    let number = digits.parse().unwrap_or(u64::MAX);
    Ok(if sign { number.wrapping_neg() } else { number })
}

/// Gives `dump` the bytes of `range`, in order. Zeroes that the server knows of are not fetched.
fn show(connection: &Connection, range: std::ops::Range<u64>, dump: &mut Dump) -> Result<()> {
    let has_status = connection.context(ALLOCATION).is_some();
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let extents =
            if has_status { extents(connection, at, range.end)? } else { vec![(range.end - at, false)] };
        for (length, is_zero) in extents {
            let end = at.saturating_add(length).min(range.end);
            if is_zero {
                dump.zeroes(end - at)?;
                at = end;
            }
            while at < end {
                let length = (end - at).min(PIECE);
                buffer.resize(length as usize, 0);
                let read = connection.read_at(&mut buffer, at);
                read.map_err(|error| Complaint::of_request("nbd_pread", "read", &error))?;
                dump.bytes(&buffer)?;
                // People watch, and what follows may take long.
                dump.flush()?;
                at += length;
            }
        }
    }
    Ok(())
}

/// Lengths from `at` on, and whether zeroes are there.
fn extents(connection: &Connection, at: u64, end: u64) -> Result<Vec<(u64, bool)>> {
    let found = connection.block_status(at, end - at, false);
    let found = found.map_err(|error| Complaint::of_request("nbd_block_status", "block-status", &error))?;
    let found = found.into_iter().next().map(|context| context.extents).unwrap_or_default();
    let extents: Vec<_> = found.iter().map(|extent| (extent.length, extent.flags & ZERO != 0)).collect();
    // A server that says nothing about the front does not know it.
    Ok(if extents.iter().all(|(length, _)| *length == 0) { vec![(end - at, false)] } else { extents })
}

/// Lines that are made of bytes.
struct Dump {
    colours: Colours,
    /// Of the export: its last line is always shown.
    size: u64,
    /// Where the line that is being filled begins.
    offset: u64,
    line: Vec<u8>,
    /// The line above.
    last: Option<[u8; LINE]>,
    /// Lines like the one above were left out.
    is_repeated: bool,
    out: String,
}

impl Dump {
    fn new(colours: Colours, offset: u64, size: u64) -> Self {
        Dump { colours, size, offset, line: Vec::new(), last: None, is_repeated: false, out: String::new() }
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (front, rest) = bytes.split_at(bytes.len().min(LINE - self.line.len()));
            self.line.extend_from_slice(front);
            bytes = rest;
            if self.line.len() == LINE {
                self.end_line()?;
            }
        }
        Ok(())
    }

    fn zeroes(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let before_last = self.size.saturating_sub(self.offset).saturating_sub(1);
            let whole_lines = count.min(before_last) / LINE as u64;
            if self.line.is_empty() && self.last == Some([0; LINE]) && whole_lines > 0 {
                // All of them are like the line above.
                self.repeat();
                let skipped = whole_lines * LINE as u64;
                self.offset = self.offset.saturating_add(skipped);
                count -= skipped;
                continue;
            }
            let length = count.min(LINE as u64);
            self.bytes([0; LINE].get(..length as usize).unwrap_or_default())?;
            count -= length;
        }
        Ok(())
    }

    fn repeat(&mut self) {
        if !std::mem::replace(&mut self.is_repeated, true) {
            self.out += if self.colours.0 { "☆\n" } else { "*\n" };
        }
    }

    fn end_line(&mut self) -> Result<()> {
        // A line that is not whole counts as if zeroes followed.
        let mut line = [0; LINE];
        for (place, byte) in line.iter_mut().zip(&self.line) {
            *place = *byte;
        }
        let is_last = self.offset.saturating_add(LINE as u64) >= self.size;
        if self.last == Some(line) && !is_last {
            self.repeat();
        } else {
            self.is_repeated = false;
            self.last = Some(line);
            self.write_line();
        }
        self.offset = self.offset.saturating_add(self.line.len() as u64);
        self.line.clear();
        if self.out.len() > 1 << 16 { self.write_out() } else { Ok(()) }
    }

    fn write_line(&mut self) {
        let colours = self.colours;
        let out = &mut self.out;
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{:010x}{}: ", colours.green(), self.offset, colours.grey());
        for (position, byte) in self.line.iter().enumerate() {
            let colour = if *byte == 0 { colours.grey() } else { colours.bold_blue() };
            let gap = if position == LINE / 2 - 1 { " " } else { "" };
            let _ = write!(out, "{colour}{byte:02x} {gap}");
        }
        let missing = LINE - self.line.len();
        let gap = usize::from(self.line.len() < LINE / 2);
        let (border, dot) = if colours.0 { ("│", '·') } else { ("|", '.') };
        let _ = write!(out, "{}{:width$}{border}", colours.grey(), "", width = missing * 3 + gap);
        for byte in &self.line {
            let (colour, shown) = match byte {
                byte if byte.is_ascii_alphanumeric() => (colours.bold_red(), char::from(*byte)),
                b' '..=b'~' => (colours.bold_magenta(), char::from(*byte)),
                _ => (colours.grey(), dot),
            };
            let _ = write!(out, "{colour}{shown}");
        }
        let _ = writeln!(out, "{}{:missing$}{border}", colours.grey(), "");
        out.push_str(colours.restore());
    }

    fn write_out(&mut self) -> Result<()> {
        std::io::stdout().write_all(self.out.as_bytes())?;
        self.out.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        Ok(std::io::stdout().flush()?)
    }

    fn finish(mut self) -> Result<()> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.flush()
    }
}
