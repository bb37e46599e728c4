//! What may stand for an image on the command line: a file name, `file:NAME`, `json:{...}`, and with
//! `--image-opts` a list such as `driver=qcow2,file.filename=NAME`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use libimage::format::Format;
use serde_json::Value;

/// An image: where it is, and in which format if that was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) path: PathBuf,
    pub(crate) format: Option<Format>,
}

impl Spec {
    /// Understands a name.
    ///
    /// # Errors
    /// Says what is wrong with it, to follow "Could not open 'NAME': ".
    pub(crate) fn name(name: &OsStr) -> Result<Self, String> {
        let bytes = name.as_bytes();
        if bytes.is_empty() {
            return Err("The 'file' block driver requires a file name".to_owned());
        }
        let end = bytes.iter().position(|byte| b":/".contains(byte)).filter(|&at| bytes[at] == b':');
        let Some(end) = end else { return Ok(Spec { path: name.into(), format: None }) };
        let (scheme, rest) = (&bytes[..end], &bytes[end + 1..]);
        match scheme {
            b"file" => {
                let path = rest.strip_prefix(b"//").unwrap_or(rest);
                Ok(Spec { path: OsString::from_vec(path.to_vec()).into(), format: None })
            }
            b"json" => Self::json(rest),
            other => Err(format!("Unknown protocol '{}'", String::from_utf8_lossy(other))),
        }
    }

    /// Understands the `--image-opts` form.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn options(text: &OsStr) -> Result<Self, String> {
        let text = text.to_str().ok_or("the options are not valid UTF-8")?;
        if text.is_empty() {
            return Err("Must specify either driver or file".to_owned());
        }
        let mut pairs = Vec::new();
        for (index, word) in split_commas(text).into_iter().enumerate() {
            match word.split_once('=') {
                Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
                None if index == 0 => return Err(no_node(&word)),
                None => pairs.push((word, "on".to_owned())),
            }
        }
        Self::pairs(pairs)
    }

    fn json(text: &[u8]) -> Result<Self, String> {
        let could_not = |why: String| format!("Could not parse the JSON options: {why}");
        let value: Value = serde_json::from_slice(text).map_err(|e| match e.is_eof() {
            true => could_not("JSON parse error, premature EOI".to_owned()),
            false => could_not(format!("JSON parse error, {e}")),
        })?;
        let mut pairs = Vec::new();
        flatten("", &value, &mut pairs)?;
        Self::pairs(pairs)
    }

    fn pairs(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let get = |key: &str| pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        let driver = get("driver");
        if let Some(node) = get("file") {
            return Err(no_node(node));
        }
        let format = match driver {
            None | Some("file" | "host_device") => None,
            Some(name) => Some(Format::by_name(name).map_err(|_| format!("Unknown driver '{name}'"))?),
        };
        // The file alone, without a format above it, is what the raw format shows.
        let bare = matches!(driver, Some("file" | "host_device"));
        let (format, key) = if bare { (Some(Format::Raw), "filename") } else { (format, "file.filename") };
        for (name, value) in &pairs {
            match name.as_str() {
                "driver" => {}
                name if name == key => {}
                "file.driver" if matches!(value.as_str(), "file" | "host_device") => {}
                "file.driver" => return Err(format!("Unknown driver '{value}'")),
                other => {
                    let driver = driver.unwrap_or("raw");
                    return Err(format!("Block format '{driver}' does not support the option '{other}'"));
                }
            }
        }
        match get(key) {
            Some(path) => Ok(Spec { path: path.into(), format }),
            None => Err("A block device must be specified for \"file\"".to_owned()),
        }
    }
}

fn no_node(name: &str) -> String {
    format!("Cannot find device='{name}' nor node-name='{name}'")
}

/// Nested objects as keys with dots.
fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
    match value {
        Value::Object(object) => object.iter().try_for_each(|(key, value)| {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            flatten(&key, value, pairs)
        }),
        Value::String(text) if !prefix.is_empty() => {
            pairs.push((prefix.to_owned(), text.clone()));
            Ok(())
        }
        Value::Bool(on) if !prefix.is_empty() => {
            pairs.push((prefix.to_owned(), if *on { "on" } else { "off" }.to_owned()));
            Ok(())
        }
        Value::Number(number) if !prefix.is_empty() => {
            pairs.push((prefix.to_owned(), number.to_string()));
            Ok(())
        }
        _ => Err("Could not parse the JSON options: an object of options is expected".to_owned()),
    }
}

/// Splits at commas; a doubled comma stands for one.
pub(crate) fn split_commas(text: &str) -> Vec<String> {
    text.replace(",,", "\0").split(',').map(|part| part.replace('\0', ",")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &str, format: Option<Format>) -> Result<Spec, String> {
        Ok(Spec { path: path.into(), format })
    }

    #[test]
    fn names() {
        let name = |text: &str| Spec::name(OsStr::new(text));
        assert_eq!(name("a"), spec("a", None));
        assert_eq!(name("./a:b"), spec("./a:b", None));
        assert_eq!(name("file:a:b"), spec("a:b", None));
        assert_eq!(name("file:///x"), spec("/x", None));
        assert_eq!(name("foo:bar"), Err("Unknown protocol 'foo'".to_owned()));
        assert_eq!(
            name(r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"x"}}"#),
            spec("x", Some(Format::Qcow2))
        );
        for bad in ["", "json:{", "json:[]", "json:1", r#"json:{"file":{"driver":"nbd"}}"#] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists() {
        let list = |text: &str| Spec::options(OsStr::new(text));
        assert_eq!(list("driver=qcow2,file.filename=a,,b"), spec("a,b", Some(Format::Qcow2)));
        assert_eq!(list("file.filename=a"), spec("a", None));
        assert_eq!(list("driver=file,filename=a"), spec("a", Some(Format::Raw)));
        assert!(list("a").is_err_and(|e| e.contains("device='a'")));
        assert!(list("driver=qcow2,foo=1,file.filename=a").is_err_and(|e| e.contains("option 'foo'")));
    }
}
