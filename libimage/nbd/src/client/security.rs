//! The encryption that a URI asks for.

use std::sync::Arc;

use super::error::{Error, Result};
use crate::tls;
use crate::uri::Address;

/// What a connection to `address` is encrypted with; nothing, if it is not to be.
///
/// # Errors
/// When files that are needed cannot be used.
pub fn security(address: &Address) -> Result<Option<Arc<tls::Client>>> {
    let client = tls::Client::for_address(address);
    client.map(|client| client.map(Arc::new)).map_err(|error| Error::Setup(Arc::new(error)))
}
