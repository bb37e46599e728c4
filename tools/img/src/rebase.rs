//! `img rebase`: another backing file for an image.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cli::progress::Percent;
use libimage::format::names;
use libimage::job::{processors, rebase};
use libimage::open::{CacheMode, Image, OpenOptions};
use libimage::spec::Spec;
use libimage::{Block, Error};

use crate::arguments::{Command, FORMAT, HELP, IMAGE_OPTS, OBJECT, PROGRESS, QUIET, Usage, Words, string};
use crate::image::{self, Source, source_cache, target_cache};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "rebase",
    about: "Change backing file of the image",
    operands: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        IMAGE_OPTS,
        FORMAT,
        opt('t', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('b', "backing", "FILENAME", "the new backing file; empty for none"),
        opt('F', "backing-format", "FMT", "format of the new backing file"),
        opt('T', "backing-cache", "MODE", "cache mode of the backing files (default writeback)"),
        opt('u', "backing-unsafe", "", "change the name only: what the image shows may change"),
        opt('c', "compress", "", "compress what is copied (qcow2)"),
        opt('U', "force-share", "", "tolerate that others write to the backing files"),
        PROGRESS,
    ],
    run,
};

/// The longest name that a header can hold, in bytes.
const MAX_NAME: usize = 1023;

/// A `rebase` command line.
#[derive(Default)]
struct Arguments {
    backing: Option<String>,
    format: Option<String>,
    cache: Option<OsString>,
    source_cache: Option<OsString>,
    only_name: bool,
    compress: bool,
    force_share: bool,
    quiet: bool,
    progress: bool,
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut arguments) = (Source::default(), Arguments::default());
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('q') => arguments.quiet = true,
            Name::Letter('t') => arguments.cache = Some(value.clone()),
            Name::Letter('T') => arguments.source_cache = Some(value.clone()),
            Name::Letter('b') => arguments.backing = Some(string(value)?),
            Name::Letter('F') => arguments.format = Some(string(value)?),
            Name::Letter('u') => arguments.only_name = true,
            Name::Letter('c') => arguments.compress = true,
            Name::Letter('U') => arguments.force_share = true,
            Name::Letter('p') => arguments.progress = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("rebase", "Expecting one image file name")) };
    if !arguments.only_name && arguments.backing.is_none() {
        return Err(Usage::error("rebase", "Must specify backing file (-b) or use unsafe mode (-u)"));
    }
    let cache = arguments.cache.as_ref().map(target_cache).transpose()?.unwrap_or_default();
    let below_cache = arguments.source_cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let options = OpenOptions { cache, no_backing: arguments.only_name, ..OpenOptions::default() };
    let image = source.open(file, options)?;
    if let Some(format) = &arguments.format
        && !names::is_driver(format)
    {
        bail!("Invalid format name: '{format}'");
    }
    arguments.apply(&image, below_cache)?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn apply(&self, image: &Image, below_cache: CacheMode) -> Result<()> {
        let name = self.backing.as_deref().filter(|name| !name.is_empty());
        let shown = name.unwrap_or_default();
        let could_not = |why: &str| anyhow!("Could not change the backing file to '{shown}': {why}");
        let Some(qcow2) = image.qcow2() else {
            if self.compress && !self.only_name {
                bail!("Compression not supported for this file format");
            }
            return Err(could_not("Operation not supported"));
        };
        let progress = Percent::new(self.quiet || !self.progress);
        if !self.only_name {
            // The new file is opened before anything else is said, and known before anything is copied.
            let depth = name.and_then(|name| in_chain(image, name));
            let opened = match (name, depth) {
                (Some(name), None) => Some(self.open_new(image, name, below_cache)?),
                _ => None,
            };
            if name.is_some() && self.format.is_none() {
                return Err(could_not("backing format must be specified"));
            }
            let known = depth.and_then(|depth| image.below(depth));
            let new = known.or(opened.as_ref()).map(Image::block);
            let old = image.backing().map(Image::block);
            let job = rebase::Rebase {
                top: qcow2,
                old: old.as_deref(),
                new: new.as_deref(),
                same_below: depth,
                compress: self.compress,
            };
            rebase::rebase(&job, processors(), &progress)?;
        }
        if name.is_some() && self.format.is_none() {
            return Err(could_not("backing format must be specified"));
        }
        let format = self.format.as_deref();
        if shown.len() > MAX_NAME {
            return Err(could_not("Invalid argument"));
        }
        qcow2.set_backing_name(name, format).map_err(|error| match error {
            Error::Invalid(_) | Error::Unsupported { .. } => could_not("No space left in the file header"),
            other => could_not(&cli::error::full_chain(&other.into())),
        })?;
        qcow2.flush()?;
        progress.finish();
        Ok(())
    }

    /// Opens a backing file that the image does not have yet.
    fn open_new(&self, image: &Image, name: &str, cache: CacheMode) -> Result<Image> {
        let options =
            OpenOptions { read_only: true, force_share: self.force_share, cache, ..OpenOptions::default() };
        let opened = image.full_name(name).and_then(|full| Spec::name(&full)).and_then(|spec| {
            let spec = match &self.format {
                Some(format) => spec.with_driver(format),
                None => spec,
            };
            image::open(spec, options)
        });
        opened.map_err(|error| {
            anyhow!("Could not open new backing file '{name}': {}", cli::error::full_chain(&error.into()))
        })
    }
}

/// How far down the image's chain the new backing file is, if it is there.
fn in_chain(image: &Image, name: &str) -> Option<u32> {
    let full = image.full_name(name).ok()?;
    // The same file by whatever name.
    let path = std::fs::canonicalize(&full).ok();
    image.find_backing(&path.map_or(full.to_string_lossy().into_owned(), |path| path.display().to_string()))
}
