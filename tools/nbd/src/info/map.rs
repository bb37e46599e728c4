//! The extents of a metadata context, one by one or summed up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use nbd_protocol::client::Connection;

use super::{Options, quoted};
use crate::ansi::Colours;
use crate::origin::{Complaint, Origin};

/// The context that every server knows that knows any.
pub(super) const ALLOCATION: &str = "base:allocation";

/// A run of bytes that are alike.
struct Extent {
    offset: u64,
    length: u64,
    kind: u64,
}

/// Shows the extents of `context`.
pub(super) fn show(origin: &Origin, context: &str, options: &Options) -> Result<ExitCode> {
    let connection = origin.connect(&[context])?;
    let connection = &connection.it;
    let position = connection
        .context(context)
        .ok_or_else(|| anyhow!("--map: server does not support metadata context \"{context}\""))?;
    let mut map = Map { context, options, size: connection.info().size, last: None, totals: BTreeMap::new() };
    if options.json && !options.totals {
        cli::print("[\n")?;
    }
    let mut out = String::new();
    let mut offset = 0;
    while offset < map.size {
        let mut progress = offset;
        for (length, kind) in extents(connection, position, offset)? {
            let length = length.min(map.size - progress);
            map.add(&mut out, Extent { offset: progress, length, kind });
            progress += length;
        }
        if progress == offset {
            return Err(anyhow!("The server does not tell of the extents from byte {offset} on"));
        }
        offset = progress;
        if !out.is_empty() {
            cli::print(&out)?;
            out.clear();
        }
    }
    map.finish(&mut out);
    cli::print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Lengths and types from `offset` on.
fn extents(connection: &Connection, position: usize, offset: u64) -> Result<Vec<(u64, u64)>> {
    let found = connection.block_status(offset, connection.info().size - offset, false);
    let found = found.map_err(|error| Complaint::of_request("nbd_block_status", "block-status", &error))?;
    let ours = found.into_iter().find(|found| found.context == position);
    let extents = ours.map(|found| found.extents).unwrap_or_default();
    Ok(extents.iter().map(|extent| (extent.length, extent.flags)).collect())
}

/// Extents on their way to be shown.
struct Map<'a> {
    context: &'a str,
    options: &'a Options,
    size: u64,
    /// It may still grow.
    last: Option<Extent>,
    totals: BTreeMap<u64, u64>,
}

impl Map<'_> {
    fn add(&mut self, out: &mut String, extent: Extent) {
        if self.options.totals {
            let total = self.totals.entry(extent.kind).or_default();
            *total = total.saturating_add(extent.length);
            return;
        }
        match &mut self.last {
            Some(last) if last.kind == extent.kind => last.length = last.length.saturating_add(extent.length),
            last => {
                if let Some(done) = last.replace(extent) {
                    self.one(out, &done, ",\n");
                }
            }
        }
    }

    /// Writing to a string cannot fail.
    fn one(&self, out: &mut String, Extent { offset, length, kind }: &Extent, separator: &str) {
        let known = describe(self.context, *kind);
        if self.options.json {
            let description = known
                .as_ref()
                .map_or(String::new(), |(text, _)| format!(", \"description\": {}", quoted(text)));
            let _ = write!(
                out,
                "{{ \"offset\": {offset}, \"length\": {length}, \"type\": {kind}{description}}}{separator}"
            );
            return;
        }
        let (text, colour, restore) = shown(known, self.options.colours, "  ");
        let _ = writeln!(out, "{colour}{offset:10}  {length:10}  {kind:3}{text}{restore}");
    }

    fn finish(self, out: &mut String) {
        if self.options.totals {
            return self.sums(out);
        }
        if let Some(last) = &self.last {
            self.one(out, last, "");
        }
        if self.options.json {
            out.push_str("\n]\n");
        }
    }

    fn sums(&self, out: &mut String) {
        let mut lines = Vec::new();
        for (kind, total) in &self.totals {
            let percent = 100.0 * (*total as f64) / (self.size as f64);
            let known = describe(self.context, *kind);
            if self.options.json {
                let description = known
                    .as_ref()
                    .map_or(String::new(), |(text, _)| format!(", \"description\": {}", quoted(text)));
                let percent = shortest(percent);
                lines.push(format!(
                    "{{ \"size\": {total}, \"percent\": {percent}, \"type\": {kind}{description} }}"
                ));
            } else {
                let (text, colour, restore) = shown(known, self.options.colours, " ");
                lines.push(format!("{colour}{total:10} {percent:5.1}% {kind:3}{text}{restore}\n"));
            }
        }
        match (self.options.json, lines.is_empty()) {
            (true, true) => out.push_str("[]\n"),
            (true, false) => {
                let _ = writeln!(out, "[\n{}\n]", lines.join(",\n"));
            }
            (false, _) => out.push_str(&lines.concat()),
        }
    }
}

/// How a type is coloured.
type Colour = fn(Colours) -> &'static str;

/// What a type means in a context, and its colour; nothing if it is not known.
fn describe(context: &str, kind: u64) -> Option<(String, Colour)> {
    let none: Colour = |_| "";
    let (text, colour): (_, Colour) = match (context, kind) {
        (ALLOCATION, 0) => ("data", Colours::bold_black),
        (ALLOCATION, 1) => ("hole", none),
        (ALLOCATION, 2) => ("zero", none),
        (ALLOCATION, 3) => ("hole,zero", none),
        ("qemu:allocation-depth", 0) => ("absent", none),
        ("qemu:allocation-depth", 1) => ("local", Colours::bold_white_on_black),
        ("qemu:allocation-depth", depth) => {
            return Some((format!("backing depth {depth}"), Colours::on_white));
        }
        (context, 0) if context.starts_with("qemu:dirty-bitmap:") => ("clean", Colours::green),
        (context, 1) if context.starts_with("qemu:dirty-bitmap:") => ("dirty", Colours::red),
        _ => return None,
    };
    Some((text.to_owned(), colour))
}

/// The description with `gap` in front, and what is written before and after the line.
fn shown(
    known: Option<(String, Colour)>,
    colours: Colours,
    gap: &str,
) -> (String, &'static str, &'static str) {
    let Some((text, colour)) = known else { return (String::new(), "", "") };
    let colour = colour(colours);
    (format!("{gap}{text}"), colour, if colour.is_empty() { "" } else { colours.restore() })
}

/// A percentage with at most six digits, without zeroes at the end, as C's `%g` has it.
fn shortest(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 {
        return format!("{}e-{:02}", trim(digits), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}
