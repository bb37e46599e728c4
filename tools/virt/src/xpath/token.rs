//! The words of a question: section 3.7 of the recommendation.

use super::Error;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A mark: `(`, `//`, `!=`, ...; or an operator that is a name: `and`, `div`, ...
    Mark(&'static str),
    /// `name`, `prefix:name`, `prefix:*`
    Name(String),
    /// A name that a parenthesis follows.
    Function(String),
    /// A name that `::` follows.
    Axis(String),
    /// `"text"`
    Literal(String),
    /// `1.5`
    Number(f64),
}

const MARKS: [&str; 21] = [
    "(", ")", "[", "]", "..", ".", "@", ",", "::", "//", "/", "|", "+", "-", "!=", "=", "<=", "<", ">=", ">",
    "$",
];

/// Takes a question apart: each word with the place of its first byte, from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Error> {
    let mut found: Vec<(Token, usize)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let wrong = |what: &str| Error::Query { what: what.to_owned(), at };
        // After an operand a star multiplies, and some names are operators.
        let after_operand = found.last().is_some_and(|(token, _)| match token {
            Token::Mark(mark) => matches!(*mark, ")" | "]" | ".." | "." | "*n"),
            Token::Name(_) | Token::Literal(_) | Token::Number(_) => true,
            Token::Function(_) | Token::Axis(_) => false,
        });
        let (token, after) = if first == '"' || first == '\'' {
            let (literal, after) =
                rest[1..].split_once(first).ok_or_else(|| wrong("a quote is not closed"))?;
            (Token::Literal(literal.to_owned()), after)
        } else if first == '*' {
            (Token::Mark(if after_operand { "*" } else { "*n" }), &rest[1..])
        } else if let Some((number, after)) = number(rest) {
            (Token::Number(number), after)
        } else if let Some(mark) = MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
            (Token::Mark(mark), &rest[mark.len()..])
        } else {
            let (name, after) = name(rest).ok_or_else(|| wrong("a character is not expected"))?;
            let operator = ["and", "or", "mod", "div"].into_iter().find(|operator| *operator == name);
            let next = after.trim_start();
            match operator.filter(|_| after_operand) {
                Some(operator) => (Token::Mark(operator), after),
                None if next.starts_with("::") => (Token::Axis(name.to_owned()), after),
                None if next.starts_with('(') => (Token::Function(name.to_owned()), after),
                None => (Token::Name(name.to_owned()), after),
            }
        };
        found.push((token, at));
        rest = after;
    }
}

/// Digits with a point somewhere; as a convenience of many implementations, an exponent.
fn number(text: &str) -> Option<(f64, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    let mut end = whole;
    if text[end..].starts_with('.') {
        let fraction = digits(&text[end + 1..]);
        if whole == 0 && fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    if end == 0 {
        return None;
    }
    if let Some(power) = text[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(power.starts_with(['+', '-']));
        let length = digits(&power[sign..]);
        if length > 0 {
            end += 1 + sign + length;
        }
    }
    Some((text[..end].parse().unwrap_or(f64::NAN), &text[end..]))
}

/// A name, perhaps with a prefix; the colons of `axis::` are not part of it.
fn name(text: &str) -> Option<(&str, &str)> {
    let part = |text: &str| {
        let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let more = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}'));
        if starts { text.find(more).unwrap_or(text.len()) } else { 0 }
    };
    let mut end = part(text);
    if end == 0 {
        return None;
    }
    if let Some(local) = text[end..].strip_prefix(':') {
        match part(local) {
            0 if local.starts_with('*') => end += 2,
            0 => {}
            length => end += 1 + length,
        }
    }
    Some(text.split_at(end))
}
