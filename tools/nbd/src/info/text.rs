//! Exports for people.

use std::fmt::Write as _;

use nbd_protocol::client::Negotiated;

use super::details::Details;
use super::{human_size, properties, quoted};
use crate::ansi::Colours;
use crate::origin::{is_extended, protocol};

/// The server, and all `exports`.
pub(super) fn whole(negotiated: &Negotiated, exports: &[Details], colours: Colours) -> String {
    let tls = if negotiated.encrypted { "with" } else { "without" };
    let packets = match negotiated {
        Negotiated { extended: true, .. } if is_extended() => "extended",
        Negotiated { structured: true, .. } => "structured",
        _ => "simple",
    };
    let protocol = protocol(negotiated);
    let (grey, restore) = (colours.grey(), colours.restore());
    let mut out = format!("{grey}protocol: {protocol} {tls} TLS, using {packets} packets\n{restore}");
    for export in exports {
        // Writing to a string cannot fail.
        let _ = one(&mut out, export, colours);
    }
    out
}

fn one(out: &mut String, export: &Details, colours: Colours) -> std::fmt::Result {
    writeln!(out, "{}export={}:", colours.bold_black(), quoted(&export.name))?;
    if let Some(description) = &export.description {
        writeln!(out, "\tdescription: {description}")?;
    }
    match human_size(export.size) {
        (human, true) => writeln!(out, "\texport-size: {} ({human})", export.size)?,
        (plain, false) => writeln!(out, "\texport-size: {plain}")?,
    }
    if let Some(content) = &export.content {
        writeln!(out, "\tcontent: {content}")?;
    }
    if let Some(uri) = &export.uri {
        writeln!(out, "\turi: {uri}")?;
    }
    write!(out, "{}{}", colours.restore(), colours.grey())?;
    if !export.contexts.is_empty() {
        writeln!(out, "\tcontexts:")?;
        for context in &export.contexts {
            writeln!(out, "\t\t{context}")?;
        }
    }
    for (name, answer) in properties(export) {
        match name {
            "is_rotational" => writeln!(out, "\t{name}: {answer}")?,
            "is_read_only" => writeln!(out, "{}\t{name}: {answer}", colours.restore())?,
            _ => {
                let colour = if answer { colours.green() } else { colours.red() };
                write!(out, "{colour}\t{name}: {answer}\n{}", colours.restore())?;
            }
        }
    }
    if let Some(block) = export.block {
        writeln!(out, "\tblock_size_minimum: {}", block.minimum)?;
        writeln!(out, "\tblock_size_preferred: {}", block.preferred)?;
        writeln!(out, "\tblock_size_maximum: {}", block.maximum)?;
    }
    Ok(())
}
