//! `img check`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use libimage::format::qcow2::{CheckReport, Fix};
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use crate::arguments::{
    Command, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, OBJECT, OUTPUT, Output, QUIET, Usage, Words,
};
use crate::image::{Source, source_cache};
use crate::repair::{self, Care, Repaired};
use crate::text;
use cli::getopt::{Name, opt, ours};

pub(crate) const COMMAND: Command = Command {
    name: "check",
    about: "Check an image for errors, and repair them",
    operands: "FILENAME",
    options: &[
        HELP,
        QUIET,
        FORMAT,
        opt('T', "cache", "MODE", "cache mode of the image (default writeback)"),
        opt('r', "repair", "leaks|all", "repair leaked clusters, or all errors"),
        ours("dry-run", "", "with -r: tell what would be repaired, change nothing"),
        ours(
            "undo",
            "FILE",
            "with -r: keep in FILE what is changed (default FILENAME.undo); alone: put it back",
        ),
        ours("no-undo", "", "with -r: keep nothing of what is changed"),
        OUTPUT,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
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
    let (mut dry_run, mut undo, mut no_undo) = (false, None, false);
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('f') => source.set_format(value)?,
            Name::Letter('q') => quiet = true,
            Name::Letter('U') => source.force_share = true,
            Name::Letter('T') => cache = Some(value.clone()),
            Name::Letter('r') => fix = Some(what_to_fix(&value.to_string_lossy())?),
            Name::Long("output") => output = Output::parse("check", value)?,
            Name::Long("dry-run") => dry_run = true,
            Name::Long("undo") => undo = Some(PathBuf::from(value)),
            Name::Long("no-undo") => no_undo = true,
            _ => source.image_opts = true,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("check", "Expecting one image file name")) };
    let cache = cache.as_ref().map(source_cache).transpose()?.unwrap_or_default();
    let care = match (dry_run, &undo, no_undo) {
        (false, None, false) => Care::Usual,
        _ if fix.is_none() && (dry_run || no_undo) => {
            return Err(Usage::error("check", "--dry-run and --no-undo are for repairs (-r)"));
        }
        (true, None, false) => Care::DryRun,
        (false, Some(path), false) => Care::Undo(path.clone()),
        (false, None, true) => Care::NoUndo,
        _ => return Err(Usage::error("check", "--dry-run, --undo and --no-undo exclude each other")),
    };
    let read_only = dry_run || (fix.is_none() && undo.is_none());
    let options = OpenOptions { read_only, check: true, cache, ..OpenOptions::default() };
    let image = source.open(file, options)?;
    let Some(qcow2) = image.qcow2() else {
        text::error("This image format does not support checks");
        return Ok(ExitCode::from(NO_CHECK));
    };
    let report = match (fix, care) {
        (None, Care::Undo(path)) => {
            let told = repair::take_back(&image, &path)?;
            if !quiet {
                cli::print(&told)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        (None, _) => {
            let report =
                qcow2.check().map_err(|e| anyhow!("Check failed: {}", cli::error::full_chain(&e.into())))?;
            tell(&report);
            report
        }
        (Some(fix), care) => {
            let dry_run = care == Care::DryRun;
            let repaired = repair::repair(&image, qcow2, fix, care)?;
            tell(&repaired.report);
            let human = output == Output::Human && !quiet;
            told(repaired, dry_run, human)?
        }
    };
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

/// Tells of a repair; returns what is to be said of the image now.
fn told(repaired: Repaired, dry_run: bool, human: bool) -> Result<CheckReport> {
    let Repaired { report, mut after, undo } = repaired;
    if report.leaks_fixed + report.corruptions_fixed == 0 {
        return Ok(after);
    }
    let (leaks, corruptions) = (report.leaks_fixed, report.corruptions_fixed);
    if dry_run {
        if human {
            cli::print(&format!(
                "The following inconsistencies were found and would be repaired:\n\n    {leaks} leaked clusters\n    {corruptions} corruptions\n\nNothing was changed.\n"
            ))?;
        }
        // The image is what it was.
        return Ok(CheckReport {
            leaks: after.leaks + leaks,
            corruptions: after.corruptions + corruptions,
            ..after
        });
    }
    if human {
        cli::print(&format!(
            "The following inconsistencies were found and repaired:\n\n    {leaks} leaked clusters\n    {corruptions} corruptions\n\n"
        ))?;
        if let Some(path) = &undo {
            cli::print(&format!(
                "What was changed is in '{0}': 'img check --undo {0} IMAGE' puts it back.\n\n",
                path.display()
            ))?;
        }
        cli::print("Double checking the fixed image now...\n")?;
    }
    tell(&after);
    after.leaks_fixed = leaks;
    after.corruptions_fixed = corruptions;
    Ok(after)
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
