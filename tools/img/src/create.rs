//! `img create`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use libimage::format::Format;
use libimage::format::qcow2::Qcow2;
use libimage::format::raw::Raw;
use libimage::open::{self, Image, OpenOptions};
use libimage::storage::{FileStorage, Replacement};
use libimage::units::parse_size;
use libimage::{Block, Error};

use crate::arguments::{CreateArguments, usage};
use crate::options::{Options, Target, print_help};

pub(crate) fn run(arguments: CreateArguments) -> Result<ExitCode> {
    let Some(mut options) = Options::parse(&arguments.options)? else {
        print_help(Format::by_name(&arguments.format)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(file) = &arguments.file else {
        usage("Expecting image file name", Some("create"));
        return Ok(ExitCode::FAILURE);
    };
    let size = arguments.size.as_deref().map(image_size).transpose()?;
    create(&arguments, file, size, &mut options).with_context(|| file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn create(arguments: &CreateArguments, file: &Path, size: Option<u64>, options: &mut Options) -> Result<()> {
    let format = Format::by_name(&arguments.format)?;
    let with_o = options.take_size("size")?;
    if with_o.is_some() && size.is_some() {
        bail!("The image size must be specified only once");
    }
    let backing = arguments.backing.clone().or(options.take("backing_file"));
    let backing_format = arguments.backing_format.clone().or(options.take("backing_fmt"));
    if backing.is_some() && format == Format::Raw {
        bail!("Backing file not supported for file format 'raw'");
    }
    let backing = match backing {
        Some(name) => Some(Backing::look_up(file, name, backing_format, arguments.backing_unsafe)?),
        None if backing_format.is_some() && format == Format::Raw => {
            bail!("Backing format not supported for file format 'raw'")
        }
        None => None,
    };
    let size = size
        .or(with_o)
        .or(backing.as_ref().and_then(|b| b.size))
        .ok_or_else(|| anyhow!("Image creation needs a size parameter"))?;
    options.check_names(format)?;
    if !arguments.quiet {
        cli::print(&format!("{}\n", formatting(file, format, size, options, backing.as_ref())))?;
    }
    if let Some(backing) = &backing {
        options.set("backing_file", &backing.name);
        if let Some(format) = &backing.format {
            options.set("backing_fmt", format);
        }
    }
    let target = Target::new(format, std::mem::take(options))?;
    make(file, target, size)
}

/// Makes a new image; an old file of that name is replaced only when the new one is complete.
fn make(file: &Path, target: Target, size: u64) -> Result<()> {
    if let Target::Qcow2(options) = &target {
        let mut options = options.clone();
        options.size = size;
        options.validate()?;
    }
    let replacement = Replacement::new(file).map_err(|e| match e {
        Error::Io { action: "create", source, .. } => {
            anyhow!(source).context(format!("Could not create '{}'", file.display()))
        }
        other => other.into(),
    })?;
    build(replacement.storage(), target, size)?;
    replacement.commit()?;
    Ok(())
}

/// Lays an empty image out in `storage` and returns what it holds.
pub(crate) fn build(storage: Arc<FileStorage>, target: Target, size: u64) -> Result<Built> {
    Ok(match target {
        Target::Raw { preallocation } => {
            Raw::create(&*storage, size, preallocation)?;
            Built::Raw(Arc::new(Raw::new(storage)))
        }
        Target::Qcow2(mut options) => {
            options.size = size;
            Built::Qcow2(Arc::new(Qcow2::create(storage, &options)?))
        }
    })
}

/// A freshly made image.
pub(crate) enum Built {
    Raw(Arc<Raw>),
    Qcow2(Arc<Qcow2>),
}

impl Built {
    pub(crate) fn block(&self) -> Arc<dyn Block> {
        match self {
            Built::Raw(raw) => raw.clone(),
            Built::Qcow2(qcow2) => qcow2.clone(),
        }
    }
}

/// A backing file as it goes into the new image.
struct Backing {
    name: String,
    format: Option<String>,
    size: Option<u64>,
}

impl Backing {
    fn look_up(image: &Path, name: String, format: Option<String>, unsafely: bool) -> Result<Self> {
        let path = open::resolve(image, &name)?;
        if path == image {
            bail!("Error: Trying to create an image with the same filename as the backing file");
        }
        if unsafely {
            return Ok(Backing { name, format, size: None });
        }
        let known = match &format {
            Some(format) => Some(
                Format::by_name(format)
                    .map_err(|_| anyhow!("Unknown driver '{format}'\nCould not open backing image."))?,
            ),
            None => None,
        };
        let options = OpenOptions { format: known, read_only: true, ..OpenOptions::default() };
        let opened = Image::open(&path, options)
            .map_err(|e| anyhow!("{}\nCould not open backing image.", cli::error::chain(&e.into())))?;
        if format.is_none() {
            bail!(
                "Backing file specified without backing format\nDetected format of {}.",
                opened.format().name()
            );
        }
        Ok(Backing { name, format, size: Some(opened.block().size()) })
    }
}

/// The line that says what is made, with its options in the order that everybody is used to.
fn formatting(
    file: &Path,
    format: Format,
    size: u64,
    options: &Options,
    backing: Option<&Backing>,
) -> String {
    let mut line = format!("Formatting '{}', fmt={}", file.display(), format.name());
    let mut add = |name: &str, value: &str| line.push_str(&format!(" {name}={value}"));
    let given = |name: &str| options.get(name);
    if format == Format::Raw {
        add("size", &size.to_string());
        if let Some(value) = given("preallocation") {
            add("preallocation", value);
        }
        return line;
    }
    let cluster = given("cluster_size").map(|v| parse_size(v).map_or(v.to_owned(), |n| n.to_string()));
    add("cluster_size", cluster.as_deref().unwrap_or("65536"));
    add("extended_l2", "off");
    if let Some(value) = given("preallocation") {
        add("preallocation", value);
    }
    add("compression_type", given("compression_type").unwrap_or("zlib"));
    add("size", &size.to_string());
    if let Some(value) = given("compat") {
        add("compat", value);
    }
    if let Some(backing) = backing {
        add("backing_file", &backing.name);
        if let Some(format) = &backing.format {
            add("backing_fmt", format);
        }
    }
    add("lazy_refcounts", given("lazy_refcounts").unwrap_or("off"));
    add("refcount_bits", given("refcount_bits").unwrap_or("16"));
    line
}

/// The size of an image as written on the command line.
fn image_size(text: &str) -> Result<u64> {
    parse_size(text).map_err(|_| {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        match number.parse::<f64>() {
            Ok(_)
                if text.len() - number.len() <= 1
                    && text.ends_with(|c: char| "0123456789bkKMGTPE".contains(c)) =>
            {
                anyhow!("Invalid image size specified. Must be between 0 and 9223372036854775807.")
            }
            _ => anyhow!("Invalid image size specified: '{text}'."),
        }
    })
}
