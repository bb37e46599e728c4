//! `img amend`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use libimage::Preallocation;
use libimage::format::Format;
use libimage::format::qcow2::{Amendment, EncryptionInfo, Qcow2};
use libimage::job::Progress;
use libimage::open::{Image, OpenOptions};

use crate::arguments::{Command, FORMAT, HELP, IMAGE_OPTS, OBJECT, PROGRESS, QUIET, Usage, Words, string};
use crate::image::{Source, target_cache};
use crate::options::{Given, Options, number, print_amend_help};
use crate::{encryption, text};
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "amend",
    about: "Change options of an image",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('o', "options", "OPTS", "format options, k=v separated by commas; 'help' lists them"),
        FORMAT,
        opt('t', "cache", "MODE", "cache mode of the image (default writeback)"),
        PROGRESS,
        QUIET,
        opt('\0', "force", "", "also do what makes data unreadable, such as erasing the last key"),
        OBJECT,
        IMAGE_OPTS,
    ],
    run,
};

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut given, mut cache) = (Source::default(), Given::default(), None);
    let (mut quiet, mut progress, mut force) = (false, false, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('o') => given.add(string(value)?)?,
            Name::Letter('t') => cache = Some(value.clone()),
            Name::Letter('p') => progress = true,
            Name::Letter('q') => quiet = true,
            Name::Long("force") => force = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    if given.is_empty() {
        return Err(Usage::error("amend", "Must specify options (-o)"));
    }
    if let Some(format) = source.format.as_deref().filter(|_| given.wants_help()) {
        let format = Format::by_name(format).map_err(|_| anyhow!("Unknown file format '{format}'"))?;
        print_amend_help(format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let [file] = &operands[..] else { bail!("Expecting one image file name") };
    let cache = cache.as_ref().map(target_cache).transpose()?.unwrap_or_default();
    let image = source.open(file, OpenOptions { cache, ..OpenOptions::default() })?;
    if given.wants_help() {
        print_amend_help(image.format())?;
        return Ok(ExitCode::SUCCESS);
    }
    let percent = text::progress(progress && !quiet);
    percent.step("Amending", 1);
    let result = amend(image, given, force);
    percent.finish();
    result?;
    Ok(ExitCode::SUCCESS)
}

fn amend(image: Image, given: Given, force: bool) -> Result<()> {
    let format = image.format();
    match format {
        Format::Luks => {
            let options = given.amendments(format)?;
            if let Some(luks) = image.luks() {
                let change = encryption::change_of_keys(&options, "", force)?;
                luks.amend(&change).map_err(|error| anyhow!(text::bare(error)))?;
            }
            return Ok(());
        }
        Format::Qcow2 => {}
        other => bail!("Format driver '{}' does not support option amendment", other.name()),
    }
    let Some(qcow2) = image.qcow2().map(Arc::clone) else { bail!("Not a qcow2 image") };
    let options = given.amendments(format)?;
    let change = amendment(&options)?;
    refuse_other_backing(&qcow2, &options)?;
    qcow2.check_amendment(&change)?;
    if options.names().any(|name| name.starts_with("encrypt.")) {
        match qcow2.encryption() {
            None => bail!("Can't amend encryption options - encryption not present"),
            Some(EncryptionInfo::Aes) => bail!("Only LUKS encryption options can be amended"),
            Some(_) => {}
        }
        let change = encryption::change_of_keys(&options, "encrypt.", force)?;
        qcow2.amend_keys(&change).map_err(|error| anyhow!(text::bare(error)))?;
    }
    if let Some(size) = options.size()? {
        let size = size.checked_next_multiple_of(512).unwrap_or(u64::MAX);
        image.block().resize(size, Preallocation::Off)?;
    }
    qcow2_itself(image, qcow2, &change)
}

/// Changes the image in its file, once nobody has it open any more.
fn qcow2_itself(image: Image, qcow2: Arc<Qcow2>, change: &Amendment) -> Result<()> {
    let file = image.file().map(Image::block);
    let backing = image.backing().map(Image::block);
    drop(image);
    match (Arc::into_inner(qcow2), file) {
        (Some(qcow2), Some(file)) => {
            qcow2.close()?;
            Ok(Qcow2::amend(&file, backing, change)?)
        }
        _ => bail!("The image is in use"),
    }
}

fn amendment(options: &Options) -> Result<Amendment> {
    let version = match options.get("compat") {
        None => None,
        Some("1.1" | "v3") => Some(3),
        Some("0.10" | "v2") => Some(2),
        Some(other) => bail!("Unknown compatibility level {other}"),
    };
    let switch = |name: &str| options.get(name).map(|_| options.is_on(name)).transpose();
    let bits = options.get("refcount_bits").map(|value| number("refcount_bits", value)).transpose()?;
    Ok(Amendment {
        version,
        // What does not fit is as wrong as 3.
        refcount_bits: bits.map(|bits| u32::try_from(bits).unwrap_or(u32::MAX)),
        lazy_refcounts: switch("lazy_refcounts")?,
        data_file: options.get("data_file").map(str::to_owned),
        data_file_raw: switch("data_file_raw")?,
    })
}

/// The backing file is the business of another command, except for saying what it is already.
fn refuse_other_backing(qcow2: &Qcow2, options: &Options) -> Result<()> {
    let given = (options.get("backing_file"), options.get("backing_fmt"));
    let present = (qcow2.backing_file()?, qcow2.backing_format()?);
    if given == (None, None) || given == (present.0.as_deref(), present.1.as_deref()) {
        return Ok(());
    }
    bail!("Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.")
}
