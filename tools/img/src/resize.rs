//! `img resize`.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use libimage::format::Format;
use libimage::open::{Image, OpenOptions};
use libimage::units::parse_size;

use crate::arguments::{ResizeArguments, usage};
use crate::options::preallocation;
use crate::text;

pub(crate) fn run(arguments: ResizeArguments) -> Result<ExitCode> {
    let (Some(file), Some(size)) = (&arguments.file, &arguments.size) else {
        usage("Expecting image file name and size", Some("resize"));
        return Ok(ExitCode::FAILURE);
    };
    let preallocation = preallocation(&arguments.preallocation)?;
    let change = Change::parse(size)?;
    let format = arguments.format.as_deref().map(Format::by_name).transpose()?;
    let image = Image::open(file, OpenOptions { format, ..OpenOptions::default() })?;
    if image.is_guessed() && image.format() == Format::Raw {
        text::warn_guessed(image.name());
    }
    let block = image.block();
    let old = block.size();
    let new = change.apply(old)?;
    if new < old && !arguments.shrink {
        text::error("Use the --shrink option to perform a shrink operation.");
        text::warning(
            "Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.",
        );
        return Ok(ExitCode::FAILURE);
    }
    if new < old && preallocation != libimage::Preallocation::Off {
        bail!("Preallocation can only be used for growing images");
    }
    block.resize(new, preallocation)?;
    block.flush()?;
    if !arguments.quiet {
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
        let size = parse_size(number).map_err(|_| {
            anyhow!(
                "Parameter 'size' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively."
            )
        })?;
        Ok(make(size))
    }

    fn apply(&self, old: u64) -> Result<u64> {
        let new = match *self {
            Change::To(size) => Some(size),
            Change::By(more) => old.checked_add(more),
            Change::Less(less) => old.checked_sub(less),
        };
        match new.filter(|&size| size <= i64::MAX as u64) {
            Some(0) => bail!("New image size must be positive"),
            Some(size) => Ok(size),
            None if matches!(self, Change::Less(_)) => bail!("New image size must be positive"),
            None => bail!("New image size is too large"),
        }
    }
}
