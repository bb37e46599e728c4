//! The shell's language: how a line becomes a command.
//!
//! Quotes count at the beginning of a word only. In double quotes a backslash escapes, in single quotes
//! nothing does. A bar with a blank before it sends the output to a command of the host.

use anyhow::{Result, bail};
use guestd_api::GuestString;

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Line {
    /// Go on if the command fails.
    pub(crate) ignore_errors: bool,
    /// The command and its arguments; empty for a blank line or a comment.
    pub(crate) words: Vec<GuestString>,
    /// A command of the host that reads the output.
    pub(crate) pipe: Option<String>,
}

/// Takes a line apart.
///
/// # Errors
/// When a quote is not closed, or an escape makes no sense.
pub(crate) fn parse(line: &str) -> Result<Line> {
    let mut rest = line.trim_start();
    let mut parsed = Line::default();
    if rest.starts_with('#') {
        return Ok(parsed);
    }
    if let Some(after) = rest.strip_prefix('-') {
        parsed.ignore_errors = true;
        rest = after.trim_start();
    }
    while !rest.is_empty() {
        if let Some(command) = rest.strip_prefix('|').filter(|_| !parsed.words.is_empty()) {
            parsed.pipe = Some(command.trim().to_owned());
            break;
        }
        let (word, after) = match rest.as_bytes().first() {
            Some(b'"') => double_quoted(&rest[1..])?,
            Some(b'\'') => {
                let Some(end) = rest[1..].find('\'') else { bail!("unterminated single quote") };
                (rest.as_bytes()[1..=end].to_vec(), &rest[end + 2..])
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (tilde(&rest[..end]), &rest[end..])
            }
        };
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            bail!("command arguments not separated by whitespace");
        }
        parsed.words.push(word.into());
        rest = after.trim_start();
    }
    Ok(parsed)
}

/// Reads up to the closing quote; returns what is behind it.
fn double_quoted(text: &str) -> Result<(Vec<u8>, &str)> {
    let mut word = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => bail!("unterminated double quote"),
            Some(b'"') => return Ok((word, &text[at + 1..])),
            Some(b'\\') => {
                let (byte, length) = escape(&bytes[at + 1..], word.len())?;
                word.push(byte);
                at += 1 + length;
            }
            Some(&byte) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// What stands behind a backslash: the byte it means, and its length. `offset` is where in the word, for messages.
fn escape(rest: &[u8], offset: usize) -> Result<(u8, usize)> {
    let simple = |byte| Ok((byte, 1));
    match rest.first() {
        Some(b'a') => simple(7),
        Some(b'b') => simple(8),
        Some(b'f') => simple(12),
        Some(b'n') => simple(b'\n'),
        Some(b'r') => simple(b'\r'),
        Some(b't') => simple(b'\t'),
        Some(b'v') => simple(11),
        Some(&byte @ (b'"' | b'\\' | b'\'' | b'?')) => simple(byte),
        Some(b'0'..=b'7') => number(rest, 0, 3, 8, offset),
        Some(b'x') => number(rest, 1, 2, 16, offset),
        _ => bail!("invalid escape sequence in string (starting at offset {offset})"),
    }
}

fn number(rest: &[u8], from: usize, digits: usize, radix: u32, offset: usize) -> Result<(u8, usize)> {
    let text = rest.get(from..from + digits).and_then(|d| std::str::from_utf8(d).ok());
    match text.and_then(|t| u8::from_str_radix(t, radix).ok()) {
        Some(0) => bail!("a string cannot hold a NUL character"),
        Some(byte) => Ok((byte, from + digits)),
        None => bail!("invalid escape sequence in string (starting at offset {offset})"),
    }
}

/// `~` and `~/...` are the home directory on the host, `~user` that of somebody else.
fn tilde(word: &str) -> Vec<u8> {
    let Some(rest) = word.strip_prefix('~') else { return word.as_bytes().to_vec() };
    let (user, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let home = if user.is_empty() {
        std::env::var_os("HOME").map(|home| home.into_encoded_bytes())
    } else {
        home_of(user, &std::fs::read("/etc/passwd").unwrap_or_default())
    };
    match home {
        Some(home) => [&home, below.as_bytes()].concat(),
        None => word.as_bytes().to_vec(),
    }
}

/// A user's home directory, from the text of /etc/passwd.
fn home_of(user: &str, table: &[u8]) -> Option<Vec<u8>> {
    let mut lines = table.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':'));
    lines.find_map(|mut fields| {
        (fields.next()? == user.as_bytes()).then(|| fields.nth(4).map(<[u8]>::to_vec))?
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        parse(line).unwrap().words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_quotes_and_pipes() {
        assert_eq!(words("  write /x \"a b\\n\\x41\\101\" 'c \\n' "), ["write", "/x", "a b\nAA", "c \\n"]);
        assert_eq!(words("tar-out / x excludes:\"*.txt\""), ["tar-out", "/", "x", "excludes:\"*.txt\""]);
        assert!(words("# comment").is_empty() && words("   ").is_empty());
        let line = parse("-cat /x | sort -u").unwrap();
        assert!(line.ignore_errors);
        assert_eq!((line.words.len(), line.pipe.as_deref()), (2, Some("sort -u")));
        assert_eq!(words("ls /a|b"), ["ls", "/a|b"]);
    }

    #[test]
    fn homes_of_others() {
        let table = b"root:x:0:0:root:/root:/bin/bash\nbroken:x\nweb:x:5:5::/srv/web:/bin/sh\n";
        assert_eq!(home_of("web", table).as_deref(), Some(&b"/srv/web"[..]));
        assert_eq!((home_of("broken", table), home_of("nobody", table)), (None, None));
        assert_eq!(words("ls a~ ~no-such-user/x"), ["ls", "a~", "~no-such-user/x"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["write /x \"abc", "write 'x", "echo \"a\"b", "echo \"\\q\"", "echo \"\\x0\"", "echo \"\\000\""]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
