//! What a server serves, from a file: JSON, with a list of exports and of places to listen at.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use libimage::open::CacheMode;
use nbd_protocol::client::Target;
use nbd_protocol::uri;
use serde_json::{Map, Value};

use super::listen::Place;
use super::plan::ExportPlan;

/// Reads `path`. `base` is what the command line says of every export.
///
/// # Errors
/// When it cannot be read, is no JSON, or has something in it that is not known.
pub(super) fn read(path: &Path, base: &ExportPlan) -> Result<(Vec<ExportPlan>, Vec<Place>)> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("Could not read '{shown}'"))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("'{shown}' is not JSON"))?;
    parse(value, base).with_context(|| format!("'{shown}' does not say what to serve"))
}

fn parse(value: Value, base: &ExportPlan) -> Result<(Vec<ExportPlan>, Vec<Place>)> {
    let Value::Object(mut top) = value else { bail!("It has to be an object: {{\"exports\": [...]}}") };
    let mut exports = Vec::new();
    for (index, value) in list(&mut top, "exports")?.into_iter().enumerate() {
        let Value::Object(object) = value else { bail!("Export {} is not an object", index + 1) };
        exports.push(export(object, base).with_context(|| format!("Export {}", index + 1))?);
    }
    if exports.is_empty() {
        bail!("It lists no exports");
    }
    let mut places = Vec::new();
    for value in list(&mut top, "listen")? {
        places.push(place(&text("listen", value)?)?);
    }
    nothing_left(&top)?;
    Ok((exports, places))
}

fn list(object: &mut Map<String, Value>, key: &str) -> Result<Vec<Value>> {
    match object.remove(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => bail!("'{key}' has to be a list"),
    }
}

fn text(key: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => bail!("'{key}' has to be a text"),
    }
}

fn nothing_left(object: &Map<String, Value>) -> Result<()> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => bail!("'{key}' is not known here"),
    }
}

/// Where a URI says that clients will look.
fn place(text: &str) -> Result<Place> {
    Ok(match uri::parse(text)?.target {
        Target::Tcp { host, port } => Place::Tcp { host, port: port.to_string() },
        Target::Unix(path) => Place::Unix(std::path::absolute(path)?),
        Target::Vsock { port, .. } => Place::Vsock { cid: u32::MAX, port },
    })
}

fn export(mut object: Map<String, Value>, base: &ExportPlan) -> Result<ExportPlan> {
    let mut plan = base.clone();
    let image = object.remove("image").ok_or_else(|| anyhow!("It has no 'image'"))?;
    plan.image = match image {
        Value::String(name) => OsString::from(name),
        Value::Object(options) => OsString::from(format!("json:{}", Value::Object(options))),
        _ => bail!("'image' has to be a name or options"),
    };
    let mut take = |key: &str| object.remove(key).map(|value| text(key, value)).transpose();
    plan.name = Some(take("name")?.unwrap_or_default());
    plan.description = take("description")?.or(plan.description);
    plan.format = take("format")?.or(plan.format);
    plan.snapshot = take("snapshot")?.or(plan.snapshot);
    plan.discard = take("discard")?.or(plan.discard);
    plan.detect_zeroes = take("detect-zeroes")?.or(plan.detect_zeroes);
    if let Some(mode) = take("cache")? {
        plan.cache = CacheMode::by_name(&mode).ok_or_else(|| anyhow!("There is no cache mode '{mode}'"))?;
    }
    let mut flag = |key: &str| match object.remove(key) {
        None => Ok(None),
        Some(Value::Bool(set)) => Ok(Some(set)),
        Some(_) => Err(anyhow!("'{key}' has to be true or false")),
    };
    plan.read_only = flag("read-only")?.unwrap_or(plan.read_only);
    plan.resizable = flag("resizable")?.unwrap_or(plan.resizable);
    plan.temporary = flag("temporary")?.unwrap_or(plan.temporary);
    plan.allocation_depth = flag("allocation-depth")?.unwrap_or(plan.allocation_depth);
    let mut number = |key: &str| match object.remove(key).map(|value| value.as_u64()) {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(anyhow!("'{key}' has to be a number")),
    };
    plan.offset = number("offset")?.unwrap_or(plan.offset);
    if let Some(partition) = number("partition")? {
        plan.partition = Some(u32::try_from(partition).context("'partition' is too large")?);
    }
    for (key, into) in [("bitmaps", &mut plan.bitmaps), ("filters", &mut plan.filters)] {
        for value in list(&mut object, key)? {
            into.push(text(key, value)?);
        }
    }
    nothing_left(&object)?;
    Ok(plan)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Vec<ExportPlan>, Vec<Place>)> {
        parse(serde_json::from_str(text).unwrap(), &ExportPlan::default())
    }

    #[test]
    fn all_that_can_be_said() {
        let (exports, places) = parsed(
            r#"{"listen": ["nbd://127.0.0.1:99", "nbd+unix:///?socket=/run/x"],
                "exports": [{"name": "a", "image": "a.qcow2", "format": "qcow2", "read-only": true,
                             "snapshot": "s", "cache": "none", "bitmaps": ["b"], "filters": ["cow"], "partition": 2},
                            {"image": {"driver": "raw", "file.filename": "x"}, "offset": 512}]}"#,
        )
        .unwrap();
        assert_eq!(places[0], Place::Tcp { host: "127.0.0.1".to_owned(), port: "99".to_owned() });
        assert_eq!(places[1], Place::Unix("/run/x".into()));
        assert_eq!(exports[0].name.as_deref(), Some("a"));
        assert!(exports[0].read_only && exports[0].partition == Some(2));
        assert_eq!(exports[1].offset, 512);
        assert!(exports[1].image.to_str().unwrap().starts_with("json:{"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, what) in [
            (r#"[]"#, "object"),
            (r#"{}"#, "no exports"),
            (r#"{"exports": [{}]}"#, "Export 1"),
            (r#"{"exports": [{"image": "x", "nmae": "y"}]}"#, "Export 1"),
            (r#"{"exports": [{"image": "x"}], "port": 1}"#, "'port'"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
