//! Names of exports: `nbd://HOST/NAME` and its kin, and the older `nbd:HOST:PORT`.

use std::path::PathBuf;

use crate::client::Target;
use crate::wire::DEFAULT_PORT;

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where the server is.
    pub target: Target,
    /// The name of the export, often empty.
    pub export: String,
    /// Nothing may go over the wire in the clear.
    pub encrypted: bool,
    /// The part in front of `@`.
    pub user: Option<String>,
    /// What was said about encryption.
    pub tls: TlsParameters,
    /// Parameters that mean nothing here.
    pub unknown: Vec<String>,
}

/// The `tls-...` parameters of a URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsParameters {
    /// The directory with `ca-cert.pem` and so on.
    pub certificates: Option<PathBuf>,
    /// The file with `user:key` lines.
    pub psk_file: Option<PathBuf>,
    /// The server has to prove who it is; true if nothing is said.
    pub verify_peer: Option<bool>,
    /// Whom it has to prove to be, if not the host of the URI.
    pub hostname: Option<String>,
}

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It has not the form of a URI.
    #[error("unable to parse URI: {0}")]
    Form(String),
    /// Another protocol.
    #[error("unknown NBD URI scheme: {0}")]
    Scheme(String),
    /// `nbd+unix` without a socket.
    #[error("cannot parse socket parameter from NBD URI (did you mean to use \"{0}:///?socket=...\"?)")]
    NoSocket(String),
    /// A socket for a scheme that has none.
    #[error(
        "socket parameter is incompatible with \"{scheme}:\" (did you mean to use \"{other}:///?socket=...\"?)"
    )]
    Socket {
        /// The scheme that was used.
        scheme: String,
        /// The one that was perhaps meant.
        other: String,
    },
    /// A parameter's value makes no sense.
    #[error("unknown {0} in URI: {1}")]
    Parameter(&'static str, String),
    /// A host's name that programs would take for an option.
    #[error("the host name '{0}' begins with a dash")]
    Dash(String),
    /// The older form, without a server.
    #[error("NBD server address missing")]
    Missing,
    /// The older form, without a port.
    #[error("error parsing address '{0}'")]
    Port(String),
    /// The older form, with a port that is no number.
    #[error("address resolution failed for {0}: Servname not supported for ai_socktype")]
    Service(String),
}

/// The schemes that this module knows.
const SCHEMES: [&str; 8] =
    ["nbd", "nbds", "nbd+tcp", "nbds+tcp", "nbd+unix", "nbds+unix", "nbd+vsock", "nbds+vsock"];

/// It is meant to be the name of an export, good or bad.
pub fn is_uri(name: &str) -> bool {
    name.split_once(':').is_some_and(|(scheme, _)| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()))
}

/// Reads any of the forms.
///
/// # Errors
/// When it has none of them.
pub fn parse(text: &str) -> Result<Address, UriError> {
    match text.strip_prefix("nbd:") {
        Some(rest) if !rest.starts_with("//") => parse_old(rest),
        _ => parse_uri(text),
    }
}

/// The parts of a URI, still encoded.
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = text.split_once(':')?;
    let rest = rest.split('#').next()?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let rest = rest.strip_prefix("//")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some(Parts { scheme, authority, path, query })
}

fn parse_uri(text: &str) -> Result<Address, UriError> {
    let form = || UriError::Form(text.to_owned());
    let parts = split(text).ok_or_else(form)?;
    let lower = parts.scheme.to_ascii_lowercase();
    let (encrypted, transport) = match lower.split_once('+').unwrap_or((&lower, "tcp")) {
        ("nbd", transport) => (false, transport),
        ("nbds", transport) => (true, transport),
        _ => return Err(UriError::Scheme(parts.scheme.to_owned())),
    };
    let (user, place) = match parts.authority.rsplit_once('@') {
        Some((user, place)) => (Some(decode(user).ok_or_else(form)?), place),
        None => (None, parts.authority),
    };
    // The path begins with the slash that ends the authority: that one is no part of the name.
    let export = decode(parts.path.strip_prefix('/').unwrap_or_default()).ok_or_else(form)?;
    let mut tls = TlsParameters::default();
    let mut socket = None;
    let mut unknown = Vec::new();
    for pair in parts.query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).ok_or_else(form)?;
        match key.to_ascii_lowercase().as_str() {
            // Of several the first counts; its name is written in small letters only.
            "socket" if key == "socket" => socket = socket.or(Some(value)),
            "tls-certificates" => tls.certificates = Some(value.into()),
            "tls-psk-file" => tls.psk_file = Some(value.into()),
            "tls-verify-peer" => tls.verify_peer = Some(boolean(&value)?),
            "tls-hostname" => tls.hostname = Some(value),
            _ => unknown.push(key.to_owned()),
        }
    }
    let target = match (transport, socket) {
        ("unix", Some(path)) => Target::Unix(path.into()),
        ("unix", None) => return Err(UriError::NoSocket(lower)),
        ("tcp" | "vsock", Some(_)) => {
            let other = if encrypted { "nbds+unix" } else { "nbd+unix" }.to_owned();
            return Err(UriError::Socket { scheme: lower, other });
        }
        ("tcp", None) => tcp(place).ok_or_else(form)??,
        ("vsock", None) => vsock(place).ok_or_else(form)?,
        _ => return Err(UriError::Scheme(parts.scheme.to_owned())),
    };
    Ok(Address { target, export, encrypted, user, tls, unknown })
}

/// `HOST[:PORT]`, the host perhaps in brackets; no host is this one, and port 0 is the usual one.
fn tcp(place: &str) -> Option<Result<Target, UriError>> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if !digits.is_empty() => digits.parse().ok()?,
        Some(_) => DEFAULT_PORT,
        None if port.is_empty() => DEFAULT_PORT,
        None => return None,
    };
    let host = match decode(host)? {
        empty if empty.is_empty() => "localhost".to_owned(),
        host => host,
    };
    if host.starts_with('-') {
        return Some(Err(UriError::Dash(host)));
    }
    Some(Ok(Target::Tcp { host, port: if port == 0 { DEFAULT_PORT } else { port } }))
}

/// `CID[:PORT]`; nothing is the host of this machine.
fn vsock(place: &str) -> Option<Target> {
    let (cid, port) = place.split_once(':').unwrap_or((place, ""));
    let number = |digits: &str, usual| if digits.is_empty() { Some(usual) } else { digits.parse().ok() };
    Some(Target::Vsock { cid: number(cid, 2)?, port: number(port, u32::from(DEFAULT_PORT))? })
}

fn boolean(value: &str) -> Result<bool, UriError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "y" | "yes" | "t" | "true" | "on" => Ok(true),
        "0" | "n" | "no" | "f" | "false" | "off" => Ok(false),
        _ => Err(UriError::Parameter("tls-verify-peer", value.to_owned())),
    }
}

/// Replaces `%41` by `A`. Nothing, if a percent sign is not followed by two such digits, or the result is no text.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let value = digit(0)? * 16 + digit(1)?;
        out.push(u8::try_from(value).ok().filter(|&value| value != 0)?);
        rest = after.get(2..)?;
    }
    String::from_utf8(out).ok()
}

/// What follows `nbd:` in the older forms: `HOST:PORT` or `unix:PATH`, then perhaps `:exportname=NAME`.
fn parse_old(text: &str) -> Result<Address, UriError> {
    let (place, export) = match text.split_once(":exportname=") {
        Some((_, "")) => return Err(UriError::Missing),
        Some((place, export)) => (place, export),
        None => (text, ""),
    };
    let target = match place.strip_prefix("unix:") {
        _ if place.is_empty() => return Err(UriError::Missing),
        Some(path) => Target::Unix(path.into()),
        None => {
            let wrong = || UriError::Port(place.to_owned());
            let (host, port) = match place.strip_prefix('[') {
                Some(rest) => rest.split_once("]:").ok_or_else(wrong)?,
                None => place.split_once(':').ok_or_else(wrong)?,
            };
            if host.starts_with('-') {
                return Err(UriError::Dash(host.to_owned()));
            }
            let host = if host.is_empty() { "localhost" } else { host }.to_owned();
            Target::Tcp { host, port: port.parse().map_err(|_| UriError::Service(place.to_owned()))? }
        }
    };
    let (user, tls) = (None, TlsParameters::default());
    Ok(Address { target, export: export.to_owned(), encrypted: false, user, tls, unknown: Vec::new() })
}

/// The URI that [`parse`] reads as this target and export.
pub fn format(target: &Target, export: &str, encrypted: bool) -> String {
    let scheme = if encrypted { "nbds" } else { "nbd" };
    let export = encode(export, b"/");
    match target {
        Target::Tcp { host, port } => {
            let host = if host.contains(':') { format!("[{host}]") } else { encode(host, b"") };
            let port = if *port == DEFAULT_PORT { String::new() } else { format!(":{port}") };
            format!("{scheme}://{host}{port}/{export}")
        }
        Target::Unix(path) => {
            let path = encode(&path.to_string_lossy(), b"/");
            format!("{scheme}+unix:///{export}?socket={path}")
        }
        Target::Vsock { cid, port } => format!("{scheme}+vsock://{cid}:{port}/{export}"),
    }
}

/// Writes everything but letters, digits, `-._~` and `also` as `%41`.
pub fn encode(text: &str, also: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> (String, String, bool) {
        let address = parse(text).unwrap();
        (address.target.to_string(), address.export, address.encrypted)
    }

    #[test]
    fn all_forms() {
        for (text, target, export, encrypted) in [
            ("nbd://h", "h:10809", "", false),
            ("nbd://h/", "h:10809", "", false),
            ("nbd://h:0/x", "h:10809", "x", false),
            ("NBD://h//d", "h:10809", "/d", false),
            ("nbd://user@h:5/a%20%2fb", "h:5", "a /b", false),
            ("nbd:///x", "localhost:10809", "x", false),
            ("nbds://[::1]:7/x#y", "::1:7", "x", true),
            ("nbd+tcp://h", "h:10809", "", false),
            ("nbd+unix:///n?socket=/tmp/a%26b", "/tmp/a&b", "n", false),
            ("nbds+unix://h/n?foo=1&socket=/s", "/s", "n", true),
            ("nbd+vsock://3:5/x", "3:5", "x", false),
            ("nbds+vsock:///x", "2:10809", "x", true),
            ("nbd:h:1", "h:1", "", false),
            ("nbd:[::1]:1:exportname=a:b", "::1:1", "a:b", false),
            ("nbd:unix:/p:q", "/p:q", "", false),
            ("nbd:unix:/p:exportname=%41", "/p", "%41", false),
        ] {
            assert_eq!(of(text), (target.to_owned(), export.to_owned(), encrypted), "{text}");
            assert!(is_uri(text));
        }
        let tls = parse("nbds://h/?tls-certificates=/c&tls-verify-peer=0&tls-hostname=o&tls-psk-file=/k")
            .unwrap()
            .tls;
        assert_eq!((tls.certificates.unwrap(), tls.psk_file.unwrap()), ("/c".into(), "/k".into()));
        assert_eq!((tls.verify_peer, tls.hostname.as_deref()), (Some(false), Some("o")));
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "nbd:",
            "nbd:h",
            "nbd:h:abc",
            "nbd:h:1:exportname=",
            "nbd://-h/",
            "nbd:-h:1",
            "nbd://h:99999/",
            "nbd://h/%4",
            "nbd://h/%00",
            "nbd+unix:///x",
            "nbd://h?socket=/x",
            "nbd+tls://x",
            "nbdx://h",
            "h",
            "nbd://[::1/",
            "",
            "nbds://h/?tls-verify-peer=maybe",
            "nbd+unix:/x?socket=/y",
            "nbd+vsock://a/",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(export in "\\PC{0,20}", path in "/\\PC{0,20}", host in "[a-z0-9.:]{1,12}", port in 1u16.., encrypted: bool) {
            for target in [Target::Unix(path.clone().into()), Target::Tcp { host: host.clone(), port }] {
                let address = parse(&format(&target, &export, encrypted)).unwrap();
                prop_assert_eq!((address.target, address.export, address.encrypted), (target, export.clone(), encrypted));
            }
        }

        #[test]
        fn nothing_panics(text in "nbds?(\\+unix|\\+vsock)?:(//)?[a-z%0-9:\\[\\]@?=&/#.-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
