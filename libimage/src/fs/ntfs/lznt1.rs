//! LZNT1: the compression of NTFS, in which every 4096 bytes are packed by themselves.

/// Unpacked bytes of a chunk.
const CHUNK: usize = 4096;
/// Set in the head of a chunk that is packed.
const PACKED: u16 = 0x8000;
/// The shortest repetition.
const SHORTEST: usize = 3;

/// Unpacks what fills `into`; where it ends early, zeroes follow. `None` if it makes no sense.
pub(super) fn unpack(packed: &[u8], into: &mut [u8]) -> Option<()> {
    let mut rest = packed;
    for chunk in into.chunks_mut(CHUNK) {
        let Some((head, after)) = rest.split_first_chunk::<2>() else {
            chunk.fill(0);
            rest = &[];
            continue;
        };
        let head = u16::from_le_bytes(*head);
        if head == 0 {
            // Behind the end is whatever was there before.
            chunk.fill(0);
            rest = &[];
            continue;
        }
        let (body, after) = after.split_at_checked(usize::from(head & 0xfff) + 1)?;
        rest = after;
        let filled = if head & PACKED != 0 {
            unpack_chunk(body, chunk)?
        } else {
            chunk.get_mut(..body.len())?.copy_from_slice(body);
            body.len()
        };
        chunk.get_mut(filled..)?.fill(0);
    }
    Some(())
}

/// Unpacks one chunk, and says how many bytes it has.
fn unpack_chunk(packed: &[u8], into: &mut [u8]) -> Option<usize> {
    let mut rest = packed;
    let mut at = 0;
    while let Some((tags, after)) = rest.split_first() {
        rest = after;
        for bit in 0..8 {
            if rest.is_empty() {
                break;
            }
            if tags >> bit & 1 == 0 {
                let (byte, after) = rest.split_first()?;
                *into.get_mut(at)? = *byte;
                (rest, at) = (after, at + 1);
                continue;
            }
            let (token, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            let token = u16::from_le_bytes(*token);
            // The further one is, the more bits the distance has and the fewer the length.
            let length_bits = 12 - at.checked_sub(1)?.checked_ilog2().unwrap_or(0).saturating_sub(3);
            let distance = usize::from(token >> length_bits) + 1;
            let length = usize::from(token & ((1 << length_bits) - 1)) + SHORTEST;
            let from = at.checked_sub(distance)?;
            if at + length > into.len() {
                return None;
            }
            // It may repeat what it makes.
            for index in 0..length {
                let byte = *into.get(from + index)?;
                *into.get_mut(at + index)? = byte;
            }
            at += length;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut into = vec![0xee; size];
        unpack(packed, &mut into).map(|()| into)
    }

    #[test]
    fn chunks_are_unpacked() {
        // "abc", then 4093 bytes from 3 before.
        let packed = [0x05, 0xb0, 0x08, b'a', b'b', b'c', 0xfa, 0x2f];
        let cycle: Vec<u8> = b"abc".iter().copied().cycle().take(4096).collect();
        assert_eq!(unpacked(&packed, 4096), Some(cycle.clone()));
        let with_zeroes = [&cycle[..], &[0; 4096]].concat();
        assert_eq!(unpacked(&[&packed[..], &[0, 0, 7, 7]].concat(), 8192), Some(with_zeroes));
        let plain = [&[0xff, 0x3f][..], &cycle].concat();
        assert_eq!(unpacked(&plain, 4096), Some(cycle));
        let short = [0x02, 0xb0, 0x00, b'x', b'y'];
        assert_eq!(unpacked(&short, 8).as_deref(), Some(&b"xy\0\0\0\0\0\0"[..]));
    }

    #[test]
    fn nonsense_is_refused() {
        // Cut; a repetition of nothing; one from too far; too long.
        for packed in [
            &[0x05, 0xb0, 0][..],
            &[0x02, 0xb0, 1, 0, 0],
            &[0x03, 0xb0, 2, b'a', 0, 0x10],
            &[0x03, 0xb0, 2, b'a', 0xff, 0x0f],
        ] {
            assert_eq!(unpacked(packed, 100), None, "{packed:?}");
        }
    }
}
