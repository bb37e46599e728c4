//! `-L`: the exports of another server, as `qemu-nbd` shows them.

use std::fmt::Write as _;

use super::listen;
use anyhow::Result;
use nbd_protocol::client::{self, Error, ExportInfo, Greeting, Handshake, Target};
use nbd_protocol::tls;

/// The flags of an export, from the lowest bit after the first.
const FLAGS: [&str; 12] = [
    "readonly",
    "flush",
    "fua",
    "rotational",
    "trim",
    "zeroes",
    "df",
    "multi",
    "resize",
    "cache",
    "fast-zero",
    "block-status-payload",
];

/// An export, and what can be asked about it.
struct Export {
    name: String,
    description: Option<String>,
    info: ExportInfo,
    contexts: Vec<String>,
}

/// All exports of the server at `target`, as lines.
///
/// # Errors
/// When there is none, or it does not tell.
pub(super) fn lines(target: &Target, tls: Option<&tls::Client>) -> Result<String> {
    let (exports, extended) = exports(target, tls).map_err(|error| match error {
        Error::Refused(refusal) => anyhow::anyhow!(refusal.text()),
        other => other.into(),
    })?;
    let mut out = format!("exports available: {}\n", exports.len());
    for export in &exports {
        export.write(extended, &mut out);
    }
    Ok(out)
}

fn exports(target: &Target, tls: Option<&tls::Client>) -> client::Result<(Vec<Export>, bool)> {
    let mut handshake = match Handshake::begin(client::connect(target)?)? {
        Greeting::Newstyle(handshake) => handshake,
        Greeting::Oldstyle(connection) => {
            let info = connection.info().clone();
            let only = Export { name: String::new(), description: None, info, contexts: Vec::new() };
            return Ok((vec![only], false));
        }
    };
    if let Some(tls) = tls {
        handshake.start_tls(tls)?;
    }
    let extended = handshake.extended_headers()?;
    let structured = handshake.structured_replies()?;
    let mut exports = Vec::new();
    for listed in handshake.list()? {
        let info = match handshake.info(&listed.name) {
            Ok(info) => info,
            // Gone since.
            Err(Error::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let contexts = if structured { contexts(&mut handshake, &listed.name)? } else { Vec::new() };
        let description =
            Some(listed.description).filter(|text| !text.is_empty()).or(info.description.clone());
        exports.push(Export { name: listed.name, description, info, contexts });
    }
    handshake.abort();
    Ok((exports, extended))
}

fn contexts(handshake: &mut Handshake, export: &str) -> client::Result<Vec<String>> {
    match handshake.list_contexts(export, &[]) {
        Ok(contexts) => Ok(contexts.into_iter().map(|context| context.name).collect()),
        Err(Error::Refused(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Export {
    fn write(&self, extended: bool, out: &mut String) {
        // Writing to a text does not fail.
        let _ = writeln!(out, " export: '{}'", self.name);
        if let Some(description) = &self.description {
            let _ = writeln!(out, "  description: {description}");
        }
        let flags = self.info.flags.0;
        let _ = writeln!(out, "  size:  {}", self.info.size);
        let _ = write!(out, "  flags: 0x{flags:x} (");
        for (bit, name) in FLAGS.iter().enumerate() {
            if flags >> (bit + 1) & 1 != 0 {
                let _ = write!(out, " {name}");
            }
        }
        out.push_str(" )\n");
        if let Some(block) = &self.info.block {
            let _ = writeln!(out, "  min block: {}", block.minimum);
            let _ = writeln!(out, "  opt block: {}", block.preferred);
            let _ = writeln!(out, "  max block: {}", block.maximum);
        }
        let _ = writeln!(out, "  transaction size: {}-bit", if extended { 64 } else { 32 });
        if !self.contexts.is_empty() {
            let _ = writeln!(out, "  available meta contexts: {}", self.contexts.len());
        }
        for context in &self.contexts {
            let _ = writeln!(out, "   {context}");
        }
    }
}

/// Where `qemu-nbd` looks for a server.
///
/// # Errors
/// When the port is none.
pub(super) fn target(socket: Option<&std::path::Path>, host: &str, port: &str) -> Result<Target> {
    if let Some(path) = socket {
        return Ok(Target::Unix(path.to_owned()));
    }
    Ok(Target::Tcp { host: host.to_owned(), port: listen::port_number(host, port)? })
}
