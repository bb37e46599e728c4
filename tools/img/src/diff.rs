//! `img diff` and `img patch`: what changed between two disks as a file, and a disk with it applied.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use libimage::Block;
use libimage::job::delta::{Changed, Patched, apply, make, verify};
use libimage::job::processors;
use libimage::open::{Image, OpenOptions};
use libimage::storage::{FileStorage, Replacement};
use libimage::units::human;
use serde_json::json;

use crate::arguments::{
    Command, FORMAT, HELP, OBJECT, OUTPUT, Output, PROGRESS, QUIET, Usage, Words, string,
};
use crate::convert;
use crate::image::Source;
use crate::options::Given;
use crate::{snapshot, text};
use cli::getopt::{Name, opt};

pub(crate) const DIFF: Command = Command {
    name: "diff",
    about: "Write what changed between two images into a delta file",
    operands: "OLD NEW DELTA | --bitmap NAME IMAGE DELTA",
    options: &[
        HELP,
        opt('f', "old-format", "FMT", "format of the old image; guessed if not given"),
        opt('F', "new-format", "FMT", "format of the new image; guessed if not given"),
        opt('l', "old-snapshot", "SNAPSHOT", "compare with this internal snapshot of the old image"),
        opt('L', "new-snapshot", "SNAPSHOT", "compare with this internal snapshot of the new image"),
        opt('b', "bitmap", "NAME", "take what this persistent bitmap says has changed in IMAGE"),
        PROGRESS,
        QUIET,
        opt('U', "force-share", "", "tolerate that others write to the images"),
        opt('\0', "image-opts", "", "the images are lists of options: driver=FMT,file.filename=NAME"),
        OUTPUT,
        OBJECT,
    ],
    run: diff,
};

pub(crate) const PATCH: Command = Command {
    name: "patch",
    about: "Apply a delta file to an image, or make a new image with it",
    operands: "IMAGE DELTA [NEW]",
    options: &[
        HELP,
        FORMAT,
        opt('O', "output-format", "FMT", "format of the new image (default: raw)"),
        opt('o', "options", "OPTS", "format options of the new image, k=v separated by commas"),
        PROGRESS,
        QUIET,
        opt('\0', "image-opts", "", "the image is a list of options: driver=FMT,file.filename=NAME"),
        OBJECT,
    ],
    run: patch,
};

fn diff(words: Words) -> Result<ExitCode> {
    let (mut old, mut new) = (Source::default(), Source::default());
    let (mut old_snapshot, mut new_snapshot, mut bitmap) = (None, None, None);
    let (mut progress, mut quiet, mut output) = (false, false, Output::Human);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => old.set_format(value)?,
            Name::Letter('F') => new.set_format(value)?,
            Name::Letter('l') => old_snapshot = Some(string(value)?),
            Name::Letter('L') => new_snapshot = Some(string(value)?),
            Name::Letter('b') => bitmap = Some(string(value)?),
            Name::Letter('p') => progress = true,
            Name::Letter('q') => quiet = true,
            Name::Letter('U') => (old.force_share, new.force_share) = (true, true),
            Name::Long("output") => output = Output::parse("diff", value)?,
            _ => (old.image_opts, new.image_opts) = (true, true),
        }
        Ok(())
    })?;
    let (before, after, ranges, delta) = match (&operands[..], &bitmap) {
        ([old_name, new_name, delta], None) => {
            let before = disk(&old, old_name, old_snapshot.as_deref())?;
            (before, disk(&new, new_name, new_snapshot.as_deref())?, None, delta)
        }
        ([image, delta], Some(bitmap)) => {
            let image = old.open(image, OpenOptions { read_only: true, ..OpenOptions::default() })?;
            (image.block(), image.block(), Some(dirty_ranges(&image, bitmap)?), delta)
        }
        (_, None) => {
            return Err(Usage::error(
                "diff",
                "Expecting the old image, the new one and a name for the delta",
            ));
        }
        (_, Some(_)) => return Err(Usage::error("diff", "Expecting an image and a name for the delta")),
    };
    let to_stdout = delta == "-";
    let bar = text::progress(progress && !quiet && !to_stdout);
    let write = |out: &mut dyn Write, name: &str| {
        make(&*before, &*after, ranges.as_deref(), out, name, processors(), &bar)
    };
    let changed = if to_stdout {
        write(&mut BufWriter::new(std::io::stdout().lock()), "standard output")?
    } else {
        // It gets its name when it is whole.
        let path = Path::new(delta);
        let replacement = Replacement::new(path)?;
        let out = Appending { storage: replacement.storage(), at: 0 };
        let changed = write(&mut BufWriter::with_capacity(1 << 20, out), &delta.to_string_lossy())?;
        replacement.storage().sync()?;
        replacement.commit()?;
        changed
    };
    bar.finish();
    if quiet || to_stdout {
        return Ok(ExitCode::SUCCESS);
    }
    let Changed { bytes, delta: length } = changed;
    cli::print(&match output {
        Output::Json => text::json(&json!({ "changed-bytes": bytes, "delta-size": length })),
        Output::Human if bytes == 0 => "The disks are identical.\n".to_owned(),
        Output::Human => format!("{} changed; the delta has {}\n", human(bytes), human(length)),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a persistent bitmap says was written since it was made.
fn dirty_ranges(image: &Image, name: &str) -> Result<Vec<Range<u64>>> {
    let Some(qcow2) = image.qcow2() else { bail!("Only qcow2 images have bitmaps") };
    let bits = qcow2.bitmap(name)?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(range) = bits.next_dirty(at) {
        at = range.end.max(at + 1);
        ranges.push(range);
    }
    Ok(ranges)
}

/// Writes one thing after the other into a new file.
struct Appending {
    storage: Arc<FileStorage>,
    at: u64,
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.storage.write_at(bytes, self.at).map_err(std::io::Error::other)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn disk(source: &Source, name: &OsString, wanted: Option<&str>) -> Result<Arc<dyn Block>> {
    let image = source.open(name, OpenOptions { read_only: true, ..OpenOptions::default() })?;
    match wanted {
        Some(wanted) => snapshot::open(&image, wanted),
        None => Ok(image.block()),
    }
}

fn patch(words: Words) -> Result<ExitCode> {
    let (mut source, mut given, mut format) = (Source::default(), Given::default(), None);
    let (mut progress, mut quiet) = (false, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('O') => format = Some(string(value)?),
            Name::Letter('o') => given.add(string(value)?)?,
            Name::Letter('p') => progress = true,
            Name::Letter('q') => quiet = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let (image, delta, target) = match &operands[..] {
        [image, delta] => (image, delta, None),
        [image, delta, target] => (image, delta, Some(target)),
        _ => {
            return Err(Usage::error(
                "patch",
                "Expecting an image, a delta and perhaps a name for the new image",
            ));
        }
    };
    if target.is_none() && (format.is_some() || !given.is_empty()) {
        bail!("-O and -o are for a new image: name it after the delta");
    }
    let name = delta.to_string_lossy();
    let file = || File::open(delta).with_context(|| format!("Could not open '{name}'"));
    let read = || Ok::<_, anyhow::Error>(std::io::BufReader::new(file()?));
    let progress = progress && !quiet;
    let opened = source.open(image, OpenOptions { read_only: target.is_some(), ..OpenOptions::default() })?;
    let block = opened.block();
    // All of it is looked at before anything is written.
    let bar = text::progress(progress);
    verify(read()?, &name, &*block, &bar)?;
    bar.finish();
    match target {
        None => {
            let bar = text::progress(progress);
            apply(read()?, &name, &*block, &bar)?;
            bar.finish();
        }
        Some(target) => {
            let patched = Patched::new(block, Path::new(delta))?;
            convert::into_new(
                &patched,
                target,
                &format.unwrap_or_else(|| "raw".to_owned()),
                given,
                progress,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
