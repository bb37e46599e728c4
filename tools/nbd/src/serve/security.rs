//! Whether connections are encrypted, and with what.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nbd_protocol::server::Security;
use nbd_protocol::stream::Encryption;
use nbd_protocol::tls;

use super::plan::TlsPlan;

impl TlsPlan {
    /// Connections can be encrypted.
    pub(super) fn is_on(&self) -> bool {
        let has_any = self.certificates.is_some() || self.psk.is_some();
        self.mode.as_deref().map_or(has_any, |mode| mode != "off")
    }
}

/// What `plan` comes down to.
///
/// # Errors
/// When there are no credentials, or they are of no use.
pub(super) fn of(plan: &TlsPlan) -> Result<Security> {
    if !plan.is_on() {
        return Ok(Security::Plain);
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
