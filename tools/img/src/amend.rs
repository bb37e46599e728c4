//! `img amend`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use libimage::Preallocation;
use libimage::format::Format;
use libimage::format::luks::{Amend, SlotState};
use libimage::format::qcow2::{Amendment, Qcow2};
use libimage::open::{Image, OpenOptions};

use crate::arguments::{self, Command, HELP, OBJECT, Usage, Words, string};
use crate::getopt::{Name, opt};
use crate::image::{Source, target_cache};
use crate::options::{Given, Options, number, print_amend_help};
use crate::text;

pub(crate) const COMMAND: Command = Command {
    name: "amend",
    about: "Change options of an image",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('o', "options", "OPTS", "format options, k=v separated by commas; 'help' lists them"),
        opt('f', "format", "FMT", "format of the image; guessed if not given"),
        opt('t', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('p', "progress", "", "show progress"),
        opt('q', "quiet", "", "print nothing but errors"),
        opt('\0', "force", "", "also do what makes data unreadable, such as erasing the last key"),
        OBJECT,
        opt('\0', "image-opts", "", "FILENAME is a list of options: driver=FMT,file.filename=NAME"),
    ],
    run,
};

/// What can be said of key slots, behind the format's prefix.
const KEYS: [&str; 5] = ["state", "new-secret", "old-secret", "keyslot", "iter-time"];

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
    let result = amend(image, given, force);
    percent.finish();
    result?;
    Ok(ExitCode::SUCCESS)
}

fn amend(image: Image, mut given: Given, force: bool) -> Result<()> {
    let format = image.format();
    let prefix = if format == Format::Qcow2 { "encrypt." } else { "" };
    let keys: Vec<_> =
        KEYS.into_iter().filter_map(|name| Some((name, given.take(&format!("{prefix}{name}"))?))).collect();
    match format {
        Format::Luks => {
            let options = given.amend_options(format)?;
            drop(options);
            if let (Some(luks), false) = (image.luks(), keys.is_empty()) {
                luks.amend(&change_of_keys(&keys, force)?)?;
            }
            return Ok(());
        }
        Format::Qcow2 => {}
        other => bail!("Format driver '{}' does not support option amendment", other.name()),
    }
    let Some(qcow2) = image.qcow2().map(Arc::clone) else { bail!("Not a qcow2 image") };
    let options = given.amend_options(format)?;
    let change = amendment(&options)?;
    refuse_other_backing(&qcow2, &options)?;
    qcow2.check_amendment(&change)?;
    if !keys.is_empty() {
        if qcow2.info()?.encryption.is_none() {
            bail!("Can't amend encryption options - encryption not present");
        }
        qcow2.amend_keys(&change_of_keys(&keys, force)?)?;
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

/// What is to become of key slots.
fn change_of_keys(given: &[(&str, String)], force: bool) -> Result<Amend> {
    let get = |name: &str| given.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let state = get("state").ok_or_else(|| anyhow!("Parameter 'state' is missing"))?;
    let mut change = Amend::new(SlotState::by_name(state)?);
    let secret = |id: Option<&str>| -> Result<_> {
        match id {
            None | Some("") => Ok(None),
            Some(id) => Ok(Some(arguments::objects().passphrase(id)?.as_bytes().to_vec().into())),
        }
    };
    change.new_secret = secret(get("new-secret"))?;
    change.old_secret = secret(get("old-secret"))?;
    change.keyslot = get("keyslot").map(|value| number("keyslot", value)).transpose()?.map(u64::cast_signed);
    if let Some(value) = get("iter-time") {
        change.set_iter_time(value)?;
    }
    change.force = force;
    Ok(change)
}
