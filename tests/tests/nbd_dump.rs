//! `nbd dump` under the name `nbddump`, beside the real one, and beside hexdump.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::Command;

use system_tests::peers::compare;
use system_tests::programs::output_of;

#[test]
fn dumps() {
    let mut table = String::new();
    let setup = r#"python3 -c 'import random as r; r.seed(3); b=bytearray(2987657); f=lambda n: r.choice([bytes([r.randrange(256)])*n, r.randbytes(n), b"abcdefghijklmnop"*(n//16)]); [b.__setitem__(slice(o, o+len(d)), d) for o, d in ((r.randrange(2980000), f(r.choice([1,15,16,17,100,4096]))) for _ in range(40))]; open("mix.raw","wb").write(b)'; cp --sparse=always mix.raw sparse.raw"#;
    for (name, servers) in [
        (
            "dense and sparse",
            ["nbdkit file mix.raw", "nbdkit file sparse.raw", "nbdkit --no-sr file mix.raw"],
        ),
        ("old and odd", ["nbdkit -o file mix.raw", "qemu-nbd -r -f raw mix.raw", "nbdkit pattern 5000"]),
        ("zeroes", ["nbdkit null 32", "nbdkit null 40", "nbdkit null 17"]),
        ("more zeroes", ["nbdkit null 0", "nbdkit null 1M", "nbdkit null 16"]),
        (
            "repeats",
            [
                "nbdkit data '1*48 2 1 @0x50 1 @0x1000 1'",
                "nbdkit data '1*100'",
                "nbdkit data '@0x20000 0xff 0x80 0x7f 0x7e 0x20 0x1f 0xa @0x300000000 9'",
            ],
        ),
    ] {
        table += &format!("== {name}\n! {setup}\n");
        for server in servers {
            for options in ["", "--color", "-n 0", "-n 17", "--length=33", "--limit 5000"] {
                table += &format!("nbddump {options} -- [ {server} ]\n");
            }
        }
    }
    compare(&table).unwrap();
}

#[test]
fn mistakes() {
    compare(
        r"
== numbers
nbddump -n abc nbd://localhost:1
nbddump -n 1k -- [ nbdkit pattern 100 ]
nbddump -n -1 -- [ nbdkit pattern 100 ]
== servers
nbddump nbd://localhost:1
nbddump foo
nbddump -- [ nbdkit --log=null eval get_size='echo 100' pread='echo EIO no >&2; exit 1' ]
nbddump -- [ nbdkit -e x file dir=/nonexistent ]
",
    )
    .unwrap();
}

/// The part that begins at an offset is what hexdump shows of it.
#[test]
fn an_offset() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let bytes: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
    std::fs::write(&image, bytes).unwrap();
    let image = image.to_str().unwrap();
    let found = output_of(
        "nbd",
        &["dump", "--offset=4001", "-n", "700", "--", "[", "qemu-nbd", "-r", "-f", "raw", image, "]"],
    );
    let hexdump = Command::new("hexdump").args(["-C", "-s", "4001", "-n", "700", image]).output().unwrap();
    let expected = String::from_utf8(hexdump.stdout).unwrap();
    // hexdump has shorter offsets, two blanks between columns, no padding, and the end's offset on a line of its own.
    let words = |line: &str| line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let expected: Vec<_> = expected.lines().map(|line| words(line.split('|').next().unwrap())).collect();
    let found: Vec<_> = found.lines().map(|line| words(line.split('|').next().unwrap())).collect();
    assert_eq!(found.len(), 44);
    assert_eq!(found[..], expected[..found.len()]);
}
