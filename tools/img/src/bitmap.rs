//! `img bitmap`.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use libimage::format::qcow2::Qcow2;
use libimage::open::{Image, OpenOptions};

use crate::arguments::{Command, FORMAT, HELP, IMAGE_OPTS, OBJECT, Words, string};
use crate::image::Source;
use crate::options::size_argument;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "bitmap",
    about: "Change the persistent bitmaps of an image",
    operands: "FILENAME BITMAP",
    options: &[
        HELP,
        FORMAT,
        IMAGE_OPTS,
        opt('\0', "add", "", "make the bitmap; it records writes from now on"),
        opt('g', "granularity", "SIZE", "bytes of the disk for each bit, with --add"),
        opt('\0', "remove", "", "remove the bitmap"),
        opt('\0', "clear", "", "forget what the bitmap has recorded"),
        opt('\0', "enable", "", "let the bitmap record writes"),
        opt('\0', "disable", "", "let the bitmap record no more writes"),
        opt('\0', "merge", "SOURCE", "add what the bitmap SOURCE has recorded"),
        opt('b', "source-file", "FILENAME", "the image that the bitmap of --merge is in"),
        opt('F', "source-format", "FMT", "format of that image"),
        OBJECT,
    ],
    run,
};

/// What is done to the bitmap; in the order of the command line.
enum Action {
    Add,
    Remove,
    Clear,
    Enable,
    Disable,
    Merge(String),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Action::Add => "add",
            Action::Remove => "remove",
            Action::Clear => "clear",
            Action::Enable => "enable",
            Action::Disable => "disable",
            Action::Merge(_) => "merge",
        }
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut actions, mut granularity) = (Source::default(), Vec::new(), None);
    let (mut other_file, mut other) = (None, Source::default());
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('g') => {
                let size = size_argument("granularity", &value.to_string_lossy(), 0, i64::MAX as u64)?;
                granularity = Some(size);
            }
            Name::Letter('b') => other_file = Some(value.clone()),
            Name::Letter('F') => other.set_format(value)?,
            Name::Long("add") => actions.push(Action::Add),
            Name::Long("remove") => actions.push(Action::Remove),
            Name::Long("clear") => actions.push(Action::Clear),
            Name::Long("enable") => actions.push(Action::Enable),
            Name::Long("disable") => actions.push(Action::Disable),
            Name::Long("merge") => actions.push(Action::Merge(string(value)?)),
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    if actions.is_empty() {
        bail!("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    }
    if granularity.is_some() && !actions.iter().any(|action| matches!(action, Action::Add)) {
        bail!("granularity only supported with --add");
    }
    if other.format.is_some() && other_file.is_none() {
        bail!("-F only supported with -b");
    }
    if other_file.is_some() && !actions.iter().any(|action| matches!(action, Action::Merge(_))) {
        bail!("Merge bitmap source file only supported with --merge");
    }
    let [file, name] = &operands[..] else { bail!("Expecting filename and bitmap name") };
    let name = string(name)?;
    let image = source.open(file, OpenOptions { no_backing: true, ..OpenOptions::default() })?;
    let options = OpenOptions { read_only: true, no_backing: true, ..OpenOptions::default() };
    let other = other_file.map(|file| other.open(&file, options)).transpose()?;
    for action in &actions {
        apply(action, &image, &name, granularity, other.as_ref())
            .with_context(|| format!("Operation {} on bitmap {name} failed", action.name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn apply(
    action: &Action,
    image: &Image,
    name: &str,
    granularity: Option<u64>,
    other: Option<&Image>,
) -> Result<()> {
    let missing = |name: &str| anyhow!("Dirty bitmap '{name}' not found");
    let qcow2 = match (image.qcow2(), action) {
        (Some(qcow2), _) => qcow2,
        (None, Action::Add) => {
            bail!("Can't store persistent bitmaps to {}: Operation not supported", image.name())
        }
        (None, _) => return Err(missing(name)),
    };
    match action {
        // None at all is as good as 0.
        Action::Add => qcow2.add_bitmap(name, granularity.filter(|&size| size != 0), true)?,
        Action::Remove => qcow2.remove_bitmap(name)?,
        Action::Clear => qcow2.clear_bitmap(name)?,
        Action::Enable => qcow2.enable_bitmap(name, true)?,
        Action::Disable => qcow2.enable_bitmap(name, false)?,
        Action::Merge(from) => {
            check_exists(qcow2, name)?;
            let bits = match other {
                None => qcow2.bitmap(from)?,
                Some(other) => other.qcow2().ok_or_else(|| missing(from))?.bitmap(from)?,
            };
            qcow2.merge_bitmap(name, &bits)?;
        }
    }
    Ok(())
}

/// The bitmap that is changed is looked for before the one that it is changed by.
fn check_exists(qcow2: &Qcow2, name: &str) -> Result<()> {
    let bitmaps = qcow2.bitmaps()?;
    let bitmap = bitmaps.iter().find(|bitmap| bitmap.name == name);
    match bitmap {
        None => bail!("Dirty bitmap '{name}' not found"),
        Some(bitmap) if bitmap.in_use => bail!(
            "Bitmap '{name}' is inconsistent and cannot be used\nTry block-dirty-bitmap-remove to delete this bitmap from disk"
        ),
        Some(_) => Ok(()),
    }
}
