//! Anti-forensic splitting: a key spread over thousands of stripes, all of which are needed to get it back.
//!
//! Overwriting any part of them makes the key unrecoverable, even where a medium keeps old copies of some
//! sectors. (LUKS on-disk format 1.2.3, section 2.4.)

use super::{HashAlg, Secret, random};
use crate::error::Result;

/// Spreads `key` over `stripes` (at least one) pieces of its own length.
///
/// # Errors
/// When the system has no random bytes.
pub fn split(hash: HashAlg, key: &[u8], stripes: usize) -> Result<Secret> {
    let mut all = Secret::from(vec![0; key.len().saturating_mul(stripes)]);
    let body = all.len().saturating_sub(key.len());
    let (noise, last) = all.split_at_mut(body);
    random(noise)?;
    let sum = folded(hash, noise, key.len());
    for ((last, sum), key) in last.iter_mut().zip(sum.iter()).zip(key) {
        *last = sum ^ key;
    }
    Ok(all)
}

/// Gets the key of `length` bytes back from its stripes.
pub fn merge(hash: HashAlg, stripes: &[u8], length: usize) -> Secret {
    let (noise, last) = stripes.split_at(stripes.len().saturating_sub(length));
    let mut key = folded(hash, noise, length);
    key.iter_mut().zip(last).for_each(|(key, last)| *key ^= last);
    key
}

/// The diffused exclusive or of all stripes.
fn folded(hash: HashAlg, stripes: &[u8], length: usize) -> Secret {
    let mut sum = Secret::from(vec![0; length]);
    for stripe in stripes.chunks(length.max(1)) {
        sum.iter_mut().zip(stripe).for_each(|(sum, byte)| *sum ^= byte);
        for (index, part) in (0u32..).zip(sum.chunks_mut(hash.digest_bytes())) {
            let digest = hash.digest(&[&index.to_be_bytes(), part]);
            part.iter_mut().zip(digest.iter()).for_each(|(byte, digest)| *byte = *digest);
        }
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_split_is_merged_again_unless_touched() {
        for hash in HashAlg::ALL {
            for (length, stripes) in [(16, 4000), (64, 100), (24, 1), (33, 2)] {
                let key: Vec<u8> = (0..length).map(|i| i as u8 ^ 0x5a).collect();
                let mut all = split(hash, &key, stripes).unwrap();
                assert_eq!(all.len(), length * stripes);
                assert_eq!(*merge(hash, &all, length), key);
                all[0] ^= 1;
                assert_ne!(*merge(hash, &all, length), key);
            }
        }
    }
}
