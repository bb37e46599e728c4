//! Small text files of guests, and what is found in their lines.
//!
//! Whatever a guest wrote is read as far as it makes sense; nothing in a file is an error.

use guestd_api::prelude::*;
use guestd_api::{Error, Result};

use super::is_file;

/// More than any release file or table needs; a larger one is not one.
const MAX_TEXT: i64 = 2 << 20;

/// The text of a file, or nothing if there is none that could be one.
pub(super) fn read_text(guest: &dyn Actions, path: &str) -> Result<String> {
    if !is_file(guest, path)? {
        return Ok(String::new());
    }
    let read = || {
        if guest.filesize(path)? > MAX_TEXT {
            return Ok(Vec::new());
        }
        guest.read_file(path)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(Error::Action { .. }) => Ok(String::new()),
        Err(other) => Err(other),
    }
}

/// The first line, without its end.
pub(super) fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// The variables of a file of `NAME=VALUE` lines, as they are written. Comments are skipped.
pub(super) fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

/// The first variable of that name that has a value.
pub(super) fn variable(text: &str, name: &str) -> Option<String> {
    let mut all = variables(text).filter(|(theirs, _)| *theirs == name);
    all.find_map(|(_, value)| Some(unquoted(value)).filter(|value| !value.is_empty()))
}

/// A value as the shell understands it, as far as release files go: quotes around the whole of it.
pub(super) fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(plain) = within('\'') {
        return plain.to_owned();
    }
    let Some(quoted) = within('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(&escaped) if character == '\\' && "$`\\\"".contains(escaped) => {
                text.push(escaped);
                characters.next();
            }
            _ => text.push(character),
        }
    }
    text
}

/// The number with which a text begins, and the one behind the dot after it.
pub(super) fn numbers(text: &str) -> Option<(i32, Option<i32>)> {
    let (major, rest) = number(text)?;
    let minor = rest.strip_prefix('.').and_then(number).map(|(minor, _)| minor);
    Some((major, minor))
}

fn number(text: &str) -> Option<(i32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A version anywhere in a text: the first two numbers with a dot between them, else the first number.
pub(super) fn version_in(text: &str) -> Option<(i32, i32)> {
    let starts = || {
        let mut before = ' ';
        text.char_indices().filter_map(move |(at, character)| {
            let begins = character.is_ascii_digit() && !before.is_ascii_digit();
            before = character;
            begins.then_some(at)
        })
    };
    let with_dot = starts().find_map(|at| match numbers(&text[at..]) {
        Some((major, Some(minor))) => Some((major, minor)),
        _ => None,
    });
    with_dot.or_else(|| starts().find_map(|at| numbers(&text[at..])).map(|(major, _)| (major, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_shell_would() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\nEMPTY=\n#X=1\nX=\"a\\\"\\n\"\n";
        assert_eq!(variable(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(variable(text, "ID").as_deref(), Some("debian"));
        assert_eq!(variable(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(variable(text, "X").as_deref(), Some("a\"\\n"));
        assert_eq!((variable(text, "EMPTY"), variable(text, "VERSION")), (None, None));
        assert_eq!((unquoted("\""), unquoted("'a\"")), ("\"".to_owned(), "'a\"".to_owned()));
    }

    #[test]
    fn versions_are_found_anywhere() {
        let found = ["v10.2b", "7 8.1.9", "R2 D2", "x", "", "4294967296.1", "1.x"].map(version_in);
        let expected = [Some((10, 2)), Some((8, 1)), Some((2, 0)), None, None, Some((1, 0)), Some((1, 0))];
        assert_eq!(found, expected);
    }
}
