//! Where certificates, keys and users lie, and reading them.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::SetupError;

/// The names that QEMU, libnbd and nbdkit look for in a directory of certificates.
pub(super) const AUTHORITIES: &str = "ca-cert.pem";
const REVOKED: &str = "ca-crl.pem";
/// Where distributions keep the authorities that everybody trusts.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// The largest file that is read.
const MAX_FILE: u64 = 1 << 24;

/// The directory in which `program` (`libnbd` or `nbdkit`) looks for certificates when none is named: the first
/// that has any.
pub fn default_directory(program: &str) -> Option<PathBuf> {
    let mut places = Vec::new();
    if !rustix::process::getuid().is_root()
        && let Some(home) = std::env::home_dir()
    {
        places.extend([home.join(".pki").join(program), home.join(".config/pki").join(program)]);
    }
    places.push(Path::new("/etc/pki").join(program));
    places.into_iter().find(|place| place.join(AUTHORITIES).exists())
}

/// Who is logged in, or whose process this is.
pub(super) fn user() -> Option<String> {
    let logged_in =
        std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|id| id.trim().parse::<u32>().ok());
    let own = rustix::process::getuid().as_raw();
    let id = logged_in.filter(|id| *id != u32::MAX).unwrap_or(own).to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(id.as_str()))?;
    line.split(':').next().map(str::to_owned)
}

/// All objects of a kind in a file of PEM, at least one.
fn objects<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, SetupError> {
    let found = all::<T>(path)?;
    if found.is_empty() { Err(SetupError::Empty { path: path.to_owned(), what }) } else { Ok(found) }
}

fn all<T: PemObject>(path: &Path) -> Result<Vec<T>, SetupError> {
    let file = File::open(path).map_err(|source| SetupError::read(path, source))?;
    T::pem_reader_iter(BufReader::new(file.take(MAX_FILE))).collect::<Result<_, _>>().map_err(|error| {
        let source = match error {
            pem::Error::Io(source) => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        };
        SetupError::read(path, source)
    })
}

/// The authorities whose signature counts in `directory`.
pub(super) fn authorities(directory: &Path) -> Result<RootCertStore, SetupError> {
    let path = directory.join(AUTHORITIES);
    let mut store = RootCertStore::empty();
    for certificate in objects::<CertificateDer<'_>>(&path, "certificate")? {
        store.add(certificate).map_err(|source| SetupError::Unusable { path: path.clone(), source })?;
    }
    Ok(store)
}

/// The authorities that the system trusts; none if it has no list.
pub(super) fn system_authorities() -> RootCertStore {
    let mut store = RootCertStore::empty();
    for path in SYSTEM {
        let found = all::<CertificateDer<'_>>(Path::new(path)).unwrap_or_default();
        if store.add_parsable_certificates(found).0 > 0 {
            break;
        }
    }
    store
}

/// The lists of certificates that count no longer.
pub(super) fn revoked(directory: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, SetupError> {
    let path = directory.join(REVOKED);
    if path.exists() { objects(&path, "list of revoked certificates") } else { Ok(Vec::new()) }
}

/// A certificate, those between it and an authority, and its private key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate and key of `role` (`server` or `client`).
pub(super) fn identity(directory: &Path, role: &str) -> Result<Identity, SetupError> {
    let path = directory.join(format!("{role}-key.pem"));
    let key = objects::<PrivateKeyDer<'_>>(&path, "private key in the clear")?;
    let certificates = objects(&directory.join(format!("{role}-cert.pem")), "certificate")?;
    let key = key.into_iter().next().ok_or(SetupError::Empty { path, what: "private key in the clear" })?;
    Ok((certificates, key))
}

/// The same for a client, which need not have any.
pub(super) fn client_identity(directory: &Path) -> Result<Option<Identity>, SetupError> {
    let has = |name: &str| directory.join(name).exists();
    if !has("client-cert.pem") && !has("client-key.pem") {
        return Ok(None);
    }
    identity(directory, "client").map(Some)
}
