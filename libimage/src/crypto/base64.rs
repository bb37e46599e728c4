//! Base64, as secrets and headers spell bytes.

use crate::error::{Error, Result};

/// Decodes base64 as leniently as GLib: line breaks are skipped, an incomplete last group is left out.
pub(crate) fn base64(text: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut length, mut padding) = (0u32, 0, 0);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                0
            }
            b'\n' => continue,
            _ => return Err(Error::Invalid("Base64 data contains invalid characters".to_owned())),
        };
        group = group << 6 | u32::from(value);
        length += 1;
        if length == 4 {
            let [_, bytes @ ..] = group.to_be_bytes();
            out.extend(bytes.iter().take(3usize.saturating_sub(padding)));
            (group, length, padding) = (0, 0, 0);
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::base64;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert!(base64(b"Zm9v!").is_err());
    }
}
