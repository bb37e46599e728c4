//! Records: pieces of at most 16 KiB, each encrypted and numbered (RFC 8446, section 5).

use std::io;

use ring::aead;
use zeroize::Zeroizing;

use super::schedule::{Secret, record_keys, renewed};
use crate::stream::Wire;
use crate::tls::failure::{Alert, broken};

/// The most plain bytes of a record.
pub(super) const LARGEST: usize = 1 << 14;
/// The most bytes of a record behind its header, when it is encrypted.
const LARGEST_SEALED: usize = LARGEST + 256;
/// Bytes of a record's header.
const HEADER: usize = 5;
/// What is read from the wire at once.
const ROOM: usize = 4 * (HEADER + LARGEST_SEALED);
/// Keys are renewed after this many records; AES-GCM is good for 2^24.5 (RFC 8446, section 5.5).
const RENEW_AFTER: u64 = 1 << 23;

/// Types of records.
pub(super) mod content {
    pub(in super::super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in super::super) const ALERT: u8 = 21;
    pub(in super::super) const HANDSHAKE: u8 = 22;
    pub(in super::super) const DATA: u8 = 23;
}

/// The cipher suites whose hash is SHA-256, which is the hash of shared keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    /// Those that are known, the preferred one first.
    pub(super) const ALL: [Suite; 2] = [Suite::Aes128Gcm, Suite::ChaCha20Poly1305];

    pub(super) fn number(self) -> u16 {
        match self {
            Suite::Aes128Gcm => 0x1301,
            Suite::ChaCha20Poly1305 => 0x1303,
        }
    }

    pub(super) fn of(number: u16) -> Option<Self> {
        Suite::ALL.into_iter().find(|suite| suite.number() == number)
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// The keys of one direction.
pub(super) struct Keys {
    suite: Suite,
    secret: Secret,
    key: aead::LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    /// The next record's.
    number: u64,
}

impl Keys {
    pub(super) fn new(suite: Suite, secret: Secret) -> io::Result<Self> {
        let algorithm = suite.algorithm();
        let mut key = Zeroizing::new(vec![0; algorithm.key_len()]);
        let mut iv = [0; aead::NONCE_LEN];
        record_keys(&secret, &mut key, &mut iv);
        let key = aead::UnboundKey::new(algorithm, &key).map_err(|_| broken("TLS: no key could be made"))?;
        Ok(Keys { suite, secret, key: aead::LessSafeKey::new(key), iv, number: 0 })
    }

    /// The keys that follow.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        *self = Keys::new(self.suite, renewed(&self.secret))?;
        Ok(())
    }

    fn nonce(&mut self) -> io::Result<aead::Nonce> {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(self.number.to_le_bytes()) {
            *byte ^= number;
        }
        // A number that was used twice would give everything away.
        self.number = self.number.checked_add(1).ok_or_else(|| broken("TLS: too many records"))?;
        Ok(aead::Nonce::assume_unique_for_key(nonce))
    }
}

/// What is written: records are made of it.
pub(super) struct Outgoing {
    keys: Option<Keys>,
    renew_after: u64,
}

impl Outgoing {
    /// In the clear, to begin with.
    pub(super) fn new() -> Self {
        Outgoing { keys: None, renew_after: RENEW_AFTER }
    }

    #[cfg(test)]
    pub(super) fn renew_after(&mut self, records: u64) {
        self.renew_after = records;
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }

    /// Keys should be renewed before more is sent.
    pub(super) fn is_worn(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.number >= self.renew_after)
    }

    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.keys.as_mut().map_or(Ok(()), Keys::renew)
    }

    /// Appends a record of `plain`, at most [`LARGEST`] bytes, to `out`.
    pub(super) fn seal(&mut self, kind: u8, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let too_long = || broken("TLS: a record is too long");
        let Some(keys) = &mut self.keys else {
            out.extend_from_slice(&header(kind, plain.len()).ok_or_else(too_long)?);
            out.extend_from_slice(plain);
            return Ok(());
        };
        let length = plain.len() + 1 + keys.suite.algorithm().tag_len();
        let header = header(content::DATA, length).ok_or_else(too_long)?;
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(plain);
        out.push(kind);
        let nonce = keys.nonce()?;
        let sealed = out.get_mut(start..).unwrap_or_default();
        let tag = keys
            .key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(header), sealed)
            .map_err(|_| broken("TLS: a record could not be encrypted"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

fn header(kind: u8, length: usize) -> Option<[u8; HEADER]> {
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    Some([kind, 3, 3, high, low])
}

/// What was read: records are taken from it.
pub(super) struct Incoming {
    keys: Option<Keys>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    /// In the clear, to begin with.
    pub(super) fn new() -> Self {
        Incoming { keys: None, bytes: vec![0; ROOM], start: 0, end: 0 }
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }

    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.keys.as_mut().map_or(Ok(()), Keys::renew)
    }

    /// The next record: its type and its plain bytes. Nothing at the end of the connection.
    pub(super) fn next(&mut self, wire: &Wire) -> io::Result<Option<(u8, &[u8])>> {
        if !self.wait_for(wire, HEADER)? {
            return Ok(None);
        }
        let front = self.bytes.get(self.start..).unwrap_or_default();
        let &[kind, major, minor, high, low, ..] = front else { return Ok(None) };
        let header = [kind, major, minor, high, low];
        let length = usize::from(u16::from_be_bytes([high, low]));
        let most = if self.keys.is_some() { LARGEST_SEALED } else { LARGEST };
        if major != 3 || length > most || !(content::CHANGE_CIPHER_SPEC..=content::DATA).contains(&kind) {
            return Err(Alert::DECODE_ERROR.error("The peer does not speak TLS"));
        }
        if !self.wait_for(wire, HEADER + length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let start = self.start + HEADER;
        self.start = start + length;
        let payload = self.bytes.get_mut(start..start + length).unwrap_or_default();
        match &mut self.keys {
            // Some send this one in the clear in the middle of the handshake, for the sake of old routers.
            Some(keys) if kind != content::CHANGE_CIPHER_SPEC => open(keys, header, payload).map(Some),
            _ => Ok(Some((kind, payload))),
        }
    }

    /// Waits until `length` bytes are here; false if the connection ends before the first.
    fn wait_for(&mut self, wire: &Wire, length: usize) -> io::Result<bool> {
        if self.end - self.start >= length {
            return Ok(true);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < length {
            match wire.read(self.bytes.get_mut(self.end..).unwrap_or_default())? {
                0 if self.end == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.end += count,
            }
        }
        Ok(true)
    }
}

fn open<'a>(keys: &mut Keys, header: [u8; HEADER], payload: &'a mut [u8]) -> io::Result<(u8, &'a [u8])> {
    if header[0] != content::DATA {
        return Err(Alert::UNEXPECTED_MESSAGE.error("The peer sent a record in the clear"));
    }
    let nonce = keys.nonce()?;
    let plain = keys
        .key
        .open_in_place(nonce, aead::Aad::from(header), payload)
        .map_err(|_| Alert::BAD_RECORD_MAC.error("A record was damaged, or encrypted with another key"))?;
    // The type is behind the bytes, and zeroes may be behind the type.
    let Some(at) = plain.iter().rposition(|byte| *byte != 0) else {
        return Err(Alert::UNEXPECTED_MESSAGE.error("The peer sent a record without a type"));
    };
    let kind = plain.get(at).copied().unwrap_or(0);
    if at > LARGEST {
        return Err(Alert::RECORD_OVERFLOW.error("The peer sent a record that is too long"));
    }
    Ok((kind, plain.get(..at).unwrap_or_default()))
}
