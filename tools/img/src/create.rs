//! `img create`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use libimage::format::Format;
use libimage::format::luks::Luks;
use libimage::format::qcow2::Qcow2;
use libimage::format::raw::Raw;
use libimage::open::{self, OpenOptions};
use libimage::storage::FileStorage;
use libimage::{Block, Error};

use crate::arguments::{Command, HELP, OBJECT, QUIET, Usage, Words, string};
use crate::destination::Destination;
use crate::image::{self, local_path};
use crate::options::{Given, Options, Target, print_help, size_argument};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "create",
    about: "Make a new image",
    operands: "FILENAME [SIZE]",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        opt('f', "format", "FMT", "format of the image: raw (the default), qcow2 or luks"),
        opt('b', "backing", "FILENAME", "backing file: supplies what the image does not hold"),
        opt('F', "backing-format", "FMT", "format of the backing file"),
        opt('u', "backing-unsafe", "", "do not look at the backing file; SIZE is needed then"),
        opt('o', "options", "OPTS", "format options, k=v separated by commas; 'help' lists them"),
    ],
    run,
};

/// A `create` command line.
struct Arguments {
    format: String,
    given: Given,
    backing: Option<String>,
    backing_format: Option<String>,
    backing_unsafe: bool,
    quiet: bool,
}

fn run(words: Words) -> Result<ExitCode> {
    let mut arguments = Arguments {
        format: "raw".to_owned(),
        given: Given::default(),
        backing: None,
        backing_format: None,
        backing_unsafe: false,
        quiet: false,
    };
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => arguments.format = string(value)?,
            Name::Letter('o') => arguments.given.add(string(value)?)?,
            Name::Letter('b') => arguments.backing = Some(string(value)?),
            Name::Letter('F') => arguments.backing_format = Some(string(value)?),
            Name::Letter('u') => arguments.backing_unsafe = true,
            _ => arguments.quiet = true,
        }
        Ok(())
    })?;
    if arguments.given.wants_help() {
        print_help(format_for_making(&arguments.format)?, !operands.is_empty())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (file, size) = match &operands[..] {
        [] => return Err(Usage::error("create", "Expecting image file name")),
        [file] => (file, None),
        [file, size, rest @ ..] => {
            let size = size_argument("image size", &size.to_string_lossy(), 0, i64::MAX as u64)?;
            if let Some(word) = rest.first() {
                return Err(Usage::error("create", format!("Unexpected argument: {}", word.display())));
            }
            (file, Some(size))
        }
    };
    create(arguments, file, size).with_context(|| file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A format that an image can be made in.
pub(crate) fn format_for_making(name: &str) -> Result<Format> {
    Format::by_name(name).map_err(|_| anyhow!("Unknown file format '{name}'"))
}

fn create(arguments: Arguments, file: &OsString, size: Option<u64>) -> Result<()> {
    let format = format_for_making(&arguments.format)?;
    let path = path_for_making(file)?;
    let mut options = arguments.given.options(format)?;
    let with_o = options.size()?;
    if with_o.is_some() && size.is_some() {
        bail!("The image size must be specified only once");
    }
    for (name, value, what) in [
        ("backing_file", &arguments.backing, "Backing file"),
        ("backing_fmt", &arguments.backing_format, "Backing file format"),
    ] {
        let Some(value) = value else { continue };
        if options.lacks(name) {
            bail!("{what} not supported for file format '{}'", format.name());
        }
        options.set(name, value)?;
    }
    let of_backing = match options.get("backing_file") {
        Some(name) => look_at_backing(file, &path, name, &options, arguments.backing_unsafe)?,
        None => None,
    };
    let size =
        size.or(with_o).or(of_backing).ok_or_else(|| anyhow!("Image creation needs a size parameter"))?;
    if !arguments.quiet {
        let described = options.describe(size);
        cli::print(&format!("Formatting '{}', fmt={}{described}\n", file.display(), format.name()))?;
    }
    make(file, &options, size)
}

/// The file, or the export of a server, that is to be made an image when `name` is given.
pub(crate) fn path_for_making(name: &OsString) -> Result<std::path::PathBuf> {
    // Nothing of that name can be made; that is said when it is tried.
    if name.is_empty() {
        return Ok(name.into());
    }
    if libimage::open::is_server(name) {
        return Ok(name.into());
    }
    local_path(name)
}

/// Checks that the backing file is what it is said to be; returns its size unless it is not to be opened.
fn look_at_backing(
    image: &OsString,
    path: &Path,
    name: &str,
    options: &Options,
    unsafely: bool,
) -> Result<Option<u64>> {
    if image.to_str() == Some(name) {
        bail!("Error: Trying to create an image with the same filename as the backing file");
    }
    if name.is_empty() {
        bail!("Expected backing file name, got empty string");
    }
    let format = options.get("backing_fmt");
    if unsafely {
        if format.is_none() {
            bail!("Backing file specified without backing format");
        }
        return Ok(None);
    }
    let no_image = |why: String| anyhow!("{why}\nCould not open backing image.");
    let known = match format {
        Some(name) => Some(Format::by_name(name).map_err(|_| no_image(format!("Unknown driver '{name}'")))?),
        None => None,
    };
    let options = OpenOptions {
        format: known,
        read_only: true,
        force_share: true,
        no_data: true,
        ..OpenOptions::default()
    };
    let found = open::resolve(path, name).and_then(|spec| image::open(spec, options));
    // That it is a file which cannot be opened is clear here.
    let image = found.map_err(|error| no_image(cli::error::full_chain(&error.into())))?;
    if format.is_none() {
        bail!("Backing file specified without backing format\nDetected format of {}.", image.format().name());
    }
    Ok(Some(image.block().size()))
}

/// Makes a new image; an old file of that name is replaced only when the new one is complete.
fn make(file: &OsString, options: &Options, size: u64) -> Result<()> {
    let destination = Destination::new(file)?;
    destination.unseen_file();
    let built = build(destination.storage(), options.target()?, size)?;
    built.block().flush()?;
    drop(built);
    destination.commit(true)
}

/// Lays an empty image out in `storage` and returns what it holds.
pub(crate) fn build(storage: Arc<dyn Block>, target: Target, size: u64) -> Result<Built> {
    Ok(match target {
        Target::Raw { preallocation } => {
            Raw::create(&*storage, size, preallocation).map_err(too_large)?;
            Built::Raw(Arc::new(Raw::new(storage)))
        }
        Target::Luks { options, password, preallocation } => {
            Built::Luks(Arc::new(Luks::create(storage, size, preallocation, &options, &password)?))
        }
        Target::Qcow2(mut options) => {
            options.size = size;
            options.validate()?;
            let data = options.data_file.as_deref().map(|name| data_file(name, &*storage)).transpose()?;
            options.data_file = data.as_ref().map(|file| file.name().to_owned());
            Built::Qcow2(Arc::new(Qcow2::create_with_data(storage, data, &options)?))
        }
    })
}

/// Makes the file that will hold the data of the image in `storage`.
fn data_file(name: &str, storage: &dyn Block) -> Result<Arc<dyn Block>> {
    // The path is what the image will know it by.
    let path = path_for_making(&name.into())?;
    if path.as_os_str() == storage.name() {
        let why = "Failed to get shared \"resize\" lock\nIs another process using the image";
        bail!("{why} [{name}]?");
    }
    Ok(Arc::new(FileStorage::create(path)?))
}

/// Says so if it is the size that the file system cannot take.
fn too_large(error: Error) -> anyhow::Error {
    match &error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::FileTooLarge => {
            anyhow!("The image size is too large for file format 'raw'")
        }
        _ => error.into(),
    }
}

/// A freshly made image.
pub(crate) enum Built {
    Raw(Arc<Raw>),
    Qcow2(Arc<Qcow2>),
    Luks(Arc<Luks>),
}

impl Built {
    pub(crate) fn block(&self) -> Arc<dyn Block> {
        match self {
            Built::Raw(raw) => raw.clone(),
            Built::Qcow2(qcow2) => qcow2.clone(),
            Built::Luks(luks) => luks.clone(),
        }
    }
}
