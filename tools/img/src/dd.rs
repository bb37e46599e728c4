//! `img dd`: a part of an image as a new image.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use libimage::Block;
use libimage::filter::Slice;
use libimage::format::Format;
use libimage::job::copy::{self, Manner, Plain};
use libimage::job::{Silent, processors};
use libimage::open::OpenOptions;

use crate::arguments::{Command, HELP, OBJECT, Words, string};
use crate::create::build;
use crate::destination::Destination;
use crate::image::Source;
use crate::options::{Given, size_argument};
use crate::text;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "dd",
    about: "Copy input to output with optional format conversion",
    operands: "[bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=INPUT of=OUTPUT",
    options: &[
        HELP,
        opt('f', "format", "FMT", "format of the input; guessed if not given"),
        opt('O', "output-format", "FMT", "format of the output: raw (the default) or qcow2"),
        OBJECT,
        opt('\0', "image-opts", "", "INPUT is a list of options: driver=FMT,file.filename=NAME"),
        opt('U', "force-share", "", "tolerate that others write to the input"),
    ],
    run,
};

/// The smallest run of zeroes that becomes a hole, in bytes.
const SPARSE: usize = 4096;

/// The operands.
struct Operands {
    input: Option<OsString>,
    output: Option<OsString>,
    block: u64,
    count: Option<u64>,
    skip: u64,
}

impl Operands {
    fn add(&mut self, word: &OsString) -> Result<()> {
        let text = word.to_string_lossy();
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let number = |min, max| size_argument(name, value, min, max);
        let file = || -> Result<OsString> {
            let bytes = word.as_encoded_bytes().get("if=".len()..).unwrap_or_default();
            Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
        };
        match name {
            "if" if text.contains('=') => self.input = Some(file()?),
            "of" if text.contains('=') => self.output = Some(file()?),
            "bs" => self.block = number(1, i32::MAX as u64)?,
            "count" => self.count = Some(number(0, i64::MAX as u64)?),
            "skip" => self.skip = number(0, i64::MAX as u64)?,
            other => bail!("unrecognized operand {other}"),
        }
        Ok(())
    }

    /// Which bytes of an input of `size` bytes are wanted; nothing if it has none there.
    fn range(&self, size: u64) -> Option<std::ops::Range<u64>> {
        // As in QEMU, blocks are counted from the beginning of the input.
        let end =
            self.count.and_then(|count| count.checked_mul(self.block)).map_or(size, |end| end.min(size));
        let start = self.skip.checked_mul(self.block).filter(|&start| start <= end)?;
        Some(start..end)
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut format) = (Source::default(), "raw".to_owned());
    let words = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('O') => format = string(value)?,
            Name::Letter('U') => source.force_share = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let mut operands = Operands { input: None, output: None, block: 512, count: None, skip: 0 };
    words.iter().try_for_each(|word| operands.add(word))?;
    let (Some(input), Some(output)) = (&operands.input, &operands.output) else {
        bail!("Must specify both input and output files");
    };
    if source.image_opts && source.format.is_some() {
        bail!("--image-opts and --format are mutually exclusive");
    }
    let image = source.open(input, OpenOptions { read_only: true, ..OpenOptions::default() })?;
    let format = Format::by_name(&format).map_err(|_| anyhow!("Unknown file format"))?;
    let block = image.block();
    let size = block.size();
    let range = operands.range(size);
    if range.is_none() {
        text::error(&format!("{}: cannot skip to specified offset", input.display()));
    }
    let range = range.unwrap_or(size..size);
    copy(block, range, output, format)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a range of `source` to a new image, which gets its name when it is complete.
fn copy(
    source: Arc<dyn Block>,
    range: std::ops::Range<u64>,
    output: &OsString,
    format: Format,
) -> Result<()> {
    let said = || format!("{}: error while creating output image", output.display());
    let destination = Destination::new(output).with_context(said)?;
    destination.unseen_file();
    let length = range.end - range.start;
    let layout = Given::default().options(format)?.target()?;
    let built = build(destination.storage(), layout, length).with_context(said)?;
    let part = Slice::new(source, range.start, length)?;
    let target = built.block();
    let sparse = (target.limits().preferred as usize).clamp(SPARSE, 64 << 10);
    let sparse = if format == Format::Raw { SPARSE } else { sparse };
    let starts_zeroed = destination.storage().limits().zero_init;
    let plain = Plain { block: &*target, starts_zeroed, sparse, over_backing: false };
    copy::copy(&part, &plain, &Manner::plain(processors()), &Silent)?;
    target.flush()?;
    drop(target);
    drop(built);
    destination.commit(true)
}
