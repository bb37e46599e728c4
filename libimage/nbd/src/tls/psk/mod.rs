//! TLS between peers who share a key instead of having certificates (PSK), as GnuTLS programs use it.
//!
//! rustls does not know keys that were shared beforehand, so the handshake is here: TLS 1.3's (RFC 8446) with a shared
//! key *and* a key exchange, which is its smallest: no certificates, no resumption, no early data, no second hello. All
//! cryptography is ring's. TLS 1.2 is not spoken.

mod exchange;
mod handshake;
mod hello;
mod layer;
mod parser;
mod record;
mod schedule;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SetupError;
use crate::stream::Stream;
use handshake::Key;

/// The largest file of keys that is read.
const MAX_FILE: u64 = 1 << 24;

/// A server's keys: a file with a line `USER:KEY` for each user, the key in hexadecimal. It is read for each client,
/// so users come and go with its lines.
pub(super) struct Server {
    file: PathBuf,
}

impl Server {
    pub(super) fn new(file: &Path) -> Result<Self, SetupError> {
        let file = std::path::absolute(file).map_err(|source| SetupError::read(file, source))?;
        read(&file).map_err(|source| SetupError::read(&file, source))?;
        Ok(Server { file })
    }

    pub(super) fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        let lines = read(&self.file)?;
        let layer = handshake::accept(stream.wire(), &|user| key_in(&lines, user))?;
        stream.encrypt(Box::new(layer));
        Ok(())
    }
}

/// A client's name and key.
pub(super) struct Client {
    user: String,
    key: Key,
}

impl Client {
    /// Finds the key of `user` in `file`.
    pub(super) fn new(file: &Path, user: &str) -> Result<Self, SetupError> {
        let lines = read(file).map_err(|source| SetupError::read(file, source))?;
        let key = key_in(&lines, user.as_bytes()).map_err(|source| SetupError::read(file, source))?;
        let key = key.ok_or_else(|| SetupError::NoUser { path: file.to_owned(), user: user.to_owned() })?;
        Ok(Client { user: user.to_owned(), key })
    }

    pub(super) fn begin(&self, stream: &mut Stream) -> io::Result<()> {
        let layer = handshake::connect(stream.wire(), self.user.as_bytes(), &self.key)?;
        stream.encrypt(Box::new(layer));
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let mut out = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut out)?;
    Ok(out)
}

/// The key in the first line that is about `user`.
fn key_in(lines: &[u8], user: &[u8]) -> io::Result<Option<Key>> {
    let keys =
        lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(user)?.strip_prefix(b":"));
    let Some(digits) = keys.map(<[u8]>::trim_ascii_end).next().filter(|_| !user.is_empty()) else {
        return Ok(None);
    };
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "The user's key is not an even number of hexadecimal digits",
        )
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(bad());
    }
    let mut key = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(bad()) };
        key.push(high << 4 | low);
    }
    Ok(Some(key))
}
