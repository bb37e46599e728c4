//! `img amend`: changes options of an existing image.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cli::progress::Percent;
use libimage::format::Format;
use libimage::job::Progress;
use libimage::open::{Image, OpenOptions};

use crate::arguments::{Command, HELP, OBJECT, Usage, Words, string};
use crate::create::format_for_making;
use crate::getopt::{Name, opt};
use crate::image::{Source, target_cache};
use crate::options::{Given, Options, print_amend_help};
use crate::{encryption, text};

pub(crate) const COMMAND: Command = Command {
    name: "amend",
    about: "Change options of an existing image",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('o', "options", "OPTS", "what to change, k=v separated by commas; 'help' lists what can be"),
        opt('f', "format", "FMT", "format of the image; guessed if not given"),
        opt('t', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('\0', "force", "", "even where that makes data unreadable"),
        opt('p', "progress", "", "show progress"),
        opt('q', "quiet", "", "print nothing but errors"),
        OBJECT,
        opt('\0', "image-opts", "", "FILENAME is a list of options: driver=FMT,file.filename=NAME"),
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let mut source = Source::default();
    let mut given = Given::default();
    let mut cache = None;
    let (mut force, mut show, mut quiet) = (false, false, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('o') => given.add(string(value)?)?,
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('t') => cache = Some(value.clone()),
            Name::Letter('p') => show = true,
            Name::Letter('q') => quiet = true,
            Name::Long("force") => force = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    if given.is_empty() {
        return Err(Usage::error("amend", "Must specify options (-o)"));
    }
    if let (true, Some(name)) = (given.wants_help(), &source.format) {
        // Then there need be no image.
        let format = format_for_making(name)?;
        refuse_raw(format)?;
        print_amend_help(format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let [file] = &operands[..] else { bail!("Expecting one image file name") };
    let cache = cache.as_ref().map(target_cache).transpose()?.unwrap_or_default();
    let image = source.open(file, OpenOptions { cache, ..OpenOptions::default() })?;
    let format = image.format();
    refuse_raw(format)?;
    if given.wants_help() {
        print_amend_help(format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = given.amendments(format)?;
    let progress = Percent::new(quiet || !show);
    progress.step("Amending", 1);
    amend(&image, &options, force)?;
    image.block().flush()?;
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

fn refuse_raw(format: Format) -> Result<()> {
    if format == Format::Raw {
        bail!("Format driver '{}' does not support option amendment", format.name());
    }
    Ok(())
}

fn amend(image: &Image, options: &Options, force: bool) -> Result<()> {
    if let Some(luks) = image.luks() {
        let change = encryption::change_of_keys(options, "", force)?;
        return luks.amend(&change).map_err(|error| anyhow!(text::bare(error)));
    }
    let Some(qcow2) = image.qcow2() else { return refuse_raw(image.format()) };
    if let Some(name) = options.names().find(|name| !name.starts_with("encrypt.")) {
        bail!("Changing '{name}' of an existing image is not supported; 'img convert' makes another one");
    }
    match image.qcow2().and_then(|qcow2| qcow2.encryption()) {
        None => bail!("Can't amend encryption options - encryption not present"),
        Some(libimage::format::qcow2::EncryptionInfo::Aes) => {
            bail!("Only LUKS encryption options can be amended")
        }
        Some(_) => {}
    }
    let change = encryption::change_of_keys(options, "encrypt.", force)?;
    qcow2.amend_keys(&change).map_err(|error| anyhow!(text::bare(error)))
}
