//! The functions of questions: section 4 of the recommendation.

use super::Error;
use super::eval::{Context, value};
use super::node::Node;
use super::parse::Expr;
use super::value::Value;

/// How many arguments each function takes, at least and at most.
const KNOWN: [(&str, usize, usize); 27] = [
    ("last", 0, 0),
    ("position", 0, 0),
    ("count", 1, 1),
    ("id", 1, 1),
    ("local-name", 0, 1),
    ("namespace-uri", 0, 1),
    ("name", 0, 1),
    ("string", 0, 1),
    ("concat", 2, usize::MAX),
    ("starts-with", 2, 2),
    ("contains", 2, 2),
    ("substring-before", 2, 2),
    ("substring-after", 2, 2),
    ("substring", 2, 3),
    ("string-length", 0, 1),
    ("normalize-space", 0, 1),
    ("translate", 3, 3),
    ("boolean", 1, 1),
    ("not", 1, 1),
    ("true", 0, 0),
    ("false", 0, 0),
    ("lang", 1, 1),
    ("number", 0, 1),
    ("sum", 1, 1),
    ("floor", 1, 1),
    ("ceiling", 1, 1),
    ("round", 1, 1),
];

/// Calls a function; those that may do without an argument are about the node at which one stands then.
pub(super) fn call<'d>(name: &str, arguments: &[Expr], at: Context<'d>) -> Result<Value<'d>, Error> {
    let Some((_, least, most)) = KNOWN.iter().find(|(known, _, _)| *known == name) else {
        return Err(Error::Evaluation(format!("there is no function '{name}'")));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        return Err(Error::Evaluation(format!("{name}() does not take {} arguments", arguments.len())));
    }
    let mut values = Vec::new();
    for argument in arguments {
        values.push(value(argument, at)?);
    }
    let here = || Value::Nodes(vec![at.node]);
    let first = values.first().cloned().unwrap_or_else(here);
    let text = |index: usize| values.get(index).map(Value::to_text).unwrap_or_default();
    let nodes = || match &first {
        Value::Nodes(nodes) => Ok(nodes.as_slice()),
        _ => Err(Error::Evaluation(format!("{name}() takes nodes"))),
    };
    let of_first = |ask: fn(&Node<'d>) -> String| -> Result<String, Error> {
        Ok(nodes()?.first().map(ask).unwrap_or_default())
    };
    Ok(match name {
        "last" => Value::Number(at.size as f64),
        "position" => Value::Number(at.position as f64),
        "count" => Value::Number(nodes()?.len() as f64),
        // No type of document declares any.
        "id" => Value::Nodes(Vec::new()),
        "name" => Value::Text(of_first(Node::name)?),
        "local-name" => Value::Text(of_first(|node| {
            let name = node.name();
            name.split_once(':').map_or(name.clone(), |(_, local)| local.to_owned())
        })?),
        "namespace-uri" => Value::Text(of_first(|node| node.namespace().to_owned())?),
        "string" => Value::Text(first.to_text()),
        "concat" => Value::Text(values.iter().map(Value::to_text).collect()),
        "starts-with" => Value::Bool(text(0).starts_with(&text(1))),
        "contains" => Value::Bool(text(0).contains(&text(1))),
        "substring-before" => {
            Value::Text(text(0).split_once(&text(1)).map(|(before, _)| before.to_owned()).unwrap_or_default())
        }
        "substring-after" => {
            Value::Text(text(0).split_once(&text(1)).map(|(_, after)| after.to_owned()).unwrap_or_default())
        }
        "substring" => {
            let length = values.get(2).map_or(f64::INFINITY, Value::to_number);
            Value::Text(substring(&text(0), values.get(1).map_or(f64::NAN, Value::to_number), length))
        }
        "string-length" => Value::Number(first.to_text().chars().count() as f64),
        "normalize-space" => {
            let text = first.to_text();
            let words = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
            Value::Text(words.collect::<Vec<_>>().join(" "))
        }
        "translate" => Value::Text(translated(&text(0), &text(1), &text(2))),
        "boolean" => Value::Bool(first.to_bool()),
        "not" => Value::Bool(!first.to_bool()),
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "lang" => Value::Bool(at.node.language().is_some_and(|found| is_language(found, &text(0)))),
        "number" => Value::Number(first.to_number()),
        "sum" => Value::Number(nodes()?.iter().map(|node| Value::Text(node.text()).to_number()).sum()),
        "floor" => Value::Number(first.to_number().floor()),
        "ceiling" => Value::Number(first.to_number().ceil()),
        _ => Value::Number(rounded(first.to_number())),
    })
}

/// Halves go up.
fn rounded(number: f64) -> f64 {
    (number + 0.5).floor()
}

/// Characters from a position, which counts from 1; what is outside of the text does not count.
fn substring(text: &str, start: f64, length: f64) -> String {
    let first = rounded(start);
    let end = first + rounded(length);
    let is_inside = |place: usize| {
        let place = place as f64 + 1.0;
        place >= first && place < end
    };
    text.chars().enumerate().filter(|(place, _)| is_inside(*place)).map(|(_, c)| c).collect()
}

/// Each character of `from` becomes the one at its place in `to`, or nothing.
fn translated(text: &str, from: &str, to: &str) -> String {
    let place = |c: char| from.chars().position(|other| other == c);
    text.chars()
        .filter_map(|c| match place(c) {
            Some(place) => to.chars().nth(place),
            None => Some(c),
        })
        .collect()
}

/// `en` is spoken where `en-GB` is.
fn is_language(found: &str, wanted: &str) -> bool {
    let (found, wanted) = (found.to_ascii_lowercase(), wanted.to_ascii_lowercase());
    found.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
