//! From a shared key to the keys of a connection: the key schedule of TLS 1.3 (RFC 8446, section 7.1), with SHA-256.

use ring::{digest, hkdf, hmac};
use zeroize::Zeroizing;

/// Bytes of a hash, and so of every secret.
pub(super) const HASH: usize = 32;

/// A secret that others are derived from.
pub(super) type Secret = Zeroizing<[u8; HASH]>;

/// The length of what is to be derived.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// `HKDF-Extract`.
fn extract(salt: &[u8], input: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(input)
}

/// `HKDF-Expand-Label`, filling `out` (less than 255 hashes; labels and contexts are this module's own and short).
fn expand_label(secret: &hkdf::Prk, label: &str, context: &[u8], out: &mut [u8]) {
    let length = u16::try_from(out.len()).unwrap_or(0).to_be_bytes();
    let label_length = [6 + u8::try_from(label.len()).unwrap_or(0)];
    let context_length = [u8::try_from(context.len()).unwrap_or(0)];
    let info: [&[u8]; 6] = [&length, &label_length, b"tls13 ", label.as_bytes(), &context_length, context];
    let filled = secret.expand(&info, Length(out.len())).and_then(|okm| okm.fill(out));
    debug_assert!(filled.is_ok());
}

fn derive(secret: &hkdf::Prk, label: &str, context: &[u8]) -> Secret {
    let mut out = Zeroizing::new([0; HASH]);
    expand_label(secret, label, context, &mut *out);
    out
}

fn prk(secret: &Secret) -> hkdf::Prk {
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &**secret)
}

fn hash_of_nothing() -> digest::Digest {
    digest::digest(&digest::SHA256, b"")
}

/// Everything said in the handshake so far.
#[derive(Clone)]
pub(super) struct Transcript(digest::Context);

impl Transcript {
    pub(super) fn new() -> Self {
        Transcript(digest::Context::new(&digest::SHA256))
    }

    pub(super) fn add(&mut self, message: &[u8]) {
        self.0.update(message);
    }

    pub(super) fn hash(&self) -> digest::Digest {
        self.0.clone().finish()
    }
}

/// The proof that a peer knows `secret` and has seen the same `transcript`.
pub(super) fn proof(secret: &Secret, transcript: &Transcript) -> hmac::Tag {
    hmac::sign(&finished_key(secret), transcript.hash().as_ref())
}

/// Whether `claimed` is that proof; takes the same time wherever it differs.
pub(super) fn is_proof(secret: &Secret, transcript: &Transcript, claimed: &[u8]) -> bool {
    hmac::verify(&finished_key(secret), transcript.hash().as_ref(), claimed).is_ok()
}

fn finished_key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &*derive(&prk(secret), "finished", b""))
}

/// The first stage: nothing but the shared key is known.
pub(super) struct Early(hkdf::Prk);

impl Early {
    pub(super) fn new(key: &[u8]) -> Self {
        Early(extract(b"", key))
    }

    /// What a client proves in its first message that it knows.
    pub(super) fn binder(&self) -> Secret {
        derive(&self.0, "ext binder", hash_of_nothing().as_ref())
    }

    /// The second stage, with the result of the key exchange and everything up to the server's hello.
    pub(super) fn exchanged(self, shared: &[u8], transcript: &Transcript) -> Handshake {
        let salt = derive(&self.0, "derived", hash_of_nothing().as_ref());
        let secret = extract(&*salt, shared);
        let hash = transcript.hash();
        Handshake {
            client: derive(&secret, "c hs traffic", hash.as_ref()),
            server: derive(&secret, "s hs traffic", hash.as_ref()),
            secret,
        }
    }
}

/// The second stage: secrets of the handshake's encrypted part.
pub(super) struct Handshake {
    pub(super) client: Secret,
    pub(super) server: Secret,
    secret: hkdf::Prk,
}

impl Handshake {
    /// The secrets of the client's and of the server's data, given everything up to the server's last message.
    pub(super) fn traffic(&self, transcript: &Transcript) -> (Secret, Secret) {
        let salt = derive(&self.secret, "derived", hash_of_nothing().as_ref());
        let secret = extract(&*salt, &[0; HASH]);
        let hash = transcript.hash();
        (derive(&secret, "c ap traffic", hash.as_ref()), derive(&secret, "s ap traffic", hash.as_ref()))
    }
}

/// The secret that follows `secret` when a peer renews its keys.
pub(super) fn renewed(secret: &Secret) -> Secret {
    derive(&prk(secret), "traffic upd", b"")
}

/// Fills `key` and `iv` with what `secret` gives for records.
pub(super) fn record_keys(secret: &Secret, key: &mut [u8], iv: &mut [u8]) {
    let secret = prk(secret);
    expand_label(&secret, "key", b"", key);
    expand_label(&secret, "iv", b"", iv);
}
