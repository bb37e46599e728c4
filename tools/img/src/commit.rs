//! `img commit`: what an image holds goes into its backing file.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use cli::progress::Percent;
use libimage::job::copy::Manner;
use libimage::job::{commit, processors};
use libimage::open::{Image, OpenOptions};

use crate::arguments::{Command, FORMAT, HELP, IMAGE_OPTS, OBJECT, PROGRESS, QUIET, Usage, Words, string};
use crate::image::{Source, target_cache};
use crate::options::size_argument;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "commit",
    about: "Commit image to its backing file",
    operands: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        IMAGE_OPTS,
        FORMAT,
        opt('t', "cache", "MODE", "cache mode of the images (default writeback)"),
        opt('d', "drop", "", "leave the image as it is: it will not be needed any more"),
        opt(
            'b',
            "base",
            "FILENAME",
            "commit into this one of the backing files; those above are invalid afterwards (implies -d)",
        ),
        opt('r', "rate", "BYTES", "write no more than this in a second"),
        PROGRESS,
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let mut source = Source::default();
    let (mut quiet, mut drop, mut progress) = (false, false, false);
    let (mut base, mut rate, mut cache) = (None, None, None);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('q') => quiet = true,
            Name::Letter('t') => cache = Some(value.clone()),
            Name::Letter('d') => drop = true,
            Name::Letter('b') => base = Some(string(value)?),
            Name::Letter('r') => {
                rate = Some(size_argument("rate limit", &value.to_string_lossy(), 0, i64::MAX as u64)?);
            }
            Name::Letter('p') => progress = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("commit", "Expecting one image file name")) };
    let cache = cache.as_ref().map(target_cache).transpose()?.unwrap_or_default();
    let drop = drop || base.is_some();
    let depth = match &base {
        None => 1,
        Some(name) => find(&source, file, name)?,
    };
    let image = source.open(file, OpenOptions { cache, writable_below: depth, ..OpenOptions::default() })?;
    let Some(below) = image.below(depth) else { bail!("Image does not have a backing file") };
    let progress = Percent::new(quiet || !progress);
    let manner = Manner { bytes_per_second: rate.filter(|&rate| rate > 0), ..Manner::plain(processors()) };
    let storage = below.storage().map(|storage| &**storage);
    commit::commit(image.block(), &*below.block(), storage, depth, &manner, &progress)?;
    if !drop && let Some(qcow2) = image.qcow2() {
        qcow2.make_empty().with_context(|| format!("Could not empty '{}'", file.display()))?;
    }
    progress.finish();
    if !quiet {
        cli::print("Image committed.\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How far down the chain the image called `base` is.
fn find(source: &Source, file: &OsString, base: &str) -> Result<u32> {
    let image: Image = source.open(file, OpenOptions { read_only: true, ..OpenOptions::default() })?;
    image
        .find_backing(base)
        .ok_or_else(|| anyhow!("Did not find '{base}' in the backing chain of '{}'", file.display()))
}
