//! `img convert`.

mod resume;
mod stream;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use libimage::Block;
use libimage::open::{Image, OpenOptions};

use self::target::Job;
use crate::arguments::{Command, HELP, OBJECT, QUIET, Words, string};
use crate::create::format_for_making;
use crate::image::{Source, source_cache};
use crate::options::{Given, number, print_help, size_argument};
use crate::{snapshot, text};
use cli::getopt::{Name, opt, ours};

pub(crate) const COMMAND: Command = Command {
    name: "convert",
    about: "Copy images into another format",
    operands: "SOURCE [SOURCE...] TARGET (- is standard input or output)",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        opt('\0', "image-opts", "", "sources are lists of options: driver=FMT,file.filename=NAME"),
        opt('\0', "source-image-opts", "", "the same"),
        opt('f', "source-format", "FMT", "format of the sources; guessed if not given"),
        opt('T', "source-cache", "MODE", "cache mode of the sources (default writeback)"),
        opt('l', "snapshot", "SNAPSHOT", "convert this internal snapshot of the source"),
        opt(
            'S',
            "sparse-size",
            "SIZE",
            "smallest run of zeroes that becomes a hole; 0 allocates everything (default 4k)",
        ),
        opt('O', "output-format", "FMT", "format of the target: raw (the default), qcow2 or luks"),
        opt(
            'o',
            "options",
            "OPTS",
            "format options of the target, k=v separated by commas; 'help' lists them",
        ),
        opt(
            't',
            "output-cache",
            "MODE",
            "cache mode of the target (default writeback; unsafe: on disk when the kernel gets to it)",
        ),
        opt(
            'B',
            "backing",
            "FILENAME",
            "backing file of the target: what the source does not hold itself is left to it",
        ),
        opt('F', "backing-format", "FMT", "format of the backing file"),
        opt('U', "force-share", "", "tolerate that others write to the sources"),
        opt('\0', "target-image-opts", "", "the target, which exists (-n), is a list of options"),
        opt('\0', "salvage", "", "take what cannot be read for zeroes"),
        opt('\0', "target-is-zero", "", "the target, which exists (-n), reads as zeroes"),
        opt('\0', "bitmaps", "", "copy the bitmaps of the source too"),
        opt('\0', "skip-broken-bitmaps", "", "with --bitmaps: leave out those that are inconsistent"),
        ours(
            "resume",
            "",
            "continue where an earlier run with --resume was interrupted, or begin such a run",
        ),
        opt('r', "rate", "BYTES", "write no more than this in a second"),
        opt('m', "parallel", "N", "work with this many threads, 1 to 16 (default: one for each processor)"),
        opt('W', "oob-writes", "", "writes may come in any order (they always may)"),
        opt('C', "copy-range-offloading", "", "let the kernel copy where it can"),
        opt('c', "", "", "compress the target (qcow2)"),
        opt('n', "", "", "the target exists already: write into it"),
        opt('p', "", "", "show progress"),
    ],
    run,
};

/// The sizes that `-S` takes.
const MAX_SPARSE: u64 = 16 << 20;
const DEFAULT_SPARSE: u64 = 4096;

/// A `convert` command line.
#[derive(Default)]
struct Arguments {
    source: Source,
    source_cache: Option<OsString>,
    snapshot: Option<String>,
    sparse: Option<u64>,
    output_format: Option<String>,
    given: Given,
    output_cache: Option<OsString>,
    backing: Option<String>,
    backing_format: Option<String>,
    target_image_opts: bool,
    salvage: bool,
    target_is_zero: bool,
    bitmaps: bool,
    skip_broken_bitmaps: bool,
    rate: Option<u64>,
    workers: Option<usize>,
    copy_range: bool,
    compress: bool,
    no_create: bool,
    progress: bool,
    quiet: bool,
    level: Option<u32>,
    resume: bool,
}

impl Arguments {
    fn set(&mut self, name: Name, value: &OsString) -> Result<()> {
        let shown = || value.to_string_lossy();
        match name {
            Name::Letter('q') => self.quiet = true,
            Name::Letter('f') => self.source.set_format(value)?,
            Name::Letter('T') => self.source_cache = Some(value.clone()),
            Name::Letter('l') => {
                let name = string(value)?;
                snapshot::check_name(&name)?;
                self.snapshot = Some(name);
            }
            Name::Letter('S') => self.sparse = Some(sparse_size(&shown())?),
            Name::Letter('O') => self.output_format = Some(string(value)?),
            Name::Letter('o') => self.given.add(string(value)?)?,
            Name::Letter('t') => self.output_cache = Some(value.clone()),
            Name::Letter('B') => self.backing = Some(string(value)?),
            Name::Letter('F') => self.backing_format = Some(string(value)?),
            Name::Letter('U') => self.source.force_share = true,
            Name::Letter('r') => {
                self.rate = Some(size_argument("rate limit", &shown(), 0, i64::MAX as u64)?);
            }
            Name::Letter('m') => {
                self.workers = Some(workers(&shown())?);
            }
            Name::Letter('C') => self.copy_range = true,
            Name::Letter('c') => self.compress = true,
            Name::Letter('n') => self.no_create = true,
            Name::Letter('p') => self.progress = true,
            Name::Letter(_) => {}
            Name::Long("target-image-opts") => self.target_image_opts = true,
            Name::Long("salvage") => self.salvage = true,
            Name::Long("target-is-zero") => self.target_is_zero = true,
            Name::Long("resume") => self.resume = true,
            Name::Long("bitmaps") => self.bitmaps = true,
            Name::Long("skip-broken-bitmaps") => self.skip_broken_bitmaps = true,
            Name::Long(_) => self.source.image_opts = true,
        }
        Ok(())
    }

    /// Refuses what does not go together.
    fn check(&self) -> Result<()> {
        let refused = [
            (
                self.source.image_opts && self.source.format.is_some(),
                "--image-opts and --format are mutually exclusive",
            ),
            (
                self.target_image_opts && self.output_format.is_some(),
                "--image-opts and --format are mutually exclusive",
            ),
            (self.target_is_zero && !self.no_create, "--target-is-zero requires use of -n flag"),
            (self.target_image_opts && !self.no_create, "--target-image-opts requires use of -n flag"),
            (self.resume && self.no_create, "--resume makes a new target; leave -n out"),
            (
                self.resume && self.salvage,
                "What cannot be read cannot be compared: leave --resume or --salvage out",
            ),
            (self.no_create && !self.given.is_empty(), "-o has no effect when skipping image creation"),
            (self.copy_range && self.compress, "Cannot enable copy offloading when -c is used"),
            (self.copy_range && self.sparse.is_some(), "Cannot enable copy offloading when -S is used"),
            (self.copy_range && self.salvage, "Cannot use copy offloading in salvaging mode"),
            (self.skip_broken_bitmaps && !self.bitmaps, "Use of --skip-broken-bitmaps requires --bitmaps"),
        ];
        match refused.iter().find(|(wrong, _)| *wrong) {
            Some((_, text)) => Err(anyhow!(*text)),
            None => Ok(()),
        }
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let mut arguments = Arguments::default();
    let operands = words.read(|name, value| arguments.set(name, value))?;
    arguments.check()?;
    let format_name = arguments.output_format.clone().unwrap_or_else(|| "raw".to_owned());
    let mut given = std::mem::take(&mut arguments.given);
    arguments.level = given.take("compression_level").map(|level| compression_level(&level)).transpose()?;
    if arguments.level.is_some() && !arguments.compress {
        bail!("compression_level has no effect without -c");
    }
    if given.wants_help() {
        print_help(format_for_making(&format_name)?, operands.len() > 1)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (target, sources) = match operands.split_last() {
        Some((target, sources)) if !sources.is_empty() => (target, sources),
        _ => bail!("Must specify image file name"),
    };
    if stream::is_pipe(sources) {
        stream::from_input(&arguments, sources, given, &format_name, target)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cache = arguments.source_cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let options = OpenOptions { read_only: true, cache, ..OpenOptions::default() };
    let open = |name| arguments.source.open(stream::file_of(name), options);
    let opened = sources.iter().map(open).collect::<Result<Vec<_>>>()?;
    let source = match (&arguments.snapshot, &opened[..]) {
        (None, [one]) => one.block(),
        (None, many) => Arc::new(libimage::filter::Concat::new(many.iter().map(Image::block).collect())?),
        (Some(name), [one]) => snapshot::open(one, name)?,
        (Some(_), _) => bail!("No support for concatenating multiple snapshot"),
    };
    if target == "-" {
        stream::to_output(&arguments, &*source, given, &format_name)?;
        return Ok(ExitCode::SUCCESS);
    }
    let progress = text::progress(arguments.progress && !arguments.quiet);
    let job = Job { arguments: &arguments, source: &*source, progress: &progress };
    if arguments.no_create {
        let existing = Source {
            format: (!arguments.target_image_opts).then_some(format_name),
            image_opts: arguments.target_image_opts,
            force_share: false,
        };
        job.write_existing(target, &existing, &opened)?;
    } else {
        job.write_new(target, given, &format_name, &opened)?;
    }
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

/// Copies a disk that other work has put together into a new image of `format`.
///
/// # Errors
/// As `convert`.
pub(crate) fn into_new(
    source: &dyn Block,
    target: &OsString,
    format: &str,
    given: Given,
    progress: bool,
) -> Result<()> {
    let progress = text::progress(progress);
    let job = Job { arguments: &Arguments::default(), source, progress: &progress };
    job.write_new(target, given, format, &[])?;
    progress.finish();
    Ok(())
}

fn workers(text: &str) -> Result<usize> {
    let what = "number of coroutines";
    let workers = number("", text).map_err(|_| anyhow!("Invalid {what} specified: '{text}'."))?;
    match usize::try_from(workers) {
        Ok(workers @ 1..=16) => Ok(workers),
        _ => bail!("Invalid {what} specified. Must be between 1 and 16."),
    }
}

fn sparse_size(text: &str) -> Result<u64> {
    let size = size_argument("buffer size for sparse output", text, 0, i64::MAX as u64)?;
    if size > MAX_SPARSE || !size.is_multiple_of(512) {
        bail!(
            "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to {MAX_SPARSE}. Select 0 to disable sparse detection (fully allocates output)."
        );
    }
    Ok(size.next_power_of_two() * u64::from(size > 0))
}

fn compression_level(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(level @ 1..=22) => Ok(level),
        _ => bail!("Invalid compression_level '{text}': 1 to 9 for zlib, 1 to 22 for zstd"),
    }
}
