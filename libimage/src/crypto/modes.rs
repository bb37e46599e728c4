//! The modes of older disks: ECB, CBC and CTR, for blocks of any width.
//!
//! Within a sector CBC can only be encrypted one block after the other, so several sectors are done side
//! by side.

use super::cipher::Blocks;

/// Sectors that are encrypted side by side.
const LANES: usize = 8;

/// Encrypts each block on its own.
pub(super) fn ecb_encrypt<const N: usize>(cipher: &dyn Blocks<N>, data: &mut [u8]) {
    cipher.encrypt(data.as_chunks_mut::<N>().0);
}

/// The reverse of [`ecb_encrypt`].
pub(super) fn ecb_decrypt<const N: usize>(cipher: &dyn Blocks<N>, data: &mut [u8]) {
    cipher.decrypt(data.as_chunks_mut::<N>().0);
}

/// Encrypts whole sectors, each chained to its own `iv`.
pub(super) fn cbc_encrypt<const N: usize>(
    cipher: &dyn Blocks<N>,
    data: &mut [u8],
    sector: usize,
    iv: impl Fn(u64) -> [u8; N],
) {
    for (group, part) in (0..).zip(data.chunks_mut(sector * LANES)) {
        let mut chain: Vec<[u8; N]> = Vec::with_capacity(LANES);
        let mut sectors: Vec<&mut [[u8; N]]> = Vec::with_capacity(LANES);
        for (lane, sector) in (0..).zip(part.chunks_mut(sector)) {
            chain.push(iv(group * LANES as u64 + lane));
            sectors.push(sector.as_chunks_mut::<N>().0);
        }
        for index in 0..sector / N {
            for (chain, sector) in chain.iter_mut().zip(&sectors) {
                if let Some(block) = sector.get(index) {
                    xor(chain, block);
                }
            }
            cipher.encrypt(&mut chain);
            for (chain, sector) in chain.iter().zip(&mut sectors) {
                if let Some(block) = sector.get_mut(index) {
                    *block = *chain;
                }
            }
        }
    }
}

/// The reverse of [`cbc_encrypt`].
pub(super) fn cbc_decrypt<const N: usize>(
    cipher: &dyn Blocks<N>,
    data: &mut [u8],
    sector: usize,
    iv: impl Fn(u64) -> [u8; N],
) {
    let mut before = vec![[0; N]; sector / N];
    for (number, sector) in (0..).zip(data.chunks_mut(sector)) {
        let blocks = sector.as_chunks_mut::<N>().0;
        let before = before.get_mut(..blocks.len()).unwrap_or_default();
        before.copy_from_slice(blocks);
        cipher.decrypt(blocks);
        let first = iv(number);
        for (block, before) in blocks.iter_mut().zip(std::iter::once(&first).chain(before.iter())) {
            xor(block, before);
        }
    }
}

/// Encrypts or decrypts whole sectors with the encrypted numbers from `iv` on, which count in big endian.
pub(super) fn ctr<const N: usize>(
    cipher: &dyn Blocks<N>,
    data: &mut [u8],
    sector: usize,
    iv: impl Fn(u64) -> [u8; N],
) {
    let mut stream = vec![[0; N]; sector / N];
    for (number, sector) in (0..).zip(data.chunks_mut(sector)) {
        let mut counter = iv(number);
        for block in &mut stream {
            *block = counter;
            increment(&mut counter);
        }
        cipher.encrypt(&mut stream);
        for (block, key) in sector.as_chunks_mut::<N>().0.iter_mut().zip(&stream) {
            xor(block, key);
        }
    }
}

fn xor<const N: usize>(block: &mut [u8; N], other: &[u8; N]) {
    block.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
}

fn increment<const N: usize>(counter: &mut [u8; N]) {
    for byte in counter.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cipher::CipherAlg;
    use super::super::hash::tests::hex;
    use super::*;

    const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

    #[test]
    fn the_vectors_of_sp_800_38a() {
        let cipher = CipherAlg::Aes128.wide(&hex("2b7e151628aed2a6abf7158809cf4f3c")).unwrap();
        let iv = |_| std::array::from_fn(|i| i as u8);
        let counter = |_| std::array::from_fn(|i| 0xf0 + i as u8);
        // F.2.1, F.5.1, F.1.1.
        let cbc = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
                   73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7";
        let ctr_text = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
                        5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee";
        let ecb = "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf\
                   43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4";
        let mut data = hex(PLAIN);
        cbc_encrypt(&*cipher, &mut data, 64, iv);
        assert_eq!(data, hex(cbc));
        cbc_decrypt(&*cipher, &mut data, 64, iv);
        assert_eq!(data, hex(PLAIN));
        ctr(&*cipher, &mut data, 64, counter);
        assert_eq!(data, hex(ctr_text));
        ctr(&*cipher, &mut data, 64, counter);
        ecb_encrypt(&*cipher, &mut data);
        assert_eq!(data, hex(ecb));
        ecb_decrypt(&*cipher, &mut data);
        assert_eq!(data, hex(PLAIN));
    }

    #[test]
    fn sectors_side_by_side_are_the_same_as_one_by_one() {
        let cipher = CipherAlg::Cast5.narrow(&[7; 16]).unwrap();
        let iv = |n: u64| (n * 3).to_le_bytes();
        let plain: Vec<u8> = (0..512 * 21u32).map(|i| (i * i / 5) as u8).collect();
        let mut together = plain.clone();
        cbc_encrypt(&*cipher, &mut together, 512, iv);
        let mut alone = plain.clone();
        for (n, sector) in (0..).zip(alone.chunks_mut(512)) {
            cbc_encrypt(&*cipher, sector, 512, |_| iv(n));
        }
        assert!(together == alone);
        cbc_decrypt(&*cipher, &mut together, 512, iv);
        assert!(together == plain);
    }
}
