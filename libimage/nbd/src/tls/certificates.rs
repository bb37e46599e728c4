//! TLS 1.2 and 1.3 with certificates: rustls, and who is trusted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::failure::broken;
use super::session::Session;
use super::{Judge, SetupError, files, name};
use crate::stream::Stream;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server with a certificate.
pub(super) struct Server {
    config: Arc<ServerConfig>,
    verify_peer: bool,
    /// Who of those with a certificate may come in.
    pub(super) judge: Option<Arc<Judge>>,
}

impl Server {
    /// Takes what is in `directory`; clients need a certificate too if `verify_peer`.
    pub(super) fn new(directory: &Path, verify_peer: bool) -> Result<Self, SetupError> {
        let unusable = |source| SetupError::Unusable { path: directory.join("server-cert.pem"), source };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = if verify_peer {
            let roots = Arc::new(files::authorities(directory)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .with_crls(files::revoked(directory)?)
                .allow_unknown_revocation_status()
                .build()
                .map_err(|error| SetupError::authorities(directory, &error))?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (certificates, key) = files::identity(directory, "server")?;
        let mut config = builder.with_single_cert(certificates, key).map_err(unusable)?;
        // Connections are few and long: nobody comes back for a session.
        config.send_tls13_tickets = 0;
        Ok(Server { config: Arc::new(config), verify_peer, judge: None })
    }

    pub(super) fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let session = Session::begin(Connection::Server(connection), stream.wire())?;
        if let Some(judge) = self.judge.as_ref().filter(|_| self.verify_peer) {
            let subject = session.peer().and_then(|certificate| name::of_subject(&certificate));
            if !subject.as_deref().is_some_and(|subject| judge(subject)) {
                let subject = subject.unwrap_or_else(|| "a certificate without a name".to_owned());
                return Err(broken(&format!("TLS x509 authz check for {subject} is denied")));
            }
        }
        stream.encrypt(Box::new(session));
        Ok(())
    }
}

/// A client that may have a certificate.
pub(super) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// Takes what is in `directory`, or what the system trusts, and expects to reach `hostname`, whatever the server's
    /// name is if that is not known. Any server will do if not `verify_peer`.
    pub(super) fn new(
        directory: Option<&Path>,
        hostname: Option<&str>,
        verify_peer: bool,
    ) -> Result<Self, SetupError> {
        let place = directory.unwrap_or(Path::new("/etc/ssl/certs"));
        let unusable = |source| SetupError::Unusable { path: place.join("client-cert.pem"), source };
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let chain = if verify_peer {
            let (roots, revoked) = match directory {
                Some(directory) => (files::authorities(directory)?, files::revoked(directory)?),
                None => (files::system_authorities(), Vec::new()),
            };
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .with_crls(revoked)
                .allow_unknown_revocation_status();
            Some(builder.build().map_err(|error| SetupError::authorities(place, &error))?)
        } else {
            None
        };
        let verifier = Verifier { chain, any_name: hostname.is_none(), algorithms };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let identity = directory.map(files::client_identity).transpose()?.flatten();
        let mut config = match identity {
            Some((certificates, key)) => {
                builder.with_client_auth_cert(certificates, key).map_err(unusable)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        // Only a name can be sent; an address, or no name at all, is not.
        config.enable_sni = hostname.is_some();
        let name = hostname.unwrap_or("localhost").to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|_| SetupError::Name { name })?;
        Ok(Client { config: Arc::new(config), name })
    }

    pub(super) fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        let connection =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        let session = Session::begin(Connection::Client(connection), stream.wire())?;
        stream.encrypt(Box::new(session));
        Ok(())
    }
}

/// Decides whether a server is the one that is meant.
#[derive(Debug)]
struct Verifier {
    /// Nothing if any server will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The name it should have is not known: over Unix sockets, for example.
    any_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last: when nothing but it is wrong, all else is right.
        match chain.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
