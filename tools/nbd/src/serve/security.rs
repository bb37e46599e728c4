//! Whether connections are encrypted, and with what.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use libimage::spec::{Authorization, Objects};
use nbd_protocol::server::Security;
use nbd_protocol::stream::Encryption;
use nbd_protocol::tls;

use super::plan::TlsPlan;

impl TlsPlan {
    /// Connections can be encrypted.
    pub(super) fn is_on(&self) -> bool {
        let has_any = self.certificates.is_some() || self.psk.is_some() || self.object.is_some();
        self.mode.as_deref().map_or(has_any, |mode| mode != "off")
    }
}

/// What `plan` comes down to.
///
/// # Errors
/// When there are no credentials, or they are of no use.
pub(super) fn of(plan: &TlsPlan, objects: &Objects) -> Result<Security> {
    if !plan.is_on() {
        return Ok(Security::Plain);
    }
    if let Some(id) = &plan.object {
        let mut server = of_object(id, objects)?;
        if let Some(id) = &plan.authorization {
            server = server.judging(judge(objects.authorization(id)?.clone()));
        }
        return Ok(Security::Required(Arc::new(server)));
    }
    let server = match (&plan.psk, &plan.certificates) {
        (Some(_), Some(_)) => bail!("Either --tls-psk or --tls-certificates can be used, not both"),
        (Some(file), None) => tls::Server::with_keys(file),
        (None, Some(directory)) => tls::Server::with_certificates(directory, plan.verify_peer),
        (None, None) => {
            let Some(directory) = tls::default_directory("nbd") else {
                bail!("Encryption needs --tls-certificates or --tls-psk");
            };
            tls::Server::with_certificates(&directory, plan.verify_peer)
        }
    };
    let server: Arc<dyn Encryption> = Arc::new(server.context("Connections cannot be encrypted")?);
    Ok(match plan.mode.as_deref() {
        Some("on") => Security::Optional(server),
        _ => Security::Required(server),
    })
}

/// The credentials of an object, as QEMU has them.
fn of_object(id: &str, objects: &Objects) -> Result<tls::Server> {
    let could_not = |error| anyhow!("Failed to get TLS creds: {error}");
    let credentials = objects.tls(id).map_err(could_not)?;
    if !credentials.is_server() {
        bail!("Failed to get TLS creds: Expected TLS credentials for a server endpoint");
    }
    let directory = credentials.get("dir").map_or(Path::new("/etc/pki/qemu"), Path::new);
    let server = match credentials.kind {
        "x509" => tls::Server::with_certificates(directory, credentials.verifies_peer()),
        "psk" => tls::Server::with_keys(&directory.join("keys.psk")),
        _ => bail!(
            "Failed to get TLS creds: '{id}' is anonymous, which protects from nobody: use tls-creds-x509 or tls-creds-psk"
        ),
    };
    server.map_err(|error| anyhow!("Failed to get TLS creds: {}", libimage::error::describe(&error)))
}

/// Asks the object who may come in.
fn judge(authorization: Authorization) -> Arc<tls::Judge> {
    Arc::new(move |name| {
        authorization.allows(name).unwrap_or_else(|error| {
            eprintln!("{}: {}", cli::program(), libimage::error::describe(&error));
            false
        })
    })
}
