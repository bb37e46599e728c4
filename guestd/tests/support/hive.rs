//! An empty registry hive, for libhivex's tools and the agent to fill.
#![allow(unreachable_pub, reason = "tests of several crates use it")]

/// The smallest hive there is: a header, one bin with the root node and its security settings.
#[must_use]
pub fn empty_hive() -> Vec<u8> {
    let mut bytes = vec![0_u8; 0x2000];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let word = |number: u32| number.to_le_bytes();
    put(0, b"regf");
    for (at, number) in [(4, 1), (8, 1), (20, 1), (24, 3), (32, 1), (36, 0x20), (40, 0x1000), (44, 1)] {
        put(at, &word(number));
    }
    put(0x1000, b"hbin");
    put(0x1008, &word(0x1000));
    let (node, security, free) = (0x1020, 0x1020 + 96, 0x1020 + 96 + 48);
    put(node, &word(96_u32.wrapping_neg()));
    put(node + 4, b"nk\x2c\0");
    for (at, number) in
        [(20, 0x20), (32, u32::MAX), (36, u32::MAX), (44, u32::MAX), (48, 0x80), (52, u32::MAX)]
    {
        put(node + at, &word(number));
    }
    put(node + 76, &[12, 0]);
    put(node + 80, b"$$$PROTO.HIV");
    put(security, &word(48_u32.wrapping_neg()));
    put(security + 4, b"sk\0\0");
    for (at, number) in [(8, 0x80), (12, 0x80), (16, 1), (20, 20)] {
        put(security + at, &word(number));
    }
    put(security + 24, &[1, 0, 4, 0x80]);
    put(free, &word(0x2000 - free as u32));
    let sum = bytes[..508].as_chunks::<4>().0.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    bytes[508..512].copy_from_slice(&word(sum));
    bytes
}
