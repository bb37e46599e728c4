//! Opening the images that a command line names.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use libimage::Error;
use libimage::format::Format;
use libimage::open::{Image, OpenOptions};

use crate::arguments::string;
use crate::spec::Spec;
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
        let could_not = |why: String| anyhow!("Could not open '{}': {why}", name.display());
        if self.force_share && !options.read_only {
            return Err(could_not("force-share=on can only be used with read-only images".to_owned()));
        }
        let (path, format) = self.locate(name).map_err(could_not)?;
        let options = OpenOptions { format, force_share: self.force_share, ..options };
        let image = Image::open(path, options).map_err(|error| match error {
            // It is called by the name that was given.
            Error::Context { source, .. } => could_not(cli::error::full_chain(&(*source).into())),
            other => other.into(),
        })?;
        if image.is_guessed() && image.format() == Format::Raw && !options.read_only {
            text::warn_guessed(image.name());
        }
        Ok(image)
    }
}

impl Source {
    /// The file that `name` stands for, and its format if that is known; or why there is none.
    fn locate(&self, name: &OsString) -> Result<(PathBuf, Option<Format>), String> {
        if self.image_opts {
            let spec = Spec::options(name)?;
            return Ok((spec.path, spec.format));
        }
        let spec = Spec::name(name)?;
        let format = match &self.format {
            Some(format) => Some(driver(format)?),
            None => spec.format,
        };
        Ok((spec.path, format))
    }
}

/// The format called `name`, for opening.
///
/// # Errors
/// For a name that is none.
pub(crate) fn driver(name: &str) -> Result<Format, String> {
    Format::by_name(name).map_err(|_| format!("Unknown driver '{name}'"))
}

/// A cache mode, by the name that `-t` and `-T` take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Written data may wait in the page cache; what must be durable is flushed.
    Normal,
    /// Flushes are left to the kernel.
    Unsafe,
}

impl Cache {
    fn parse(mode: &OsString) -> Option<Self> {
        match mode.to_str()? {
            "none" | "off" | "writeback" | "writethrough" | "directsync" => Some(Cache::Normal),
            "unsafe" => Some(Cache::Unsafe),
            _ => None,
        }
    }

    /// The mode of an image that is read, or repaired.
    ///
    /// # Errors
    /// For a name that is none.
    pub(crate) fn source(mode: &OsString) -> Result<Self> {
        Self::parse(mode).ok_or_else(|| anyhow!("Invalid source cache option: {}", mode.display()))
    }

    /// The mode of a new image.
    ///
    /// # Errors
    /// For a name that is none.
    pub(crate) fn target(mode: &OsString) -> Result<Self> {
        Self::parse(mode).ok_or_else(|| anyhow!("Invalid cache option: {}", mode.display()))
    }
}
