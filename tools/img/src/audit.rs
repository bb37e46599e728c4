//! `img audit`: is an image from a stranger safe to take in?

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libimage::Block;
use libimage::audit::{Audit, Bounds, Severity, audit};
use libimage::storage::{FileOptions, FileStorage};
use libimage::units::{human, parse_size};
use serde_json::{Value, json};

use crate::arguments::{Command, FORCE_SHARE, HELP, OUTPUT, Output, Usage, Words, string};
use crate::text;
use cli::getopt::{Name, opt};

pub(crate) const COMMAND: Command = Command {
    name: "audit",
    about: "Tell whether an image from a stranger is safe to take in",
    operands: "FILENAME",
    options: &[
        HELP,
        opt('q', "quiet", "", "print nothing; the exit code tells"),
        OUTPUT,
        opt('\0', "max-size", "SIZE", "refuse disks that are larger"),
        FORCE_SHARE,
    ],
    run,
};

/// The exit code for an image that must not be taken in.
const NOT_SAFE: u8 = 2;

fn run(words: Words) -> Result<ExitCode> {
    let (mut output, mut quiet, mut force_share) = (Output::Human, false, false);
    let mut bounds = Bounds::default();
    let operands = words.read(|name, value| {
        match name {
            Name::Letter('q') => quiet = true,
            Name::Letter('U') => force_share = true,
            Name::Long("max-size") => bounds.max_virtual_size = Some(parse_size(&string(value)?)?),
            _ => output = Output::parse("audit", value)?,
        }
        Ok(())
    })?;
    let [file] = &operands[..] else { return Err(Usage::error("audit", "Expecting one image file name")) };
    // The name is that of a file and of nothing else: whoever audits does not follow references.
    let options = FileOptions { read_only: true, force_share, ..FileOptions::default() };
    let storage: Arc<dyn Block> = Arc::new(FileStorage::open(file, options)?);
    let found = audit(&storage, bounds)?;
    match output {
        _ if quiet => {}
        Output::Human => cli::print(&screen(storage.name(), &found))?,
        Output::Json => cli::print(&text::json(&value(storage.name(), &found)))?,
    }
    Ok(if found.is_safe() { ExitCode::SUCCESS } else { ExitCode::from(NOT_SAFE) })
}

fn verdict(found: &Audit) -> &'static str {
    match found.findings.first().map(|finding| finding.severity) {
        Some(Severity::Danger) => "not safe",
        Some(Severity::Warning) => "safe, with warnings",
        _ => "safe",
    }
}

fn screen(name: &str, found: &Audit) -> String {
    let mut out = format!("{name}: {}\n\n", verdict(found));
    let mut row = |what: &str, value: &str| out.push_str(&format!("    {what:<14}{value}\n"));
    row("format", found.format());
    for other in found.formats.iter().skip(1) {
        row("or", &format!("{} (mark at offset {})", other.format, other.offset));
    }
    row(
        "virtual size",
        &found.virtual_size.map_or("unknown".to_owned(), |n| format!("{} ({n} bytes)", human(n))),
    );
    let on_disk = found.allocated.map_or(String::new(), |n| format!(", {} on disk", human(n)));
    row("file", &format!("{} ({} bytes){on_disk}", human(found.file_size), found.file_size));
    for (index, content) in found.contents.iter().enumerate() {
        row(if index == 0 { "contents" } else { "" }, content);
    }
    for reference in &found.references {
        row("refers to", &format!("{} '{}'", reference.kind, reference.name));
    }
    if !found.findings.is_empty() {
        out.push('\n');
    }
    for finding in &found.findings {
        out.push_str(&format!("    {:<9} {}\n", finding.severity.name().to_uppercase(), finding.text));
    }
    out
}

fn value(name: &str, found: &Audit) -> Value {
    json!({
        "filename": name,
        "safe": found.is_safe(),
        "format": found.format(),
        "formats": found.formats.iter().map(|c| json!({ "format": c.format, "offset": c.offset })).collect::<Vec<_>>(),
        "virtual-size": found.virtual_size,
        "file-size": found.file_size,
        "actual-size": found.allocated,
        "contents": found.contents,
        "references": found.references.iter().map(|r| json!({ "kind": r.kind, "name": r.name })).collect::<Vec<_>>(),
        "findings": found.findings.iter().map(|f| json!({
            "severity": f.severity.name(),
            "code": f.code,
            "text": f.text,
        })).collect::<Vec<_>>(),
    })
}
