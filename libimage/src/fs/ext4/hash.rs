//! Hashes of names: the order in which the kernel lists a directory that can have an index.
//!
//! The functions are those of the format: two rounds of known ciphers cut short, and an older one of its own.

/// Which function, with what it begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashing {
    /// 0 legacy, 1 half of MD4, 2 TEA.
    pub(super) version: u8,
    /// Bytes of names are numbers from 0 to 255, and not from -128 to 127.
    pub(super) unsigned: bool,
    /// All zero for the one that MD4 begins with.
    pub(super) seed: [u32; 4],
}

/// Names are sorted by it: the hash, and what decides between equal ones.
pub(super) type Hash = (u32, u32);

/// The largest hash stands for the end of a directory.
const END: u32 = 0x7fff_ffff << 1;

impl Hashing {
    /// The hash of a name; `None` if the function is not known.
    pub(super) fn of(&self, name: &[u8]) -> Option<Hash> {
        let mut state = match self.seed {
            [0, 0, 0, 0] => [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
            seed => seed,
        };
        let (hash, minor) = match self.version {
            0 => (self.legacy(name), 0),
            1 => {
                self.pieces(name, &mut |piece: &[u32; 8]| half_md4(&mut state, piece));
                (state[1], state[2])
            }
            2 => {
                self.pieces(name, &mut |piece: &[u32; 4]| tea(&mut state, piece));
                (state[0], state[1])
            }
            _ => return None,
        };
        let hash = hash & !1;
        Some((if hash == END { END - 2 } else { hash }, minor))
    }

    fn number(&self, byte: u8) -> u32 {
        if self.unsigned { byte.into() } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    /// The name as words, four bytes in each, padded with its length.
    fn pieces<const WORDS: usize>(&self, name: &[u8], take: &mut dyn FnMut(&[u32; WORDS])) {
        let mut rest = name;
        while !rest.is_empty() {
            let length = rest.len() as u32;
            let mut pad = length | length << 8;
            pad |= pad << 16;
            let (now, later) = rest.split_at(rest.len().min(WORDS * 4));
            let mut words = [pad; WORDS];
            for (word, bytes) in words.iter_mut().zip(now.chunks(4)) {
                *word = bytes.iter().fold(pad, |word, byte| (word << 8).wrapping_add(self.number(*byte)));
            }
            take(&words);
            rest = later;
        }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for byte in name {
            let mut hash = before.wrapping_add(last ^ self.number(*byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, hash);
        }
        last << 1
    }
}

fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    /// How three of the numbers are mixed, what is added, which words in what order, and by how much is turned.
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, turns) in ROUNDS {
        for (step, word) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(words[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(turns[step % 4]), b, c);
        }
    }
    for (state, more) in state.iter_mut().zip([a, b, c, d]) {
        *state = state.wrapping_add(more);
    }
}

fn tea(state: &mut [u32; 4], [a, b, c, d]: &[u32; 4]) {
    let [mut x, mut y, ..] = *state;
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        let mixed = |v: u32, a: u32, b: u32| {
            (v << 4).wrapping_add(a) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(b)
        };
        x = x.wrapping_add(mixed(y, *a, *b));
        y = y.wrapping_add(mixed(x, *c, *d));
    }
    state[0] = state[0].wrapping_add(x);
    state[1] = state[1].wrapping_add(y);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    /// debugfs prints the hashes of names.
    #[test]
    fn hashes_are_those_of_debugfs() {
        let seed = [0x0123_4567_u32, 0x89ab_cdef, 0xdead_beef, 0x1234_5678];
        let bytes: Vec<u8> = seed.iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = uuid_text(&bytes);
        let long = "x".repeat(200);
        for (version, name_of) in [(0, "legacy"), (1, "half_md4"), (2, "tea")] {
            for name in ["a", "hostname", "entry-number-00001", "0123456789abcdef0123456789abcdef", &long] {
                let request = format!("dx_hash -h {name_of} -s {text} {name}");
                let output = std::process::Command::new("debugfs").args(["-R", &request]).output().unwrap();
                let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
                let hashing = Hashing { version, unsigned: false, seed };
                let (hash, minor) = hashing.of(name.as_bytes()).unwrap();
                assert!(
                    theirs.contains(&format!("is 0x{hash:08x} (minor 0x{minor:08x})"))
                        || theirs.contains(&format!("0x{hash:x} (minor 0x{minor:x})")),
                    "{name_of} {name}: {hash:#x} {minor:#x} and {theirs:?}"
                );
            }
        }
        assert!(Hashing { version: 6, unsigned: false, seed }.of(b"a").is_none());
    }

    fn uuid_text(bytes: &[u8]) -> String {
        let hex = |range: std::ops::Range<usize>| {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
    }
}
