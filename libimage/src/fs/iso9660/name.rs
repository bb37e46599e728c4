//! Names without Rock Ridge: of the standard, and of Joliet.

/// A name of the standard as Linux shows it: in lower case, without the version 1 and an empty extension.
pub(super) fn plain(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b".;1").or_else(|| name.strip_suffix(b";1")).unwrap_or(name);
    let shown = name.iter().take_while(|byte| **byte != 0).map(|byte| match byte {
        b';' | b'/' => b'.',
        _ => byte.to_ascii_lowercase(),
    });
    shown.collect()
}

/// A name of Joliet: UTF-16, without the version 1 and dots at its end.
pub(super) fn joliet(name: &[u8]) -> Vec<u8> {
    let units = name.chunks_exact(2).map(|unit| unit.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)));
    let units = units.take_while(|unit| *unit != 0);
    let mut shown = char::decode_utf16(units).filter_map(Result::ok).collect::<String>();
    if shown.len() > 2
        && let Some(name) = shown.strip_suffix(";1")
    {
        shown = name.to_owned();
    }
    while shown.len() > 1 && shown.ends_with('.') {
        shown.pop();
    }
    shown.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_linux_shows_them() {
        for (name, shown) in
            [("README.TXT;1", "readme.txt"), ("KERNEL.;1", "kernel"), ("A;B.C;2", "a.b.c.2"), ("DIR", "dir")]
        {
            assert_eq!(plain(name.as_bytes()), shown.as_bytes(), "{name}");
        }
        let wide = |name: &str| name.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for (name, shown) in [("Ümläut 𝄞.txt;1", "Ümläut 𝄞.txt"), ("dots...;1", "dots"), ("x;2", "x;2")]
        {
            assert_eq!(joliet(&wide(name)), shown.as_bytes(), "{name}");
        }
    }
}
