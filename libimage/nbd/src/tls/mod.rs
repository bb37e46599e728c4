//! Encryption of connections (TLS): with certificates, or with keys that both sides know.
//!
//! | what | spoken | by |
//! |---|---|---|
//! | certificates (x509) | TLS 1.2 and 1.3 | rustls |
//! | shared keys (PSK) | TLS 1.3, with a key exchange | [`psk`], for rustls has none |
//! | nothing (anonymous) | not at all: it protects from nobody who can change what is on the way | |
//!
//! Files have the names and forms that QEMU, libnbd and nbdkit give them. Private keys that are themselves
//! encrypted are not read.

mod certificates;
mod failure;
mod files;
mod name;
mod psk;
mod session;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use files::default_directory;

use crate::client::Target;
use crate::stream::{Encryption, Stream};
use crate::uri::Address;

/// The user that QEMU names when it is not told another.
pub const QEMU_USER: &str = "qemu";

/// Why encryption cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file could not be read.
    #[error("Could not read '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not what it should have.
    #[error("There is no {what} in '{}'; it has to be in PEM's form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// A certificate or key is of no use.
    #[error("'{}' cannot be used, or does not go with its key", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Nobody can be trusted with these.
    #[error("The authorities in '{}' cannot be used: {reason}", path.display())]
    Authorities {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of keys has none for a user.
    #[error("'{}' has no key for the user '{user}'; it takes a line '{user}:KEY'", path.display())]
    NoUser {
        /// The file.
        path: PathBuf,
        /// The user.
        user: String,
    },
    /// A server cannot have this name.
    #[error("'{name}' is no host name that a certificate could be for")]
    Name {
        /// The name.
        name: String,
    },
}

impl SetupError {
    fn read(path: &Path, source: io::Error) -> Self {
        SetupError::Read { path: path.to_owned(), source }
    }

    fn authorities(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        SetupError::Authorities { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Says whether somebody may come in, by name.
pub type Judge = dyn Fn(&str) -> bool + Send + Sync;

/// What a server proves to its clients, and demands of them.
pub struct Server(ServerKind);

enum ServerKind {
    Certificates(certificates::Server),
    SharedKeys(psk::Server),
}

impl Server {
    /// A server with the certificate in `directory` (`server-cert.pem`, `server-key.pem`). If `verify_peer`, clients
    /// need one that an authority in `ca-cert.pem` signed and that is not in `ca-crl.pem`.
    ///
    /// # Errors
    /// When a file is missing or of no use.
    pub fn with_certificates(directory: &Path, verify_peer: bool) -> Result<Self, SetupError> {
        Ok(Server(ServerKind::Certificates(certificates::Server::new(directory, verify_peer)?)))
    }

    /// Of those who have proved who they are by a certificate only those get in of whom `judge` says so, by the subject of the
    /// certificate. Whoever is let in without a certificate, or with a key, is not judged.
    #[must_use]
    pub fn judging(mut self, judge: Arc<Judge>) -> Self {
        if let ServerKind::Certificates(server) = &mut self.0 {
            server.judge = Some(judge);
        }
        self
    }

    /// A server that knows the keys in `file`, which has lines `USER:KEY`. It is read again for each client.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn with_keys(file: &Path) -> Result<Self, SetupError> {
        Ok(Server(ServerKind::SharedKeys(psk::Server::new(file)?)))
    }
}

impl Encryption for Server {
    fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        match &self.0 {
            ServerKind::Certificates(server) => server.begin(stream),
            ServerKind::SharedKeys(server) => server.begin(stream),
        }
    }
}

/// What a client demands of a server, and proves to it.
pub struct Client(ClientKind);

enum ClientKind {
    Certificates(certificates::Client),
    SharedKey(psk::Client),
}

impl Client {
    /// A client that trusts the authorities in `directory` (`ca-cert.pem`, without those in `ca-crl.pem`), or those of
    /// the system if there is none, and shows the certificate there (`client-cert.pem`, `client-key.pem`) if there is
    /// one. The server has to be `hostname`; its name does not matter if that is not known. If not `verify_peer`, any
    /// server will do.
    ///
    /// # Errors
    /// When a file is missing or of no use.
    pub fn with_certificates(
        directory: Option<&Path>,
        hostname: Option<&str>,
        verify_peer: bool,
    ) -> Result<Self, SetupError> {
        Ok(Client(ClientKind::Certificates(certificates::Client::new(directory, hostname, verify_peer)?)))
    }

    /// The client that a URI asks for: with a key if it names a file of keys, with certificates otherwise. Nothing if it
    /// does not ask for encryption.
    ///
    /// The user is the one in the URI, or who is logged in here; certificates are those of libnbd unless the URI says
    /// where they are. Where neither a host nor an authority is known, as with a Unix socket, every server will do.
    ///
    /// # Errors
    /// When a file is missing or of no use.
    pub fn for_address(address: &Address) -> Result<Option<Self>, SetupError> {
        if !address.encrypted {
            return Ok(None);
        }
        let tls = &address.tls;
        if let Some(file) = &tls.psk_file {
            let user = address.user.clone().or_else(files::user).unwrap_or_default();
            return Self::with_key(file, &user).map(Some);
        }
        let directory = tls.certificates.clone().or_else(|| default_directory("libnbd"));
        let host = match &address.target {
            Target::Tcp { host, .. } => Some(host.as_str()),
            _ => None,
        };
        let host = tls.hostname.as_deref().or(host);
        let verify_peer = tls.verify_peer.unwrap_or(true) && (host.is_some() || directory.is_some());
        Self::with_certificates(directory.as_deref(), host, verify_peer).map(Some)
    }

    /// A client that is `user`, whose key is in `file` (a line `USER:KEY`).
    ///
    /// # Errors
    /// When it is not there.
    pub fn with_key(file: &Path, user: &str) -> Result<Self, SetupError> {
        Ok(Client(ClientKind::SharedKey(psk::Client::new(file, user)?)))
    }
}

impl Encryption for Client {
    fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        match &self.0 {
            ClientKind::Certificates(client) => client.begin(stream),
            ClientKind::SharedKey(client) => client.begin(stream),
        }
    }
}
