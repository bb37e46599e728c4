//! `img convert`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cli::progress::Percent;
use libimage::format::Format;
use libimage::format::qcow2::Qcow2;
use libimage::job::copy::{self, Compressed, Manner, Offload, Plain};
use libimage::job::processors;
use libimage::open::{self, CacheMode, Image, OpenOptions};
use libimage::storage::{FileStorage, Replacement};
use libimage::{Block, HostRange};

use crate::arguments::{Command, HELP, OBJECT, Words, string};
use crate::create::{Built, build, format_for_making, path_for_making};
use crate::getopt::{Name, opt};
use crate::image::{self, Source, driver, source_cache, target_cache};
use crate::options::{Given, Options, number, print_help, size_argument};
use crate::{snapshot, text};

pub(crate) const COMMAND: Command = Command {
    name: "convert",
    about: "Copy images into another format",
    operands: "SOURCE [SOURCE...] TARGET",
    options: &[
        HELP,
        opt('q', "quiet", "", "print nothing but errors"),
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
        opt('\0', "bitmaps", "", ""),
        opt('\0', "skip-broken-bitmaps", "", ""),
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
    let cache = arguments.source_cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let options = OpenOptions { read_only: true, cache, ..OpenOptions::default() };
    let opened = sources.iter().map(|s| arguments.source.open(s, options)).collect::<Result<Vec<_>>>()?;
    let source = match (&arguments.snapshot, &opened[..]) {
        (None, [one]) => one.block(),
        (None, many) => Arc::new(libimage::filter::Concat::new(many.iter().map(Image::block).collect())?),
        (Some(name), [one]) => snapshot::open(one, name)?,
        (Some(_), _) => bail!("No support for concatenating multiple snapshot"),
    };
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

/// One conversion, once the sources are open.
struct Job<'a> {
    arguments: &'a Arguments,
    source: &'a dyn Block,
    progress: &'a Percent,
}

impl Job<'_> {
    /// The target gets its name only when it is complete.
    fn write_new(&self, target: &OsString, given: Given, format: &str, sources: &[Image]) -> Result<()> {
        let format = format_for_making(format)?;
        let path = path_for_making(target)?;
        let mut options = given.options(format)?;
        self.set_backing(&mut options, sources.len())?;
        self.check_ability(format)?;
        if self.arguments.compress
            && (options.is_on("encryption")? || options.get("encrypt.format").is_some())
        {
            bail!("Compression and encryption not supported at the same time");
        }
        if self.arguments.compress && options.get("preallocation").is_some_and(|mode| mode != "off") {
            bail!("Compression and preallocation not supported at the same time");
        }
        self.check_bitmaps(format, sources)?;
        // Unlike in QEMU, whose default is unsafe: what has its name is whole, also after a power cut.
        let cache = self.output_cache(CacheMode::default())?;
        // The size is always that of the source.
        let size = self.source.size();
        let said = || format!("{}: error while converting {}", target.display(), format.name());
        let replacement = Replacement::new(&path).with_context(said)?;
        // Until it has its name nothing depends on the order of writes.
        let storage = replacement.storage();
        storage.leave_flushes_to_kernel();
        let durable = !cache.is_unsafe();
        if durable {
            storage.write_out_early();
        }
        let layout = options.target().with_context(said)?;
        let built = build(Arc::clone(&storage), layout, size).with_context(said)?;
        let backing = open_backing(&path, &options)
            .map_err(|e| e.context(format!("Could not open '{}'", target.display())))?;
        if let (Built::Qcow2(image), Some(backing)) = (&built, &backing) {
            image.set_backing(Some(backing.block()));
        }
        let zeroed = storage.limits().zero_init && built.block().limits().zero_init;
        let fresh = zeroed && backing.is_none();
        let owns_space = options.get("preallocation").is_some_and(|mode| mode == "falloc" || mode == "full");
        let copier = Copier { job: self, storage: (!owns_space).then_some(&*storage), fresh };
        match &built {
            Built::Qcow2(image) => copier.copy_qcow2(image, backing.is_some())?,
            Built::Raw(image) => copier.copy_plain(&**image, 1, false)?,
            // What was never written reads as noise.
            Built::Luks(image) => copier.copy_plain(&**image, 1, false)?,
        }
        built.block().flush()?;
        drop(built);
        if durable {
            storage.sync()?;
        }
        replacement.commit()?;
        Ok(())
    }

    fn write_existing(&self, target: &OsString, existing: &Source, sources: &[Image]) -> Result<()> {
        let cache = self.output_cache(CacheMode::Unsafe)?;
        let image = existing.open(target, OpenOptions { cache, ..OpenOptions::default() })?;
        self.check_ability(image.format())?;
        self.check_bitmaps(image.format(), sources)?;
        let block = image.block();
        if block.size() < self.source.size() {
            bail!("output file is smaller than input file");
        }
        let storage = image.storage().map(|storage| &**storage);
        let fresh = self.arguments.target_is_zero;
        let copier = Copier { job: self, storage, fresh };
        match image.qcow2() {
            Some(qcow2) => copier.copy_qcow2(qcow2, false)?,
            None => copier.copy_plain(&*block, 1, false)?,
        }
        block.flush()?;
        Ok(())
    }

    /// Takes `-B` and `-F` into the options.
    fn set_backing(&self, options: &mut Options, sources: usize) -> Result<()> {
        let format = if options.lacks("backing_file") { "raw" } else { "" };
        for (name, value, what) in [
            ("backing_file", &self.arguments.backing, "Backing file"),
            ("backing_fmt", &self.arguments.backing_format, "Backing file format"),
        ] {
            let Some(value) = value else { continue };
            if options.lacks(name) {
                bail!("{what} not supported for file format '{format}'");
            }
            options.set(name, value)?;
        }
        if options.get("backing_file").is_none() {
            return Ok(());
        }
        if sources > 1 {
            bail!(
                "Having a backing file for the target makes no sense when concatenating multiple input images"
            );
        }
        if options.get("backing_fmt").is_none() {
            bail!("Use of backing file requires explicit backing format");
        }
        Ok(())
    }

    fn check_ability(&self, format: Format) -> Result<()> {
        if self.arguments.compress && format != Format::Qcow2 {
            bail!("Compression not supported for this file format");
        }
        Ok(())
    }

    fn check_bitmaps(&self, format: Format, sources: &[Image]) -> Result<()> {
        if !self.arguments.bitmaps {
            return Ok(());
        }
        let [source] = sources else { bail!("Copying bitmaps only possible with single source") };
        let Some(qcow2) = source.qcow2() else { bail!("Source lacks bitmap support") };
        if format != Format::Qcow2 {
            let format = format.name();
            bail!("Format driver '{format}' does not support bitmaps");
        }
        if !qcow2.info()?.bitmaps.is_empty() {
            bail!("Copying bitmaps is not supported; leave --bitmaps out");
        }
        Ok(())
    }

    /// The mode of the target; `usual` if none is given.
    fn output_cache(&self, usual: CacheMode) -> Result<CacheMode> {
        self.arguments.output_cache.as_ref().map_or(Ok(usual), target_cache)
    }
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

/// The copying itself, once the target is there.
struct Copier<'a> {
    job: &'a Job<'a>,
    /// The target's file, if it may share bytes with the source's.
    storage: Option<&'a FileStorage>,
    /// The target reads as zeroes where nothing was written yet.
    fresh: bool,
}

impl Copier<'_> {
    fn copy_qcow2(&self, image: &Qcow2, over_backing: bool) -> Result<()> {
        let arguments = self.job.arguments;
        if !arguments.compress {
            return self.copy_plain(image, image.cluster_size(), over_backing);
        }
        let target = Compressed::new(image, arguments.level, self.fresh, over_backing);
        Ok(copy::copy(self.job.source, &target, &self.manner(None), self.job.progress)?)
    }

    fn copy_plain(&self, block: &dyn Block, cluster: u64, over_backing: bool) -> Result<()> {
        // A hole smaller than a cluster saves nothing in an image that allocates clusters.
        let sparse = match self.job.arguments.sparse.unwrap_or(DEFAULT_SPARSE) {
            0 => 0,
            sparse => sparse.max(cluster),
        };
        let target = Plain { block, starts_zeroed: self.fresh, sparse: sparse as usize, over_backing };
        let offload = |host: &HostRange| self.offload(host);
        // Whoever names the smallest hole wants them to be looked for.
        let kernel = self.job.arguments.sparse.is_none() && !self.job.arguments.salvage;
        let manner = self.manner(if kernel { Some(&offload) } else { None });
        Ok(copy::copy(self.job.source, &target, &manner, self.job.progress)?)
    }

    /// What the kernel may do by itself: share blocks where that is possible, and with -C copy them otherwise.
    fn offload(&self, host: &HostRange) -> Offload {
        match self.storage {
            Some(storage) if storage.can_share(host) => Offload::Share,
            _ if self.job.arguments.copy_range => Offload::Copy,
            _ => Offload::No,
        }
    }

    fn manner<'b>(&self, offload: Option<&'b (dyn Fn(&HostRange) -> Offload + Sync)>) -> Manner<'b> {
        let arguments = self.job.arguments;
        Manner {
            workers: arguments.workers.unwrap_or_else(processors),
            bytes_per_second: arguments.rate.filter(|&rate| rate > 0),
            salvage: if arguments.salvage { Some(&warn_unreadable) } else { None },
            offload,
        }
    }
}

fn warn_unreadable(offset: u64, error: libimage::Error) {
    text::warning(&format!("error while reading offset {offset}: {}", text::system(&error)));
}

fn compression_level(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(level @ 1..=22) => Ok(level),
        _ => bail!("Invalid compression_level '{text}': 1 to 9 for zlib, 1 to 22 for zstd"),
    }
}

/// Opens the backing file of a new image, which supplies what is not copied.
fn open_backing(image: &std::path::Path, options: &Options) -> Result<Option<Image>> {
    let Some(name) = options.get("backing_file") else { return Ok(None) };
    let format = options.get("backing_fmt").map(driver).transpose().map_err(|why| anyhow!(why))?;
    let spec = open::resolve(image, name)?;
    let options = OpenOptions { format, read_only: true, ..OpenOptions::default() };
    Ok(Some(image::open(spec, options).context("Could not open backing file")?))
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
