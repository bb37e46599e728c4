//! Opening the images that a command line names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use libimage::format::Format;
use libimage::open::{CacheMode, Context, Image, OpenOptions};
use libimage::spec::{Spec, protocol};
use libimage::{Block, Error, audit};

use crate::arguments::{self, string};
use crate::text;

/// How a command line names one image, and how it wants it opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// `-f`
    pub(crate) format: Option<String>,
    /// `--image-opts`
    pub(crate) image_opts: bool,
    /// `-U`
    pub(crate) force_share: bool,
}

impl Source {
    /// `-f FMT`
    pub(crate) fn set_format(&mut self, value: &OsString) -> Result<()> {
        self.format = Some(string(value)?);
        Ok(())
    }

    /// Opens `name` for reading, or for writing too.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(&self, name: &OsString, options: OpenOptions) -> Result<Image> {
        if self.image_opts && self.format.is_some() {
            bail!("--image-opts and --format are mutually exclusive");
        }
        let options = OpenOptions { force_share: self.force_share, ..options };
        let could_not = |error: Error| {
            anyhow!("Could not open '{}': {}", name.display(), cli::error::full_chain(&error.into()))
        };
        let spec = self.spec(name).map_err(could_not)?;
        let image = open(spec, options).map_err(could_not)?;
        if image.is_guessed() && image.format() == Format::Raw && !options.read_only {
            text::warn_guessed(image.name());
        }
        Ok(image)
    }

    fn spec(&self, name: &OsString) -> Result<Spec, Error> {
        let spec = match self.image_opts {
            true => Spec::image_opts(name, &text::warning)?,
            false => Spec::name(name)?,
        };
        Ok(match &self.format {
            Some(format) => spec.with_driver(format),
            None => spec,
        })
    }
}

/// Opens what `spec` describes, with the objects of the command line.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(spec: Spec, options: OpenOptions) -> Result<Image, Error> {
    let untrusted = arguments::untrusted();
    let context = Context { objects: arguments::objects(), warn: &text::warning, untrusted };
    let image = Image::open_spec(spec, options, &context)?;
    if let (true, Some(storage)) = (untrusted && image.is_guessed(), image.storage()) {
        let storage: Arc<dyn Block> = storage.clone();
        let formats: Vec<&str> = audit::formats(&storage)?.iter().map(|found| found.format).collect();
        if formats.len() > 1 {
            return Err(Error::Invalid(format!(
                "It can be taken for several formats ({}), and is not trusted: say which it is (-f)",
                formats.join(", ")
            )));
        }
    }
    Ok(image)
}

/// The format called `name`, for opening.
///
/// # Errors
/// For a name that is none.
pub(crate) fn driver(name: &str) -> Result<Format, String> {
    Format::by_name(name).map_err(|_| format!("Unknown driver '{name}'"))
}

/// The cache mode of an image that is read, or repaired.
///
/// # Errors
/// For a name that is none.
pub(crate) fn source_cache(mode: &OsString) -> Result<CacheMode> {
    let known = mode.to_str().and_then(CacheMode::by_name);
    known.ok_or_else(|| anyhow!("Invalid source cache option: {}", mode.display()))
}

/// The cache mode of an image that is written.
///
/// # Errors
/// For a name that is none.
pub(crate) fn target_cache(mode: &OsString) -> Result<CacheMode> {
    let known = mode.to_str().and_then(CacheMode::by_name);
    known.ok_or_else(|| anyhow!("Invalid cache option: {}", mode.display()))
}

/// The local file that a name stands for that is to be made.
///
/// # Errors
/// For other protocols.
pub(crate) fn local_path(name: &OsString) -> Result<PathBuf> {
    match protocol(name) {
        None => Ok(name.into()),
        Some(b"file") => {
            let rest = name.as_encoded_bytes().get(b"file:".len()..).unwrap_or_default();
            Ok(std::ffi::OsStr::from_bytes(rest).into())
        }
        Some(other) => bail!("Unknown protocol '{}'", String::from_utf8_lossy(other)),
    }
}
