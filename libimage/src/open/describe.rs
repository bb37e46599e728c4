//! What an opened node is called: its file's name where that alone opens the same again, else `json:{...}` with
//! everything that matters.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Driver, Image};
use crate::format::Format;
use crate::spec::{Dict, json};

/// The names of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Described {
    /// For messages.
    pub(super) name: String,
    /// The file that opens the same node again.
    pub(super) path: Option<PathBuf>,
    /// All that matters about the node, children included.
    pub(super) options: Map<String, Value>,
}

/// The options among `own` that change what a node shows.
pub(super) fn strong_options(driver: Driver, own: &Dict) -> Map<String, Value> {
    let names: &[&str] = match driver {
        Driver::File | Driver::HostDevice | Driver::Nbd => &[],
        Driver::Null(_) => &["size", "read-zeroes"],
        Driver::Format(Format::Raw) => &["offset", "size"],
        Driver::Format(_) => &["encrypt.key-secret", "key-secret"],
    };
    let pairs = own.iter().filter(|(key, _)| names.contains(key));
    pairs.map(|(key, value)| (key.to_owned(), value.to_json())).collect()
}

impl Described {
    /// Describes a node whose children are open and described.
    pub(super) fn of(image: &Image, strong: Map<String, Value>) -> Self {
        let overridden = image.backing_is_overridden();
        let plain = strong.is_empty() && !overridden && image.data_file.is_none() && image.header.is_none();
        let mut options = strong;
        options.insert("driver".to_owned(), image.driver.name().into());
        // What a server is reached by: only its own driver knows.
        options.extend(image.described.options.clone());
        let path = match (&image.file, &image.driver) {
            (Some(file), _) if plain && file.driver.is_protocol() => file.described.path.clone(),
            (Some(_), _) => None,
            (None, Driver::Null(name)) if plain => Some(format!("{name}://").into()),
            (None, Driver::Null(_)) => None,
            (None, _) => image.described.path.clone(),
        };
        if let (None, Some(path), Driver::File | Driver::HostDevice) = (&image.file, &path, image.driver) {
            options.insert("filename".to_owned(), path.to_string_lossy().into());
        }
        for (name, child) in image.children() {
            options.insert(name.to_owned(), Value::Object(child.described.options.clone()));
        }
        if overridden {
            let below = image.backing.as_deref();
            let value = below.map_or(Value::Null, |b| Value::Object(b.described.options.clone()));
            options.insert("backing".to_owned(), value);
        }
        let name = match &path {
            Some(path) => path.display().to_string(),
            None => format!("json:{}", json::line(&Value::Object(options.clone()))),
        };
        Described { name, path, options }
    }
}

impl Image {
    /// The backing file is not the one that the header names.
    fn backing_is_overridden(&self) -> bool {
        self.backing_given
            && match &self.backing {
                Some(backing) => self.header_backing().is_none_or(|name| name != backing.name()),
                None => self.header_backing().is_some(),
            }
    }

    fn header_backing(&self) -> Option<String> {
        self.qcow2().and_then(|qcow2| qcow2.backing_file().ok().flatten())
    }
}
