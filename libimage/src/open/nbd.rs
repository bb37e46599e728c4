//! The `nbd` driver: an export that is named by a URI or by options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nbd_protocol::client::{Target, security};
use nbd_protocol::tls;
use nbd_protocol::uri::{self, Address, UriError};
use nbd_protocol::wire::DEFAULT_PORT;
use serde_json::{Map, json};

use super::describe::Described;
use super::driver::Driver;
use super::node::{Flags, Opening};
use super::option::number;
use super::{Contents, Image};
use crate::error::{Error, Result, describe};
use crate::spec::{Dict, TlsCredentials};
use crate::storage::{Nbd, NbdOptions};

impl Opening<'_> {
    /// Connects to the export that `filename`, or else the options, describe.
    pub(super) fn nbd(
        &mut self,
        filename: Option<OsString>,
        options: &mut Dict,
        flags: Flags,
    ) -> Result<Image> {
        // A file name among the options is none that this driver knows.
        let filename = filename.filter(|_| options.get("filename").is_none());
        options.take("filename");
        let (target, mut export, mut tls) = match filename {
            Some(name) => {
                let address = address(&name)?;
                let tls = security(&address).map_err(|error| Error::Invalid(describe(&error)))?;
                let export = Some(address.export).filter(|export| !export.is_empty());
                (Some(address.target), export, tls)
            }
            None => (None, None, None),
        };
        let target = match (target, target_of_options(options)?) {
            (Some(_), Some(_)) => {
                let what = "host/port/path and file names may not be specified at the same time";
                return Err(Error::Invalid(what.to_owned()));
            }
            (named, given) => named.or(given),
        };
        let target = target.ok_or_else(|| Error::Invalid(UriError::Missing.to_string()))?;
        if let Some(given) = text(options, "export") {
            export = Some(given);
        }
        let hostname = text(options, "tls-hostname");
        if let Some(id) = text(options, "tls-creds") {
            tls = Some(Arc::new(self.client_of(&id, hostname.as_deref(), &target)?));
        }
        let seconds = |value: Option<u64>| Duration::from_secs(value.unwrap_or(0).min(u64::from(u32::MAX)));
        let name = name(&target, export.as_deref());
        let described = described(&target, export.as_deref(), &name);
        let mut nbd = NbdOptions::new(target, export.unwrap_or_default(), name);
        nbd.read_only = flags.read_only;
        nbd.tls = tls;
        nbd.reconnect_delay = seconds(number(options, "reconnect-delay")?);
        nbd.open_timeout = seconds(number(options, "open-timeout")?);
        if let Some(bitmap) = text(options, "x-dirty-bitmap") {
            nbd.context = Some(bitmap);
        }
        let block = Arc::new(Nbd::open(nbd)?);
        Ok(Image::new(Driver::Nbd, Contents::Plain(block), described))
    }
}

impl Opening<'_> {
    /// The encryption that an object describes.
    fn client_of(&self, id: &str, hostname: Option<&str>, target: &Target) -> Result<tls::Client> {
        let credentials = self.context.objects.tls(id)?;
        if credentials.is_server() {
            return Err(Error::Invalid("Expecting TLS credentials with a client endpoint".to_owned()));
        }
        credentials.client(hostname, target)
    }
}

impl TlsCredentials {
    /// What a client with these credentials demands and proves. `hostname` is whom the server has to be, if not the
    /// host of `target`.
    ///
    /// # Errors
    /// When they are not there, or of a kind that protects from nobody.
    pub fn client(&self, hostname: Option<&str>, target: &Target) -> Result<tls::Client> {
        let credentials = self;
        let directory = credentials.get("dir").map(Path::new);
        let client = match credentials.kind {
            "x509" => {
                let host = match target {
                    Target::Tcp { host, .. } => Some(host.as_str()),
                    _ => None,
                };
                tls::Client::with_certificates(directory, hostname.or(host), credentials.verifies_peer())
            }
            "psk" => {
                let file = directory.unwrap_or(Path::new("/etc/pki/qemu")).join("keys.psk");
                tls::Client::with_key(&file, credentials.get("username").unwrap_or(tls::QEMU_USER))
            }
            other => {
                return Err(Error::Invalid(format!(
                    "Anonymous TLS credentials ({other}) protect from nobody: use tls-creds-x509 or tls-creds-psk"
                )));
            }
        };
        client.map_err(|error| Error::Invalid(describe(&error)))
    }
}

/// What a name says, which has to be one that QEMU would understand, or say more than QEMU can.
fn address(name: &OsStr) -> Result<Address> {
    let wrong = || Error::Invalid("No valid URL specified".to_owned());
    let text = std::str::from_utf8(name.as_bytes()).map_err(|_| wrong())?;
    let is_old = text.strip_prefix("nbd:").is_some_and(|rest| !rest.starts_with("//"));
    let address = uri::parse(text).map_err(|error| match error {
        UriError::Dash(_) => Error::Invalid(error.to_string()),
        _ if is_old => Error::Invalid(error.to_string()),
        _ => wrong(),
    })?;
    // A host where there has to be one, and none where there is a socket, whatever others make of it.
    let place =
        text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let has_host = !place.is_empty() && !place.starts_with(':');
    let is_complete = is_old || has_host != matches!(address.target, Target::Unix(_));
    if !address.unknown.is_empty() || !is_complete {
        return Err(wrong());
    }
    Ok(address)
}

/// The server that the options describe, in the newer way or in the older one.
fn target_of_options(options: &mut Dict) -> Result<Option<Target>> {
    let (path, host, port) = (text(options, "path"), text(options, "host"), text(options, "port"));
    let mut server = options.take_child("server");
    let invalid = |what: &str| Err(Error::Invalid(what.to_owned()));
    match (path, host) {
        (Some(_), Some(_)) => return invalid("path and host may not be used at the same time"),
        (None, None) => {}
        _ if !server.is_empty() => return invalid("Cannot use 'server' and path/host/port at the same time"),
        (Some(_), None) if port.is_some() => return invalid("port may not be used without host"),
        (Some(path), None) => return Ok(Some(Target::Unix(path.into()))),
        (None, Some(host)) => {
            let port = port.as_deref().map_or(Ok(DEFAULT_PORT), |port| number_of_port(&host, port))?;
            return Ok(Some(Target::Tcp { host, port }));
        }
    }
    if server.is_empty() {
        return Ok(None);
    }
    let mut need = |key: &str| {
        text(&mut server, key).ok_or_else(|| Error::Invalid(format!("Parameter '{key}' is missing")))
    };
    let target = match need("type")?.as_str() {
        "unix" => Target::Unix(need("path")?.into()),
        "inet" => {
            let host = need("host")?;
            let port = number_of_port(&host, &need("port")?)?;
            Target::Tcp { host, port }
        }
        "vsock" => {
            let parse = |key: &str, value: String| {
                value.parse().map_err(|_| Error::Invalid(format!("Failed to parse {key} '{value}'")))
            };
            Target::Vsock { cid: parse("cid", need("cid")?)?, port: parse("port", need("port")?)? }
        }
        "fd" => {
            return invalid(
                "A server cannot be reached by a descriptor here: use its path, or host and port",
            );
        }
        other => return invalid(&format!("Parameter 'type' does not accept value '{other}'")),
    };
    match server.iter().next() {
        Some((key, _)) => invalid(&format!("Parameter '{key}' is unexpected")),
        None => Ok(Some(target)),
    }
}

fn number_of_port(host: &str, port: &str) -> Result<u16> {
    port.parse().map_err(|_| {
        Error::Invalid(format!(
            "address resolution failed for {host}:{port}: Servname not supported for ai_socktype"
        ))
    })
}

fn text(options: &mut Dict, key: &str) -> Option<String> {
    options.take(key).map(|value| value.shown())
}

/// The name that opens the same again, as QEMU writes it.
fn name(target: &Target, export: Option<&str>) -> String {
    match (target, export) {
        (Target::Unix(path), Some(export)) => format!("nbd+unix:///{export}?socket={}", path.display()),
        (Target::Unix(path), None) => format!("nbd+unix://?socket={}", path.display()),
        (Target::Tcp { host, port }, export) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            let end = export.map(|export| format!("/{export}")).unwrap_or_default();
            format!("nbd://{host}:{port}{end}")
        }
        (Target::Vsock { .. }, export) => uri::format(target, export.unwrap_or_default(), false),
    }
}

fn described(target: &Target, export: Option<&str>, name: &str) -> Described {
    let mut options = Map::new();
    let server = match target {
        Target::Unix(path) => json!({ "path": path.to_string_lossy(), "type": "unix" }),
        Target::Tcp { host, port } => json!({ "host": host, "port": port.to_string(), "type": "inet" }),
        Target::Vsock { cid, port } => {
            json!({ "cid": cid.to_string(), "port": port.to_string(), "type": "vsock" })
        }
    };
    options.insert("server".to_owned(), server);
    if let Some(export) = export {
        options.insert("export".to_owned(), export.into());
    }
    Described { path: Some(PathBuf::from(name)), options, ..Described::default() }
}
