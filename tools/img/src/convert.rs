//! `img convert`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use libimage::Block;
use libimage::format::Format;
use libimage::format::qcow2::Qcow2;
use libimage::job::copy::{self, Compressed, Plain};
use libimage::open::{Image, OpenOptions};
use libimage::storage::Replacement;
use libimage::units::parse_size;

use crate::arguments::{ConvertArguments, usage};
use crate::create::{Built, build};
use crate::options::{Options, Target, print_help};
use crate::snapshot;
use cli::progress::Percent;

/// The sizes that `-S` takes.
const MAX_SPARSE: u64 = 16 << 20;
const DEFAULT_SPARSE: u64 = 4096;

pub(crate) fn run(arguments: ConvertArguments) -> Result<ExitCode> {
    let format = Format::by_name(arguments.output_format.as_deref().unwrap_or("raw"))?;
    let Some(mut options) = Options::parse(&arguments.options)? else {
        print_help(format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some((target, sources)) = arguments.files.split_last() else {
        usage("Must specify image file name", Some("convert"));
        return Ok(ExitCode::FAILURE);
    };
    if sources.is_empty() {
        usage("Must specify image file name", Some("convert"));
        return Ok(ExitCode::FAILURE);
    }
    if arguments.compress && format != Format::Qcow2 {
        bail!("Compression not supported for this file format");
    }
    if arguments.no_create && !arguments.options.is_empty() {
        bail!("-o has no effect when skipping image creation");
    }
    let sparse = sparse_size(arguments.sparse_size.as_deref())?;
    let workers = workers(arguments.parallel.as_deref())?;

    let opened = sources.iter().map(|s| open_source(s, &arguments)).collect::<Result<Vec<_>>>()?;
    let source = match (&arguments.snapshot, &opened[..]) {
        (None, [one]) => one.block(),
        (None, many) => Arc::new(libimage::filter::Concat::new(many.iter().map(Image::block).collect())?),
        (Some(name), [one]) => snapshot::open(one, name)?,
        (Some(_), _) => bail!("No support for concatenating multiple snapshot"),
    };
    let quiet = arguments.quiet || !arguments.progress;
    let progress = Percent::new(quiet);
    let job = Job { source: &*source, compress: arguments.compress, sparse, workers, progress: &progress };
    if arguments.no_create {
        job.write_existing(target, format)?;
    } else {
        let size = options.take_size("size")?;
        let preallocated = options.get("preallocation").is_some_and(|p| p != "off");
        if arguments.compress && preallocated {
            bail!("Compression and preallocation not supported at the same time");
        }
        let layout = Target::new(format, options)?;
        if let Some(size) = size
            && size < source.size()
        {
            bail!(
                "The size of the target ({size} bytes) is smaller than the source ({} bytes)",
                source.size()
            );
        }
        job.write_new(target, layout, size.unwrap_or(source.size()))?;
    }
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

fn open_source(file: &Path, arguments: &ConvertArguments) -> Result<Image> {
    let format = arguments.source_format.as_deref().map(Format::by_name).transpose()?;
    let options =
        OpenOptions { format, read_only: true, force_share: arguments.force_share, ..OpenOptions::default() };
    Ok(Image::open(file, options)?)
}

/// One conversion, once everything was understood and opened.
struct Job<'a> {
    source: &'a dyn Block,
    compress: bool,
    sparse: u64,
    workers: usize,
    progress: &'a Percent,
}

impl Job<'_> {
    /// The target gets its name only when it is complete.
    fn write_new(&self, target: &Path, layout: Target, size: u64) -> Result<()> {
        let said = |what: &str| format!("{}: error while converting {what}", target.display());
        let name = if matches!(layout, Target::Raw { .. }) { "raw" } else { "qcow2" };
        if let Target::Qcow2(options) = &layout {
            let mut options = options.clone();
            options.size = size;
            options.validate().with_context(|| said(name))?;
        }
        let replacement = Replacement::new(target).with_context(|| said(name))?;
        let built = build(replacement.storage(), layout, size).with_context(|| said(name))?;
        let fresh = replacement.storage().limits().zero_init;
        match &built {
            Built::Qcow2(image) if self.compress => self.copy_compressed(image, fresh)?,
            Built::Qcow2(image) => self.copy_plain(&**image, image.cluster_size(), fresh)?,
            Built::Raw(image) => self.copy_plain(&**image, 1, fresh)?,
        }
        built.block().flush()?;
        drop(built);
        replacement.commit()?;
        Ok(())
    }

    fn write_existing(&self, target: &Path, format: Format) -> Result<()> {
        let image = Image::open(target, OpenOptions { format: Some(format), ..OpenOptions::default() })?;
        let block = image.block();
        if block.size() < self.source.size() {
            bail!("output file is smaller than input file");
        }
        match image.qcow2() {
            Some(qcow2) if self.compress => self.copy_compressed(qcow2, false)?,
            Some(qcow2) => self.copy_plain(&*block, qcow2.cluster_size(), false)?,
            None => self.copy_plain(&*block, 1, false)?,
        }
        let rest = self.source.size()..block.size();
        if !rest.is_empty() {
            block.write_zeroes(rest, libimage::Zero::MayUnmap)?;
        }
        block.flush()?;
        Ok(())
    }

    fn copy_plain(&self, block: &dyn Block, cluster: u64, starts_zeroed: bool) -> Result<()> {
        // A hole smaller than a cluster saves nothing in an image that allocates clusters.
        let unit = match self.sparse {
            0 => 0,
            sparse => sparse.max(cluster),
        };
        let plain = Plain { block, starts_zeroed, sparse: unit as usize };
        Ok(copy::copy(self.source, &plain, self.workers, self.progress)?)
    }

    fn copy_compressed(&self, image: &Qcow2, starts_zeroed: bool) -> Result<()> {
        let target = Compressed::new(image, starts_zeroed);
        Ok(copy::copy(self.source, &target, self.workers, self.progress)?)
    }
}

fn sparse_size(text: Option<&str>) -> Result<u64> {
    let Some(text) = text else { return Ok(DEFAULT_SPARSE) };
    let size =
        parse_size(text).map_err(|_| anyhow!("Invalid buffer size for sparse output specified: '{text}'"))?;
    if size > MAX_SPARSE || !size.is_multiple_of(512) {
        bail!(
            "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to {MAX_SPARSE}. Select 0 to disable sparse detection (fully allocates output)."
        );
    }
    Ok(size.next_power_of_two() * u64::from(size > 0))
}

fn workers(text: Option<&str>) -> Result<usize> {
    match text.map(str::parse::<usize>) {
        None => Ok(std::thread::available_parallelism().map_or(2, usize::from).min(16)),
        Some(Ok(n @ 1..=16)) => Ok(n),
        Some(_) => bail!("Invalid number of coroutines specified. Must be between 1 and 16."),
    }
}
