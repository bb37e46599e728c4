//! Finding runs of zeroes in memory, at memory speed.

/// True when every byte of `bytes` is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Whole 256-byte blocks folded with OR become wide vector instructions; data blocks usually end
    // the search at their first one.
    let (blocks, rest) = bytes.as_chunks::<256>();
    blocks.iter().all(|block| block.iter().fold(0, |all, &byte| all | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

/// The length of the leading run of `bytes` that is all zero or has no zero piece, in pieces of
/// `granularity` bytes, and whether it is zero. `bytes` must not be empty.
pub fn leading_run(bytes: &[u8], granularity: usize) -> (usize, bool) {
    let mut pieces = bytes.chunks(granularity.max(1));
    let Some(first) = pieces.next() else { return (0, true) };
    let zero = is_zero(first);
    let mut length = first.len();
    for piece in pieces {
        if is_zero(piece) != zero {
            break;
        }
        length += piece.len();
    }
    (length, zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_counts() {
        let mut bytes = vec![0; 1025];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for at in [0, 255, 256, 1023, 1024] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }

    #[test]
    fn runs_end_where_the_kind_changes() {
        let mut bytes = vec![0; 10_000];
        assert_eq!(leading_run(&bytes, 4096), (10_000, true));
        bytes[9000] = 1;
        assert_eq!(leading_run(&bytes, 4096), (8192, true));
        assert_eq!(leading_run(&bytes[8192..], 4096), (1808, false));
    }
}
