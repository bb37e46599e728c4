#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::filter::model;
use crate::storage::Memory;

/// A header of old tar with the right sum.
fn header(name: &str, kind: u8, size: u64, magic: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[257..257 + magic.len()].copy_from_slice(magic);
    sum(&mut block);
    block
}

fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

fn open(archive: &[Vec<u8>], name: &str) -> Result<Vec<u8>> {
    let block: Arc<dyn Block> = Arc::new(Memory::from_bytes(&archive.concat()));
    tar(block, name, None).map(|member| model::all(&member))
}

#[test]
fn members_of_all_kinds_are_found() {
    let long = format!("{}/disk.img", "d".repeat(120));
    let records = |fields: &[(&str, &str)]| {
        let mut text = Vec::new();
        for (key, value) in fields {
            let length = key.len() + value.len() + 3;
            let length = (length..).find(|all| all.to_string().len() + length == *all).unwrap();
            text.extend(format!("{length} {key}={value}\n").bytes());
        }
        text
    };
    let pax = records(&[("mtime", "1.5"), ("path", &long), ("size", "7")]);
    let ustar = b"ustar\x0000";
    let mut prefixed = header("img", b'0', 3, ustar);
    prefixed[345..348].copy_from_slice(b"a/b");
    sum(&mut prefixed);
    let mut binary = header("binary", b'0', 0, b"ustar  \0");
    binary[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
    sum(&mut binary);
    let mut sparse = header("sparse", b'S', 512, b"ustar  \0");
    sparse[482] = 1;
    sum(&mut sparse);
    let mut map = vec![0; 512];
    map[504] = 1;
    let archive = [
        header("old", 0, 5, b""),
        data(b"older"),
        header("dir/", b'5', 0, ustar),
        header("link", b'1', 99, ustar),
        header("././@LongLink", b'K', 5, b"ustar  \0"),
        data(b"where"),
        header("././@LongLink", b'L', long.len() as u64 - 3, b"ustar  \0"),
        data(&long.as_bytes()[..long.len() - 3]),
        header("short", b'0', 6, b"ustar  \0"),
        data(b"longer"),
        header("global", b'g', 10, ustar),
        data(b"10 abc=de\n"),
        header("fields", b'x', pax.len() as u64, ustar),
        data(&pax),
        header("other", b'0', 1, ustar),
        data(b"by pax."),
        prefixed,
        data(b"pre"),
        binary,
        data(b"four"),
        sparse,
        map,
        vec![0; 512],
        data(b"sparse"),
        header("last", b'7', 0, ustar),
        vec![0; 1024],
        header("behind", b'0', 0, ustar),
    ];
    for (name, bytes) in [
        ("old", &b"older"[..]),
        (&long[..long.len() - 3], b"longer"),
        (&long, b"by pax."),
        ("a/b/img", b"pre"),
        ("binary", b"four"),
        ("last", b""),
    ] {
        assert_eq!(open(&archive, name).unwrap(), bytes, "{name}");
    }
    for name in ["dir/", "link", "sparse"] {
        assert!(matches!(open(&archive, name), Err(Error::Unsupported { .. })), "{name}");
    }
    for name in ["img", "short", "other", "behind", "ol", "old/", "./old"] {
        assert!(matches!(open(&archive, name), Err(Error::NotFound(_))), "{name}");
    }
    let block: Arc<dyn Block> = Arc::new(Memory::from_bytes(&archive.concat()));
    assert!(tar(Arc::clone(&block), "binary", Some(4096)).is_err());
    let member = tar(block.clone(), "binary", Some(1 << 20)).unwrap();
    member.write_at(b"FOUR", 0).unwrap();
    assert!(member.write_at(b"FOUR", 1).is_err());
    assert_eq!(model::all(&tar(block, "binary", None).unwrap()), b"FOUR");
}

#[test]
fn damaged_archives_are_refused() {
    let whole = [header("a", b'0', 600, b""), data(&[7; 600])].concat();
    assert_eq!(open(std::slice::from_ref(&whole), "a").unwrap(), [7; 600]);
    assert!(open(&[whole[..1000].to_vec()], "a").is_err());
    assert!(open(&[whole[..500].to_vec()], "a").is_err());
    assert!(open(&[], "a").is_err());
    let mut bad = whole.clone();
    bad[0] = b'b';
    assert!(open(&[bad], "b").is_err());
    let huge = |kind| {
        let mut huge = header("huge", kind, 0, b"");
        huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        sum(&mut huge);
        huge
    };
    for kind in [b'0', b'L', b'x', b'g', b'S'] {
        assert!(open(&[huge(kind), whole.clone()], "a").is_err());
        assert!(open(&[huge(kind), whole.clone()], "huge").is_err());
    }
    for bad in [
        "5 a=b",
        "99 a=b\n",
        "0 a=b\n",
        "x a=b\n",
        "6 ab\n\n",
        "18446744073709551615 a=b\n",
        "12 size=-1xx\n",
    ] {
        let archive = [header("x", b'x', bad.len() as u64, b""), data(bad.as_bytes()), whole.clone()];
        assert!(open(&archive, "a").is_err(), "{bad:?}");
    }
    let fields = b"22 GNU.sparse.major=1\n24 GNU.sparse.name=hole\n";
    let archive = [header("x", b'x', fields.len() as u64, b""), data(fields), whole];
    assert!(matches!(open(&archive, "hole"), Err(Error::Unsupported { .. })));
}
