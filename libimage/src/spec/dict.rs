//! A flat list of options, as all of the open code works with: keys with dots stand for the options of children.
//!
//! A key is there at most once. Keys are listed in the order in which QEMU lists them ([`json::key_order`]), so
//! that messages name the same option first.

use std::ffi::OsString;

use serde_json::{Map, Value};

use super::json;

/// The value of one option.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// JSON's null: explicitly nothing.
    Null,
    /// JSON's true and false.
    Bool(bool),
    /// A JSON number.
    Number(serde_json::Number),
    /// Text, perhaps a file name that is not UTF-8.
    Text(OsString),
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Scalar::Text(text.into())
    }
}

impl Scalar {
    /// The value as the text that options are parsed from.
    pub fn shown(&self) -> String {
        match self {
            Scalar::Null => String::new(),
            Scalar::Bool(true) => "on".to_owned(),
            Scalar::Bool(false) => "off".to_owned(),
            Scalar::Number(number) => number.to_string(),
            Scalar::Text(text) => text.to_string_lossy().into_owned(),
        }
    }

    /// The value as JSON has it.
    pub fn to_json(&self) -> Value {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(on) => Value::Bool(*on),
            Scalar::Number(number) => Value::Number(number.clone()),
            Scalar::Text(text) => Value::String(text.to_string_lossy().into_owned()),
        }
    }
}

/// Options by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dict {
    pairs: Vec<(String, Scalar)>,
}

impl Dict {
    /// The options in a JSON object, with dots where objects and lists are nested.
    pub fn flattened(object: &Map<String, Value>) -> Self {
        let mut dict = Dict::default();
        for (key, value) in object {
            dict.add_flattened(key, value);
        }
        dict
    }

    fn add_flattened(&mut self, key: &str, value: &Value) {
        let scalar = match value {
            Value::Object(object) => {
                for (inner, value) in object {
                    self.add_flattened(&format!("{key}.{inner}"), value);
                }
                return;
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.add_flattened(&format!("{key}.{index}"), value);
                }
                return;
            }
            Value::Null => Scalar::Null,
            Value::Bool(on) => Scalar::Bool(*on),
            Value::Number(number) => Scalar::Number(number.clone()),
            Value::String(text) => Scalar::Text(text.into()),
        };
        self.set(key, scalar);
    }

    /// Sets an option, whatever it was before.
    pub fn set(&mut self, key: &str, value: Scalar) {
        match self.pairs.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
    }

    /// Sets an option unless it is set.
    pub fn set_default(&mut self, key: &str, value: Scalar) {
        if self.get(key).is_none() {
            self.set(key, value);
        }
    }

    /// The value of an option.
    pub fn get(&self, key: &str) -> Option<&Scalar> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The value of an option that is text.
    pub fn text(&self, key: &str) -> Option<&OsString> {
        match self.get(key) {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Removes an option and returns its value.
    pub fn take(&mut self, key: &str) -> Option<Scalar> {
        let index = self.pairs.iter().position(|(k, _)| k == key)?;
        Some(self.pairs.remove(index).1)
    }

    /// Removes the options of a child and returns them under their own names: `file.filename` becomes `filename`.
    pub fn take_child(&mut self, child: &str) -> Dict {
        let mut taken = Dict::default();
        self.pairs.retain(|(key, value)| {
            match key.strip_prefix(child).and_then(|rest| rest.strip_prefix('.')) {
                Some(own) => {
                    taken.pairs.push((own.to_owned(), value.clone()));
                    false
                }
                None => true,
            }
        });
        taken
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All options, in the order in which QEMU would list them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Scalar)> {
        let mut pairs: Vec<_> = self.pairs.iter().map(|(key, value)| (key.as_str(), value)).collect();
        pairs.sort_by_key(|(key, _)| json::key_order(key));
        pairs.into_iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    #[test]
    fn children_take_what_is_theirs() {
        let mut dict = Dict::default();
        for key in ["file.filename", "filename", "file.file.driver", "files.x"] {
            dict.set(key, key.into());
        }
        let mut file = dict.take_child("file");
        assert_eq!(file.text("filename").unwrap(), "file.filename");
        assert_eq!(file.take_child("file").text("driver").unwrap(), "file.file.driver");
        assert_eq!(dict.iter().count(), 2);
    }
}
