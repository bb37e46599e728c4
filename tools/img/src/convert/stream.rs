//! `img convert - TARGET` and `img convert SOURCE -`: from and to a pipe, without a file in between.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use anyhow::{Context, Result, anyhow, bail};
use cli::progress::Percent;
use libimage::Block;
use libimage::format::Format;
use libimage::format::probe::{Guess, PROBE_BYTES, guess};
use libimage::format::qcow2::{StreamManner, StreamReader, write_stream};
use libimage::job::copy::{Compressed, Plain, Target};
use libimage::job::processors;
use libimage::job::stream::{copy_raw_stream, copy_stream, write_raw_stream};

use super::{Arguments, DEFAULT_SPARSE};
use crate::create::{Built, build, format_for_making};
use crate::destination::Destination;
use crate::image::driver;
use crate::options::{self, Given};

/// What a file that is standard input can be opened by.
const INPUT: &str = "/dev/stdin";

/// True if one of the sources is standard input, and that is no file.
pub(super) fn is_pipe(sources: &[OsString]) -> bool {
    let is_file = |file: &File| {
        let kind = file.metadata().map(|metadata| metadata.file_type());
        kind.is_ok_and(|kind| kind.is_file() || kind.is_block_device())
    };
    sources.iter().any(|source| source == "-") && !input().is_ok_and(|file| is_file(&file))
}

/// The name to open a source by.
pub(super) fn file_of(source: &OsString) -> &OsString {
    static NAME: std::sync::OnceLock<OsString> = std::sync::OnceLock::new();
    if source == "-" { NAME.get_or_init(|| OsStr::new(INPUT).to_owned()) } else { source }
}

fn input() -> Result<File> {
    Ok(File::from(std::io::stdin().as_fd().try_clone_to_owned().context("Could not use standard input")?))
}

/// A bar where people can see it; standard output is no place for a percentage.
fn progress(arguments: &Arguments) -> Percent {
    let bar = arguments.progress && !arguments.quiet && std::io::stderr().is_terminal();
    if bar { Percent::bar() } else { Percent::new(true) }
}

/// Options that make no sense without a file on either side.
fn refuse(arguments: &Arguments, place: &str) -> Result<()> {
    let refused = [
        (arguments.no_create, "-n"),
        (arguments.resume, "--resume"),
        (arguments.salvage, "--salvage"),
        (arguments.copy_range, "-C"),
        (arguments.backing.is_some(), "-B"),
        (arguments.bitmaps, "--bitmaps"),
        (arguments.rate.is_some(), "-r"),
    ];
    match refused.iter().find(|(given, _)| *given) {
        Some((_, option)) => bail!("{option} cannot be used with {place}"),
        None => Ok(()),
    }
}

/// Writes the image to standard output.
pub(super) fn to_output(arguments: &Arguments, source: &dyn Block, given: Given, format: &str) -> Result<()> {
    refuse(arguments, "standard output")?;
    if std::io::stdout().is_terminal() {
        bail!("An image is nothing for a terminal: redirect standard output");
    }
    let format = format_for_making(format)?;
    if arguments.compress && format != Format::Qcow2 {
        bail!("Compression not supported for this file format");
    }
    let target = given.options(format)?.target()?;
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    let mut output = File::from(output.context("Could not use standard output")?);
    let progress = progress(arguments);
    let workers = arguments.workers.unwrap_or_else(processors);
    let written = match target {
        options::Target::Raw { .. } => write_raw_stream(source, &mut output, workers, &progress),
        options::Target::Qcow2(mut options) => {
            options.size = source.size();
            let compress = arguments.compress.then_some(arguments.level);
            let manner = StreamManner { workers, compress, progress: &progress };
            write_stream(source, &options, &mut output, &manner)
        }
        options::Target::Luks { .. } => bail!("A LUKS image cannot be written to a pipe"),
    };
    // Whoever does not read to the end has no image: that is no success.
    written.map_err(|error| anyhow!(cli::error::full_chain(&error.into())))
}

/// Makes the target from what comes in through a pipe.
pub(super) fn from_input(
    arguments: &Arguments,
    sources: &[OsString],
    given: Given,
    format: &str,
    target: &OsString,
) -> Result<()> {
    refuse(arguments, "standard input")?;
    if sources.len() > 1 || arguments.snapshot.is_some() || arguments.source.image_opts || target == "-" {
        bail!("A pipe can only be read from beginning to end, and converted into a file");
    }
    let format = format_for_making(format)?;
    if arguments.compress && format != Format::Qcow2 {
        bail!("Compression not supported for this file format");
    }
    let mut input = input()?;
    let mut head = Vec::new();
    Read::by_ref(&mut input)
        .take(PROBE_BYTES as u64)
        .read_to_end(&mut head)
        .context("Could not read standard input")?;
    let source = match &arguments.source.format {
        Some(name) => driver(name).map_err(|why| anyhow!(why))?,
        None => match guess(&head) {
            Guess::Known(format) => format,
            Guess::Other(name) => bail!("Images of the format {name} cannot be read from a pipe"),
        },
    };
    let progress = progress(arguments);
    let workers = arguments.workers.unwrap_or_else(processors);
    let options = given.options(format)?;
    let destination = Destination::new(target)?;
    let file = destination.unseen_file();
    let cache =
        arguments.output_cache.as_ref().map(crate::image::target_cache).transpose()?.unwrap_or_default();
    if let Some(file) = file.filter(|_| !cache.is_unsafe()) {
        file.write_out_early();
    }
    let make = |size| build(destination.storage(), options.target()?, size);
    let built = match source {
        Format::Raw => {
            let built = make(0)?;
            let disk = built.block();
            let copy =
                |target: &dyn Target| copy_raw_stream(&mut input, &head, &*disk, target, workers, &progress);
            write(arguments, &built, copy)?;
            built
        }
        Format::Qcow2 => {
            let reader = StreamReader::open(&mut input, &head)?;
            let built = make(reader.size())?;
            if let (true, Built::Qcow2(image)) = (arguments.compress, &built)
                && image.cluster_size() > reader.cluster_size()
            {
                bail!("Compressing from a pipe needs clusters that are not larger than those of the source");
            }
            let copy = |target: &dyn Target| copy_stream(target, workers, &progress, |put| reader.run(put));
            write(arguments, &built, copy)?;
            built
        }
        other => bail!("Images of the format {} cannot be read from a pipe", other.name()),
    };
    built.block().flush()?;
    drop(built);
    destination.commit(!cache.is_unsafe())
}

/// Calls `copy` with the new image as a target.
fn write(
    arguments: &Arguments,
    built: &Built,
    copy: impl FnOnce(&dyn Target) -> libimage::Result<()>,
) -> Result<()> {
    if let (true, Built::Qcow2(image)) = (arguments.compress, built) {
        return Ok(copy(&Compressed::new(image, arguments.level, true, false))?);
    }
    let cluster = match built {
        Built::Qcow2(image) => image.cluster_size(),
        Built::Raw(_) | Built::Luks(_) => 1,
    };
    let sparse = arguments.sparse.unwrap_or(DEFAULT_SPARSE);
    let sparse = if sparse == 0 { 0 } else { sparse.max(cluster) as usize };
    let block = built.block();
    // What was there before, on a block device or a server, and what is encrypted, does not read as zeroes.
    let starts_zeroed = block.limits().zero_init;
    Ok(copy(&Plain { block: &*block, starts_zeroed, sparse, over_backing: false })?)
}
