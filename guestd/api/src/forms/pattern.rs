//! Patterns of names, as shells have them.

/// Shell patterns: `*`, `?`, `[a-z]`, `[!a-z]` and `\` before a character.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where to go back to when what follows the last `*` does not fit.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, name));
                pattern = rest;
                continue;
            }
            ([b'?', rest @ ..], [_, after @ ..]) => Some((rest, after)),
            ([b'[', rest @ ..], [byte, after @ ..]) => match class(rest, *byte) {
                Some((true, rest)) => Some((rest, after)),
                Some((false, _)) => None,
                None => (*byte == b'[').then_some((rest, after)),
            },
            ([b'\\', literal, rest @ ..], [byte, after @ ..]) => (literal == byte).then_some((rest, after)),
            ([literal, rest @ ..], [byte, after @ ..]) => (literal == byte).then_some((rest, after)),
            _ => None,
        };
        match (step, retry) {
            (Some((rest, after)), _) => (pattern, name) = (rest, after),
            (None, Some((after_star, [_, shorter @ ..]))) => {
                retry = Some((after_star, shorter));
                (pattern, name) = (after_star, shorter);
            }
            (None, _) => return false,
        }
    }
}

/// A bracket expression after its `[`: whether the byte is in it, and what follows it. `None` if it is never
/// closed, which makes the `[` an ordinary character.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    let mut first = true;
    loop {
        match rest {
            [] => return None,
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                found |= *literal == byte;
                rest = after;
            }
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let yes = [
            ("*", ""),
            ("a*b*c", "aXbYbc"),
            ("?x", "ax"),
            ("[a-c]1", "b1"),
            ("[!a]", "b"),
            ("[]]", "]"),
            ("[", "["),
            (r"\*", "*"),
            ("*.k*", "a.k.kx"),
        ];
        let no = [
            ("", "a"),
            ("a*b*c", "aXbY"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[!a]", "a"),
            (r"\*", "a"),
            ("a", "ab"),
        ];
        assert!(yes.iter().all(|(p, n)| matches(p.as_bytes(), n.as_bytes())));
        assert!(no.iter().all(|(p, n)| !matches(p.as_bytes(), n.as_bytes())));
        // What takes exponential time in a careless matcher.
        assert!(!matches("*a".repeat(40).as_bytes(), "a".repeat(39).as_bytes()));
    }
}
