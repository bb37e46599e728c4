//! The image that a command line names, for commands that show it to the kernel.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, anyhow, bail};
use cli::getopt::{Name, Opt, opt};
use libimage::format::Format;
use libimage::open::{CacheMode, Context, Image, OpenOptions};
use libimage::spec::{Objects, Spec};
use nbd_protocol::uri::{self, Address};

use crate::arguments::string;

/// `-f FMT`
pub(crate) const FORMAT: Opt = opt('f', "format", "FMT", "the image's format; guessed if not given");
/// `--image-opts`
pub(crate) const IMAGE_OPTS: Opt =
    opt('\0', "image-opts", "", "the image is named by options: driver=qcow2,file.filename=X");
/// `--object OBJDEF`
pub(crate) const OBJECT: Opt =
    opt('\0', "object", "OBJDEF", "an object that options refer to: secret,id=ID,file=FILE");
/// `-n`, as qemu-nbd has it
pub(crate) const CACHE: Opt =
    opt('\0', "cache", "MODE", "writeback (default), writethrough, none, directsync, unsafe");
/// `-r`
pub(crate) const READ_ONLY: Opt = opt('r', "read-only", "", "nothing can be written");

/// How an image is named and opened.
#[derive(Default)]
pub(crate) struct Source {
    format: Option<String>,
    image_opts: bool,
    objects: Objects,
    cache: CacheMode,
    /// Nothing is to be written.
    pub(crate) read_only: bool,
}

impl Source {
    /// Takes over an option, if it is one of those above.
    ///
    /// # Errors
    /// When its value makes no sense.
    pub(crate) fn option(&mut self, name: Name, value: &OsString) -> Result<bool> {
        match name {
            Name::Letter('f') => self.format = Some(string(value)?),
            Name::Letter('r') => self.read_only = true,
            Name::Long("image-opts") => self.image_opts = true,
            Name::Long("object") => self.objects.add(&string(value)?)?,
            Name::Long("cache") => {
                let known = value.to_str().and_then(CacheMode::by_name);
                self.cache = known.ok_or_else(|| anyhow!("Invalid cache mode '{}'", value.display()))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The server that `word` names, if its export is meant as it is, and it speaks in the clear.
    ///
    /// # Errors
    /// When the name of a server makes no sense.
    pub(crate) fn server(&self, word: &OsStr) -> Result<Option<Address>> {
        let as_it_is = !self.image_opts && self.format.as_deref().is_none_or(|format| format == "raw");
        match word.to_str().filter(|text| as_it_is && uri::is_uri(text)) {
            Some(text) => Ok(Some(uri::parse(text)?).filter(|address| !address.encrypted)),
            None => Ok(None),
        }
    }

    /// Opens the image called `word`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(&self, word: &OsStr) -> Result<Image> {
        if self.image_opts && self.format.is_some() {
            bail!("--image-opts and --format are mutually exclusive");
        }
        let options = OpenOptions { read_only: self.read_only, cache: self.cache, ..OpenOptions::default() };
        let image = open(word, self.image_opts, self.format.as_deref(), &[], options, &self.objects);
        image.map_err(|error| {
            anyhow!("Could not open '{}': {}", word.display(), cli::error::full_chain(&error.into()))
        })
    }
}

/// Opens the image called `word`, and warns where its format had to be guessed.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(
    word: &OsStr,
    image_opts: bool,
    format: Option<&str>,
    defaults: &[(&str, &str)],
    options: OpenOptions,
    objects: &Objects,
) -> libimage::Result<Image> {
    let warn = |text: &str| eprintln!("{}: warning: {text}", cli::program());
    let mut spec = if image_opts { Spec::image_opts(word, &warn)? } else { Spec::name(word)? };
    if let Some(format) = format {
        spec = spec.with_driver(format);
    }
    for (key, value) in defaults {
        spec = spec.with_default(key, value);
    }
    let read_only = options.read_only;
    let image = Image::open_spec(spec, options, &Context { objects, warn: &warn, untrusted: false })?;
    if image.is_guessed() && image.format() == Format::Raw && !read_only {
        cli::warn_guessed(&word.to_string_lossy());
    }
    Ok(image)
}
