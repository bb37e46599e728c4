//! Takes out of a program's output what cannot be the same twice: where it ran, when, and what the file
//! system made of it.

use std::path::Path;

use serde_json::Value;

/// Output without the path of `directory`, disk usage, times and random numbers. JSON is sorted by key.
pub(super) fn normal(bytes: &[u8], directory: &Path) -> String {
    let text = String::from_utf8_lossy(bytes).replace(&directory.display().to_string(), "DIRECTORY");
    // One document, or one after the other.
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    if let Ok(mut documents) = documents.collect::<Result<Vec<_>, _>>()
        && !documents.is_empty()
        && documents.iter().all(|value| value.is_object() || value.is_array())
    {
        documents.iter_mut().for_each(strip);
        return documents.iter().map(|value| format!("{value:#}")).collect::<Vec<_>>().join("\n");
    }
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Removes what may differ from a JSON document, and sorts its keys.
pub(super) fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in ["actual-size", "date-sec", "date-nsec", "uuid", "iters", "master-key-iters"] {
                object.remove(key);
            }
            object.sort_keys();
            object.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn line(line: &str) -> String {
    if let Some((before, _)) = line.split_once("disk size: ") {
        return format!("{before}disk size: SIZE");
    }
    // How many iterations there are depends on how fast this machine just was.
    for chance in ["uuid: ", "iters: "] {
        if let Some((before, _)) = line.split_once(chance) {
            return format!("{before}{chance}CHANCE");
        }
    }
    // A date is ten characters, a blank, and a time of eight.
    let bytes = line.as_bytes();
    let date = |window: &[u8]| {
        window.iter().zip(b"0000-00-00 00:00:00").all(|(have, form)| match form {
            b'0' => have.is_ascii_digit(),
            _ => have == form,
        })
    };
    match bytes.windows(19).position(date) {
        Some(at) => format!(
            "{}DATE{}",
            String::from_utf8_lossy(&bytes[..at]),
            String::from_utf8_lossy(&bytes[at + 19..])
        ),
        None => line.to_owned(),
    }
}

/// What is left of two texts when the lines that they begin and end with alike are left out.
pub(super) fn differing_lines(expected: &str, found: &str) -> (String, String) {
    let (mut a, mut b): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    while !a.is_empty() && a.last() == b.last() {
        a.pop();
        b.pop();
    }
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    (a.split_off(same).join("\n"), b.split_off(same).join("\n"))
}
