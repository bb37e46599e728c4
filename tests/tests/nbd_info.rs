//! `nbd info` under the name `nbdinfo`, beside the real one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::Command;

use system_tests::peers::compare;
use system_tests::programs::{output_of, run};

/// Makes images; the directories differ, so what names them is made for each.
const SETUP: &str = r#"truncate -s 1M d.raw; printf 'hello, world!' | dd of=d.raw bs=1 seek=256 conv=notrunc status=none; printf '\0\1!' | dd of=d.raw bs=1 seek=1048570 conv=notrunc status=none; qemu-img create -q -f qcow2 base.q 10M; qemu-io -c 'write -P 3 1M 64k' base.q; qemu-img create -q -f qcow2 -b base.q -F qcow2 mid.q; qemu-io -c 'write 64k 64k' mid.q; qemu-img create -q -f qcow2 -b mid.q -F qcow2 top.q; qemu-img bitmap --add top.q b0; qemu-io -c 'write 128k 64k' top.q; mkdir dir; cp d.raw dir/a; cp d.raw 'dir/b é'"#;

/// A server whose names and texts need escapes, and one that fails for one of two exports.
const SCRIPTS: &str = r#"printf 'case $1 in list_exports) printf '"'"'NAMES+DESCRIPTIONS\na"\\\\\t\\001\\177é/b ?&=#%%:@!$()*+,;[]~-._\nde\t"x\\\\\\001é\n'"'"';; get_size) echo 10;; export_description) echo other;; is_rotational|can_fast_zero|can_zero|can_write|pwrite) exit 0;; *) exit 2;; esac' > odd.sh; printf 'case $1 in list_exports) echo NAMES; echo a; echo b;; open) case $3 in b) echo no >&2; exit 1;; esac;; get_size) echo 0;; *) exit 2;; esac' > half.sh; printf 'case $1 in list_exports) echo NAMES;; get_size) echo 0;; *) exit 2;; esac' > none.sh; chmod +x *.sh"#;

#[test]
fn exports() {
    let mut table = String::new();
    for (name, server) in [
        ("newstyle", "nbdkit file d.raw"),
        ("read only", "nbdkit -r file d.raw"),
        ("oldstyle", "nbdkit -o file d.raw"),
        ("without structured replies", "nbdkit --no-sr file d.raw"),
        ("not fixed", "nbdkit --mask-handshake=0 file d.raw"),
        ("empty", "nbdkit null 0"),
        ("huge", "nbdkit --filter=noextents null 7E"),
        (
            "block sizes",
            "nbdkit --filter=blocksize-policy null 100K blocksize-minimum=512 blocksize-preferred=64K blocksize-maximum=16M",
        ),
        ("contexts", "qemu-nbd -r -f qcow2 -A -B b0 -D 'desc \"q\" é' top.q"),
        // The real one leaves the server running when that does not have the export: nbdkit ends by itself.
        ("directory", "nbdkit file dir=dir"),
        ("odd names", "nbdkit sh ./odd.sh"),
        ("one fails", "nbdkit sh ./half.sh"),
        ("no exports", "nbdkit sh ./none.sh"),
        ("unreadable", "nbdkit --log=null eval get_size='echo 100' pread='echo EIO no >&2; exit 1'"),
    ] {
        table += &format!("== {name}\n! {SETUP}; {SCRIPTS}\n");
        for options in ["", "--json", "--list", "--list --json --content", "--color", "--size"] {
            table += &format!("nbdinfo {options} -- [ {server} ]\n");
            let fails_in_json = (name, options) == ("one fails", "--list --json --content")
                || (name, options) == ("directory", "--json");
            if fails_in_json {
                table += "~ stdout: JSON is whole even if an export cannot be shown\n";
            }
        }
    }
    compare(&table).unwrap();
}

#[test]
fn maps() {
    let mut table = String::new();
    for (name, context, server) in [
        ("allocation", "", "nbdkit file d.raw"),
        ("empty", "", "nbdkit null 0"),
        ("none", "", "nbdkit --no-sr file d.raw"),
        (
            "holes",
            "",
            "nbdkit eval get_size='echo 9000' pread='exit 1' can_extents='exit 0' extents='echo 0 1000 hole; echo 1000 1000 zero; echo 2000 1000; echo 3000 6000 hole,zero'",
        ),
        ("depth", "=qemu:allocation-depth", "qemu-nbd -r -A -f qcow2 top.q"),
        ("bitmap", "=qemu:dirty-bitmap:b0", "qemu-nbd -r -B b0 -f qcow2 top.q"),
        ("unknown", "=nosuch:x", "qemu-nbd -r -f qcow2 top.q"),
    ] {
        table += &format!("== {name}\n! {SETUP}\n");
        for options in ["", "--json", "--totals", "--totals --json", "--color", "--totals --color"] {
            table += &format!("nbdinfo --map{context} {options} -- [ {server} ]\n");
        }
    }
    compare(&table).unwrap();
}

#[test]
fn questions() {
    let mut table = format!("== questions\n! {SETUP}\n");
    for question in [
        "read-only",
        "rotational",
        "tls",
        "cache",
        "connect",
        "df",
        "fast-zero",
        "flush",
        "fua",
        "multi-conn",
        "read",
        "write",
        "trim",
        "zero",
        "structured-reply",
        "READ_ONLY",
        "fastzero",
        "structured replies",
        "nonsense",
        "fast zero",
    ] {
        for server in ["nbdkit file d.raw", "nbdkit -r -o null 1"] {
            table += &format!("nbdinfo --can '{question}' -- [ {server} ]\n");
        }
    }
    compare(&table).unwrap();
}

#[test]
fn mistakes() {
    compare(
        r"
== combinations
nbdinfo --content --no-content nbd://localhost:1
nbdinfo --map --size nbd://localhost:1
nbdinfo --list --is tls nbd://localhost:1
nbdinfo --totals nbd://localhost:1
nbdinfo --json --size nbd://localhost:1
== addresses
nbdinfo nbd://localhost:1
nbdinfo --list nbd://127.0.0.1:1
nbdinfo foo
nbdinfo foo://x
nbdinfo nbd+unix:///
nbdinfo 'nbd+unix:///?socket=/nonexistent'
nbdinfo 'nbd://h?socket=/x'
nbdinfo nbds://127.0.0.1:1/?tls-certificates=/nonexistent
nbdinfo nbd://nosuch.invalid/
",
    )
    .unwrap();
}

#[test]
fn uris_of_exports() {
    // Each side has a server of its own, at a path of the same name.
    compare(&format!(
        r#"
== sockets
! {SETUP}
nbdkit -U sock file dir=dir --run 'for e in a b%20%C3%A9; do nbdinfo "nbd+unix:///$e?socket=sock"; done; nbdinfo --list --json "nbd+unix:///?socket=sock"; nbdinfo --size "nbd+unix:///nosuch?socket=sock"; nbdinfo --map "nbd+unix:///nosuch?socket=sock"'
nbdkit -U sock null 1 --run 'nbdinfo --no-content "nbd+unix://me@/x//y?foo=bar&socket=sock&tls-certificates=/x&tls-verify-peer=0"'
"#
    ))
    .unwrap();
}

/// What the real one of this version does not know.
#[test]
fn beyond() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    std::fs::write(&image, vec![7; 100_000]).unwrap();
    let server = ["[", "qemu-nbd", "-r", "-f", "raw", image.to_str().unwrap(), "]"];
    let ask = |options: &[&str]| run("nbd", &[&["info"], options, &["--"], &server[..]].concat());
    let text = |options: &[&str]| output_of("nbd", &[&["info"], options, &["--"], &server[..]].concat());

    assert!(text(&[]).starts_with("protocol: newstyle-fixed without TLS, using extended packets\n"));
    assert!(text(&[]).contains("\tcan_block_status_payload: true\n"));
    let json: serde_json::Value = serde_json::from_str(&text(&["--json"])).unwrap();
    assert_eq!(
        (&json["extended"], &json["exports"][0]["can_block_status_payload"]),
        (&true.into(), &true.into())
    );
    for (options, code) in [
        (["--can", "extended-headers"], 0),
        (["--cannot", "extended-headers"], 2),
        (["--isnt", "read-only"], 2),
        (["--isnt", "tls"], 0),
        (["--can", "block-status-payload"], 0),
    ] {
        assert_eq!(ask(&options).status.code(), Some(code), "{options:?}");
    }
    let uri = output_of("nbd", &["info", "--uri", "nbd://localhost"]);
    assert_eq!(uri, "nbd://localhost:10809/\n");
    // JSON is whole even if there is nothing to tell.
    let output = run(
        "nbd",
        &["info", "--json", "--", "[", "qemu-nbd", "-f", "raw", "-x", "x", image.to_str().unwrap(), "]"],
    );
    assert!(!output.status.success());
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}

/// Without `file` there is no content to tell of, and all else is as it was.
#[test]
fn without_file() {
    let bin = tempfile::tempdir().unwrap();
    let nbdkit =
        String::from_utf8(Command::new("sh").args(["-c", "command -v nbdkit"]).output().unwrap().stdout)
            .unwrap();
    std::os::unix::fs::symlink(nbdkit.trim(), bin.path().join("nbdkit")).unwrap();
    let program = system_tests::programs::program("nbd");
    let output = Command::new(program)
        .args(["info", "--", "[", "nbdkit", "null", "1M", "]"])
        .env("PATH", bin.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("export-size: 1048576 (1M)") && !text.contains("content:"),
        "{text}"
    );
}
