//! `img resize`.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use libimage::format::Format;
use libimage::open::OpenOptions;
use libimage::{Error, Preallocation};

use crate::arguments::{Command, FORMAT, HELP, IMAGE_OPTS, OBJECT, QUIET, Usage, Words};
use crate::image::Source;
use crate::options::{preallocation, size_value};
use crate::text;
use cli::getopt::{Item, Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "resize",
    about: "Change the size of an image",
    operands: "FILENAME [+|-]SIZE",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        opt('\0', "preallocation", "MODE", "what to allocate of new space: off, metadata, falloc or full"),
        opt('\0', "shrink", "", "allow to cut off data"),
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut quiet, mut shrink) = (Source::default(), false, false);
    let mut preallocation = Preallocation::Off;
    let mut operands = Vec::new();
    words.each(|item, rest| {
        match item {
            Item::Option(Name::Letter('f'), value) => source.set_format(&value)?,
            Item::Option(Name::Letter('q'), _) => quiet = true,
            Item::Option(Name::Long("preallocation"), value) => {
                preallocation = mode(&value.to_string_lossy())?
            }
            Item::Option(Name::Long("shrink"), _) => shrink = true,
            Item::Option(..) => source.image_opts = true,
            Item::Operand(word) => {
                operands.push(word);
                // A size that begins with a hyphen is no option.
                if operands.len() == 1 {
                    operands.extend(rest.negative_number());
                }
            }
        }
        Ok(())
    })?;
    let (file, size) = match &operands[..] {
        [file, size] => (file, size),
        [_, _, ..] => return Err(Usage::error("resize", "Extra argument(s) in command line")),
        _ => return Err(Usage::error("resize", "Expecting image file name and size")),
    };
    let change = Change::parse(&size.to_string_lossy())?;
    let image = source.open(file, OpenOptions::default())?;
    let block = image.block();
    let old = block.size();
    let new = change.apply(old)?;
    if new < old && !shrink {
        text::error("Use the --shrink option to perform a shrink operation.");
        text::warning(
            "Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.",
        );
        return Ok(ExitCode::FAILURE);
    }
    if new < old && preallocation != Preallocation::Off {
        bail!("Preallocation can only be used for growing images");
    }
    block.resize(new, preallocation).map_err(|error| match (error, image.format()) {
        (Error::Io { action: "resize", source, .. }, Format::Raw) => {
            anyhow!(source).context("Could not resize file")
        }
        // There is no other way for a size to be invalid that was not refused above.
        (Error::Invalid(text), Format::Qcow2) if text.contains("too large") => {
            anyhow!("Failed to grow the L1 table: File too large")
        }
        (other, _) => anyhow!(text::bare(other)),
    })?;
    block.flush()?;
    if !quiet {
        cli::print("Image resized.\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A size, or a difference to the present one.
enum Change {
    To(u64),
    By(u64),
    Less(u64),
}

impl Change {
    fn parse(text: &str) -> Result<Self> {
        let (number, make): (&str, fn(u64) -> Self) = match text.as_bytes().first() {
            Some(b'+') => (&text[1..], Change::By),
            Some(b'-') => (&text[1..], Change::Less),
            _ => (text, Change::To),
        };
        let size = size_value("size", number)?;
        Ok(make(size))
    }

    fn apply(&self, old: u64) -> Result<u64> {
        // What does not fit is as good as negative.
        let new = match *self {
            Change::To(size) => Some(size),
            Change::By(more) => old.checked_add(more),
            Change::Less(less) => old.checked_sub(less),
        };
        match new.filter(|&size| size > 0 && size <= i64::MAX as u64) {
            Some(size) => Ok(size),
            None => bail!("New image size must be positive"),
        }
    }
}

fn mode(value: &str) -> Result<Preallocation> {
    preallocation(value).ok_or_else(|| anyhow!("Invalid preallocation mode '{value}'"))
}
