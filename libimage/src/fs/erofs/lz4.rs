//! LZ4 blocks as erofs has them: the reader knows how much comes out, and old images do not say where they end.

/// The shortest match.
const MIN_MATCH: usize = 4;

/// Unpacks into the whole of `into`; what `packed` holds behind that is not looked at. `None` if it is damaged.
pub(super) fn unpack(packed: &[u8], into: &mut [u8]) -> Option<()> {
    let (mut at, mut done) = (0, 0);
    while done < into.len() {
        let token = *packed.get(at)?;
        at += 1;
        let literals = length(packed, &mut at, usize::from(token >> 4))?;
        // The last ones may reach behind what is wanted.
        let count = literals.min(into.len() - done);
        into.get_mut(done..done + count)?.copy_from_slice(packed.get(at..)?.get(..count)?);
        done += count;
        at = at.checked_add(literals)?;
        if done == into.len() {
            break;
        }
        let distance = usize::from(u16::from_le_bytes([*packed.get(at)?, *packed.get(at + 1)?]));
        at += 2;
        let count = length(packed, &mut at, usize::from(token & 0xf))?.saturating_add(MIN_MATCH);
        let end = done.saturating_add(count).min(into.len());
        if distance == 0 || distance > done {
            return None;
        }
        // A match may reach into what it makes: what is there already doubles with each step.
        while done < end {
            let count = distance.min(end - done);
            into.copy_within(done - distance..done - distance + count, done);
            done += count;
        }
    }
    Some(())
}

/// A length that begins with four bits, and goes on in bytes if all are set.
fn length(packed: &[u8], at: &mut usize, start: usize) -> Option<usize> {
    let mut length = start;
    if start == 15 {
        loop {
            let more = *packed.get(*at)?;
            *at += 1;
            length += usize::from(more);
            if more != 0xff {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same_as_lz4_flex(text: &[u8]) {
        let mut packed = lz4_flex::block::compress(text);
        let mut found = vec![0xee; text.len()];
        unpack(&packed, &mut found).unwrap();
        assert_eq!(found, text);
        // Zeroes behind it, and only a part wanted.
        packed.resize(packed.len() + 100, 0);
        let half = text.len() / 2;
        unpack(&packed, &mut found[..half]).unwrap();
        assert_eq!(found[..half], text[..half]);
    }

    #[test]
    fn what_others_pack_is_unpacked() {
        same_as_lz4_flex(&[7; 70_000]);
        same_as_lz4_flex(
            &(0..90_000_u32).flat_map(|n| ((n / 3 * 0x9e37) >> 5).to_le_bytes()).collect::<Vec<_>>(),
        );
        same_as_lz4_flex("ab".repeat(3000).as_bytes());
        same_as_lz4_flex(b"short");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in proptest::collection::vec(0_u8..4, 0..5000)) {
            same_as_lz4_flex(&text);
        }

        #[test]
        fn nothing_surprises(packed in proptest::collection::vec(any::<u8>(), 0..300), wanted in 0_usize..5000) {
            let _ = unpack(&packed, &mut vec![0; wanted]);
        }
    }
}
