//! What `-a` is given: a file's name, or a URI of one.

use anyhow::Result;
use guestd_api::GuestString;
use guestd_api::actions::launch::AddDriveOptions;
use guestd_api::prelude::*;

/// Adds the disk that a word names.
///
/// # Errors
/// When there is no such disk, or none that can be used.
pub fn add(guest: &dyn Actions, word: &str, mut opts: AddDriveOptions) -> Result<()> {
    let (name, protocol, server) = match split(word) {
        None => (word.to_owned(), None, None),
        Some(("file", rest)) => (decode(rest), None, None),
        Some((protocol, rest)) => {
            let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
            (decode(path), Some(protocol), (!server.is_empty()).then_some(server))
        }
    };
    opts.protocol = protocol.map(GuestString::from);
    opts.server = server.map(|server| vec![server.into()]);
    Ok(guest.add_drive(&name, opts)?)
}

/// `PROTOCOL://REST`
fn split(word: &str) -> Option<(&str, &str)> {
    let (protocol, rest) = word.split_once("://")?;
    let is_name = protocol.starts_with(|c: char| c.is_ascii_alphabetic())
        && protocol.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_name.then_some((protocol, rest))
}

/// `%20` is a blank.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_and_names() {
        assert_eq!(split("nbd://host:1/x"), Some(("nbd", "host:1/x")));
        assert_eq!((split("/a/b"), split("a:b"), split("/x://y")), (None, None, None));
        assert_eq!((decode("/a%20b%zz"), decode("%")), ("/a b%zz".into(), "%".into()));
    }
}
