//! `img map`: which parts of a disk lie where.

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use libimage::job::{map::map, processors};
use libimage::open::{Image, OpenOptions};
use libimage::storage::Replacement;
use libimage::{Block, Error, Extent};

use crate::arguments::{
    Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, OUTPUT, Output, Usage, Words,
};
use crate::image::Source;
use crate::options::size_argument;
use crate::plot::Plot;
use cli::getopt::{Name, opt, ours};

pub(crate) const COMMAND: Command = Command {
    name: "map",
    about: "Dump image metadata",
    operands: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        IMAGE_OPTS,
        opt('s', "start-offset", "OFFSET", "where to begin"),
        opt('l', "max-length", "LENGTH", "how much to look at"),
        OUTPUT,
        FORCE_SHARE,
        ours("plot", "FILE.svg", "draw where the data lies, for a browser"),
        ours("heat", "", "draw where the data lies, for a terminal"),
        OBJECT,
    ],
    run,
};

/// Text that is collected before it is written.
const BUFFER: usize = 64 << 10;

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output) = (Source::default(), Output::Human);
    let (mut start, mut length) = (0, u64::MAX);
    let (mut plot, mut heat) = (None, false);
    let operands = words.read(|name, value| {
        let size = |what| size_argument(what, &value.to_string_lossy(), 0, i64::MAX as u64);
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('U') => source.force_share = true,
            Name::Letter('s') => start = size("start offset")?,
            Name::Letter('l') => length = size("max length")?,
            Name::Long("output") => output = Output::parse("map", value)?,
            Name::Long("plot") => plot = Some(PathBuf::from(value)),
            Name::Long("heat") => heat = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("map", "Expecting one image file name")) };
    let image = source.open(file, OpenOptions { read_only: true, ..OpenOptions::default() })?;
    let block = image.block();
    let range = start..block.size().min(start.saturating_add(length)).max(start);
    if heat || plot.is_some() {
        return draw(&image, range, plot.as_deref(), heat);
    }
    let mut printer = Printer { image: &image, output, text: String::new(), first: true };
    printer.begin();
    if range.is_empty() {
        let nothing = Extent { zero: false, ..Extent::absent(0) };
        printer.entry(start, nothing)?;
    }
    let result = map(&*block, range, processors(), &mut |at, extent| printer.entry(at, extent));
    if result.is_ok() {
        printer.end();
    }
    printer.flush()?;
    result?;
    Ok(ExitCode::SUCCESS)
}

/// Draws instead of listing.
fn draw(image: &Image, range: Range<u64>, file: Option<&Path>, heat: bool) -> Result<ExitCode> {
    const COLUMNS: usize = 72;
    let mut svg = Plot::new(range.clone(), 128 * 96);
    let mut text = Plot::new(range.clone(), COLUMNS as u64 * 16);
    map(&*image.block(), range, processors(), &mut |at, extent| {
        svg.add(at, &extent);
        text.add(at, &extent);
        Ok(())
    })?;
    if let Some(file) = file {
        let replacement = Replacement::new(file)?;
        replacement.storage().write_at(svg.svg(image.name()).as_bytes(), 0)?;
        replacement.commit()?;
    }
    if heat {
        cli::print(&text.text(COLUMNS))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes entries as they come.
struct Printer<'a> {
    image: &'a Image,
    output: Output,
    text: String,
    first: bool,
}

impl Printer<'_> {
    fn begin(&mut self) {
        match self.output {
            Output::Human => {
                let _ = writeln!(self.text, "{:<16}{:<16}{:<16}File", "Offset", "Length", "Mapped to");
            }
            Output::Json => self.text.push('['),
        }
    }

    fn end(&mut self) {
        if self.output == Output::Json {
            self.text.push_str("]\n");
        }
    }

    fn entry(&mut self, start: u64, extent: Extent) -> Result<(), Error> {
        // Writing into a string cannot fail.
        match self.output {
            Output::Json => {
                if !std::mem::take(&mut self.first) {
                    self.text.push_str(",\n");
                }
                let Extent { length, depth, present, zero, data, compressed, offset } = extent;
                let _ = write!(
                    self.text,
                    "{{ \"start\": {start}, \"length\": {length}, \"depth\": {depth}, \"present\": {present}, \"zero\": {zero}, \"data\": {data}, \"compressed\": {compressed}"
                );
                if let Some(offset) = offset {
                    let _ = write!(self.text, ", \"offset\": {offset}");
                }
                self.text.push('}');
            }
            Output::Human if extent.data && !extent.zero => {
                let Some(offset) = extent.offset else {
                    let what = "File contains external, encrypted or compressed clusters.";
                    return Err(Error::Invalid(what.to_owned()));
                };
                let file = self.image.below(extent.depth).map_or("", Image::data_name);
                let (start, length, offset) = (hex(start), hex(extent.length), hex(offset));
                let _ = writeln!(self.text, "{start:<16}{length:<16}{offset:<16}{file}");
            }
            Output::Human => {}
        }
        if self.text.len() >= BUFFER {
            self.flush().map_err(|error| match error.downcast() {
                Ok(error) => Error::io("write to", "standard output", error),
                Err(other) => Error::Invalid(other.to_string()),
            })?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        cli::print(&std::mem::take(&mut self.text))
    }
}

/// As C's `%#x` has it.
fn hex(value: u64) -> String {
    if value == 0 { "0".to_owned() } else { format!("{value:#x}") }
}
