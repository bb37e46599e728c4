//! `img check`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use libimage::Block;
use libimage::format::qcow2::{CheckReport, Fix};
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use crate::arguments::{Command, HELP, OBJECT, Output, Usage, Words};
use crate::getopt::{Name, opt};
use crate::image::{Source, source_cache};
use crate::text;

pub(crate) const COMMAND: Command = Command {
    name: "check",
    about: "Check an image for errors, and repair them",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('q', "quiet", "", "print nothing but errors"),
        opt('f', "format", "FMT", "format of the image; guessed if not given"),
        opt('T', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('r', "repair", "leaks|all", "repair leaked clusters, or all errors"),
        opt('\0', "output", "human|json", "how to print (default human)"),
        OBJECT,
        opt('\0', "image-opts", "", "FILENAME is a list of options: driver=FMT,file.filename=NAME"),
        opt('U', "force-share", "", "tolerate that others write to the image"),
    ],
    run,
};

/// The exit codes that scripts know.
const CORRUPT: u8 = 2;
const LEAKS: u8 = 3;
const NO_CHECK: u8 = 63;

fn run(words: Words) -> Result<ExitCode> {
    let (mut source, mut output, mut quiet) = (Source::default(), Output::Human, false);
    let (mut fix, mut cache) = (None, None);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('q') => quiet = true,
            Name::Letter('U') => source.force_share = true,
            Name::Letter('T') => cache = Some(value.clone()),
            Name::Letter('r') => fix = Some(what_to_fix(&value.to_string_lossy())?),
            Name::Long("output") => output = Output::parse("check", value)?,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("check", "Expecting one image file name")) };
    let cache = cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let options = OpenOptions { read_only: fix.is_none(), check: true, cache, ..OpenOptions::default() };
    let image = source.open(file, options)?;
    let Some(qcow2) = image.qcow2() else {
        text::error("This image format does not support checks");
        return Ok(ExitCode::from(NO_CHECK));
    };
    let mut report = match fix {
        None => qcow2.check(),
        Some(fix) => qcow2.repair(fix),
    }
    .map_err(|e| anyhow!("Check failed: {}", cli::error::full_chain(&e.into())))?;
    tell(&report);
    if report.leaks_fixed + report.corruptions_fixed > 0 {
        if output == Output::Human && !quiet {
            cli::print(&format!(
                "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} corruptions\n\nDouble checking the fixed image now...\n",
                report.leaks_fixed, report.corruptions_fixed
            ))?;
        }
        let fixed = report;
        report = qcow2.check()?;
        tell(&report);
        report.leaks_fixed = fixed.leaks_fixed;
        report.corruptions_fixed = fixed.corruptions_fixed;
    }
    if fix.is_some() {
        qcow2.flush()?;
    }
    match output {
        _ if quiet => {}
        Output::Json => cli::print(&text::json(&json(file, &image, &report)))?,
        Output::Human => cli::print(&human(&report))?,
    }
    Ok(match report {
        r if r.check_errors > 0 => ExitCode::FAILURE,
        r if r.corruptions > 0 => ExitCode::from(CORRUPT),
        r if r.leaks > 0 => ExitCode::from(LEAKS),
        _ => ExitCode::SUCCESS,
    })
}

fn what_to_fix(value: &str) -> Result<Fix> {
    match value {
        "leaks" => Ok(Fix::Leaks),
        "all" => Ok(Fix::All),
        other => Err(Usage::error("check", format!("--repair (-r) expects 'leaks' or 'all' not '{other}'"))),
    }
}

/// What was found, one by one.
fn tell(report: &CheckReport) {
    for message in &report.messages {
        eprintln!("{message}");
    }
}

fn human(report: &CheckReport) -> String {
    let mut out = String::new();
    if report.is_clean() {
        out.push_str("No errors were found on the image.\n");
    }
    if report.corruptions > 0 {
        out.push_str(&format!(
            "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n",
            report.corruptions
        ));
    }
    if report.leaks > 0 {
        out.push_str(&format!(
            "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
            report.leaks
        ));
    }
    if report.check_errors > 0 {
        out.push_str(&format!("\n{} internal errors have occurred during the check.\n", report.check_errors));
    }
    if report.total_clusters > 0 && report.allocated_clusters > 0 {
        let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
        out.push_str(&format!(
            "{}/{} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters\n",
            report.allocated_clusters,
            report.total_clusters,
            percent(report.allocated_clusters, report.total_clusters),
            percent(report.fragmented_clusters, report.allocated_clusters),
            percent(report.compressed_clusters, report.allocated_clusters),
        ));
    }
    if report.image_end_offset > 0 {
        out.push_str(&format!("Image end offset: {}\n", report.image_end_offset));
    }
    out
}

fn json(file: &OsString, image: &Image, report: &CheckReport) -> Value {
    let mut object = Map::new();
    object.insert("filename".to_owned(), file.to_string_lossy().into());
    object.insert("format".to_owned(), image.format().name().into());
    object.insert("check-errors".to_owned(), report.check_errors.into());
    // What is zero is not mentioned.
    let counts = [
        ("image-end-offset", report.image_end_offset),
        ("corruptions", report.corruptions),
        ("leaks", report.leaks),
        ("corruptions-fixed", report.corruptions_fixed),
        ("leaks-fixed", report.leaks_fixed),
        ("total-clusters", report.total_clusters),
        ("allocated-clusters", report.allocated_clusters),
        ("fragmented-clusters", report.fragmented_clusters),
        ("compressed-clusters", report.compressed_clusters),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        object.insert(name.to_owned(), count.into());
    }
    Value::Object(object)
}
