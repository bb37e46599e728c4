//! Lists of options such as `driver=qcow2,file.filename=NAME`, in which a doubled comma stands for one.

use super::dict::{Dict, Scalar};

/// Splits at commas; a doubled comma stands for one.
pub fn split_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends = c == ',' && chars.next_if_eq(&',').is_none();
        match parts.last_mut() {
            Some(part) if !ends => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// Understands the argument of `--image-opts`. A first word without `=` names a node that exists already; others
/// switch something on, or off with `no` in front of it.
pub(super) fn image_opts(text: &str, warn: &dyn Fn(&str)) -> Dict {
    let mut dict = Dict::default();
    if text.is_empty() {
        return dict;
    }
    let mut parts = split_commas(text);
    if parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    for (index, part) in parts.into_iter().enumerate() {
        match part.split_once('=') {
            // A name for the list itself.
            Some(("id", _)) => {}
            Some((key, value)) => dict.set(key, value.into()),
            None if index == 0 => dict.set("file", Scalar::Text(part.into())),
            None => {
                let (key, value) = match part.strip_prefix("no") {
                    Some(key) => (key, "off"),
                    None => (part.as_str(), "on"),
                };
                warn(&format!(
                    "short-form boolean option '{part}' deprecated\nPlease use {key}={value} instead"
                ));
                dict.set(key, value.into());
            }
        }
    }
    dict
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn commas() {
        assert_eq!(split_commas("a,b,,c,,,d"), ["a", "b,c,", "d"]);
        assert_eq!(split_commas("a,"), ["a", ""]);
    }

    #[test]
    fn lists() {
        let warnings = RefCell::new(Vec::new());
        let dict = image_opts("driver=qcow2,file.filename=a,,b,noread-only", &|w| {
            warnings.borrow_mut().push(w.to_owned());
        });
        assert_eq!(dict.text("file.filename").unwrap(), "a,b");
        assert_eq!(dict.text("read-only").unwrap(), "off");
        assert_eq!(warnings.borrow().len(), 1);
        assert_eq!(image_opts("b.q", &|_| ()).text("file").unwrap(), "b.q");
    }
}
