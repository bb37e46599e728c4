//! Takes a command line apart the way `getopt_long` does: letters together, values attached or apart, long
//! names cut short as long as they stay clear.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Required,
    /// Only attached: `--format=raw`.
    Optional,
}

/// An option: its letter, its long name, its value.
pub(crate) type Known = (Option<char>, &'static str, Value);

/// Something found: the long name of an option and its value.
pub(crate) type Found = (&'static str, Option<OsString>);

/// Reads options up to the first word that is none; returns them and the words from there on.
///
/// # Errors
/// A line that says what is wrong, without the program's name.
pub(crate) fn parse(known: &[Known], words: Vec<OsString>) -> Result<(Vec<Found>, Vec<OsString>), String> {
    let mut found = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.peek() {
        let bytes = word.as_bytes().to_vec();
        if bytes == b"--" {
            words.next();
            break;
        }
        if let Some(long) = bytes.strip_prefix(b"--") {
            words.next();
            let (name, attached) = match long.iter().position(|byte| *byte == b'=') {
                Some(at) => (&long[..at], Some(os(&long[at + 1..]))),
                None => (long, None),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            let (_, long, value) = find(known, &name)?;
            let value = match (value, attached) {
                (Value::None, Some(_)) => return Err(format!("option '--{long}' doesn't allow an argument")),
                (Value::Required, None) => {
                    Some(words.next().ok_or_else(|| format!("option '--{long}' requires an argument"))?)
                }
                (_, attached) => attached,
            };
            found.push((long, value));
            continue;
        }
        let Some(letters) = bytes.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else { break };
        words.next();
        let mut rest = letters;
        while let Some((&letter, after)) = rest.split_first() {
            let letter = char::from(letter);
            let option = known.iter().find(|(l, _, _)| *l == Some(letter));
            let (_, long, value) = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
            rest = after;
            if *value != Value::Required {
                found.push((long, None));
                continue;
            }
            let value = match rest {
                [] => words.next().ok_or_else(|| format!("option requires an argument -- '{letter}'"))?,
                attached => os(attached),
            };
            found.push((long, Some(value)));
            rest = &[];
        }
    }
    Ok((found, words.collect()))
}

fn os(bytes: &[u8]) -> OsString {
    std::ffi::OsStr::from_bytes(bytes).to_owned()
}

fn find(known: &[Known], name: &str) -> Result<Known, String> {
    if let Some(option) = known.iter().find(|(_, long, _)| *long == name) {
        return Ok(*option);
    }
    let mut close = known.iter().filter(|(_, long, _)| !name.is_empty() && long.starts_with(name));
    match (close.next(), close.next()) {
        (Some(option), None) => Ok(*option),
        (Some(_), Some(_)) => Err(format!("option '--{name}' is ambiguous")),
        _ => Err(format!("unrecognized option '--{name}'")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[
        (Some('a'), "add", Value::Required),
        (Some('i'), "inspector", Value::None),
        (None, "format", Value::Optional),
        (None, "key", Value::Required),
        (None, "keys-from-stdin", Value::None),
        (Some('r'), "ro", Value::None),
    ];

    fn parsed(line: &str) -> Result<(Vec<Found>, Vec<OsString>), String> {
        parse(KNOWN, line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_in_all_their_spellings() {
        let (found, rest) = parsed("-ira x -ay --add=z --add w --form=raw --format --keys -- -q").unwrap();
        let value = |text: &str| Some(OsString::from(text));
        assert_eq!(
            found,
            [
                ("inspector", None),
                ("ro", None),
                ("add", value("x")),
                ("add", value("y")),
                ("add", value("z")),
                ("add", value("w")),
                ("format", value("raw")),
                ("format", None),
                ("keys-from-stdin", None),
            ]
        );
        assert_eq!(rest, ["-q"]);
        assert_eq!(parsed("run : -cat x").unwrap().1.len(), 4);
        assert_eq!(parsed("- x").unwrap().1.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, complaint) in [
            ("--foo", "unrecognized option '--foo'"),
            ("-y", "invalid option -- 'y'"),
            ("-a", "option requires an argument -- 'a'"),
            ("--add", "option '--add' requires an argument"),
            ("--ro=1", "option '--ro' doesn't allow an argument"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), complaint);
        }
    }
}
