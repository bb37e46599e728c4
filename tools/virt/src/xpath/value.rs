//! Values of questions and how one kind becomes another: section 3 and 4 of the recommendation.

use super::node::Node;

/// What a question or a part of it is answered with.
#[derive(Debug, Clone)]
pub(super) enum Value<'d> {
    /// In the order of the document, each once.
    Nodes(Vec<Node<'d>>),
    Number(f64),
    Text(String),
    Bool(bool),
}

/// The order of the document; each node once.
pub(super) fn in_order(mut nodes: Vec<Node<'_>>) -> Vec<Node<'_>> {
    nodes.sort_by_key(Node::place);
    nodes.dedup_by_key(|node| node.place());
    nodes
}

impl Value<'_> {
    pub(super) fn to_text(&self) -> String {
        match self {
            Value::Nodes(nodes) => nodes.first().map(Node::text).unwrap_or_default(),
            Value::Number(number) => number_text(*number),
            Value::Text(text) => text.clone(),
            Value::Bool(yes) => yes.to_string(),
        }
    }

    pub(super) fn to_number(&self) -> f64 {
        match self {
            Value::Number(number) => *number,
            Value::Bool(yes) => f64::from(u8::from(*yes)),
            other => text_number(&other.to_text()),
        }
    }

    pub(super) fn to_bool(&self) -> bool {
        match self {
            Value::Nodes(nodes) => !nodes.is_empty(),
            Value::Number(number) => *number != 0.0 && !number.is_nan(),
            Value::Text(text) => !text.is_empty(),
            Value::Bool(yes) => *yes,
        }
    }

    /// `=`, `!=`, `<`, ...: of nodes, whether one of them compares so.
    pub(super) fn compares(&self, operator: &str, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Nodes(nodes), Value::Nodes(others)) => {
                let texts: Vec<String> = others.iter().map(Node::text).collect();
                nodes.iter().map(Node::text).any(|text| {
                    let text = Value::Text(text);
                    texts.iter().any(|other| text.compares_one(operator, &Value::Text(other.clone())))
                })
            }
            (Value::Nodes(_), Value::Bool(_)) => Value::Bool(self.to_bool()).compares_one(operator, other),
            (Value::Bool(_), Value::Nodes(_)) => self.compares_one(operator, &Value::Bool(other.to_bool())),
            (Value::Nodes(nodes), _) => {
                nodes.iter().any(|node| Value::Text(node.text()).compares_one(operator, other))
            }
            (_, Value::Nodes(nodes)) => {
                nodes.iter().any(|node| self.compares_one(operator, &Value::Text(node.text())))
            }
            _ => self.compares_one(operator, other),
        }
    }

    fn compares_one(&self, operator: &str, other: &Value<'_>) -> bool {
        let equal = || match (self, other) {
            (Value::Bool(_), _) | (_, Value::Bool(_)) => self.to_bool() == other.to_bool(),
            (Value::Number(_), _) | (_, Value::Number(_)) => self.to_number() == other.to_number(),
            _ => self.to_text() == other.to_text(),
        };
        match operator {
            "=" => equal(),
            "!=" => !equal(),
            "<" => self.to_number() < other.to_number(),
            "<=" => self.to_number() <= other.to_number(),
            ">" => self.to_number() > other.to_number(),
            _ => self.to_number() >= other.to_number(),
        }
    }
}

/// A number in a text, as the recommendation has numbers: no exponent, no plus sign.
fn text_number(text: &str) -> f64 {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    if is_number { text.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}

/// A number for people: 15 digits, with an exponent where it is very large or very small.
pub(super) fn number_text(number: f64) -> String {
    const LARGE: f64 = 1e9;
    const SMALL: f64 = 1e-5;
    const DIGITS: usize = 15;
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = number.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if number.fract() == 0.0 && size < f64::from(i32::MAX) {
        return format!("{number:.0}");
    }
    if (SMALL..=LARGE).contains(&size) {
        let before = if size >= 1.0 { format!("{:.0}", size.trunc()).len() } else { 0 };
        return trimmed(&format!("{number:.*}", DIGITS.saturating_sub(before))).to_owned();
    }
    let shown = format!("{number:.14e}");
    let (digits, power) = shown.split_once('e').unwrap_or((&shown, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{}e{sign}{power:0>2}", trimmed(digits))
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}
