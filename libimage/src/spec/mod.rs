//! What may stand for an image: a file name, `file:NAME`, `json:{...}`, or with `--image-opts` a list such as
//! `driver=qcow2,file.filename=NAME`.
//!
//! All of them come down to one flat list of options ([`Dict`]) whose keys have dots where a node has children:
//! `file.filename`, `backing.file.driver`. Nothing is opened here; [`crate::open`] takes the options apart, each
//! node its own, and complains about what is left.

mod authorization;
mod dict;
pub mod json;
mod keyval;
mod objects;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use authorization::{Authorization, Rules};
pub use dict::{Dict, Scalar};
pub use keyval::split_commas;
pub use objects::{Objects, TlsCredentials, object_help};

use crate::error::{Error, Result};

/// How one image is named: by a name, by options, or by both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    /// The name of its lowest node, if that is not among the options.
    pub(crate) name: Option<Name>,
    /// What was said about its nodes.
    pub(crate) options: Dict,
}

/// A name, and whether it may begin with a protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: OsString,
    pub(crate) is_path: bool,
}

impl Spec {
    /// A local file, whatever its name looks like.
    pub fn path(path: &Path) -> Self {
        let name = Name { text: path.as_os_str().to_owned(), is_path: true };
        Spec { name: Some(name), options: Dict::default() }
    }

    /// A name as users give it and image headers hold it: a file name, `file:NAME`, `null-co://`, `json:{...}`.
    ///
    /// # Errors
    /// When the JSON makes no sense.
    pub fn name(name: &OsStr) -> Result<Self> {
        let Some(text) = name.as_bytes().strip_prefix(b"json:") else {
            let name = Name { text: name.to_owned(), is_path: false };
            return Ok(Spec { name: Some(name), options: Dict::default() });
        };
        let could_not = |why: String| Error::Invalid(format!("Could not parse the JSON options: {why}"));
        let text = std::str::from_utf8(text)
            .map_err(|_| could_not("JSON parse error, invalid UTF-8 sequence in string".to_owned()))?;
        match json::parse(text).map_err(could_not)? {
            serde_json::Value::Object(object) => Ok(Spec { name: None, options: Dict::flattened(&object) }),
            _ => Err(Error::Invalid("Invalid JSON object given".to_owned())),
        }
    }

    /// The list that `--image-opts` announces. `warn` hears of forms that are out of date.
    ///
    /// # Errors
    /// When it is not valid UTF-8.
    pub fn image_opts(text: &OsStr, warn: &dyn Fn(&str)) -> Result<Self> {
        let text =
            text.to_str().ok_or_else(|| Error::Invalid("The options are not valid UTF-8".to_owned()))?;
        Ok(Spec { name: None, options: keyval::image_opts(text, warn) })
    }

    /// The same image, with this option where it does not have it already.
    #[must_use]
    pub fn with_default(mut self, key: &str, value: &str) -> Self {
        self.options.set_default(key, value.into());
        self
    }

    /// The same image, said to be of this format.
    #[must_use]
    pub fn with_driver(mut self, driver: &str) -> Self {
        self.options.set("driver", driver.into());
        self
    }
}

/// The part before a colon that comes before any slash: `json`, `nbd`, `http`.
pub fn protocol(name: &OsStr) -> Option<&[u8]> {
    let bytes = name.as_bytes();
    let end = bytes.iter().position(|byte| b":/".contains(byte))?;
    if bytes.get(end) == Some(&b':') { bytes.get(..end) } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn json_names_become_flat_options() {
        let spec = Spec::name(OsStr::new(
            r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"x"},"backing":null,'file.locking':"off"}"#,
        ))
        .unwrap();
        assert_eq!(spec.name, None);
        assert_eq!(spec.options.text("file.filename").unwrap(), "x");
        assert_eq!(spec.options.text("file.locking").unwrap(), "off");
        assert_eq!(spec.options.get("backing"), Some(&Scalar::Null));
        let error = |text: &str| Spec::name(OsStr::new(text)).unwrap_err().to_string();
        assert_eq!(error("json:[]"), "Invalid JSON object given");
        assert_eq!(error("json:{"), "Could not parse the JSON options: JSON parse error, premature EOI");
    }

    #[test]
    fn protocols_end_before_the_first_slash() {
        assert_eq!(protocol(OsStr::new("nbd://x")), Some(&b"nbd"[..]));
        assert_eq!(protocol(OsStr::new("./a:b")), None);
        assert_eq!(protocol(OsStr::new("a")), None);
        assert_eq!(protocol(OsStr::new("")), None);
    }
}
