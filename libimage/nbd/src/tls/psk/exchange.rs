//! The key exchange beside the shared key: Diffie and Hellman's, over X25519 or P-256.

use ring::agreement::{self, Algorithm, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

/// The groups that are known, the preferred one first, with TLS's numbers.
const GROUPS: [(u16, &Algorithm); 2] = [(29, &agreement::X25519), (23, &agreement::ECDH_P256)];

/// One side of an exchange.
pub(super) struct Exchange {
    pub(super) group: u16,
    private: EphemeralPrivateKey,
    pub(super) public: Vec<u8>,
}

impl Exchange {
    /// Begins one in `group`; nothing if it is not known.
    pub(super) fn new(group: u16, random: &dyn SecureRandom) -> Option<Self> {
        let (_, algorithm) = GROUPS.iter().find(|(number, _)| *number == group)?;
        let private = EphemeralPrivateKey::generate(algorithm, random).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().to_vec();
        Some(Exchange { group, private, public })
    }

    /// Begins one in each group.
    pub(super) fn all(random: &dyn SecureRandom) -> Vec<Self> {
        GROUPS.iter().filter_map(|(group, _)| Exchange::new(*group, random)).collect()
    }

    /// What both sides know now; nothing if the peer's part is no good.
    pub(super) fn finish(self, peer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer);
        agreement::agree_ephemeral(self.private, &peer, |shared| Zeroizing::new(shared.to_vec())).ok()
    }
}
