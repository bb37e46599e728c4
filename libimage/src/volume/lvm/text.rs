//! The language in which LVM2 describes a group: sections with values, in text.

use std::collections::BTreeMap;

/// Sections lie in sections: group, volumes, volume, segment.
const MAX_DEPTH: usize = 8;

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `name { ... }`
    Section(Section),
    /// `name = 5`; what is not a whole number of 64 bits is not needed by anybody.
    Number(i64),
    /// `name = "text"`
    Text(String),
    /// `name = ["text", 5]`
    List(Vec<Value>),
}

/// Values by their names, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Section {
    values: BTreeMap<String, Value>,
    names: Vec<String>,
}

impl Section {
    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The number of a name.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.number()
    }

    /// The text of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The list of a name, empty if there is none.
    pub(super) fn list(&self, name: &str) -> &[Value] {
        self.get(name).map(Value::list).unwrap_or_default()
    }

    /// All names with their values, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.names.iter().filter_map(|name| self.values.get_key_value(name))
    }

    /// The sections in it, in order.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&String, &Section)> {
        self.iter().filter_map(|(name, value)| Some((name, value.section()?)))
    }

    fn insert(&mut self, name: String, value: Value) {
        if self.values.insert(name.clone(), value).is_none() {
            self.names.push(name);
        }
    }
}

impl Value {
    pub(super) fn section(&self) -> Option<&Section> {
        match self {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            // A single value may stand for a list of one.
            other => std::slice::from_ref(other),
        }
    }
}

/// Reads a whole description; `None` if it is not in this language.
pub(super) fn parse(text: &[u8]) -> Option<Section> {
    // Descriptions end with a zero byte.
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let mut reader = Reader { rest: text.get(..end)? };
    let section = reader.section(0)?;
    reader.rest.is_empty().then_some(section)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Skips white space and comments; the next byte, if any.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let blank = self.rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.rest = self.rest.get(blank..)?;
            match self.rest.first() {
                Some(b'#') => {
                    let line = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(line..)?;
                }
                next => return next.copied(),
            }
        }
    }

    fn take(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.rest = self.rest.get(1..)?;
        Some(next)
    }

    fn word(&mut self) -> Option<String> {
        self.peek()?;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-/".contains(byte);
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        let (word, rest) = self.rest.split_at_checked(length).filter(|_| length > 0)?;
        self.rest = rest;
        std::str::from_utf8(word).ok().map(str::to_owned)
    }

    /// What is in a section, up to its end or that of the text.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let mut section = Section::default();
        while let Some(next) = self.peek() {
            if next == b'}' {
                break;
            }
            let name = self.word()?;
            let value = match self.take()? {
                b'=' => self.value(depth)?,
                b'{' if depth < MAX_DEPTH => {
                    let inner = self.section(depth + 1)?;
                    (self.take()? == b'}').then_some(Value::Section(inner))?
                }
                _ => return None,
            };
            section.insert(name, value);
        }
        Some(section)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'"' => self.quoted().map(Value::Text),
            b'[' if depth < MAX_DEPTH => {
                self.take()?;
                let mut list = Vec::new();
                while self.peek()? != b']' {
                    list.push(self.value(depth + 1)?);
                    if self.peek()? == b',' {
                        self.take()?;
                    }
                }
                self.take()?;
                Some(Value::List(list))
            }
            _ => {
                let word = self.word()?;
                Some(word.parse().map_or(Value::Text(word), Value::Number))
            }
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut bytes = self.rest.iter().enumerate().skip(1);
        loop {
            match bytes.next()? {
                (_, b'\\') => text.push(*bytes.next()?.1),
                (at, b'"') => {
                    self.rest = self.rest.get(at + 1..)?;
                    return String::from_utf8(text).ok();
                }
                (_, byte) => text.push(*byte),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_values() {
        let text = "# made by hand\nvg {\n id = \"a-\\\"b\" # name\n n = 12 list = [\"x\", 0, \"y\", -1]\nempty = []\n in { } }\0rest";
        let all = parse(text.as_bytes()).unwrap();
        let vg = all.get("vg").unwrap().section().unwrap();
        assert_eq!(vg.get("id").unwrap().text(), Some("a-\"b"));
        assert_eq!(vg.get("n").unwrap().number(), Some(12));
        assert_eq!(vg.get("list").unwrap().list().len(), 4);
        assert_eq!(vg.get("list").unwrap().list()[3].number(), None);
        let names: Vec<_> = vg.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["id", "n", "list", "empty", "in"]);
        assert!(
            vg.get("empty").unwrap().list().is_empty()
                && vg.get("in").unwrap().section() == Some(&Section::default())
        );
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let deep = "a{".repeat(5000);
        let lists = format!("a={}", "[".repeat(5000));
        for text in ["a {", "a = [1, 2", "a = \"open", "a = ", "= 5", "}", "a b", &deep, &lists] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert!(parse(b"") == Some(Section::default()));
    }
}
