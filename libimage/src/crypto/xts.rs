//! XTS, the mode of disks: many sectors at a time, so that the processor's pipeline is always full.
//!
//! Each block is whitened with a tweak before and after it is encrypted; the first tweak of a sector is its
//! encrypted number, each other one the product of the one before with 2 in GF(2^128). (IEEE 1619-2007.)
//! Sectors are whole blocks here, so that no ciphertext needs to be stolen.

use super::cipher::Blocks;

/// Sectors whose first tweaks are encrypted at once.
const BATCH: usize = 32;
/// Blocks that are encrypted at once: a sector of LUKS1.
const BLOCKS: usize = 32;

/// The two keys of XTS.
pub(super) struct Xts {
    data: Box<dyn Blocks<16>>,
    tweak: Box<dyn Blocks<16>>,
}

impl Xts {
    pub(super) fn new(data: Box<dyn Blocks<16>>, tweak: Box<dyn Blocks<16>>) -> Self {
        Xts { data, tweak }
    }

    /// Encrypts whole sectors of `sector` bytes; `iv` gives the number of the n-th one as XTS wants it.
    pub(super) fn encrypt(&self, data: &mut [u8], sector: usize, iv: impl Fn(u64) -> [u8; 16]) {
        self.run(data, sector, iv, |blocks| self.data.encrypt(blocks));
    }

    /// The reverse of [`Xts::encrypt`].
    pub(super) fn decrypt(&self, data: &mut [u8], sector: usize, iv: impl Fn(u64) -> [u8; 16]) {
        self.run(data, sector, iv, |blocks| self.data.decrypt(blocks));
    }

    fn run(
        &self,
        data: &mut [u8],
        sector: usize,
        iv: impl Fn(u64) -> [u8; 16],
        cipher: impl Fn(&mut [[u8; 16]]),
    ) {
        let mut number = 0;
        for batch in data.chunks_mut(sector * BATCH) {
            let mut first = [[0; 16]; BATCH];
            let count = batch.len().div_ceil(sector);
            for tweak in first.iter_mut().take(count) {
                *tweak = iv(number);
                number += 1;
            }
            self.tweak.encrypt(first.get_mut(..count).unwrap_or_default());
            for (sector, tweak) in batch.chunks_mut(sector).zip(first) {
                let mut tweak = u128::from_le_bytes(tweak);
                for blocks in sector.as_chunks_mut::<16>().0.chunks_mut(BLOCKS) {
                    tweak = whitened(blocks, tweak, &cipher);
                }
            }
        }
    }
}

/// Runs the cipher over blocks between two whitenings; returns the tweak of the block after them.
fn whitened(blocks: &mut [[u8; 16]], first: u128, cipher: impl Fn(&mut [[u8; 16]])) -> u128 {
    let mut tweaks = [0u128; BLOCKS];
    let mut tweak = first;
    for (slot, block) in tweaks.iter_mut().zip(blocks.iter_mut()) {
        *slot = tweak;
        *block = (u128::from_le_bytes(*block) ^ tweak).to_le_bytes();
        tweak = doubled(tweak);
    }
    cipher(blocks);
    for (tweak, block) in tweaks.iter().zip(blocks) {
        *block = (u128::from_le_bytes(*block) ^ tweak).to_le_bytes();
    }
    tweak
}

/// Multiplies by 2 in GF(2^128) with the polynomial x^128 + x^7 + x^2 + x + 1.
fn doubled(tweak: u128) -> u128 {
    (tweak << 1) ^ (0x87 & (tweak >> 127).wrapping_neg())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cipher::CipherAlg;
    use super::super::hash::tests::hex;
    use super::*;

    fn xts(alg: CipherAlg, key: &[u8]) -> Xts {
        let (data, tweak) = key.split_at(alg.key_bytes());
        Xts::new(alg.wide(data).unwrap(), alg.wide(tweak).unwrap())
    }

    #[test]
    fn the_vectors_of_the_standard() {
        // IEEE 1619-2007, annex B, vectors 1 and 2.
        let cases = [
            (
                "00".repeat(32),
                0u128,
                "00".repeat(32),
                "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e",
            ),
            (
                "11".repeat(16) + &"22".repeat(16),
                0x33_3333_3333,
                "44".repeat(32),
                "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
            ),
        ];
        for (key, number, plain, expected) in cases {
            let xts = xts(CipherAlg::Aes128, &hex(&key));
            let mut data = hex(&plain);
            xts.encrypt(&mut data, 32, |_| number.to_le_bytes());
            assert_eq!(data, hex(expected));
            xts.decrypt(&mut data, 32, |_| number.to_le_bytes());
            assert_eq!(data, hex(&plain));
        }
    }

    #[test]
    fn another_implementation_agrees() {
        use aes::cipher::KeyInit;
        use xts_mode::{Xts128, get_tweak_default};
        let key: Vec<u8> = (0..64u32).map(|i| (i * 7 + 1) as u8).collect();
        let other = Xts128::new(
            aes::Aes256::new_from_slice(&key[..32]).unwrap(),
            aes::Aes256::new_from_slice(&key[32..]).unwrap(),
        );
        let ours = xts(CipherAlg::Aes256, &key);
        for (sector, count, start) in
            [(512, 1, 0), (512, 77, 1 << 33), (4096, 35, 3), (1024, 64, u64::MAX / 2)]
        {
            let plain: Vec<u8> = (0..sector * count).map(|i| (i * i / 3) as u8).collect();
            let (mut a, mut b) = (plain.clone(), plain.clone());
            other.encrypt_area(&mut a, sector, start.into(), get_tweak_default);
            ours.encrypt(&mut b, sector, |n| u128::from(start + n).to_le_bytes());
            assert!(a == b, "{sector} {count}");
            ours.decrypt(&mut b, sector, |n| u128::from(start + n).to_le_bytes());
            assert!(b == plain);
        }
    }
}
