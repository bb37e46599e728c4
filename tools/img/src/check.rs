//! `img check`.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use libimage::Block;
use libimage::format::Format;
use libimage::format::qcow2::{CheckReport, Fix};
use libimage::open::{Image, OpenOptions};
use serde_json::{Map, Value};

use crate::arguments::{CheckArguments, Output, usage};
use crate::text;

/// The exit codes that scripts know.
const CORRUPT: u8 = 2;
const LEAKS: u8 = 3;
const NO_CHECK: u8 = 63;

pub(crate) fn run(arguments: CheckArguments) -> Result<ExitCode> {
    let fix = match arguments.repair.as_deref() {
        None => None,
        Some("leaks") => Some(Fix::Leaks),
        Some("all") => Some(Fix::All),
        Some(_) => {
            usage("--repair (-r) expects 'leaks' or 'all'", Some("check"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(file) = &arguments.file else {
        usage("Expecting one image file name", Some("check"));
        return Ok(ExitCode::FAILURE);
    };
    let format = arguments.format.as_deref().map(Format::by_name).transpose()?;
    let options = OpenOptions {
        format,
        read_only: fix.is_none(),
        force_share: arguments.force_share && fix.is_none(),
        check: true,
        no_backing: true,
    };
    let image = Image::open(file, options)?;
    let Some(qcow2) = image.qcow2() else {
        text::error("This image format does not support checks");
        return Ok(ExitCode::from(NO_CHECK));
    };
    let mut report = match fix {
        None => qcow2.check(),
        Some(fix) => qcow2.repair(fix),
    }
    .map_err(|e| anyhow!("Check failed: {}", cli::error::chain(&e.into())))?;
    tell(&report);
    if report.leaks_fixed + report.corruptions_fixed > 0 {
        if arguments.output == Output::Human && !arguments.quiet {
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
    match arguments.output {
        Output::Json => cli::print(&text::json(&json(&image, &report)))?,
        Output::Human if arguments.quiet => {}
        Output::Human => cli::print(&human(&report))?,
    }
    Ok(match report {
        r if r.check_errors > 0 => ExitCode::FAILURE,
        r if r.corruptions > 0 => ExitCode::from(CORRUPT),
        r if r.leaks > 0 => ExitCode::from(LEAKS),
        _ => ExitCode::SUCCESS,
    })
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

fn json(image: &Image, report: &CheckReport) -> Value {
    let mut object = Map::new();
    object.insert("filename".to_owned(), image.name().into());
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
