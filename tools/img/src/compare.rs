//! `img compare`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use cli::progress::Percent;
use libimage::job::compare::{Finding, Manner, Side, compare};
use libimage::job::{Progress, processors};
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use cli::error::Help;

use crate::arguments::{Command, HELP, OBJECT, OUTPUT, Output, PROGRESS, QUIET, Usage, Words};
use crate::image::{Source, source_cache};
use crate::text;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "compare",
    about: "Check whether two images have the same contents",
    operands: "FILENAME1 FILENAME2",
    options: &[
        HELP,
        QUIET,
        PROGRESS,
        opt('f', "a-format", "FMT", "format of the first image; guessed if not given"),
        opt('\0', "left-format", "FMT", ""),
        opt('F', "b-format", "FMT", "format of the second image; guessed if not given"),
        opt('\0', "right-format", "FMT", ""),
        opt('\0', "image-opts", "", "the images are lists of options: driver=FMT,file.filename=NAME"),
        opt('s', "strict", "", "sizes, and what is stored where, must be equal too"),
        opt('T', "cache", "MODE", "cache mode of the images (default writeback)"),
        opt('U', "force-share", "", "tolerate that others write to the images"),
        OUTPUT,
        OBJECT,
    ],
    run,
};

/// The exit codes that scripts know.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;
const NO_STATUS: u8 = 3;
const NO_READ: u8 = 4;

#[derive(Default)]
struct Arguments {
    first: Source,
    second: Source,
    cache: Option<OsString>,
    output: Output,
    strict: bool,
    quiet: bool,
    progress: bool,
}

impl Arguments {
    /// Prints a line for people.
    fn say(&self, line: &str) -> Result<()> {
        match self.quiet || self.output == Output::Json {
            true => Ok(()),
            false => cli::print(&format!("{line}\n")),
        }
    }
}

fn run(words: Words) -> Result<ExitCode> {
    let error = match work(words) {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    // "The images differ" and "that could not be found out" are told apart by the exit code.
    if error.is::<Usage>() || error.is::<Help>() || cli::error::is_broken_pipe(&error) {
        return Err(error);
    }
    text::error(&cli::error::full_chain(&error));
    Ok(ExitCode::from(TROUBLE))
}

fn work(words: Words) -> Result<ExitCode> {
    let mut arguments = Arguments::default();
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('q') => arguments.quiet = true,
            Name::Letter('p') => arguments.progress = true,
            Name::Letter('f') | Name::Long("left-format") => arguments.first.set_format(value)?,
            Name::Letter('F') | Name::Long("right-format") => arguments.second.set_format(value)?,
            Name::Letter('s') => arguments.strict = true,
            Name::Letter('T') => arguments.cache = Some(value.clone()),
            Name::Letter('U') => {
                arguments.first.force_share = true;
                arguments.second.force_share = true;
            }
            Name::Long("output") => arguments.output = Output::parse("compare", value)?,
            _ => {
                arguments.first.image_opts = true;
                arguments.second.image_opts = true;
            }
        }
        Ok(())
    })?;
    let [first, second] = &operands[..] else {
        return Err(Usage::error("compare", "Expecting two image file names"));
    };
    let cache = arguments.cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let options = OpenOptions { read_only: true, cache, ..OpenOptions::default() };
    let (a, b) = (arguments.first.open(first, options)?, arguments.second.open(second, options)?);
    let silent = arguments.quiet || arguments.output == Output::Json;
    let progress = Percent::with_step(silent || !arguments.progress, 2.0);
    let (one, other) = (a.block(), b.block());
    let (common, size) = (one.size().min(other.size()), one.size().max(other.size()));
    let sizes_differ = common != size;
    if arguments.strict && sizes_differ {
        report(&arguments, "Strict mode: Image size mismatch!", "size", None, true)?;
        return Ok(ExitCode::from(DIFFERENT));
    }
    progress.step("Comparing", size);
    let manner = Manner { strict: arguments.strict, workers: processors(), progress: &progress };
    let mut found = compare(&*one, &*other, 0..common, &manner)?;
    if found.is_none() && sizes_differ {
        arguments.say("Warning: Image size mismatch!")?;
        // A longer image is equal if what it has more is zero.
        found = compare(&*one, &*other, common..size, &manner)?;
    }
    if found.is_none() {
        progress.complete();
    }
    let code = conclude(&arguments, [&a, &b], found, sizes_differ);
    progress.end_line();
    code
}

/// Says what was found; the exit code tells it too.
fn conclude(
    arguments: &Arguments,
    images: [&Image; 2],
    found: Option<Finding>,
    sizes_differ: bool,
) -> Result<ExitCode> {
    let name = |side| {
        let [first, second] = images;
        if side == Side::First { first.name() } else { second.name() }
    };
    let (reason, offset, line, code) = match found {
        None => ("", None, "Images are identical.".to_owned(), 0),
        Some(Finding::Content(at)) => {
            ("content", Some(at), format!("Content mismatch at offset {at}!"), DIFFERENT)
        }
        Some(Finding::Status(at)) => {
            let line = format!("Strict mode: Offset {at} block status mismatch!");
            ("status", Some(at), line, DIFFERENT)
        }
        Some(Finding::NoStatus(side, _)) => {
            text::error(&format!("Sector allocation test failed for {}", name(side)));
            return Ok(ExitCode::from(NO_STATUS));
        }
        Some(Finding::NoRead(side, at, error)) => {
            text::error(&format!(
                "Error while reading offset {at} of {}: {}",
                name(side),
                text::system(&error)
            ));
            return Ok(ExitCode::from(NO_READ));
        }
    };
    report(arguments, &line, reason, offset, sizes_differ)?;
    Ok(ExitCode::from(code))
}

fn report(
    arguments: &Arguments,
    line: &str,
    reason: &str,
    offset: Option<u64>,
    sizes_differ: bool,
) -> Result<()> {
    if arguments.quiet || arguments.output == Output::Human {
        return arguments.say(line);
    }
    let mut object = Map::new();
    object.insert("identical".to_owned(), reason.is_empty().into());
    object.insert("sizes-differ".to_owned(), sizes_differ.into());
    if !reason.is_empty() {
        object.insert("difference".to_owned(), reason.into());
    }
    if let Some(offset) = offset {
        object.insert("offset".to_owned(), offset.into());
    }
    cli::print(&text::json(&Value::Object(object)))
}
