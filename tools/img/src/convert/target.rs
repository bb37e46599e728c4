//! The target of a conversion: made anew or written into, and everything that options ask of it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cli::progress::Percent;
use libimage::format::Format;
use libimage::format::qcow2::Qcow2;
use libimage::job::copy::{self, Compressed, Manner, Offload, Plain, Resume};
use libimage::job::processors;
use libimage::open::{self, CacheMode, Image, OpenOptions};
use libimage::storage::{FileStorage, Replacement};
use libimage::{Block, HostRange};
use serde_json::Value;

use super::resume::{self, Journal};
use super::{Arguments, DEFAULT_SPARSE};
use crate::create::{Built, build, format_for_making, path_for_making};
use crate::destination::Destination;
use crate::image::{self, Source, driver, target_cache};
use crate::options::{Given, Options};
use crate::text;

/// One conversion, once the sources are open.
pub(super) struct Job<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) source: &'a dyn Block,
    pub(super) progress: &'a Percent,
}

impl Job<'_> {
    /// The target gets its name only when it is complete.
    pub(super) fn write_new(
        &self,
        target: &OsString,
        given: Given,
        format: &str,
        sources: &[Image],
    ) -> Result<()> {
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
        let journal = match self.arguments.resume {
            true => Some(self.journal(&path, sources, format, &options)?),
            false => None,
        };
        let (destination, file, old) = match &journal {
            Some(journal) => {
                let replacement = Replacement::resumable(&path).with_context(said)?;
                let begun = journal.begin(&replacement)?;
                let file = replacement.storage();
                let old = if begun { resume::reopen(Arc::clone(&file), format, size)? } else { None };
                (Destination::File(Box::new(replacement)), Some(file), old)
            }
            None => {
                let destination = Destination::new(target).with_context(said)?;
                let file = destination.unseen_file();
                (destination, file, None)
            }
        };
        let durable = !cache.is_unsafe();
        if let (Some(file), true) = (&file, durable) {
            file.write_out_early();
        }
        let begun = old.is_some();
        let built = match old {
            Some(built) => built,
            None => {
                let layout = options.target().with_context(said)?;
                build(destination.storage(), layout, size).with_context(said)?
            }
        };
        let backing = open_backing(&path, &options)
            .map_err(|e| e.context(format!("Could not open '{}'", target.display())))?;
        if let (Built::Qcow2(image), Some(backing)) = (&built, &backing) {
            image.set_backing(Some(backing.block()));
        }
        let zeroed = destination.storage().limits().zero_init && built.block().limits().zero_init;
        let fresh = zeroed && backing.is_none() && !begun;
        let owns_space = options.get("preallocation").is_some_and(|mode| mode == "falloc" || mode == "full");
        let block = built.block();
        let resume = journal.is_some().then_some(Resume { target: &*block, begun });
        let copier = Copier { job: self, storage: file.as_deref().filter(|_| !owns_space), fresh, resume };
        match &built {
            Built::Qcow2(image) => {
                self.check_room_for_bitmaps(image)?;
                copier.copy_qcow2(image, backing.is_some())?;
                self.copy_bitmaps(image, sources)?;
            }
            Built::Raw(image) => copier.copy_plain(&**image, 1, false)?,
            // What was never written reads as noise.
            Built::Luks(image) => copier.copy_plain(&**image, 1, false)?,
        }
        block.flush()?;
        drop((block, built));
        destination.commit(durable)?;
        if let Some(journal) = journal {
            journal.remove();
        }
        Ok(())
    }

    /// What a conversion that can be interrupted writes down about itself.
    fn journal(&self, path: &Path, sources: &[Image], format: Format, options: &Options) -> Result<Journal> {
        let arguments = self.arguments;
        let foreign = ["data_file", "encrypt.format", "encryption"];
        if format == Format::Luks || foreign.iter().any(|name| options.get(name).is_some()) {
            bail!("--resume cannot be used with encryption or a data file");
        }
        let how = [
            ("format", Value::from(format.name())),
            ("options", options.describe(self.source.size()).into()),
            ("snapshot", arguments.snapshot.clone().into()),
            ("backing", arguments.backing.clone().into()),
            ("compress", arguments.compress.into()),
            ("compression-level", arguments.level.into()),
            ("sparse", arguments.sparse.into()),
        ];
        Journal::new(path, sources, &how)
    }

    pub(super) fn write_existing(
        &self,
        target: &OsString,
        existing: &Source,
        sources: &[Image],
    ) -> Result<()> {
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
        let copier = Copier { job: self, storage, fresh, resume: None };
        match image.qcow2() {
            Some(qcow2) => {
                self.check_room_for_bitmaps(qcow2)?;
                match image.has_rules() && !self.arguments.compress {
                    true => copier.copy_plain(&*block, qcow2.cluster_size(), false)?,
                    false => copier.copy_qcow2(qcow2, false)?,
                }
                self.copy_bitmaps(qcow2, sources)?;
            }
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
        if !self.arguments.skip_broken_bitmaps
            && let Some(broken) = qcow2.bitmaps()?.iter().rev().find(|bitmap| bitmap.in_use)
        {
            bail!(
                "Cannot copy inconsistent bitmap '{}'\nTry --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it",
                broken.name
            );
        }
        Ok(())
    }

    /// Gives the finished image the bitmaps of its source, if that is asked for.
    fn copy_bitmaps(&self, image: &Qcow2, sources: &[Image]) -> Result<()> {
        let Some(source) = sources.first().and_then(Image::qcow2).filter(|_| self.arguments.bitmaps) else {
            return Ok(());
        };
        let bitmaps = source.bitmaps()?;
        for broken in bitmaps.iter().rev().filter(|bitmap| bitmap.in_use) {
            text::warning(&format!("Skipping inconsistent bitmap '{}'", broken.name));
        }
        for bitmap in bitmaps.iter().filter(|bitmap| !bitmap.in_use) {
            let name = &bitmap.name;
            image
                .add_bitmap(name, Some(bitmap.granularity), false)
                .with_context(|| format!("Failed to create bitmap {name}"))?;
            let filled = source.bitmap(name).and_then(|bits| image.merge_bitmap(name, &bits));
            filled.with_context(|| format!("Failed to populate bitmap {name}"))?;
            if bitmap.auto {
                image.enable_bitmap(name, true)?;
            }
        }
        Ok(())
    }

    /// Old images have no place for bitmaps.
    fn check_room_for_bitmaps(&self, image: &Qcow2) -> Result<()> {
        if self.arguments.bitmaps && image.info()?.version < 3 {
            bail!("Format driver 'qcow2' does not support bitmaps");
        }
        Ok(())
    }

    /// The mode of the target; `usual` if none is given.
    fn output_cache(&self, usual: CacheMode) -> Result<CacheMode> {
        self.arguments.output_cache.as_ref().map_or(Ok(usual), target_cache)
    }
}

/// The copying itself, once the target is there.
struct Copier<'a> {
    job: &'a Job<'a>,
    /// The target's file, if it may share bytes with the source's.
    storage: Option<&'a FileStorage>,
    /// The target reads as zeroes where nothing was written yet.
    fresh: bool,
    /// It can be continued.
    resume: Option<Resume<'a>>,
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

    fn manner<'b>(&'b self, offload: Option<&'b (dyn Fn(&HostRange) -> Offload + Sync)>) -> Manner<'b> {
        let arguments = self.job.arguments;
        Manner {
            bytes_per_second: arguments.rate.filter(|&rate| rate > 0),
            salvage: if arguments.salvage { Some(&warn_unreadable) } else { None },
            resume: self.resume,
            offload,
            ..Manner::plain(arguments.workers.unwrap_or_else(processors))
        }
    }
}

fn warn_unreadable(offset: u64, error: libimage::Error) {
    text::warning(&format!("error while reading offset {offset}: {}", text::system(&error)));
}

/// Opens the backing file of a new image, which supplies what is not copied.
fn open_backing(image: &std::path::Path, options: &Options) -> Result<Option<Image>> {
    let Some(name) = options.get("backing_file") else { return Ok(None) };
    let format = options.get("backing_fmt").map(driver).transpose().map_err(|why| anyhow!(why))?;
    let spec = open::resolve(image, name)?;
    let options = OpenOptions { format, read_only: true, ..OpenOptions::default() };
    Ok(Some(image::open(spec, options).context("Could not open backing file")?))
}
