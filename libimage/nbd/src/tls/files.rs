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
    let key = key
        .into_iter()
        .next()
        .map(whole_key)
        .ok_or(SetupError::Empty { path, what: "private key in the clear" })?;
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

/// GnuTLS writes the number that is the private key of an elliptic curve with as many bytes as it needs for a signed
/// number; the form (RFC 5915) wants as many as the curve has.
fn whole_key(key: PrivateKeyDer<'static>) -> PrivateKeyDer<'static> {
    match &key {
        PrivateKeyDer::Sec1(bytes) => match padded(bytes.secret_sec1_der()) {
            Some(bytes) => PrivateKeyDer::Sec1(bytes.into()),
            None => key,
        },
        _ => key,
    }
}

/// The key in `der` with a number of the right length; nothing if it is of another form.
fn padded(der: &[u8]) -> Option<Vec<u8>> {
    const CURVES: [(&[u8], usize); 2] =
        [(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32), (&[0x2b, 0x81, 4, 0, 0x22], 48)];
    let body = match der {
        [0x30, length, body @ ..] if *length < 0x80 => body,
        [0x30, 0x81, _, body @ ..] => body,
        _ => return None,
    };
    let (length, rest) = body.strip_prefix(&[2, 1, 1, 4])?.split_first()?;
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    let (_, width) = CURVES.iter().find(|(name, _)| {
        let at = rest.get(4..4 + name.len());
        rest.first() == Some(&0xa0) && at == Some(*name)
    })?;
    let zeroes = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeroes..)?;
    let mut body = vec![2, 1, 1, 4, u8::try_from(*width).ok()?];
    body.resize(5 + width.checked_sub(digits.len())?, 0);
    body.extend_from_slice(digits);
    body.extend_from_slice(rest);
    let length = u8::try_from(body.len()).ok()?;
    let mut out = vec![0x30];
    if length >= 0x80 {
        out.push(0x81);
    }
    out.push(length);
    out.append(&mut body);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::padded;

    #[test]
    fn numbers_of_curves_get_their_length() {
        let key = |number: &[u8], width: usize| {
            let curve: &[u8] = match width {
                32 => &[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
                _ => &[0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 0x22],
            };
            let length = u8::try_from(number.len()).unwrap_or(0);
            let body = [&[2, 1, 1, 4, length], number, curve, &[0xa1, 68, 3, 66], &[7; 66]].concat();
            let length = u8::try_from(body.len()).unwrap_or(0);
            [if length < 0x80 { &[0x30][..] } else { &[0x30, 0x81] }, &[length], &body].concat()
        };
        for width in [32, 48] {
            let right = key(&vec![0xff; width], width);
            assert_eq!(padded(&key(&[&[0][..], &vec![0xff; width]].concat(), width)), Some(right.clone()));
            assert_eq!(padded(&right), Some(right.clone()));
            let short = [&[0, 0][..], &vec![9; width - 2]].concat();
            assert_eq!(padded(&key(&vec![9; width - 2], width)), Some(key(&short, width)));
            assert_eq!(padded(&key(&vec![9; width + 1], width)), None);
            for end in 0..20 {
                assert_eq!(padded(&right[..end]), None);
            }
        }
    }
}
