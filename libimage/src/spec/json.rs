//! JSON in QEMU's dialect: strings may also be quoted with apostrophes, and what is written has QEMU's order of
//! keys and its line breaks.
//!
//! Nesting is limited, so that no input can exhaust the stack.

use serde_json::{Map, Number, Value};

/// Objects and lists inside each other.
const MAX_DEPTH: usize = 128;

/// Reads one JSON value.
///
/// # Errors
/// Says what is wrong in QEMU's words.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    parser.skip_blanks();
    if parser.rest.is_empty() {
        return Err("Expecting a JSON value".to_owned());
    }
    let value = parser.value(0)?;
    parser.skip_blanks();
    match parser.rest.is_empty() {
        true => Ok(value),
        false => Err("JSON parse error, expecting end of input".to_owned()),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

fn wrong(what: &str) -> String {
    format!("JSON parse error, {what}")
}

impl Parser<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// The next character that is not blank.
    fn peek(&mut self) -> Result<char, String> {
        self.skip_blanks();
        self.rest.chars().next().ok_or_else(|| wrong("premature EOI"))
    }

    fn accept(&mut self, wanted: char) -> Result<bool, String> {
        let found = self.peek()? == wanted;
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        Ok(found)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(wrong("nesting too deep"));
        }
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '"' | '\'' => self.string().map(Value::String),
            '-' | '0'..='9' => self.number(),
            'a'..='z' => self.keyword(),
            _ => Err(wrong("expecting value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.accept('{')?;
        let mut object = Map::new();
        if self.accept('}')? {
            return Ok(Value::Object(object));
        }
        loop {
            let Value::String(key) = self.value(depth + 1)? else {
                return Err(wrong("key is not a string in object"));
            };
            if !self.accept(':')? {
                return Err(wrong("missing : in object pair"));
            }
            let value = self.value(depth + 1)?;
            if object.contains_key(&key) {
                return Err(wrong("duplicate key"));
            }
            object.insert(key, value);
            if self.accept('}')? {
                return Ok(Value::Object(object));
            }
            if !self.accept(',')? {
                return Err(wrong("expected separator in dict"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        self.accept('[')?;
        let mut list = Vec::new();
        if self.accept(']')? {
            return Ok(Value::Array(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.accept(']')? {
                return Ok(Value::Array(list));
            }
            if !self.accept(',')? {
                return Err(wrong("expected separator in list"));
            }
        }
    }

    fn keyword(&mut self) -> Result<Value, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            other => Err(wrong(&format!("invalid keyword '{other}'"))),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number: Number = word.parse().map_err(|_| wrong(&format!("Token '{word}' is not a number")))?;
        Ok(Value::Number(number))
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.peek()?;
        let mut out = String::new();
        let mut chars = self.rest.chars();
        chars.next();
        loop {
            match chars.next().ok_or_else(|| wrong("premature EOI"))? {
                c if c == quote => break,
                '\\' => out.push(escape(&mut chars)?),
                c if (c as u32) < 0x20 => return Err(wrong("stray control character in string")),
                c => out.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(out)
    }
}

/// What stands behind a backslash.
fn escape(chars: &mut std::str::Chars<'_>) -> Result<char, String> {
    let invalid = || wrong("invalid escape sequence in string");
    Ok(match chars.next().ok_or_else(|| wrong("premature EOI"))? {
        c @ ('"' | '\'' | '\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = hex4(chars).ok_or_else(invalid)?;
            let code = match first {
                0xd800..0xdc00 => {
                    let pair = chars.next() == Some('\\') && chars.next() == Some('u');
                    let second = hex4(chars).filter(|low| pair && (0xdc00..0xe000).contains(low));
                    let low = second.ok_or_else(invalid)?;
                    0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00)
                }
                other => other,
            };
            char::from_u32(code).filter(|&c| c != '\0').ok_or_else(invalid)?
        }
        _ => return Err(invalid()),
    })
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}

/// The place of a key among others: QEMU lists the keys of an object in the order of a table of 512 slots, found
/// by a hash of the key.
pub fn key_order(key: &str) -> u32 {
    const SLOTS: u32 = 512;
    let seed = 0x238f_13af_u32.wrapping_mul(key.len() as u32);
    let sum = key.bytes().enumerate().fold(seed, |sum, (i, byte)| {
        // Letters are spread over 24 bits, five bits apart.
        sum.wrapping_add(u32::from(byte) << (i * 5 % 24))
    });
    sum.wrapping_mul(1_103_515_243).wrapping_add(12_345) % SLOTS
}

/// One line: `{"driver": "raw", "file": {...}}`.
pub fn line(value: &Value) -> String {
    let mut out = String::new();
    write(value, None, &mut out);
    out
}

/// Many lines, four spaces a level, and a line break at the end.
pub fn lines(value: &Value) -> String {
    let mut out = String::new();
    write(value, Some(0), &mut out);
    out.push('\n');
    out
}

/// Writes a value; `level` is how far it is indented, if at all.
fn write(value: &Value, level: Option<usize>, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by_key(|(key, _)| key_order(key));
            out.push('{');
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                separate(index, level, out);
                write_string(key, out);
                out.push_str(": ");
                write(value, level.map(|level| level + 1), out);
            }
            break_line(level, out);
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                separate(index, level, out);
                write(value, level.map(|level| level + 1), out);
            }
            break_line(level, out);
            out.push(']');
        }
        Value::String(text) => write_string(text, out),
        other => out.push_str(&other.to_string()),
    }
}

fn separate(index: usize, level: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push_str(if level.is_some() { "," } else { ", " });
    }
    break_line(level.map(|level| level + 1), out);
}

fn break_line(level: Option<usize>, out: &mut String) {
    if let Some(level) = level {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", level));
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_serde_reads_and_apostrophes() {
        for text in
            [r#"{"a": [1, -2, 3.5e2, true, false, null], "b": {"c": "x\n\u00e4\ud83d\ude00"}}"#, "[]", " {} "]
        {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        assert_eq!(parse(r#"{'a': 'b"c'}"#).unwrap(), json!({"a": "b\"c"}));
    }

    #[test]
    fn mistakes_in_qemus_words() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error(""), "Expecting a JSON value");
        assert_eq!(error("{"), "JSON parse error, premature EOI");
        assert_eq!(error("{\"a"), "JSON parse error, premature EOI");
        assert_eq!(error("[}"), "JSON parse error, expecting value");
        assert!(parse(&"[".repeat(100_000)).is_err());
        for bad in ["{1:2}", "{\"a\"}", "[1 2]", "nope", "1 2", "\"\\x\"", "\"\\ud800\"", "--1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn writes_in_qemus_order() {
        // As qemu-img prints them.
        let value =
            json!({"file": {"filename": "a", "driver": "file"}, "size": 512, "driver": "raw", "offset": 1});
        assert_eq!(
            line(&value),
            r#"{"offset": 1, "driver": "raw", "size": 512, "file": {"driver": "file", "filename": "a"}}"#
        );
        assert_eq!(
            lines(&json!({"name": "x", "info": []})),
            "{\n    \"name\": \"x\",\n    \"info\": [\n    ]\n}\n"
        );
        assert_eq!(line(&json!("a\"\u{7f}\u{1f600}")), r#""a\"\u007F\uD83D\uDE00""#);
    }
}
