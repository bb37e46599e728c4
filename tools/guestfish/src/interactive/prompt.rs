//! What stands before the cursor, and what is sent to the terminal before and after: as the environment has it.

const PROMPT: &str = "><fs> ";

/// The prompt.
pub(super) fn text() -> String {
    match crate::environment::get("GUESTFISH_PS1") {
        Some(text) => decode(&text.to_string_lossy()),
        None => PROMPT.to_owned(),
    }
}

/// Prints what a variable has for the terminal.
pub(super) fn print(variable: &str) {
    if let Some(text) = crate::environment::get(variable) {
        // A terminal that is gone needs no colours.
        let _ = cli::print(&decode(&text.to_string_lossy()));
    }
}

/// Escapes: `\n`, `\e`, `\\`, `\NNN` and `\xNN`; `\[` and `\]`, which mark what has no width, are dropped.
fn decode(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        decoded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let hexadecimal = after.strip_prefix('x').and_then(|d| u8::from_str_radix(d.get(..2)?, 16).ok());
        let (letter, length) = match (after.chars().next(), octal, hexadecimal) {
            (_, Some(byte), _) | (_, None, Some(byte)) => (Some(char::from(byte)), 3),
            (Some('e'), ..) => (Some('\x1b'), 1),
            (Some('n'), ..) => (Some('\n'), 1),
            (Some('r'), ..) => (Some('\r'), 1),
            (Some('a'), ..) => (Some('\x07'), 1),
            (Some('[' | ']'), ..) => (None, 1),
            (Some(other), ..) => (Some(other), other.len_utf8()),
            (None, ..) => (Some('\\'), 0),
        };
        decoded.extend(letter);
        rest = &after[length..];
    }
    decoded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(decode("\\[\\e[1;31m\\]fs\\x3e\\076 \\\\ \\n"), "\x1b[1;31mfs>> \\ \n");
        assert_eq!(decode("a\\"), "a\\");
        assert_eq!(decode("\\é\\"), "é\\");
    }
}
