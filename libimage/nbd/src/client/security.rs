//! The encryption that a URI asks for.

use std::sync::Arc;

use super::address::Target;
use super::error::{Error, Result};
use crate::tls;
use crate::uri::Address;

/// What a connection to `address` is encrypted with; nothing, if it is not to be.
///
/// # Errors
/// When files that are needed cannot be used.
pub fn security(address: &Address) -> Result<Option<Arc<tls::Client>>> {
    if !address.encrypted {
        return Ok(None);
    }
    let parameters = &address.tls;
    let client = match &parameters.psk_file {
        Some(file) => {
            let user = address.user.clone().or_else(|| std::env::var("USER").ok());
            let user = user.or_else(|| std::env::var("LOGNAME").ok()).unwrap_or_else(|| "root".to_owned());
            tls::Client::with_key(file, &user)
        }
        None => {
            let directory = parameters.certificates.clone().or_else(|| tls::default_directory("libnbd"));
            let host = match &address.target {
                Target::Tcp { host, .. } => Some(host.as_str()),
                // What is on the same machine has no name of its own.
                Target::Unix(_) | Target::Vsock { .. } => None,
            };
            let hostname = parameters.hostname.as_deref().or(host);
            let verify = parameters.verify_peer.unwrap_or(true);
            tls::Client::with_certificates(directory.as_deref(), hostname, verify)
        }
    };
    client.map(|client| Some(Arc::new(client))).map_err(|error| Error::Setup(Arc::new(error)))
}
