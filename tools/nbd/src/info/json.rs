//! Exports for programs.

use std::fmt::Write as _;

use nbd_protocol::client::Negotiated;

use super::details::Details;
use super::{human_size, properties, quoted};
use crate::origin::{is_extended, protocol};

/// The server, and `exports` out of `count`, which are nothing that needs to be mentioned if there is none and
/// not a `list` was asked for.
pub(super) fn whole(negotiated: &Negotiated, exports: &[Details], count: usize, list: bool) -> String {
    let mut out = format!("{{\n\"protocol\": {},\n", quoted(protocol(negotiated)));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\"TLS\": {},", negotiated.encrypted);
    let _ = write!(out, "\"structured\": {}", negotiated.structured);
    if is_extended() {
        let _ = write!(out, ",\n\"extended\": {}", negotiated.extended);
    }
    if list && (count == 0 || exports.is_empty()) {
        out += ",\n\"exports\": []";
    } else if !exports.is_empty() {
        let all: Vec<_> = exports.iter().map(one).collect();
        let _ = write!(out, ",\n\"exports\": [\n\t{} ]", all.join(",\n\t"));
    }
    out + "\n}\n"
}

fn one(export: &Details) -> String {
    let mut fields = vec![("export-name", quoted(&export.name))];
    for (name, text) in
        [("description", &export.description), ("content", &export.content), ("uri", &export.uri)]
    {
        fields.extend(text.as_ref().map(|text| (name, quoted(text))));
    }
    if !export.contexts.is_empty() {
        let contexts: Vec<_> = export.contexts.iter().map(|name| format!("\n\t\t{}", quoted(name))).collect();
        fields.push(("contexts", format!("[{}\n\t]", contexts.join(","))));
    }
    fields.extend(properties(export).into_iter().map(|(name, answer)| (name, answer.to_string())));
    if let Some(block) = export.block {
        fields.push(("block_size_minimum", block.minimum.to_string()));
        fields.push(("block_size_preferred", block.preferred.to_string()));
        fields.push(("block_size_maximum", block.maximum.to_string()));
    }
    fields.push(("export-size", export.size.to_string()));
    fields.push(("export-size-str", quoted(&human_size(export.size).0)));
    let lines: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{\n\t{}\n\t}}", lines.join(",\n\t"))
}
